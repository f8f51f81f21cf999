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
#include "lifecycle/service/keyring.h"
#include "store/db/memory.h"
#include "tests/support/room.h"

#define WAIT_MS 10000

void (*desk_own)(bool is_own);

static void own(bool is_own)
{
    if (desk_own != NULL)
        desk_own(is_own);
}

/* --- the link ----------------------------------------------------------------------
 */

struct waiting {
    struct waiting *next;
    uint16_t verb;
    struct kv_buf payload;
    kv_keyring_cb cb;
    void *arg;
};

struct kv_keyring {
    struct desk *desk;
    uv_idle_t idle; /* runs while calls may be answered */
    struct waiting *first;
    struct waiting **last;
};

static int serve(struct desk *desk, const struct waiting *call, struct kv_buf *reply,
                 struct kv_err *err)
{
    if (desk->is_sealed)
        return kv_err_set(err, KV_E_SEALED, "keyring.sealed", "the vault is sealed");
    if (desk->is_unreachable)
        return kv_err_set(err, KV_E_UNAVAILABLE, "keyring.unreachable",
                          "the keyring cannot be reached at present");
    if (desk->fail_verb == call->verb) {
        desk->fail_verb = 0;
        return kv_err_set(err, desk->fail_rc, desk->fail_id, "a test wants this");
    }
    return kv_room_serve(desk->room, call->verb, &call->payload, reply, err);
}

static void answer_one(struct desk *desk)
{
    struct kv_keyring *link = desk->link;
    struct waiting *call = link->first;
    struct kv_buf reply;
    struct kv_err err = KV_ERR_INIT;
    link->first = call->next;
    if (link->first == NULL)
        link->last = &link->first;
    own(true);
    kv_buf_init_secret(&reply, KV_FRAME_MAX_ROLE);
    int rc = serve(desk, call, &reply, &err);
    struct kv_bytes payload = {NULL, 0};
    if (rc == 0) { /* alone on the heap, so that a sanitizer guards its end */
        payload.data = malloc(reply.len > 0 ? reply.len : 1);
        payload.len = reply.len;
        if (reply.len > 0)
            memcpy((void *)payload.data, reply.data, reply.len);
    } else {
        kv_err_set(&err, rc, "keyring.failed", "failed");
    }
    kv_buf_free(&reply);
    own(false);
    call->cb(call->arg, rc, payload, rc != 0 ? &err : NULL);
    free((void *)payload.data);
    kv_buf_free(&call->payload);
    free(call);
}

static void on_idle(uv_idle_t *idle)
{
    struct desk *desk = idle->data;
    if (desk->link->first != NULL && !desk->is_held)
        answer_one(desk);
    if (desk->link->first == NULL || desk->is_held)
        (void)uv_idle_stop(idle);
}

int kv_keyring_call(struct kv_keyring *link, uint16_t verb,
                    const struct kv_buf *payload, kv_keyring_cb cb, void *arg)
{
    if (kv_buf_status(payload) != 0)
        return kv_buf_status(payload);
    own(true);
    struct waiting *call = calloc(1, sizeof(*call));
    cr_assert_not_null(call);
    call->verb = verb;
    call->cb = cb;
    call->arg = arg;
    kv_buf_init_secret(&call->payload, KV_FRAME_MAX_ROLE);
    cr_assert_eq(kv_buf_append(&call->payload, payload->data, payload->len), 0);
    own(false);
    *link->last = call;
    link->last = &call->next;
    link->desk->n_calls++;
    if (verb == KV_ROLE_BEAT)
        link->desk->n_beats++;
    (void)uv_idle_start(&link->idle, on_idle);
    return 0;
}

void kv_keyring_answer(struct kv_keyring *link, uint32_t id, uint16_t verb, int rc,
                       const struct kv_buf *payload, const struct kv_err *err)
{
    struct desk *desk = link->desk;
    (void)id;
    (void)verb;
    desk->n_answers++;
    desk->answer_rc = rc;
    desk->answer_err = err != NULL ? *err : KV_ERR_INIT;
    kv_buf_reset(&desk->answer);
    if (rc == 0)
        cr_assert_eq(kv_buf_append(&desk->answer, payload->data, payload->len), 0);
}

int kv_keyring_add_vault_key(struct kv_keyring *link,
                             const struct kv_role_vault_key *key)
{
    return kv_ring_vault_key_open(link->desk->room->ring, key, NULL);
}

bool kv_keyring_is_connected(const struct kv_keyring *link)
{
    return !link->desk->is_unreachable && !link->desk->is_sealed;
}

bool kv_keyring_is_sealed(const struct kv_keyring *link)
{
    return link->desk->is_sealed;
}

static void link_open(struct desk *desk)
{
    static const uint8_t system[KV_ID_LEN];
    struct kv_buf wrapped;
    desk->link = calloc(1, sizeof(*desk->link));
    cr_assert_not_null(desk->link);
    desk->link->desk = desk;
    desk->link->last = &desk->link->first;
    cr_assert_eq(uv_idle_init(&desk->loop, &desk->link->idle), 0);
    desk->link->idle.data = desk;
    kv_buf_init(&wrapped, 256);
    cr_assert_eq(
        kv_ring_vault_key_new(desk->room->ring, system, KV_ROOM_TERM, &wrapped, NULL),
        0);
    kv_buf_free(&wrapped);
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
    desk->room = calloc(1, sizeof(*desk->room));
    cr_assert_not_null(desk->room);
    kv_room_init(desk->room);
    desk->clock = &desk->room->clock;
    kv_buf_init_secret(&desk->answer, KV_FRAME_MAX_ROLE);
    cr_assert_eq(uv_loop_init(&desk->loop), 0);
    link_open(desk);
    service->loop = &desk->loop;
    service->keyring = desk->link;
    service->clock = &desk->clock->clock;
    service->rand = kv_rand_system();
    service->admin_uid = geteuid();
    service->port = 8443;
    service->is_ready = true;
    (void)snprintf(service->domain, sizeof(service->domain), "vault.localhost");
    (void)snprintf(service->tenant, sizeof(service->tenant),
                   "00000000-0000-0000-0000-000000000001");
    service->system.term = KV_ROOM_TERM;
    service->n_vaults = 1;
    desk->vault = &service->vaults[0];
    *desk->vault = (struct kv_vault){
        .name = "default", .is_default = true, .term = KV_ROOM_TERM, .epoch = 1};
    memcpy(desk->vault->id, kv_room_vault, KV_ID_LEN);
    const struct kv_store_config config = {.loop = &desk->loop,
                                           .clock = service->clock};
    cr_assert_eq(kv_memory_open(&service->store, &config, &err), 0);
    cr_assert_eq(kv_assignments_new(&service->assignments), 0);
    cr_assert_eq(kv_principals_new(&service->principals, &desk->loop, service->clock),
                 0);
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
    desk->is_held = false;
    kv_http_server_stop(desk->http, 1000, on_true, &is_stopped);
    run_until(desk, &is_stopped);
    desk->service.is_stopping = true;
    desk_settle(desk);
    cr_assert_eq(desk->service.n_running, 0, "an operation never ended");
    desk->service.store->ops->close(desk->service.store, on_true, &is_closed);
    run_until(desk, &is_closed);
    cr_assert_null(desk->link->first);
    uv_close((uv_handle_t *)&desk->link->idle, NULL);
    desk_settle(desk);
    cr_assert_eq(uv_loop_close(&desk->loop), 0);
    free(desk->link);
    kv_principals_free(desk->service.principals);
    kv_assignments_free(desk->service.assignments);
    kv_buf_free(&desk->answer);
    kv_room_fini(desk->room);
    free(desk->room);
    (void)unlink(desk->path);
    cr_assert_eq(rmdir(desk->dir), 0);
}

void desk_settle(struct desk *desk)
{
    (void)uv_idle_start(&desk->link->idle, on_idle);
    for (int quiet = 0; quiet < 5;) {
        bool is_busy = desk->service.n_running > 0 && !desk->is_held;
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
    (void)uv_idle_start(&desk->link->idle, on_idle);
    own(true);
    for (int i = 0; is_open && !is_whole(&in, &head_len, &body_len); i++) {
        bool is_empty = false;
        cr_assert_lt(i, WAIT_MS, "no reply comes");
        own(false);
        (void)uv_run(&desk->loop, UV_RUN_NOWAIT);
        own(true);
        is_open = take(client, &in, &is_empty);
        if (is_empty && desk->link->first == NULL)
            (void)poll(NULL, 0, 1);
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
    int rc = is_current ? store->ops->get_current(store, key, on_row, &waiter)
                        : store->ops->get(store, key, on_row, &waiter);
    cr_assert_eq(rc, 0);
    run_until(desk, &waiter.is_done);
    return waiter.rc;
}
