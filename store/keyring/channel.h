/*
 * keys.sock: the front door of the key process.
 *
 * Binds and listens (a path of mode 0666 and, if it can be had, its abstract twin for
 * clients in a chroot), takes each client's
 * uid from the kernel, reads HELLO, and hands the connection to the loop thread of
 * the client's CPU. Caps: connections and waiting frames, in all and per uid. Main
 * thread only.
 */
#ifndef KV_STORE_KEYRING_CHANNEL_H
#define KV_STORE_KEYRING_CHANNEL_H

#include <uv.h>

#include "store/core/log.h"
#include "store/keyring/work.h"

#define KV_CHANNEL_CONNS_MAX 4096
#define KV_CHANNEL_CONNS_PER_UID 1024
#define KV_CHANNEL_WORKS_MAX 4096 /* frames that wait for the service or the pool */
#define KV_CHANNEL_WORKS_PER_UID 1024
#define KV_CHANNEL_THREADS_MAX 62 /* the pool has the other key slots */

struct kv_channel;

struct kv_channel_config {
    uv_loop_t *loop; /* of the main thread: accepts and reads HELLO */
    struct kv_ring *ring;
    struct kv_pool *pool;
    struct kv_queue *asks; /* questions go there, the works come back */
    struct kv_log *log;
    const char *path;   /* of keys.sock */
    unsigned n_threads; /* 0: one for each CPU that this process may use */
};

/* How many loop threads `n_threads` of the configuration means on this machine. */
unsigned kv_channel_n_loops(unsigned n_threads);

/* Bind, listen and start the threads. Clients may connect when it returns. */
int kv_channel_start(struct kv_channel **out, const struct kv_channel_config *config,
                     struct kv_err *err) KV_MUST_CHECK;

/* Stop accepting, let no more frames wait. The main loop must run on until
 * kv_channel_n_works is 0: each waiting work comes back to its loop. */
void kv_channel_shut(struct kv_channel *channel);
unsigned kv_channel_n_works(const struct kv_channel *channel);

/* Then: end the threads and free everything. The main loop has closed the handles. */
void kv_channel_stop(struct kv_channel *channel);

/* Bind a Unix stream socket and listen. `name` is a path (an old socket there is
 * replaced) or, with a leading '@', an abstract name. -1 and channel.bind-failed on
 * failure. The descriptor does not block. */
int kv_listen_unix(const char *name, mode_t mode, struct kv_err *err) KV_MUST_CHECK;

/* Accept one connection with its credentials; -1 with errno. */
int kv_accept_unix(int listen_fd, struct kv_peer *peer) KV_MUST_CHECK;

#endif
