/*
 * Requests to the key daemon, as one call each: pick a connection, make sure that the
 * daemon still holds the key that was loaded, send, receive, and reconnect once when
 * the daemon has been restarted meanwhile. Every request may be repeated safely.
 *
 * Any thread, any process after fork(). Nothing is connected before the first call.
 */
#ifndef KV_PROVIDER_CLIENT_H
#define KV_PROVIDER_CLIENT_H

#include <stdatomic.h>

#include "provider/conn.h"
#include "provider/trace.h"

struct kv_client_config {
    char socket[KV_CONN_ADDRESS_MAX];          /* path, or "@name" */
    char abstract_socket[KV_CONN_ADDRESS_MAX]; /* "@name"; "" = learn it from HELLO */
    int64_t server_uid; /* KV_CONN_ANY_SAFE_UID when not configured */
    int64_t connect_timeout_ms;
    int64_t reply_timeout_ms;
    bool is_async;                     /* let ASYNC jobs pause */
    struct kv_trace *trace;            /* borrowed; NULL: off */
    char bad_setting[KV_ERR_TEXT_MAX]; /* not "": why no call can be made */
};

struct kv_client;

/* Copy the configuration; does no I/O. Returns 0 or KV_E_NOMEM. */
int kv_client_new(const struct kv_client_config *config,
                  struct kv_client **out) KV_MUST_CHECK;
void kv_client_free(struct kv_client *client);

/* The key that a request uses. Before its first use in each life of the daemon the
 * client OPENs `uri` and compares what comes back with `version` and `spki`. */
struct kv_client_key {
    const char *uri; /* canonical, with version */
    uint8_t version[KV_ID_LEN];
    struct kv_bytes spki;
    _Atomic uint64_t *opened; /* 0, or the life of the daemon it was checked in */
};

/* Receives a successful reply's payload, borrowed for the call. Returns 0 or a
 * KV_E_* code, which becomes the result of the whole call. */
typedef int (*kv_client_reply_fn)(void *arg, struct kv_bytes payload,
                                  struct kv_err *err);

struct kv_client_call {
    enum kv_verb verb;
    const void *msg;                 /* the struct kv_msg_* of that verb */
    const struct kv_client_key *key; /* SIGN, DECRYPT, DERIVE; else NULL */
    kv_client_reply_fn on_reply;
    void *arg;
    int64_t
        limit_ms; /* connecting and the reply each take no longer; 0: as configured */
};

/* Perform one request. Returns 0, the daemon's KV_E_* code with its id, message and
 * hint, or a failure client.* of the transport; bounded by the configured times. `err`
 * is not NULL. */
int kv_client_call(struct kv_client *client, const struct kv_client_call *call,
                   struct kv_err *err) KV_MUST_CHECK;

/* Whether the public key that a file gives for `key` is the one that the daemon has.
 * Returns KV_E_INTEGRITY (client.key-mismatch) if it is another, else 0: also when the
 * daemon refuses to say, or does not answer within KV_CLIENT_CHECK_MS. After a daemon
 * that does not answer nobody is asked for KV_CLIENT_PAUSE_MS, so that a program that
 * loads many keys waits once. */
#define KV_CLIENT_CHECK_MS 1000
#define KV_CLIENT_PAUSE_MS 5000
int kv_client_check(struct kv_client *client, const struct kv_client_key *key,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
