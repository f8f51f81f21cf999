/*
 * The link to the keyring: connect, greet, open the vault keys, then carry calls.
 *
 *   WAITING --timer--> CONNECTING --peer uid ok--> GREETING --not sealed--> OPENING
 *      ^                                              | sealed: ask again       |
 *      +---------- any failure, connection lost ------+----------- READY <------+
 *
 * Frames of both directions share one connection. Calls have a time limit, a long one
 * when a key is to be made. What was read or written is wiped when it is done with.
 */
#include "lifecycle/service/keyring.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lifecycle/service/calls.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define CALL_TIMEOUT_MS 10000
#define GENERATE_FACTOR 12 /* times the limit of other calls */
#define TICK_MS 100
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define SEALED_POLL_MS 500
#define WRITE_QUEUE_MAX (64U << 20)

enum state { WAITING, CONNECTING, GREETING, OPENING, READY, CLOSING };

struct vault_key {
    struct vault_key *next;
    struct kv_role_vault_key key;
    uint8_t wrapped[]; /* key.wrapped borrows from here */
};

struct kv_keyring {
    struct kv_keyring_config config;
    char *path;
    enum state state;
    bool is_sealed;
    bool has_pipe;
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_connect_t connect;
    unsigned n_handles; /* open handles; the last close callback frees the link */
    uint64_t at_ms;     /* when the state's timer acts */
    unsigned backoff_ms;
    struct kv_msg_hello_reply hello;
    struct vault_key *vault_keys;
    size_t n_opening;
    uint32_t next_id;
    struct kv_calls calls;
    struct kv_buf in;
    uint8_t chunk[65536];
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

struct write {
    uv_write_t request;
    struct kv_buf frame;
};

static void drop(struct kv_keyring *link, const char *why);

/* --- calls ---------------------------------------------------------------------- */

static int unreachable(struct kv_keyring *link, struct kv_err *err)
{
    if (link->is_sealed) {
        kv_err_set(err, KV_E_SEALED, "keyring.sealed", "the vault is sealed");
        kv_err_hint(err, "open a slot of the installation");
        return KV_E_SEALED;
    }
    kv_err_set(err, KV_E_UNAVAILABLE, "keyring.unreachable",
               "the keyring cannot be reached at present");
    kv_err_hint(err, "it is being restarted, or see its log; try again shortly");
    return KV_E_UNAVAILABLE;
}

static void fail_calls(struct kv_keyring *link)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = unreachable(link, &err);
    size_t n_left = link->calls.n; /* callbacks may start calls: they come later */
    while (n_left-- > 0 && link->calls.oldest != NULL)
        kv_calls_end(&link->calls, link->calls.oldest, rc, &err);
}

/* --- writing -------------------------------------------------------------------- */

static void free_write(struct write *write)
{
    kv_buf_free(&write->frame);
    free(write);
}

static void on_written(uv_write_t *request, int status)
{
    (void)status; /* a broken connection also ends the reading side */
    free_write(request->data);
}

static int send_frame(struct kv_keyring *link, const struct kv_frame *frame)
{
    if (uv_stream_get_write_queue_size((uv_stream_t *)&link->pipe) > WRITE_QUEUE_MAX)
        return KV_E_TOO_BIG;
    struct write *write = calloc(1, sizeof(*write));
    if (write == NULL)
        return KV_E_NOMEM;
    kv_buf_init_secret(&write->frame, KV_FRAME_MAX_ROLE);
    size_t begin = kv_frame_begin(&write->frame, frame);
    (void)kv_buf_append(&write->frame, frame->payload.data, frame->payload.len);
    kv_frame_end(&write->frame, begin);
    int rc = kv_buf_status(&write->frame);
    if (rc == 0) {
        uv_buf_t buf =
            uv_buf_init((char *)write->frame.data, (unsigned)write->frame.len);
        write->request.data = write;
        if (uv_write(&write->request, (uv_stream_t *)&link->pipe, &buf, 1,
                     on_written) == 0)
            return 0;
        rc = KV_E_UNAVAILABLE;
    }
    free_write(write);
    return rc;
}

static uint64_t limit_ms(const struct kv_keyring *link, uint16_t verb)
{
    uint64_t ms = link->config.timeout_ms;
    return verb == KV_ROLE_KEY_GENERATE ? GENERATE_FACTOR * ms : ms;
}

static int start_call(struct kv_keyring *link, uint16_t verb,
                      const struct kv_buf *payload, kv_keyring_cb cb, void *arg)
{
    struct kv_pending *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return KV_E_NOMEM;
    call->id = link->next_id++;
    call->verb = verb;
    call->cb = cb;
    call->arg = arg;
    call->deadline_ms = uv_now(link->config.loop) + limit_ms(link, verb);
    struct kv_frame frame = {
        .id = call->id, .verb = verb, .payload = {payload->data, payload->len}};
    int rc = 0;
    /* Without a connection the call stays until the next tick, which fails it: a
     * callback never runs before its call has returned. */
    if (link->state == GREETING || link->state == OPENING || link->state == READY)
        rc = send_frame(link, &frame);
    else
        call->deadline_ms = 0;
    if (rc == KV_E_UNAVAILABLE) {
        call->deadline_ms = 0;
        rc = 0;
    }
    if (rc != 0) {
        free(call);
        return rc;
    }
    kv_calls_add(&link->calls, call);
    return 0;
}

int kv_keyring_call(struct kv_keyring *link, uint16_t verb,
                    const struct kv_buf *payload, kv_keyring_cb cb, void *arg)
{
    if (kv_buf_status(payload) != 0)
        return kv_buf_status(payload);
    if (link->state == CLOSING)
        return KV_E_UNAVAILABLE;
    if (link->state == READY)
        return start_call(link, verb, payload, cb, arg);
    struct kv_buf nothing;
    kv_buf_init(&nothing, 1);
    enum state state = link->state;
    link->state = WAITING; /* not yet a connection for others than ourselves */
    int rc = start_call(link, verb, &nothing, cb, arg);
    link->state = state;
    if (rc == 0) /* fails at the next turn of the loop */
        (void)uv_timer_start(&link->timer, link->timer.timer_cb, 0, TICK_MS);
    return rc;
}

void kv_keyring_answer(struct kv_keyring *link, uint32_t id, uint16_t verb, int rc,
                       const struct kv_buf *payload, const struct kv_err *err)
{
    if (link->state != READY && link->state != OPENING)
        return;
    struct kv_buf error;
    kv_buf_init(&error, KV_FRAME_MAX);
    struct kv_frame frame = {
        .id = id, .verb = verb, .flags = KV_FRAME_REPLY, .status = rc};
    if (rc == 0) {
        frame.payload = (struct kv_bytes){payload->data, payload->len};
    } else {
        struct kv_err local = KV_ERR_INIT;
        kv_err_set(&local, rc, "service.refused", "the service refused: %s",
                   kv_code_text(rc));
        kv_msg_error_put(&error, err != NULL && err->code != 0 ? err : &local);
        frame.payload = (struct kv_bytes){error.data, error.len};
    }
    if (send_frame(link, &frame) != 0)
        kv_log(link->config.log, KV_LOG_WARN, "keyring.answer-lost",
               KV_I("verb", verb));
    kv_buf_free(&error);
}

/* --- greeting and opening --------------------------------------------------------- */

static void become_ready(struct kv_keyring *link)
{
    link->state = READY;
    link->backoff_ms = BACKOFF_MIN_MS;
    kv_log(link->config.log, KV_LOG_INFO, "keyring.connected",
           KV_S("path", link->path));
    if (link->config.on_connected != NULL)
        link->config.on_connected(link->config.arg, &link->hello);
}

static void on_key_opened(void *arg, int rc, struct kv_bytes payload,
                          const struct kv_err *err)
{
    struct kv_keyring *link = arg;
    (void)payload;
    if (link->n_opening > 0)
        link->n_opening--;
    if (link->state != OPENING && link->state != READY)
        return;
    if (rc != 0) {
        kv_log_err(link->config.log, KV_LOG_ERROR, "keyring.vault-key-refused", err);
        if (link->state == OPENING)
            drop(link, "a vault key was refused");
        return;
    }
    if (link->state == OPENING && link->n_opening == 0)
        become_ready(link);
}

static int open_key(struct kv_keyring *link, const struct vault_key *key)
{
    struct kv_buf payload;
    kv_buf_init(&payload, 4096);
    kv_role_vault_key_put(&payload, &key->key);
    int rc = kv_buf_status(&payload);
    if (rc == 0)
        rc = start_call(link, KV_ROLE_VAULT_KEY_OPEN, &payload, on_key_opened, link);
    if (rc == 0)
        link->n_opening++;
    kv_buf_free(&payload);
    return rc;
}

int kv_keyring_add_vault_key(struct kv_keyring *link,
                             const struct kv_role_vault_key *key)
{
    for (const struct vault_key *at = link->vault_keys; at != NULL; at = at->next)
        if (at->key.term == key->term && !memcmp(at->key.vault, key->vault, KV_ID_LEN))
            return 0;
    struct vault_key *copy = calloc(1, sizeof(*copy) + key->wrapped.len);
    if (copy == NULL)
        return KV_E_NOMEM;
    copy->key = *key;
    if (key->wrapped.len > 0)
        memcpy(copy->wrapped, key->wrapped.data, key->wrapped.len);
    copy->key.wrapped.data = copy->wrapped;
    copy->next = link->vault_keys;
    link->vault_keys = copy;
    return link->state == READY ? open_key(link, copy) : 0;
}

void kv_keyring_remove_vault_keys(struct kv_keyring *link,
                                  const uint8_t vault[KV_ID_LEN])
{
    struct vault_key **at = &link->vault_keys;
    while (*at != NULL) {
        struct vault_key *key = *at;
        if (memcmp(key->key.vault, vault, KV_ID_LEN) != 0) {
            at = &key->next;
            continue;
        }
        *at = key->next;
        free(key);
    }
}

bool kv_keyring_has_vault_key(const struct kv_keyring *link,
                              const uint8_t vault[KV_ID_LEN])
{
    const struct vault_key *at = link->vault_keys;
    while (at != NULL && memcmp(at->key.vault, vault, KV_ID_LEN) != 0)
        at = at->next;
    return at != NULL;
}

static void on_hello(void *arg, int rc, struct kv_bytes payload,
                     const struct kv_err *err)
{
    struct kv_keyring *link = arg;
    if (link->state != GREETING)
        return;
    if (rc == 0)
        rc = kv_msg_hello_reply_get(payload, &link->hello);
    if (rc != 0) {
        if (err != NULL && err->code != 0)
            kv_log_err(link->config.log, KV_LOG_WARN, "keyring.refused", err);
        drop(link, "the greeting failed");
        return;
    }
    if (link->hello.is_sealed != 0) {
        if (!link->is_sealed)
            kv_log(link->config.log, KV_LOG_WARN, "keyring.sealed",
                   KV_S("path", link->path));
        link->is_sealed = true;
        link->at_ms = uv_now(link->config.loop) + SEALED_POLL_MS;
        return;
    }
    link->is_sealed = false;
    link->state = OPENING;
    link->n_opening = 0;
    for (const struct vault_key *key = link->vault_keys; key != NULL; key = key->next) {
        if (open_key(link, key) != 0) {
            drop(link, "out of memory");
            return;
        }
    }
    if (link->n_opening == 0)
        become_ready(link);
}

static void greet(struct kv_keyring *link)
{
    struct kv_buf payload;
    struct kv_msg_hello hello = {.version = KV_PROTOCOL_VERSION};
    kv_buf_init(&payload, 64);
    kv_msg_hello_put(&payload, &hello);
    link->state = GREETING;
    link->at_ms = UINT64_MAX;
    int rc = kv_buf_status(&payload);
    if (rc == 0)
        rc = start_call(link, KV_ROLE_HELLO, &payload, on_hello, link);
    kv_buf_free(&payload);
    if (rc != 0)
        drop(link, "out of memory");
}

/* --- reading ---------------------------------------------------------------------- */

static void take_reply(struct kv_keyring *link, const struct kv_frame *frame)
{
    struct kv_pending *call = kv_calls_find(&link->calls, frame->id);
    if (call == NULL || call->verb != frame->verb)
        return; /* its time ran out */
    kv_keyring_cb cb = call->cb;
    void *arg = call->arg;
    kv_calls_remove(&link->calls, call);
    if (frame->status == 0) {
        cb(arg, 0, frame->payload, NULL);
        return;
    }
    struct kv_msg_error *message = calloc(1, sizeof(*message));
    struct kv_err err = KV_ERR_INIT;
    int rc = frame->status < 0 && frame->status >= KV_E_INTERNAL ? frame->status
                                                                 : KV_E_INTERNAL;
    if (message != NULL && kv_msg_error_get(frame->payload, message) == 0) {
        kv_err_set(&err, rc, message->id, "%s", message->message);
        if (message->hint[0] != '\0')
            kv_err_hint(&err, "%s", message->hint);
    } else {
        kv_err_set(&err, rc, "keyring.failed", "the keyring failed: %s",
                   kv_code_text(rc));
    }
    free(message);
    cb(arg, rc, (struct kv_bytes){NULL, 0}, &err);
}

static void take_frames(struct kv_keyring *link)
{
    size_t at = 0;
    int got = 1;
    while (got == 1 && link->has_pipe && link->state != CLOSING) {
        struct kv_frame frame;
        size_t frame_len = 0;
        got = kv_frame_decode(link->in.data + at, link->in.len - at, KV_FRAME_MAX_ROLE,
                              &frame, &frame_len);
        if (got != 1)
            break;
        if ((frame.flags & KV_FRAME_REPLY) != 0)
            take_reply(link, &frame);
        else if (link->config.on_question != NULL)
            link->config.on_question(link->config.question_arg, frame.id, frame.verb,
                                     frame.payload);
        kv_wipe(link->in.data + at, frame_len);
        at += frame_len;
    }
    if (got < 0)
        drop(link, "a frame was malformed");
    if (!link->has_pipe || link->state == CLOSING)
        kv_buf_free(&link->in);
    else
        kv_buf_consume(&link->in, at);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct kv_keyring *link = handle->data;
    (void)suggested;
    *buf = uv_buf_init((char *)link->chunk, sizeof(link->chunk));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct kv_keyring *link = stream->data;
    (void)buf;
    if (n == 0 || link->state == CLOSING)
        return;
    if (n < 0) {
        drop(link, "the connection was lost");
        return;
    }
    int rc = kv_buf_append(&link->in, link->chunk, (size_t)n);
    kv_wipe(link->chunk, (size_t)n);
    if (rc != 0)
        drop(link, "out of memory");
    else
        take_frames(link);
}

/* --- connecting ------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct kv_keyring *link = handle->data;
    if (--link->n_handles > 0)
        return;
    void (*cb)(void *arg) = link->on_closed;
    void *arg = link->on_closed_arg;
    while (link->vault_keys != NULL) {
        struct vault_key *next = link->vault_keys->next;
        free(link->vault_keys);
        link->vault_keys = next;
    }
    kv_buf_free(&link->in);
    free(link->path);
    free(link);
    cb(arg);
}

static void on_pipe_closed(uv_handle_t *handle)
{
    struct kv_keyring *link = handle->data;
    if (link->state == CLOSING) {
        on_handle_closed(handle);
        return;
    }
    link->n_handles--;
    link->state = WAITING;
    link->at_ms = uv_now(link->config.loop) + link->backoff_ms;
    link->backoff_ms =
        link->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : link->backoff_ms * 2;
}

/* Give the connection up; the pipe's close callback plans the next attempt. */
static void drop(struct kv_keyring *link, const char *why)
{
    if (!link->has_pipe || link->state == CLOSING)
        return;
    if (link->state == READY || link->state == OPENING || link->is_sealed)
        kv_log(link->config.log, KV_LOG_WARN, "keyring.lost", KV_S("path", link->path),
               KV_S("reason", why));
    link->state = WAITING;
    link->at_ms = UINT64_MAX;
    link->has_pipe = false;
    link->is_sealed = false;
    uv_close((uv_handle_t *)&link->pipe, on_pipe_closed);
    fail_calls(link);
}

static bool is_expected_peer(struct kv_keyring *link)
{
    uv_os_fd_t fd = -1;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (uv_fileno((uv_handle_t *)&link->pipe, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == link->config.server_uid)
        return true;
    kv_log(link->config.log, KV_LOG_ERROR, "keyring.foreign-server",
           KV_S("path", link->path), KV_I("uid", peer.uid),
           KV_I("expected_uid", link->config.server_uid));
    return false;
}

static void on_connect(uv_connect_t *request, int status)
{
    struct kv_keyring *link = request->data;
    if (link->state != CONNECTING)
        return;
    if (status != 0 || !is_expected_peer(link) ||
        uv_read_start((uv_stream_t *)&link->pipe, on_alloc, on_read) != 0) {
        drop(link, "no connection");
        return;
    }
    kv_buf_free(&link->in);
    kv_buf_init_secret(&link->in, KV_FRAME_MAX_ROLE + sizeof(link->chunk));
    greet(link);
}

static void connect_now(struct kv_keyring *link)
{
    if (uv_pipe_init(link->config.loop, &link->pipe, 0) != 0)
        return;
    link->pipe.data = link;
    link->has_pipe = true;
    link->n_handles++;
    link->state = CONNECTING;
    link->at_ms = UINT64_MAX;
    link->connect.data = link;
    uv_pipe_connect(&link->connect, &link->pipe, link->path, on_connect);
}

static void on_tick(uv_timer_t *timer)
{
    struct kv_keyring *link = timer->data;
    uint64_t now = uv_now(link->config.loop);
    size_t n_left = link->calls.n; /* callbacks may start calls: next time */
    struct kv_pending *call = NULL;
    while (n_left-- > 0 && (call = kv_calls_overdue(&link->calls, now)) != NULL) {
        struct kv_err err = KV_ERR_INIT;
        int rc = KV_E_TIMEOUT;
        if (call->deadline_ms == 0)
            rc = unreachable(link, &err);
        else
            kv_err_set(&err, KV_E_TIMEOUT, "keyring.timeout",
                       "the keyring did not answer in time");
        kv_calls_end(&link->calls, call, rc, &err);
    }
    if (link->state == WAITING && now >= link->at_ms)
        connect_now(link);
    else if (link->state == GREETING && now >= link->at_ms)
        greet(link);
}

int kv_keyring_open(struct kv_keyring **out, const struct kv_keyring_config *config,
                    struct kv_err *err)
{
    struct kv_keyring *link = calloc(1, sizeof(*link));
    char *path = strdup(config->path);
    if (link == NULL || path == NULL) {
        free(link);
        free(path);
        return kv_err_set(err, KV_E_NOMEM, "service.no-memory", "out of memory");
    }
    link->config = *config;
    if (link->config.timeout_ms == 0)
        link->config.timeout_ms = CALL_TIMEOUT_MS;
    link->path = path;
    link->state = WAITING;
    link->backoff_ms = BACKOFF_MIN_MS;
    link->next_id = 1;
    kv_buf_init_secret(&link->in, KV_FRAME_MAX_ROLE + sizeof(link->chunk));
    (void)uv_timer_init(config->loop, &link->timer);
    link->timer.data = link;
    link->n_handles = 1;
    (void)uv_timer_start(&link->timer, on_tick, 0, TICK_MS);
    *out = link;
    return 0;
}

void kv_keyring_abandon(struct kv_keyring *link)
{
    fail_calls(link);
}

void kv_keyring_close(struct kv_keyring *link, void (*cb)(void *arg), void *arg)
{
    link->on_closed = cb;
    link->on_closed_arg = arg;
    link->state = CLOSING;
    fail_calls(link);
    if (link->has_pipe)
        uv_close((uv_handle_t *)&link->pipe, on_handle_closed);
    link->has_pipe = false;
    (void)uv_timer_stop(&link->timer);
    uv_close((uv_handle_t *)&link->timer, on_handle_closed);
}

bool kv_keyring_is_connected(const struct kv_keyring *link)
{
    return link->state == READY;
}

bool kv_keyring_is_sealed(const struct kv_keyring *link)
{
    return link->is_sealed;
}
