/*
 * One issuer at a time:
 *
 *   due, or asked for -> metadata -> keys -> whoever waited for this issuer
 *
 * A look each second finds what is due next.
 */
#include "lifecycle/service/oidc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/service/fetch.h"
#include "store/core/str.h"

#define LOOK_MS 1000
#define CA_MAX 262144

struct waiter {
    const struct kv_oidc_issuer *issuer;
    void (*cb)(void *arg);
    void *arg;
    struct waiter *next;
};

struct kv_oidc {
    struct kv_service *service;
    struct kv_fetcher *fetcher;
    uv_timer_t timer;
    bool is_open; /* the timer */
    size_t n;
    struct kv_oidc_issuer issuers[KV_OIDC_ISSUERS_MAX];
    char *ca[KV_OIDC_ISSUERS_MAX];  /* NULL: the system's */
    struct kv_oidc_issuer *current; /* being fetched */
    struct waiter *waiters;
};

static int64_t now_ms(const struct kv_oidc *oidc)
{
    return kv_monotonic_ms(oidc->service->clock);
}

/* --- configuration ------------------------------------------------------------------
 */

static int read_ca(struct kv_oidc *oidc, size_t i, struct kv_err *err)
{
    const char *file = oidc->issuers[i].ca_file;
    if (file[0] == '\0')
        return 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    char *text = calloc(1, CA_MAX + 1);
    ssize_t n = fd >= 0 && text != NULL ? read(fd, text, CA_MAX) : -1;
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    if (n <= 0) {
        free(text);
        return text == NULL
                   ? KV_E_NOMEM
                   : kv_err_errno(err, n < 0 ? error : EINVAL, "auth.bad-issuer", file);
    }
    oidc->ca[i] = text;
    return 0;
}

int kv_oidc_new(struct kv_oidc **out, struct kv_service *service,
                const char *const *texts, size_t n, struct kv_err *err)
{
    struct kv_oidc *oidc = calloc(1, sizeof(*oidc));
    int rc = 0;
    if (oidc == NULL)
        return KV_E_NOMEM;
    oidc->service = service;
    for (; oidc->n < n; oidc->n++) {
        KV_TRY(kv_oidc_read(texts[oidc->n], &oidc->issuers[oidc->n], err));
        KV_TRY(read_ca(oidc, oidc->n, err));
    }
    KV_TRY(kv_fetcher_new(&oidc->fetcher, service->loop));
out:
    if (rc != 0)
        kv_oidc_free(oidc);
    else
        *out = oidc;
    return rc;
}

void kv_oidc_free(struct kv_oidc *oidc)
{
    if (oidc == NULL)
        return;
    for (size_t i = 0; i < KV_OIDC_ISSUERS_MAX; i++) {
        kv_oidc_fini(&oidc->issuers[i]);
        free(oidc->ca[i]);
    }
    kv_fetcher_free(oidc->fetcher);
    free(oidc);
}

/* --- fetching -----------------------------------------------------------------------
 */

/* Call back those who wait for this issuer; NULL: all. They may wait again. */
static void wake(struct kv_oidc *oidc, const struct kv_oidc_issuer *issuer)
{
    struct waiter *waiters = oidc->waiters;
    oidc->waiters = NULL;
    while (waiters != NULL) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        if (issuer != NULL && waiter->issuer != issuer) {
            waiter->next = oidc->waiters;
            oidc->waiters = waiter;
            continue;
        }
        waiter->cb(waiter->arg);
        free(waiter);
    }
}

static void end_fetch(struct kv_oidc *oidc, int rc, const struct kv_err *err)
{
    struct kv_oidc_issuer *issuer = oidc->current;
    struct kv_err local = KV_ERR_INIT;
    oidc->current = NULL;
    if (rc != 0) {
        if (err == NULL) {
            kv_err_set(&local, rc, "fetch.failed", "%s: %s", issuer->issuer,
                       kv_code_text(rc));
            err = &local;
        }
        kv_oidc_failed(issuer, now_ms(oidc));
        kv_log_err(oidc->service->log, KV_LOG_WARN, "auth.issuer-unreachable", err);
    }
    wake(oidc, issuer);
}

static const char *ca_of(const struct kv_oidc *oidc)
{
    return oidc->ca[oidc->current - oidc->issuers];
}

static void on_keys(void *arg, int rc, const struct kv_fetch_reply *reply,
                    const struct kv_err *err)
{
    struct kv_oidc *oidc = arg;
    struct kv_err local = KV_ERR_INIT;
    if (rc == 0) {
        err = &local;
        rc = kv_oidc_take_keys(oidc->current, reply->body, reply->len,
                               reply->cache_control, now_ms(oidc), &local);
    }
    if (rc == 0)
        kv_log(oidc->service->log, KV_LOG_INFO, "auth.issuer-keys",
               KV_S("issuer", oidc->current->name),
               KV_I("keys", oidc->current->keys->n));
    end_fetch(oidc, rc, err);
}

static void on_metadata(void *arg, int rc, const struct kv_fetch_reply *reply,
                        const struct kv_err *err)
{
    struct kv_oidc *oidc = arg;
    struct kv_err local = KV_ERR_INIT;
    if (rc == 0) {
        err = &local;
        rc = kv_oidc_take_metadata(oidc->current, reply->body, reply->len, &local);
    }
    if (rc == 0)
        rc = kv_fetcher_get(oidc->fetcher, oidc->current->jwks_uri, ca_of(oidc),
                            KV_JWKS_BYTES_MAX, on_keys, oidc);
    if (rc != 0)
        end_fetch(oidc, rc, err != NULL && err->code != 0 ? err : NULL);
}

static void fetch(struct kv_oidc *oidc, struct kv_oidc_issuer *issuer)
{
    char url[400];
    oidc->current = issuer;
    kv_oidc_asked(issuer, now_ms(oidc));
    kv_oidc_metadata_url(issuer, url, sizeof(url));
    int rc = kv_fetcher_get(oidc->fetcher, url, ca_of(oidc), KV_OIDC_METADATA_MAX,
                            on_metadata, oidc);
    if (rc != 0)
        end_fetch(oidc, rc, NULL);
}

static bool is_waited_for(const struct kv_oidc *oidc,
                          const struct kv_oidc_issuer *issuer)
{
    for (const struct waiter *at = oidc->waiters; at != NULL; at = at->next)
        if (at->issuer == issuer)
            return true;
    return false;
}

static void look(uv_timer_t *timer)
{
    struct kv_oidc *oidc = timer->data;
    for (size_t i = 0; i < oidc->n && oidc->current == NULL; i++)
        if (is_waited_for(oidc, &oidc->issuers[i]))
            fetch(oidc, &oidc->issuers[i]);
    for (size_t i = 0; i < oidc->n && oidc->current == NULL; i++)
        if (kv_oidc_is_due(&oidc->issuers[i], now_ms(oidc)))
            fetch(oidc, &oidc->issuers[i]);
}

void kv_oidc_start(struct kv_oidc *oidc)
{
    if (oidc->n == 0)
        return;
    (void)uv_timer_init(oidc->service->loop, &oidc->timer);
    oidc->timer.data = oidc;
    oidc->is_open = true;
    (void)uv_timer_start(&oidc->timer, look, 0, LOOK_MS);
}

void kv_oidc_stop(struct kv_oidc *oidc)
{
    if (oidc == NULL)
        return;
    kv_fetcher_stop(oidc->fetcher);
    if (oidc->is_open)
        uv_close((uv_handle_t *)&oidc->timer, NULL);
    oidc->is_open = false;
    wake(oidc, NULL);
}

/* --- for callers --------------------------------------------------------------------
 */

const struct kv_oidc_issuer *kv_oidc_find(const struct kv_oidc *oidc, const char *iss)
{
    for (size_t i = 0; oidc != NULL && i < oidc->n; i++)
        if (strcmp(oidc->issuers[i].issuer, iss) == 0)
            return &oidc->issuers[i];
    return NULL;
}

bool kv_oidc_can_help(const struct kv_oidc *oidc, const struct kv_oidc_issuer *issuer)
{
    return oidc->is_open && (oidc->current == issuer || is_waited_for(oidc, issuer) ||
                             kv_oidc_may_ask(issuer, now_ms(oidc)));
}

int kv_oidc_wait(struct kv_oidc *oidc, const struct kv_oidc_issuer *issuer,
                 void (*cb)(void *arg), void *arg)
{
    struct waiter *waiter = oidc->is_open ? calloc(1, sizeof(*waiter)) : NULL;
    if (waiter == NULL)
        return oidc->is_open ? KV_E_NOMEM : KV_E_STATE;
    *waiter =
        (struct waiter){.issuer = issuer, .cb = cb, .arg = arg, .next = oidc->waiters};
    oidc->waiters = waiter;
    (void)uv_timer_start(&oidc->timer, look, 0, LOOK_MS); /* at once, not now */
    return 0;
}
