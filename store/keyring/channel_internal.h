/*
 * The inside of the channel: loops, connections and caps; shared by channel*.c only.
 */
#ifndef KV_STORE_KEYRING_CHANNEL_INTERNAL_H
#define KV_STORE_KEYRING_CHANNEL_INTERNAL_H

#include <stdatomic.h>

#include "store/keyring/channel.h"

#define KV_CONN_STALL_MS 10000 /* half a frame, or replies not read */
#define KV_CONN_WORKS_MAX 64   /* frames of one connection that wait */
#define KV_LOOP_OUT_MAX ((size_t)1024 * 1024)

/* What is shared out among uids: connections, and frames that wait elsewhere. Of each,
 * one uid has at most its share and never more than is left for all others together,
 * so that a newcomer finds room whatever the others do. Any thread. */
enum kv_cap { KV_CAP_CONNS, KV_CAP_WORKS, KV_CAPS_N };
struct kv_caps {
    pthread_mutex_t lock;
    unsigned max[KV_CAPS_N]; /* in all */
    unsigned n[KV_CAPS_N];
    unsigned n_uids;
    struct {
        uid_t uid;
        unsigned n[KV_CAPS_N];
    } by_uid[KV_CHANNEL_CONNS_MAX + KV_CHANNEL_WORKS_MAX];
};

/* Connections up to KV_CHANNEL_CONNS_MAX, or what `n_files` open files leave room for
 * (0: no such limit). */
void kv_caps_init(struct kv_caps *caps, uint64_t n_files);
void kv_caps_fini(struct kv_caps *caps);
bool kv_caps_enter(struct kv_caps *caps, enum kv_cap cap, uid_t uid) KV_MUST_CHECK;
void kv_caps_leave(struct kv_caps *caps, enum kv_cap cap, uid_t uid);

/* One thread with its loop. */
struct kv_loop {
    struct kv_channel *channel;
    uv_loop_t loop;
    struct kv_queue queue;
    uv_timer_t timer; /* stalls; runs while there are connections */
    pthread_t thread;
    unsigned slot;
    int cpu; /* pinned to it, -1: not pinned */
    bool is_stopping;
    struct kv_conn *conns;
    unsigned n_conns;
    uint8_t in[KV_FRAME_MAX]; /* what was read last: frames are served from here */
    struct kv_buf out;        /* replies of this turn, secret */
};

/* One connection; lives on its loop's thread. */
struct kv_conn {
    uv_poll_t poll;
    struct kv_loop *loop;
    struct kv_conn *prev;
    struct kv_conn *next;
    int fd;
    struct kv_peer peer;
    unsigned n_works;      /* frames that wait elsewhere; keeps the memory */
    bool is_closed;        /* the descriptor is gone */
    bool is_freed;         /* the handle's close callback has run */
    bool closes_when_sent; /* after a malformed frame */
    int events;            /* what `poll` waits for */
    uint64_t stall_ms;     /* since when a frame is half read or a reply unsent */
    struct kv_buf in;      /* a frame not whole yet, secret */
    struct kv_buf unsent;  /* what the socket did not take, secret */
    size_t n_noted;        /* of `unsent`, in the channel's sum */
};

struct kv_guest;

struct kv_channel {
    struct kv_channel_config config;
    struct kv_caps caps;
    unsigned n_loops;
    struct kv_loop *loops;
    int listen_fds[2];
    uv_poll_t listeners[2];
    uv_timer_t timer; /* HELLO deadlines, accept again after EMFILE */
    struct kv_guest *guests;
    atomic_bool is_shut; /* no frame waits elsewhere any more */
    int64_t warned_ms;   /* at most one cap warning a minute */
    pthread_barrier_t started;
    atomic_uint n_works;    /* of all connections */
    atomic_size_t n_unsent; /* bytes, the same */
};

/* Start the thread of `loop` (slot and cpu are set). */
int kv_loop_start(struct kv_loop *loop) KV_MUST_CHECK;

/* Take over a connection: KV_WORK_CONN, whose bytes begin with HELLO. */
void kv_conn_start(struct kv_loop *loop, struct kv_work *work);

/* A frame of this connection came back from the service or the pool. */
void kv_conn_resume(struct kv_work *work);

void kv_conn_close(struct kv_conn *conn);

/* Close if a frame or a reply has stalled. */
void kv_conn_check_stall(struct kv_conn *conn, uint64_t now_ms);

#endif
