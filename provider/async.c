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
#include <sys/timerfd.h>
#include <unistd.h>

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

static void on_timer_cleanup(ASYNC_WAIT_CTX *ctx, const void *key, OSSL_ASYNC_FD fd,
                             void *custom)
{
    struct itimerspec spec;
    (void)ctx;
    (void)key;
    (void)custom;
    if (timerfd_gettime(fd, &spec) == 0) /* the host may have closed and reused it */
        (void)close(fd);
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
        bool is_good = !known->is_broken && !known->is_busy &&
                       known->generation == kv_pool_generation() &&
                       kv_conn_is_usable(known);
        known->is_busy = known->is_busy || is_good;
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
    conn->is_busy = true;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd >= 0 && ASYNC_WAIT_CTX_set_wait_fd(ctx, &conn->timer_fd, fd, NULL,
                                              on_timer_cleanup) == 1)
        conn->timer_fd = fd;
    else if (fd >= 0)
        (void)close(fd); /* the host's own limits end the job then */
    return 0;
}

void kv_async_settle(struct kv_conn *conn)
{
    if (conn->on_wait != NULL) {
        conn->is_busy = false; /* the wait context has it */
        return;
    }
    kv_conn_close(conn);
    OPENSSL_free(conn);
}

/* 0 ms: disarm. */
static void set_timer(const struct kv_conn *conn, int64_t timeout_ms)
{
    const struct itimerspec spec = {
        .it_value = {.tv_sec = timeout_ms / 1000,
                     .tv_nsec = timeout_ms % 1000 * 1000000}};
    if (conn->timer_fd >= 0)
        (void)timerfd_settime(conn->timer_fd, 0, &spec, NULL); /* nothing to do */
}

static int pause_until_readable(struct kv_conn *conn, int64_t deadline_ms)
{
    struct pollfd pfd = {.fd = conn->fd, .events = POLLIN};
    for (;;) {
        const int64_t begin_ms = kv_monotonic_ms(kv_clock_system());
        int64_t left_ms = deadline_ms - begin_ms;
        if (left_ms <= 0)
            return poll(&pfd, 1, 0) > 0 ? 0 : KV_E_TIMEOUT;
        set_timer(conn, left_ms);
        bool has_paused = ASYNC_get_current_job() != NULL && ASYNC_pause_job() == 1;
        /* Paused there and resumed in a child: the answer belongs to the parent. */
        if (conn->generation != kv_pool_generation()) {
            conn->is_broken = true;
            return KV_E_UNAVAILABLE;
        }
        int timeout_ms = left_ms > 60000 ? 60000 : (int)left_ms;
        if (has_paused) /* a host that comes back at once must not turn in circles */
            timeout_ms = kv_monotonic_ms(kv_clock_system()) - begin_ms < 1 ? 1 : 0;
        if (poll(&pfd, 1, timeout_ms) > 0)
            return 0;
    }
}

int kv_async_wait(struct kv_conn *conn, int64_t deadline_ms)
{
    int rc = pause_until_readable(conn, deadline_ms);
    if (!conn->is_broken)
        set_timer(conn, 0);
    return rc;
}
