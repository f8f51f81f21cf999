/*
 * What travels between the threads of the key process: a frame that waits for an
 * answer of the service or for the pool, and connections on their way to their loop.
 *
 * One thread owns a work at a time; pushing it into a queue gives it away. A queue
 * belongs to one libuv loop and calls its owner there; the pool has threads of lower
 * priority for slow keys, key generation and everything the service asks of keys. It
 * serves uids in turn, clients and service in turn, and keeps a thread free of what
 * takes seconds.
 */
#ifndef KV_STORE_KEYRING_WORK_H
#define KV_STORE_KEYRING_WORK_H

#include <pthread.h>
#include <uv.h>

#include "store/keyring/serve.h"

enum kv_work_kind {
    KV_WORK_CONN, /* acceptor -> loop: a connection whose HELLO is in `bytes` */
    KV_WORK_ASK,  /* loop -> main -> loop */
    KV_WORK_POOL, /* loop -> pool -> loop */
    KV_WORK_ROLE, /* main -> pool -> main */
    KV_WORK_STOP, /* the loop ends when its connections are gone */
};

struct kv_queue;

struct kv_work {
    struct kv_work *next;
    enum kv_work_kind kind;
    struct kv_queue *home; /* where the finished work goes */
    void *conn;            /* of the home thread */
    int fd;                /* KV_WORK_CONN */
    struct kv_peer peer;
    struct kv_frame frame; /* payload borrows from `bytes` */
    struct kv_buf bytes;   /* secret */
    struct kv_ask ask;
    unsigned n_asks;
    int64_t begun_us;  /* when it was made; 0: not told */
    uint64_t round;    /* of the pool: one work of each uid */
    int rc;            /* of kv_serve, kv_serve_answer or kv_role_serve */
    struct kv_buf out; /* payload of the reply, secret */
    struct kv_err err;
};

/* Make a work; `frame` (may be NULL) is copied. NULL when memory is short. */
struct kv_work *kv_work_new(enum kv_work_kind kind, const struct kv_frame *frame,
                            size_t out_max);
void kv_work_free(struct kv_work *work);

typedef void (*kv_queue_fn)(void *arg, struct kv_work *work);

struct kv_queue {
    /* private */
    pthread_mutex_t lock;
    struct kv_work *head;
    struct kv_work *tail;
    uv_async_t async;
    kv_queue_fn on_work;
    void *arg;
};

/* Bind a queue to the loop of the calling thread. */
int kv_queue_init(struct kv_queue *queue, uv_loop_t *loop, kv_queue_fn on_work,
                  void *arg) KV_MUST_CHECK;

/* Give a work to the queue's owner; any thread, until kv_queue_close. */
void kv_queue_push(struct kv_queue *queue, struct kv_work *work);

/* Close the wake-up handle (the loop must run once more) and free what is left. */
void kv_queue_close(struct kv_queue *queue);

struct kv_pool;

/* Start `n_threads` with the key slots first_slot, first_slot + 1, ... */
int kv_pool_start(struct kv_pool **out, struct kv_ring *ring, unsigned n_threads,
                  unsigned first_slot) KV_MUST_CHECK;

/* Give a work to the pool, KV_WORK_POOL (by the uid of its peer) or KV_WORK_ROLE; false
 * when too many of its sort are waiting already. */
bool kv_pool_push(struct kv_pool *pool, struct kv_work *work) KV_MUST_CHECK;

/* End the threads; what still waits goes home with KV_E_UNAVAILABLE. */
void kv_pool_stop(struct kv_pool *pool);

#endif
