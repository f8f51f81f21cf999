/*
 * Shared inside lifecycle/audit: the log's inside, for audit.c and begin.c.
 */
#ifndef KV_LIFECYCLE_AUDIT_INTERNAL_H
#define KV_LIFECYCLE_AUDIT_INTERNAL_H

#include "lifecycle/audit/audit.h"
#include "lifecycle/audit/writer.h"
#include "lifecycle/service/keyring.h"
#include "store/keyring/role_audit.h"

enum kv_audit_phase {
    KV_AUDIT_IDLE,
    KV_AUDIT_STARTING,
    KV_AUDIT_RUNNING,
    KV_AUDIT_ROTATING,
    KV_AUDIT_STOPPED,
};

struct kv_audit {
    struct kv_audit_config config;
    struct kv_audit_writer *writer;
    uv_timer_t timer;
    enum kv_audit_phase state;
    uint8_t key[KV_AUDIT_KEY_LEN]; /* of the segment, for digests */
    struct kv_buf body;
    uint64_t next_seq;
    int64_t opened_ms;
    int64_t rotate_at_ms; /* not before, after a failure */
    struct kv_audit_item *held;
    struct kv_audit_item **held_end;
    size_t n_held;
    size_t n_calls; /* of the keyring, under way */
    bool is_sealing;
    struct kv_audit_mark sealing;
    struct kv_audit_mark sealed;
    int64_t sealed_ms;
    unsigned n_refusals; /* in this tick */
    uint64_t n_uncounted;
    kv_audit_start_cb on_started;
    void *on_started_arg;
    bool is_closing;
    bool is_last_sealed; /* while closing: no further checkpoint */
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

int64_t kv_audit_now_ms(const struct kv_audit *audit);

/* Ask the keyring with a mark, or any payload (freed); counted until `cb` says that the
 * answer is there. */
int kv_audit_ask(struct kv_audit *audit, uint16_t verb, struct kv_buf *payload,
                 kv_keyring_cb cb, void *arg) KV_MUST_CHECK;
int kv_audit_ask_mark(struct kv_audit *audit, uint16_t verb,
                      const struct kv_audit_mark *mark, kv_keyring_cb cb,
                      void *arg) KV_MUST_CHECK;

/* The log runs (again): what was held goes to the thread. */
void kv_audit_release_held(struct kv_audit *audit);

/* Something has come to its end: when nothing is under way any more, what waited for
 * that goes on. */
void kv_audit_calm(struct kv_audit *audit);

/* Nothing is under way: begin the next segment. */
void kv_audit_rotate(struct kv_audit *audit);

#define KV_AUDIT_ROTATE_AGAIN_MS 10000

#endif
