/*
 * Small documents from HTTPS servers, one at a time, on libuv's pool.
 *
 * https only (TLS 1.2 and later), no redirects, a ceiling for bytes and for time. What
 * is fetched is named by the configuration or by who the configuration trusts, never by
 * a caller. Loop thread.
 */
#ifndef KV_LIFECYCLE_SERVICE_FETCH_H
#define KV_LIFECYCLE_SERVICE_FETCH_H

#include <uv.h>

#include "store/core/buf.h"
#include "store/core/err.h"

#define KV_FETCH_TIMEOUT_MS 10000

struct kv_fetcher;

struct kv_fetch_reply {
    const uint8_t *body; /* borrowed until the callback returns */
    size_t len;
    const char *cache_control; /* "" when there is none */
};

/* `err` explains a failure (fetch.failed names the URL); NULL on success. */
typedef void (*kv_fetch_cb)(void *arg, int rc, const struct kv_fetch_reply *reply,
                            const struct kv_err *err);

int kv_fetcher_new(struct kv_fetcher **out, uv_loop_t *loop) KV_MUST_CHECK;

/* What runs ends soon, with its callback; nothing new begins. */
void kv_fetcher_stop(struct kv_fetcher *fetcher);

/* After the loop has ended. */
void kv_fetcher_free(struct kv_fetcher *fetcher);

/* GET `url`; a reply other than 200 is a failure. `ca` is PEM of the roots to trust
 * (borrowed until the callback; NULL: the system's). KV_E_BUSY while another one runs,
 * KV_E_STATE when stopped: then no callback comes. */
int kv_fetcher_get(struct kv_fetcher *fetcher, const char *url, const char *ca,
                   size_t max_bytes, kv_fetch_cb cb, void *arg) KV_MUST_CHECK;

#endif
