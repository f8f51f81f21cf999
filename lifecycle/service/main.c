/*
 * keyvault-service: the HTTP API, who may do what, and the store.
 *
 *   options -> hardening -> store -> link to the keyring -> api.sock
 *     on each connect: boot (once) -> HTTPS -> ready
 *   SIGTERM: stop accepting, drain, wait for running tasks, close link and store
 *
 * The first statements give every allocator a wiping one and keep libcrypto from the
 * system's configuration: an openssl.cnf that loads the vault's own module would make
 * the service call itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "lifecycle/api/call.h"
#include "lifecycle/audit/audit.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/auth/token.h"
#include "lifecycle/auth/uuid.h"
#include "lifecycle/backup/backups.h"
#include "lifecycle/certs/engine.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/audit_task.h"
#include "lifecycle/service/boot.h"
#include "lifecycle/service/grants.h"
#include "lifecycle/service/harden.h"
#include "lifecycle/service/identity.h"
#include "lifecycle/service/key_audit.h"
#include "lifecycle/service/keyring.h"
#include "lifecycle/service/oidc.h"
#include "lifecycle/service/options.h"
#include "lifecycle/service/places.h"
#include "store/core/secret.h"
#include "store/core/str.h"
#include "store/db/sqlite/sqlite.h"

#define DRAIN_MS 5000 /* keyvaultd gives all roles together ten seconds */
#define BEAT_MS 1000
#define CONNECTIONS_MAX 4096
#define PEERS_MIN 4 /* so many can have all connections; one alone cannot */
#define FILES_RESERVED 64
#define RETRY_MS 1000
#define IDLE_POLL_MS 10
#define TLS_CHECK_MS UINT64_C(21600000) /* 6 hours */

struct app {
    struct kv_service_options options;
    struct kv_service service;
    struct kv_err err; /* why the process ends, when it is a failure */
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t beat;
    uv_timer_t retry;
    uv_timer_t tls_check;
    uv_timer_t idle;
    struct kv_http_server *http;
    struct kv_boot_config boot;
    struct kv_api_identity leaf;
    char token[KV_TOKEN_TEXT_LEN + 2];
    char tls_names[512];
    char db_dir[4096]; /* of the store */
    char audit_dir[4096];
    unsigned n_beats;
    bool is_booting;
    bool is_listening;
    bool is_stopping;
};

static void stop(struct app *app);

/* --- ending
 * ---------------------------------------------------------------------------- */

static void fail(struct app *app, const struct kv_err *err)
{
    if (app->err.code == 0)
        app->err = *err;
    kv_log_err(app->service.log, KV_LOG_ERROR, "service.failed", err);
    stop(app);
}

static void on_store_closed(void *arg)
{
    struct app *app = arg;
    app->service.store = NULL;
    uv_close((uv_handle_t *)&app->idle, NULL);
}

static void on_keyring_closed(void *arg)
{
    struct app *app = arg;
    app->service.keyring = NULL;
    app->service.store->ops->close(app->service.store, on_store_closed, app);
}

static void on_audit_closed(void *arg)
{
    struct app *app = arg;
    kv_keyring_close(app->service.keyring, on_keyring_closed, app);
}

/* Nothing may use link or store once they close: wait for the running tasks. What they
 * still want of the keyring (a large key takes seconds) is of no use to anyone. */
static void on_idle(uv_timer_t *timer)
{
    struct app *app = timer->data;
    if (app->service.n_running > 0)
        kv_keyring_abandon(app->service.keyring);
    if (app->service.n_running > 0)
        return;
    (void)uv_timer_stop(timer);
    kv_audit_finish(&app->service, on_audit_closed, app);
}

static void on_http_stopped(void *arg)
{
    struct app *app = arg;
    app->http = NULL;
    app->service.is_stopping = true;
    (void)uv_timer_start(&app->idle, on_idle, 0, IDLE_POLL_MS);
}

static void stop(struct app *app)
{
    if (app->is_stopping)
        return;
    app->is_stopping = true;
    kv_log(app->service.log, KV_LOG_INFO, "service.stopping",
           KV_I("drain_ms", DRAIN_MS));
    uv_close((uv_handle_t *)&app->signals[0], NULL);
    uv_close((uv_handle_t *)&app->signals[1], NULL);
    uv_close((uv_handle_t *)&app->beat, NULL);
    uv_close((uv_handle_t *)&app->retry, NULL);
    uv_close((uv_handle_t *)&app->tls_check, NULL);
    kv_engine_stop(app->service.engine);
    kv_oidc_stop(app->service.oidc);
    kv_backups_stop(app->service.backups);
    kv_http_server_stop(app->http, DRAIN_MS, on_http_stopped, app);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    stop(handle->data);
}

/* --- HTTPS
 * ------------------------------------------------------------------------------- */

static int make_tls_ctx(struct app *app, SSL_CTX **ctx, struct kv_err *err)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    int rc = KV_E_NOMEM;
    if (chain != NULL && sk_X509_push(chain, app->leaf.certificate) > 0)
        rc = kv_http_tls_ctx(ctx, app->leaf.key, chain, err);
    if (rc == 0)
        kv_http_tls_ask_certificate(*ctx);
    sk_X509_free(chain);
    return rc;
}

static int write_ca(struct app *app, struct kv_err *err)
{
    struct kv_buf pem;
    if (app->options.ca_out == NULL)
        return 0;
    kv_buf_init(&pem, 16384);
    int rc = kv_api_pem(app->leaf.ca, &pem);
    if (rc == 0)
        rc = kv_file_replace(app->options.ca_out, pem.data, pem.len, 0644, err);
    kv_buf_free(&pem);
    return rc;
}

static int write_port(struct app *app, struct kv_err *err)
{
    char text[16];
    if (app->options.port_out == NULL)
        return 0;
    int n = snprintf(text, sizeof(text), "%u\n", app->service.port);
    return kv_file_replace(app->options.port_out, text, (size_t)n, 0644, err);
}

static int listen_tls(struct app *app, struct kv_err *err)
{
    SSL_CTX *ctx = NULL;
    int rc = 0;
    if (app->options.host[0] == '\0')
        return 0;
    KV_TRY(make_tls_ctx(app, &ctx, err));
    KV_TRY(write_ca(app, err));
    if (app->is_listening) {
        kv_http_server_set_tls(app->http, ctx);
        goto out;
    }
    KV_TRY(
        kv_http_listen_tls(app->http, app->options.host, app->options.port, ctx, err));
    app->is_listening = true;
    app->service.port = kv_http_server_port(app->http);
    KV_TRY(write_port(app, err));
out:
    SSL_CTX_free(ctx);
    return rc;
}

static void on_tls_checked(void *arg, int rc, const struct kv_err *err)
{
    struct app *app = arg;
    struct kv_err local = KV_ERR_INIT;
    if (rc == 0) {
        rc = app->is_stopping ? 0 : listen_tls(app, &local);
        err = &local;
    }
    kv_api_identity_free(&app->leaf);
    if (rc != 0)
        kv_log_err(app->service.log, KV_LOG_WARN, "service.tls-not-renewed", err);
}

static void on_tls_check(uv_timer_t *timer)
{
    struct app *app = timer->data;
    if (!app->service.is_ready || app->leaf.key != NULL)
        return;
    int rc =
        kv_tls_start(&app->service, app->tls_names, &app->leaf, on_tls_checked, app);
    if (rc != 0)
        kv_log(app->service.log, KV_LOG_WARN, "service.tls-not-renewed",
               KV_S("error", kv_code_name(rc)));
}

/* --- boot
 * --------------------------------------------------------------------------------- */

static void tell_ready(struct app *app)
{
    static const char text[] = "ready\n";
    if (app->options.ready_fd < 0)
        return;
    ssize_t n = write(app->options.ready_fd, text, sizeof(text) - 1);
    (void)n; /* whoever asked may have gone */
    (void)close(app->options.ready_fd);
    app->options.ready_fd = -1;
}

static void boot_failed(struct app *app, const struct kv_err *err)
{
    app->is_booting = false;
    if (app->is_stopping)
        return;
    kv_log_err(app->service.log, KV_LOG_ERROR, "service.boot-failed", err);
    (void)uv_timer_again(&app->retry);
}

static void on_tls_ready(void *arg, int rc, const struct kv_err *err)
{
    struct app *app = arg;
    struct kv_err local = KV_ERR_INIT;
    if (rc != 0) {
        kv_api_identity_free(&app->leaf);
        boot_failed(app, err);
        return;
    }
    app->is_booting = false;
    rc = app->is_stopping ? 0 : listen_tls(app, &local);
    kv_api_identity_free(&app->leaf);
    if (rc != 0) {
        fail(app, &local);
        return;
    }
    app->service.is_ready = true;
    kv_wipe(app->token, sizeof(app->token)); /* its hash is all that is needed now */
    kv_engine_kick(app->service.engine);
    kv_log(app->service.log, KV_LOG_INFO, "service.ready",
           KV_I("vaults", app->service.n_vaults), KV_I("port", app->service.port));
    tell_ready(app);
}

static void on_identity_ready(void *arg, int rc, const struct kv_err *err)
{
    struct app *app = arg;
    if (rc == 0 && app->boot.tls_names == NULL) {
        on_tls_ready(app, 0, NULL);
        return;
    }
    struct kv_err local = KV_ERR_INIT;
    if (rc == 0) {
        rc = kv_tls_start(&app->service, app->tls_names, &app->leaf, on_tls_ready, app);
        if (rc == 0)
            return;
        kv_err_set(&local, rc, "service.no-memory", "out of memory");
        err = &local;
    }
    boot_failed(app, err);
}

static void on_booted(void *arg, int rc, const struct kv_err *err)
{
    struct app *app = arg;
    struct kv_err local = KV_ERR_INIT;
    if (rc == 0) {
        rc = kv_identity_start(&app->service, on_identity_ready, app);
        if (rc == 0)
            return;
        kv_err_set(&local, rc, "service.no-memory", "out of memory");
        err = &local;
    }
    boot_failed(app, err);
}

static void boot(struct app *app)
{
    if (app->service.is_ready || app->is_booting || app->is_stopping ||
        !kv_keyring_is_connected(app->service.keyring))
        return;
    app->is_booting = true;
    if (kv_audit_boot(&app->service, &app->boot, on_booted, app) != 0)
        app->is_booting = false;
}

static void on_connected(void *arg, const struct kv_msg_hello_reply *hello)
{
    struct app *app = arg;
    struct kv_service *service = &app->service;
    if (service->is_ready &&
        memcmp(service->installation, hello->installation, KV_ID_LEN) != 0) {
        struct kv_err err = KV_ERR_INIT;
        kv_err_set(&err, KV_E_INTEGRITY, "service.other-installation",
                   "the keyring now belongs to another installation");
        fail(app, &err);
        return;
    }
    memcpy(service->installation, hello->installation, KV_ID_LEN);
    kv_uuid_format(service->installation, service->tenant);
    boot(app);
    if (service->is_ready)
        kv_engine_kick(service->engine); /* what waits for the keyring */
}

static void on_retry(uv_timer_t *timer)
{
    boot(timer->data);
}

static void on_beat(uv_timer_t *timer)
{
    struct app *app = timer->data;
    /* While nothing can be recorded, grants end with their lease. */
    if (app->service.audit != NULL && !kv_audit_is_running(app->service.audit))
        return;
    for (size_t i = 0; i < app->service.n_vaults; i++)
        kv_service_beat(&app->service, app->service.vaults[i]);
    if (++app->n_beats % KV_KEY_AUDIT_S == 0)
        kv_key_audit_uses(&app->service, NULL, NULL);
}

/* --- start
 * --------------------------------------------------------------------------------- */

static int make_dir(const char *path, struct kv_err *err)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    return kv_err_errno(err, errno, "service.file-failed", path);
}

/* The token of an earlier start; later on Landlock hides the file. */
static void read_token(struct app *app)
{
    const char *path = app->options.token_out;
    int fd = path != NULL ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    ssize_t n = read(fd, app->token, sizeof(app->token) - 1);
    (void)close(fd);
    app->token[n > 0 ? n : 0] = '\0';
    app->token[strcspn(app->token, "\n")] = '\0';
}

static int open_store(struct app *app, const char *db, struct kv_err *err)
{
    const struct kv_store_config config = {.loop = &app->loop,
                                           .dir = db,
                                           .clock = app->service.clock,
                                           .log = app->service.log};
    return kv_sqlite_open(&app->service.store, &config, err);
}

static int open_keyring(struct app *app, struct kv_err *err)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/private/keyring.sock", app->options.run);
    if (n < 0 || (size_t)n >= sizeof(path))
        return kv_err_set(err, KV_E_TOO_BIG, "service.usage", "--run is too long");
    const struct kv_keyring_config config = {
        .loop = &app->loop,
        .path = path,
        .server_uid = app->options.keyring_uid,
        .log = app->service.log,
        .on_question = kv_grants_question,
        .on_connected = on_connected,
        .question_arg = &app->service,
        .arg = app,
    };
    return kv_keyring_open(&app->service.keyring, &config, err);
}

/* Connections get what store, keyring, log and files of the libraries leave over. */
static unsigned connections_max(unsigned n_files)
{
    unsigned n = n_files > 2 * FILES_RESERVED ? n_files - FILES_RESERVED : n_files / 2;
    return n < CONNECTIONS_MAX ? n : CONNECTIONS_MAX;
}

static int open_http(struct app *app, struct kv_err *err)
{
    char path[4096];
    struct kv_http_handler handler;
    struct kv_http_limits limits = KV_HTTP_LIMITS_DEFAULT;
    limits.connections_max = connections_max(kv_harden_files());
    limits.per_peer_max = limits.connections_max / PEERS_MIN;
    kv_call_limits(&limits);
    kv_call_handler(&app->service, &handler);
    int rc =
        kv_http_server_new(&app->http, &app->loop, &handler, &limits, app->service.log);
    if (rc != 0)
        return kv_err_set(err, rc, "service.no-memory", "out of memory");
    int n = snprintf(path, sizeof(path), "%s/api.sock", app->options.run);
    if (n < 0 || (size_t)n >= sizeof(path))
        return kv_err_set(err, KV_E_TOO_BIG, "service.usage", "--run is too long");
    return kv_http_listen_unix(app->http, path, app->options.api_mode, err);
}

static void open_timers(struct app *app)
{
    static const int signums[2] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        (void)uv_signal_init(&app->loop, &app->signals[i]);
        app->signals[i].data = app;
        (void)uv_signal_start(&app->signals[i], on_signal, signums[i]);
    }
    uv_timer_t *timers[] = {&app->beat, &app->retry, &app->tls_check, &app->idle};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        (void)uv_timer_init(&app->loop, timers[i]);
        timers[i]->data = app;
    }
    (void)uv_timer_start(&app->beat, on_beat, BEAT_MS, BEAT_MS);
    (void)uv_timer_start(&app->retry, on_retry, RETRY_MS, RETRY_MS);
    (void)uv_timer_start(&app->tls_check, on_tls_check, TLS_CHECK_MS, TLS_CHECK_MS);
}

static int open_service(struct app *app, struct kv_err *err)
{
    struct kv_service *service = &app->service;
    uint64_t seed = 0;
    int rc = 0;
    service->loop = &app->loop;
    service->rand = kv_rand_system();
    service->db_dir = app->db_dir;
    service->is_dev = app->options.is_dev;
    service->admin_uid = app->options.admin_uid;
    KV_TRY(kv_str_copy(service->domain, sizeof(service->domain), app->options.domain));
    KV_TRY(kv_api_tls_names(service->domain, app->options.host, app->tls_names,
                            sizeof(app->tls_names)));
    app->boot.token_path = app->options.token_out;
    app->boot.token = app->token;
    app->boot.tls_names = app->options.host[0] != '\0' ? app->tls_names : NULL;
    KV_TRY(kv_rand_fill(service->rand, &seed, sizeof(seed)));
    KV_TRY(kv_quota_new(&service->quota, &app->options.quota, KV_QUOTA_BUCKETS_MAX,
                        service->clock, seed));
    KV_TRY(kv_assignments_new(&service->assignments));
    KV_TRY(kv_principals_new(&service->principals, &app->loop, service->clock));
    KV_TRY(kv_identity_new(&service->identity));
    KV_TRY(kv_engine_new(&service->engine, service));
    KV_TRY(kv_backups_new(&service->backups, service));
out:
    if (rc != 0)
        kv_err_set(err, rc, "service.no-memory", "the service cannot start: %s",
                   kv_code_text(rc));
    return rc;
}

static int start(struct app *app, struct kv_err *err)
{
    char *db = app->db_dir;
    int rc = 0;
    int n = snprintf(db, sizeof(app->db_dir), "%s/db", app->options.dir);
    if (n < 0 || (size_t)n >= sizeof(app->db_dir))
        return kv_err_set(err, KV_E_TOO_BIG, "service.usage", "--dir is too long");
    KV_TRY(make_dir(db, err));
    KV_TRY(kv_audit_place(&app->options, app->audit_dir, sizeof(app->audit_dir), err));
    read_token(app);
    app->service.loop = &app->loop;
    KV_TRY(kv_oidc_new(&app->service.oidc, &app->service, app->options.oidc_issuers,
                       app->options.n_oidc_issuers, err));
    KV_TRY(kv_harden_process(err));
    KV_TRY(
        kv_places_restrict(&app->options, db, app->audit_dir, app->service.log, err));
    if (uv_loop_init(&app->loop) != 0)
        return kv_err_set(err, KV_E_NOMEM, "service.no-memory", "out of memory");
    KV_TRY(open_service(app, err));
    KV_TRY(open_store(app, db, err));
    KV_TRY(open_keyring(app, err));
    KV_TRY(kv_audit_setup(&app->service, &app->options, app->audit_dir, err));
    KV_TRY(open_http(app, err));
    open_timers(app);
    kv_oidc_start(app->service.oidc);
out:
    return rc;
}

static int report(const struct kv_err *err, int status)
{
    (void)fprintf(stderr, "keyvault-service: %s: %s\n", err->id, err->message);
    if (err->hint[0] != '\0')
        (void)fprintf(stderr, "hint: %s\n", err->hint);
    return status;
}

static int run(struct app *app)
{
    struct kv_err err = KV_ERR_INIT;
    if (kv_log_open(&app->service.log, app->options.log_format, app->options.log_level,
                    STDERR_FILENO, "keyvault-service", app->service.clock) != 0)
        return 1;
    if (start(app, &err) != 0)
        return report(&err, 1); /* the process ends: the kernel closes what is open */
    (void)uv_run(&app->loop, UV_RUN_DEFAULT);
    KV_ASSERT(uv_loop_close(&app->loop) == 0);
    kv_engine_free(app->service.engine);
    kv_backups_free(app->service.backups);
    kv_service_vaults_free(&app->service);
    kv_principals_free(app->service.principals);
    kv_quota_free(app->service.quota);
    kv_identity_free(app->service.identity);
    kv_oidc_free(app->service.oidc);
    kv_assignments_free(app->service.assignments);
    kv_wipe(app->token, sizeof(app->token));
    kv_log(app->service.log, KV_LOG_INFO, "service.stopped",
           KV_I("code", app->err.code));
    kv_log_close(app->service.log);
    return app->err.code != 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct app app;
    struct kv_err err = KV_ERR_INIT;
    json_set_alloc_funcs(kv_wiping_malloc, kv_wiping_free);
    if (kv_wiping_install() != 0 ||
        uv_replace_allocator(kv_wiping_malloc, kv_wiping_realloc, kv_wiping_calloc,
                             kv_wiping_free) != 0 ||
        OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1) {
        (void)fputs("keyvault-service: libraries cannot be set up\n", stderr);
        return 1;
    }
    (void)umask(077);
    (void)signal(SIGPIPE, SIG_IGN);
    if (kv_service_options_read(&app.options, argc, argv, &err) != 0)
        return report(&err, 2);
    if (app.options.is_help)
        return fputs(kv_service_usage, stdout) < 0 ? 1 : 0;
    if (app.options.is_version)
        return puts("keyvault-service " KV_VERSION) < 0 ? 1 : 0;
    app.service.clock = kv_clock_system();
    return run(&app);
}
