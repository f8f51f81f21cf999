/*
 * libcurl in a thread of the pool. The thread sees only what is in its job; a flag asks
 * it to give up.
 */
#include "lifecycle/service/fetch.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

struct kv_fetcher {
    uv_loop_t *loop;
    bool is_running;
    atomic_bool is_stopped;
    /* the job at hand */
    uv_work_t work;
    char url[600];
    const char *ca;
    struct kv_buf body;
    char cache_control[256];
    struct kv_err err;
    kv_fetch_cb cb;
    void *arg;
};

int kv_fetcher_new(struct kv_fetcher **out, uv_loop_t *loop)
{
    struct kv_fetcher *fetcher = calloc(1, sizeof(*fetcher));
    if (fetcher == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(fetcher);
        return KV_E_NOMEM;
    }
    fetcher->loop = loop;
    *out = fetcher;
    return 0;
}

void kv_fetcher_stop(struct kv_fetcher *fetcher)
{
    if (fetcher != NULL)
        atomic_store(&fetcher->is_stopped, true);
}

void kv_fetcher_free(struct kv_fetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    kv_buf_free(&fetcher->body);
    free(fetcher);
    curl_global_cleanup();
}

/* --- in the thread ------------------------------------------------------------------
 */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct kv_fetcher *fetcher = arg;
    return kv_buf_append(&fetcher->body, data, size * n) == 0 ? n : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    static const char name[] = "cache-control:";
    struct kv_fetcher *fetcher = arg;
    if (size * n > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0)
        kv_str_cut(fetcher->cache_control, sizeof(fetcher->cache_control),
                   data + sizeof(name) - 1, size * n - sizeof(name) + 1);
    return size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c,
                       curl_off_t d)
{
    struct kv_fetcher *fetcher = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load(&fetcher->is_stopped);
}

static bool set_up(struct kv_fetcher *fetcher, CURL *curl)
{
    struct curl_blob blob = {.flags = CURL_BLOB_NOCOPY};
    bool is_good =
        curl_easy_setopt(curl, CURLOPT_URL, fetcher->url) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) ==
            CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)KV_FETCH_TIMEOUT_MS) ==
            CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "keyvault/" KV_VERSION) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, fetcher) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, fetcher) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, fetcher) == CURLE_OK;
    if (!is_good || fetcher->ca == NULL)
        return is_good;
    blob.data = (void *)(uintptr_t)fetcher->ca;
    blob.len = strlen(fetcher->ca);
    /* These roots alone: libcurl would go on to look into the system's directory. */
    return curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
}

static void on_work(uv_work_t *work)
{
    struct kv_fetcher *fetcher = work->data;
    CURL *curl = curl_easy_init();
    long status = 0;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl != NULL && set_up(fetcher, curl))
        code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        code = curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        kv_err_set(&fetcher->err, KV_E_UNAVAILABLE, "fetch.failed", "%s: %s",
                   fetcher->url, curl_easy_strerror(code));
    else if (status != 200)
        kv_err_set(&fetcher->err, KV_E_UNAVAILABLE, "fetch.failed",
                   "%s: the reply is %ld", fetcher->url, status);
}

/* --- on the loop --------------------------------------------------------------------
 */

static void on_done(uv_work_t *work, int status)
{
    struct kv_fetcher *fetcher = work->data;
    (void)status; /* never cancelled */
    fetcher->is_running = false;
    struct kv_buf body = fetcher->body;
    const struct kv_err err = fetcher->err;
    const struct kv_fetch_reply reply = {
        .body = body.data, .len = body.len, .cache_control = fetcher->cache_control};
    memset(&fetcher->body, 0, sizeof(fetcher->body));
    fetcher->cb(fetcher->arg, err.code, err.code == 0 ? &reply : NULL,
                err.code == 0 ? NULL : &err);
    kv_buf_free(&body);
}

int kv_fetcher_get(struct kv_fetcher *fetcher, const char *url, const char *ca,
                   size_t max_bytes, kv_fetch_cb cb, void *arg)
{
    if (atomic_load(&fetcher->is_stopped))
        return KV_E_STATE;
    if (fetcher->is_running)
        return KV_E_BUSY;
    int rc = kv_str_copy(fetcher->url, sizeof(fetcher->url), url);
    if (rc != 0)
        return rc;
    fetcher->ca = ca;
    fetcher->cb = cb;
    fetcher->arg = arg;
    fetcher->cache_control[0] = '\0';
    fetcher->err = KV_ERR_INIT;
    fetcher->work.data = fetcher;
    kv_buf_init(&fetcher->body, max_bytes);
    if (uv_queue_work(fetcher->loop, &fetcher->work, on_work, on_done) != 0)
        return KV_E_NOMEM;
    fetcher->is_running = true;
    return 0;
}
