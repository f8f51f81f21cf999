/*
 * The service without its processes: see desk.h.
 */
#include "tests/support/desk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lifecycle/api/call.h"
#include "lifecycle/auth/principal.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/identity.h"
#include "lifecycle/service/keyring.h"
#include "store/db/memory.h"
#include "tests/support/fixture.h"

#define WAIT_MS 10000
#define TURNS_PER_MS 20

/* What the desk does for itself is no failure of the service. */
static void own(bool is_own)
{
    if (fake_link_own != NULL)
        fake_link_own(is_own);
}

/* --- the desk ----------------------------------------------------------------------
 */

static void open_http(struct desk *desk)
{
    struct kv_http_handler handler;
    struct kv_http_limits limits = KV_HTTP_LIMITS_DEFAULT;
    struct kv_err err = KV_ERR_INIT;
    const char *tmp = getenv("TMPDIR");
    if (tmp == NULL || strlen(tmp) > 30)
        tmp = "/tmp";
    (void)snprintf(desk->dir, sizeof(desk->dir), "%s/kv-desk-XXXXXX", tmp);
    cr_assert_not_null(mkdtemp(desk->dir));
    (void)snprintf(desk->path, sizeof(desk->path), "%s/api.sock", desk->dir);
    kv_call_limits(&limits);
    kv_call_handler(&desk->service, &handler);
    cr_assert_eq(kv_http_server_new(&desk->http, &desk->loop, &handler, &limits, NULL),
                 0);
    cr_assert_eq(kv_http_listen_unix(desk->http, desk->path, 0600, &err), 0, "%s",
                 err.message);
}

void desk_init(struct desk *desk)
{
    struct kv_service *service = &desk->service;
    struct kv_err err = KV_ERR_INIT;
    memset(desk, 0, sizeof(*desk));
    kv_room_init(&desk->room);
    cr_assert_eq(uv_loop_init(&desk->loop), 0);
    fake_link_open(&desk->link, &desk->loop, &desk->room);
    service->loop = &desk->loop;
    service->keyring = &desk->link;
    service->clock = &desk->room.clock.clock;
    service->rand = kv_rand_system();
    service->admin_uid = geteuid();
    service->port = 8443;
    service->is_ready = true;
    (void)snprintf(service->domain, sizeof(service->domain), "vault.localhost");
    (void)snprintf(service->tenant, sizeof(service->tenant),
                   "00000000-0000-0000-0000-000000000001");
    service->system.term = KV_ROOM_TERM;
    struct kv_vault vault = {.name = "default",
                             .is_default = true,
                             .retention_days = KV_RETENTION_DAYS_MAX,
                             .term = KV_ROOM_TERM,
                             .epoch = 1};
    memcpy(vault.id, kv_room_vault, KV_ID_LEN);
    memcpy(vault.tenant, service->tenant, sizeof(vault.tenant));
    desk->vault = kv_service_vault_add(service, &vault);
    cr_assert_not_null(desk->vault);
    const struct kv_store_config config = {.loop = &desk->loop,
                                           .clock = service->clock};
    cr_assert_eq(kv_memory_open(&service->store, &config, &err), 0);
    cr_assert_eq(kv_assignments_new(&service->assignments), 0);
    cr_assert_eq(kv_principals_new(&service->principals, &desk->loop, service->clock),
                 0);
    cr_assert_eq(kv_identity_new(&service->identity), 0);
    open_http(desk);
}

static void on_true(void *arg)
{
    *(bool *)arg = true;
}

static void run_until(struct desk *desk, const bool *is_done)
{
    for (int i = 0; !*is_done; i++) {
        cr_assert_lt(i, WAIT_MS, "the loop does not come to an end");
        if (uv_run(&desk->loop, UV_RUN_NOWAIT) != 0 && !*is_done)
            (void)poll(NULL, 0, 1);
    }
}

void desk_fini(struct desk *desk)
{
    bool is_stopped = false;
    bool is_closed = false;
    fake_link_release(&desk->link);
    kv_http_server_stop(desk->http, 1000, on_true, &is_stopped);
    run_until(desk, &is_stopped);
    desk->service.is_stopping = true;
    desk_settle(desk);
    cr_assert_eq(desk->service.n_running, 0, "an operation never ended");
    desk->service.store->ops->close(desk->service.store, on_true, &is_closed);
    run_until(desk, &is_closed);
    fake_link_close(&desk->link);
    desk_settle(desk);
    cr_assert_eq(uv_loop_close(&desk->loop), 0);
    kv_service_vaults_free(&desk->service);
    kv_principals_free(desk->service.principals);
    kv_assignments_free(desk->service.assignments);
    kv_identity_free(desk->service.identity);
    kv_room_fini(&desk->room);
    (void)unlink(desk->path);
    cr_assert_eq(rmdir(desk->dir), 0);
}

void desk_wait(struct desk *desk, const unsigned *counter, unsigned at_least)
{
    for (int i = 0; *counter < at_least; i++) {
        cr_assert_lt(i, WAIT_MS, "it does not come");
        (void)uv_run(&desk->loop, UV_RUN_NOWAIT);
        if (*counter < at_least && i > TURNS_PER_MS)
            (void)poll(NULL, 0, 1);
    }
}

void desk_settle(struct desk *desk)
{
    for (int quiet = 0; quiet < 5;) {
        bool is_busy = desk->service.n_running > 0 && !desk->link.is_held;
        quiet = is_busy ? 0 : quiet + 1;
        (void)uv_run(&desk->loop, UV_RUN_NOWAIT);
        (void)poll(NULL, 0, 1);
    }
}

/* --- clients -----------------------------------------------------------------------
 */

int desk_connect(struct desk *desk)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    memcpy(address.sun_path, desk->path, strlen(desk->path) + 1);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void desk_send_raw(struct desk *desk, int client, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = send(client, text, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            cr_assert_eq(errno, EAGAIN);
            (void)uv_run(&desk->loop, UV_RUN_NOWAIT);
            continue;
        }
        text += n;
        left -= (size_t)n;
    }
}

void desk_send(struct desk *desk, int client, const char *method, const char *path,
               const char *body)
{
    size_t body_len = body != NULL ? strlen(body) : 0;
    size_t size = body_len + strlen(path) + 512;
    own(true);
    char *text = malloc(size);
    own(false);
    cr_assert_not_null(text);
    (void)snprintf(text, size,
                   "%s %s%sapi-version=7.5 HTTP/1.1\r\n"
                   "Host: default.vault.localhost\r\n"
                   "%sContent-Length: %zu\r\n\r\n%s",
                   method, path, strchr(path, '?') != NULL ? "&" : "?",
                   body != NULL ? "Content-Type: application/json\r\n" : "", body_len,
                   body != NULL ? body : "");
    desk_send_raw(desk, client, text);
    free(text);
}

static size_t content_length(const char *head)
{
    const char *field = strstr(head, "Content-Length: ");
    return field != NULL ? strtoul(field + strlen("Content-Length: "), NULL, 10) : 0;
}

/* Whether `in` begins with a whole reply. */
static bool is_whole(const struct kv_buf *in, size_t *head_len, size_t *body_len)
{
    const char *end = in->len > 0 ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;
    if (end == NULL)
        return false;
    *head_len = (size_t)(end - (const char *)in->data) + 4;
    char *head = strndup((const char *)in->data, *head_len);
    *body_len = content_length(head);
    free(head);
    return in->len >= *head_len + *body_len;
}

/* Take what has come; false at the end of the stream. */
static bool take(int client, struct kv_buf *in, bool *is_empty)
{
    char chunk[65536];
    ssize_t n = recv(client, chunk, sizeof(chunk), MSG_DONTWAIT);
    *is_empty = n < 0;
    if (n > 0)
        cr_assert_eq(kv_buf_append(in, chunk, (size_t)n), 0);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void read_reply(const struct kv_buf *in, size_t head_len, size_t body_len,
                       struct desk_reply *reply)
{
    cr_assert_eq(in->len, head_len + body_len, "more than one reply");
    cr_assert_lt(head_len, sizeof(reply->head));
    memcpy(reply->head, in->data, head_len);
    reply->status = atoi(reply->head + strlen("HTTP/1.1 "));
    if (body_len == 0)
        return;
    reply->json = json_loadb((const char *)in->data + head_len, body_len, 0, NULL);
    cr_assert_not_null(reply->json, "%s", reply->head);
}

int desk_read(struct desk *desk, int client, struct desk_reply *reply)
{
    struct kv_buf in;
    size_t head_len = 0;
    size_t body_len = 0;
    bool is_open = true;
    kv_buf_init(&in, 16U << 20);
    memset(reply, 0, sizeof(*reply));
    own(true);
    for (int i = 0; is_open && !is_whole(&in, &head_len, &body_len); i++) {
        bool is_empty = false;
        cr_assert_lt(i, WAIT_MS * TURNS_PER_MS, "no reply comes");
        own(false);
        (void)uv_run(&desk->loop, UV_RUN_NOWAIT);
        own(true);
        is_open = take(client, &in, &is_empty);
        if (is_empty && i % TURNS_PER_MS == TURNS_PER_MS - 1)
            (void)poll(NULL, 0, 1); /* something runs on the pool */
    }
    if (is_open)
        read_reply(&in, head_len, body_len, reply);
    else
        cr_assert_eq(in.len, 0, "half a reply");
    kv_buf_free(&in);
    own(false);
    return reply->status;
}

void desk_hang_up(struct desk *desk, int client)
{
    (void)close(client);
    desk_settle(desk);
}

void desk_reply_free(struct desk_reply *reply)
{
    json_decref(reply->json);
    reply->json = NULL;
}

int desk_call(struct desk *desk, const char *method, const char *path, const char *body,
              json_t **json)
{
    struct desk_reply reply;
    int client = desk_connect(desk);
    desk_send(desk, client, method, path, body);
    int status = desk_read(desk, client, &reply);
    (void)close(client);
    if (json != NULL)
        *json = json_incref(reply.json);
    desk_reply_free(&reply);
    return status;
}

const char *desk_error(const json_t *json, const char *field)
{
    const char *text =
        json_string_value(json_object_get(json_object_get(json, "error"), field));
    return text != NULL ? text : "";
}

/* --- the store ---------------------------------------------------------------------
 */

struct waiter {
    bool is_done;
    int rc;
    struct kv_row *row;
    struct kv_buf *sealed;
};

static void on_applied(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    struct waiter *waiter = arg;
    (void)failed_index;
    (void)err;
    waiter->rc = rc;
    waiter->is_done = true;
}

void desk_apply(struct desk *desk, const struct kv_mutation *mutations, size_t n)
{
    struct waiter waiter = {.is_done = false};
    uint8_t op_id[KV_ID_LEN];
    struct kv_store *store = desk->service.store;
    cr_assert_eq(kv_rand_fill(desk->service.rand, op_id, sizeof(op_id)), 0);
    cr_assert_eq(store->ops->apply(store, op_id, mutations, n, on_applied, &waiter), 0);
    run_until(desk, &waiter.is_done);
    cr_assert_eq(waiter.rc, 0);
}

static void on_row(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                   bool has_more, const struct kv_err *err)
{
    struct waiter *waiter = arg;
    (void)has_more;
    (void)err;
    waiter->rc = rc;
    waiter->is_done = true;
    if (rc != 0)
        return;
    cr_assert_eq(n_rows, 1);
    *waiter->row = rows[0];
    kv_buf_reset(waiter->sealed);
    cr_assert_eq(kv_buf_append(waiter->sealed, rows[0].sealed, rows[0].sealed_len), 0);
    waiter->row->sealed = waiter->sealed->data;
}

int desk_get(struct desk *desk, const struct kv_row_key *key, bool is_current,
             struct kv_row *row, struct kv_buf *sealed)
{
    struct waiter waiter = {.row = row, .sealed = sealed};
    struct kv_store *store = desk->service.store;
    int rc = is_current ? store->ops->get_live(store, key, on_row, &waiter)
                        : store->ops->get(store, key, on_row, &waiter);
    cr_assert_eq(rc, 0);
    run_until(desk, &waiter.is_done);
    return waiter.rc;
}

json_t *desk_must(struct desk *desk, int status, const char *method, const char *path,
                  const char *body)
{
    json_t *json = NULL;
    int got = desk_call(desk, method, path, body, &json);
    cr_assert_eq(got, status, "%s %s: %d %s %s", method, path, got,
                 desk_error(json, "id"), desk_error(json, "message"));
    return json;
}

void desk_fails(struct desk *desk, int status, const char *id, const char *method,
                const char *path, const char *body)
{
    json_t *json = desk_must(desk, status, method, path, body);
    cr_expect_str_eq(desk_error(json, "id"), id, "%s %s %s", method, path,
                     body != NULL ? body : "");
    json_decref(json);
}

int desk_vault_call(struct desk *desk, const char *vault, const char *method,
                    const char *path, const char *body, json_t **json)
{
    char text[2048];
    struct desk_reply reply;
    (void)snprintf(text, sizeof(text),
                   "%s %s?api-version=7.5 HTTP/1.1\r\nHost: %s.vault.localhost\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                   method, path, vault, body != NULL ? strlen(body) : 0,
                   body != NULL ? body : "");
    int client = desk_connect(desk);
    desk_send_raw(desk, client, text);
    int status = desk_read(desk, client, &reply);
    (void)close(client);
    if (json != NULL)
        *json = json_incref(reply.json);
    desk_reply_free(&reply);
    return status;
}

static void vault_path(char path[128], const char *name)
{
    (void)snprintf(path, 128, "/keyvault/v1/vaults/%s", name);
}

void desk_vault_make(struct desk *desk, const char *name, const char *body)
{
    char path[128];
    vault_path(path, name);
    json_decref(desk_must(desk, 200, "PUT", path, body));
}

void desk_vault_delete(struct desk *desk, const char *name)
{
    char path[128];
    vault_path(path, name);
    json_decref(desk_must(desk, 200, "DELETE", path, NULL));
}

void desk_vault_secret(struct desk *desk, const char *vault, const char *name,
                       const char *value)
{
    char path[128];
    char body[128];
    (void)snprintf(path, sizeof(path), "/secrets/%s", name);
    (void)snprintf(body, sizeof(body), "{\"value\":\"%s\"}", value);
    cr_assert_eq(desk_vault_call(desk, vault, "PUT", path, body, NULL), 200);
}

size_t desk_count(struct desk *desk, const char *path)
{
    json_t *page = desk_must(desk, 200, "GET", path, NULL);
    size_t n = json_array_size(json_object_get(page, "value"));
    json_decref(page);
    return n;
}

const json_t *desk_at(const json_t *json, const char *path)
{
    char part[64];
    size_t len = strcspn(path, ".");
    (void)snprintf(part, sizeof(part), "%.*s", (int)len, path);
    const json_t *value = json_object_get(json, part);
    return path[len] == '\0' ? value : desk_at(value, path + len + 1);
}

const char *desk_text(const json_t *json, const char *path)
{
    const char *value = json_string_value(desk_at(json, path));
    return value != NULL ? value : "";
}

void desk_import(struct desk *desk, const char *name)
{
    char path[64];
    struct kv_buf file;
    struct kv_buf key;
    fixture_read("keys/prime256v1-cert.pem", &file);
    fixture_read("keys/prime256v1.pem", &key);
    cr_assert_eq(kv_buf_append(&file, key.data, key.len), 0);
    json_t *body = json_pack("{s:s#}", "value", file.data, (int)file.len);
    char *sent = json_dumps(body, JSON_COMPACT);
    (void)snprintf(path, sizeof(path), "/certificates/%s/import", name);
    json_decref(desk_must(desk, 200, "POST", path, sent));
    json_decref(body);
    free(sent);
    kv_buf_free(&key);
    kv_buf_free(&file);
}
