/*
 * The service's end of the role channel: asynchronous calls to the keyring and the
 * keyring's questions back (store/keyring/role.h).
 *
 * Connects to keyring.sock, accepts only a server of the expected uid, and connects
 * again with back-off when the keyring restarts; after each connect it opens all
 * vault keys before other calls go out. A call whose connection is lost fails with
 * KV_E_UNAVAILABLE (keyring.unreachable). Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_KEYRING_H
#define KV_LIFECYCLE_SERVICE_KEYRING_H

#include <sys/types.h>
#include <uv.h>

#include "store/core/buf.h"
#include "store/core/err.h"
#include "store/core/log.h"
#include "store/keyring/role.h"

struct kv_keyring;

/* `payload` is borrowed and wiped after the callback; empty on failure. */
typedef void (*kv_keyring_cb)(void *arg, int rc, struct kv_bytes payload,
                              const struct kv_err *err);

/* A question of the keyring; answer once with kv_keyring_answer. */
typedef void (*kv_keyring_question_fn)(void *arg, uint32_t id, uint16_t verb,
                                       struct kv_bytes payload);

struct kv_keyring_config {
    uv_loop_t *loop;
    const char *path;
    uid_t server_uid;
    struct kv_log *log;
    unsigned timeout_ms; /* of one call, 12 times for KEY_GENERATE; default 10000 (0) */
    kv_keyring_question_fn on_question; /* gets question_arg */
    void *question_arg;
    void (*on_connected)(void *arg, const struct kv_msg_hello_reply *hello);
    void *arg;
};

int kv_keyring_open(struct kv_keyring **out, const struct kv_keyring_config *config,
                    struct kv_err *err) KV_MUST_CHECK;
/* Fail all calls that wait at present: nobody is left to answer. */
void kv_keyring_abandon(struct kv_keyring *link);
void kv_keyring_close(struct kv_keyring *link, void (*cb)(void *arg), void *arg);
bool kv_keyring_is_connected(const struct kv_keyring *link);

/* The installation's root key is still sealed, as the keyring last said. */
bool kv_keyring_is_sealed(const struct kv_keyring *link);

/* Remember a vault key: it is opened now when connected, and first thing after each
 * later connect. `wrapped` is copied; one that is known already is passed over.
 * Returns 0 or KV_E_NOMEM. */
int kv_keyring_add_vault_key(struct kv_keyring *link,
                             const struct kv_role_vault_key *key) KV_MUST_CHECK;

/* Remember the keys of this vault no longer. KV_ROLE_VAULT_FORGET makes the keyring
 * forget them, too. */
void kv_keyring_remove_vault_keys(struct kv_keyring *link,
                                  const uint8_t vault[KV_ID_LEN]);

/* Whether a key of this vault is remembered: it is live, deleted or being made. */
bool kv_keyring_has_vault_key(const struct kv_keyring *link,
                              const uint8_t vault[KV_ID_LEN]);

/* Send a request; the payload is copied (and the copy wiped). Returns 0 (the callback
 * will come), KV_E_NOMEM, KV_E_TOO_BIG or, while closing, KV_E_UNAVAILABLE. */
int kv_keyring_call(struct kv_keyring *link, uint16_t verb,
                    const struct kv_buf *payload, kv_keyring_cb cb,
                    void *arg) KV_MUST_CHECK;

/* Answer a question: rc 0 with a payload, or a failure with its error. */
void kv_keyring_answer(struct kv_keyring *link, uint32_t id, uint16_t verb, int rc,
                       const struct kv_buf *payload, const struct kv_err *err);

#endif
