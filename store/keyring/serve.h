/*
 * The verbs of keys.sock, without any I/O: a frame in, a payload out, or a question
 * for the service, or the remark that the operation is slow.
 *
 * kv_serve runs on a channel thread (or, for slow keys, a pool thread) with that
 * thread's own key slot. A question is asked by whoever holds the role channel;
 * kv_serve_answer turns the answer into the reply, or says that the frame is to be
 * served again.
 */
#ifndef KV_STORE_KEYRING_SERVE_H
#define KV_STORE_KEYRING_SERVE_H

#include "store/keyring/ring.h"

/* Positive results of kv_serve and kv_serve_answer. */
#define KV_SERVE_ASK 1   /* `ask` is filled; park the frame */
#define KV_SERVE_SLOW 2  /* serve it again on the pool */
#define KV_SERVE_AGAIN 3 /* kv_serve_answer: serve the parked frame again */

struct kv_peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
};

/* How a frame is served, also one of the service (role_serve.h). */
struct kv_serve {
    struct kv_ring *ring;
    unsigned slot;    /* of this thread, keys.h */
    bool is_pool;     /* slow operations are welcome */
    int64_t begun_us; /* when the frame came (kv_ring_now_us); 0: just now */
    struct kv_peer peer;
};

/* The end of a use of a key: count it under `use` if it was done (rc 0) or failed (a
 * negative rc), by what the serving thread is, and release the key. Returns rc. */
int kv_serve_end_use(const struct kv_serve *serve, struct kv_live *live,
                     enum kv_use use, int rc);

/* A question to the service. */
struct kv_ask {
    uint16_t role_verb; /* KV_ROLE_GRANT, KV_ROLE_CERT, KV_ROLE_LIST */
    struct kv_role_grant grant;
    struct kv_role_list list;
};

/* Serve one request frame, appending the reply's payload to `out`, a secret buffer.
 * Returns 0, a positive KV_SERVE_*, or a failure with its error. */
int kv_serve(const struct kv_serve *serve, const struct kv_frame *frame,
             struct kv_buf *out, struct kv_ask *ask, struct kv_err *err) KV_MUST_CHECK;

/* Append the question's payload. */
void kv_ask_put(struct kv_buf *out, const struct kv_ask *ask);

/* Whether one answer serves both. */
bool kv_ask_equal(const struct kv_ask *a, const struct kv_ask *b);

/* Turn the service's reply to `ask` into the reply to the frame of `verb`. */
int kv_serve_answer(struct kv_ring *ring, uint16_t verb, const struct kv_ask *ask,
                    const struct kv_frame *answer, struct kv_buf *out,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
