/*
 * Asking keys.sock who it is: one HELLO, as any client sends it. Used by --dev to
 * learn the installation id, and by keyvault doctor.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_PROBE_H
#define KV_LIFECYCLE_SUPERVISOR_PROBE_H

#include <sys/types.h>

#include "store/core/err.h"
#include "store/keyring/protocol.h"

/* A connection to keys.sock. */
struct kv_probe {
    int fd;
    uid_t server_uid; /* SO_PEERCRED */
    struct kv_msg_hello_reply hello;
    uint32_t next_id;
};

/* Connect to `address` (a path, or '@' and an abstract name) and say HELLO. Each wait
 * lasts at most 5 s. Returns 0, KV_E_UNAVAILABLE (probe.unreachable), KV_E_INVALID
 * (probe.bad-reply) or KV_E_NOMEM. */
int kv_probe_open(struct kv_probe *probe, const char *address,
                  struct kv_err *err) KV_MUST_CHECK;

/* Ask for a key by URI: `verb` is OPEN (wants a grant for `ops`) or INFO. Returns 0,
 * or the failure that the server reported, with its id and message. */
int kv_probe_ask(struct kv_probe *probe, enum kv_verb verb, const char *uri,
                 uint32_t ops, struct kv_err *err) KV_MUST_CHECK;

void kv_probe_close(struct kv_probe *probe);

#endif
