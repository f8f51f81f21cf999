/*
 * The wait context owns the connection: it is stored there as the custom value of its
 * own descriptor, found again by key at the next request of the same TLS connection,
 * and closed by the cleanup callback. A connection that breaks stays announced until
 * then, because the host may be polling the descriptor at this moment.
 */
#include "provider/async.h"

#include <openssl/async.h>
#include <openssl/crypto.h>
#include <poll.h>

#include "provider/pool.h"
#include "store/core/clock.h"

static void on_cleanup(ASYNC_WAIT_CTX *ctx, const void *key, OSSL_ASYNC_FD fd,
                       void *custom)
{
    struct kv_conn *conn = custom;
    (void)ctx;
    (void)key;
    (void)fd; /* closed with the connection */
    kv_conn_close(conn);
    OPENSSL_free(conn);
}

static ASYNC_WAIT_CTX *current_wait_ctx(void)
{
    ASYNC_JOB *job = ASYNC_get_current_job();
    return job == NULL ? NULL : ASYNC_get_wait_ctx(job);
}

struct kv_conn *kv_async_conn(const void *owner)
{
    OSSL_ASYNC_FD fd = -1;
    void *custom = NULL;
    ASYNC_WAIT_CTX *ctx = current_wait_ctx();
    if (ctx == NULL)
        return NULL;
    if (ASYNC_WAIT_CTX_get_fd(ctx, owner, &fd, &custom) == 1) {
        struct kv_conn *known = custom;
        bool is_good = !known->is_broken && kv_conn_is_usable(known) &&
                       known->generation == kv_pool_generation();
        return is_good ? known : NULL;
    }
    struct kv_conn *conn = OPENSSL_zalloc(sizeof(*conn));
    if (conn == NULL)
        return NULL;
    kv_conn_init(conn);
    return conn;
}

int kv_async_announce(const void *owner, struct kv_conn *conn)
{
    ASYNC_WAIT_CTX *ctx = current_wait_ctx();
    if (ctx == NULL ||
        ASYNC_WAIT_CTX_set_wait_fd(ctx, owner, conn->fd, conn, on_cleanup) != 1)
        return KV_E_NOMEM;
    conn->generation = kv_pool_generation();
    conn->on_wait = kv_async_wait;
    return 0;
}

void kv_async_settle(struct kv_conn *conn)
{
    if (conn->on_wait != NULL)
        return; /* the wait context has it */
    kv_conn_close(conn);
    OPENSSL_free(conn);
}

int kv_async_wait(struct kv_conn *conn, int64_t deadline_ms)
{
    struct pollfd pfd = {.fd = conn->fd, .events = POLLIN};
    do {
        if (ASYNC_get_current_job() == NULL || ASYNC_pause_job() != 1)
            return 0; /* wait in the ordinary way */
        /* Paused there and resumed in a child: the answer belongs to the parent. */
        if (conn->generation != kv_pool_generation()) {
            conn->is_broken = true;
            return KV_E_UNAVAILABLE;
        }
    } while (poll(&pfd, 1, 0) == 0 && kv_monotonic_ms(kv_clock_system()) < deadline_ms);
    return 0;
}
