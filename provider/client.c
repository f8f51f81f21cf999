/*
 * One request, step by step:
 *
 *   claim a connection -> (connect) -> (OPEN the key, compare) -> exchange -> release
 *        ^                                                           |
 *        +------------- once, if the connection was lost ------------+
 *
 * All of it together takes at most connect-timeout-ms plus reply-timeout-ms.
 *
 * A "life" of the daemon is one process of it as seen through SO_PEERCRED; when the
 * pid behind the socket changes, or a connection breaks, a new life begins and every
 * key is opened and compared again before it is used. While the daemon lives but cannot
 * give new grants, OPEN is left out for a while at a time, because each would wait.
 */
#include "provider/client.h"

#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

#include "provider/async.h"
#include "provider/pool.h"
#include "store/core/clock.h"
#include "store/core/secret.h"
#include "store/core/str.h"

/* TWIN_BEING_WRITTEN carries the fork generation above it: in a child, a thread of the
 * parent never finishes what it began. */
enum twin_state { TWIN_UNKNOWN, TWIN_KNOWN, TWIN_BEING_WRITTEN };
#define TWIN_SHIFT 2

struct kv_client {
    struct kv_client_config config;
    struct kv_pool pool;
    _Atomic int64_t server_pid; /* of the newest connection; 0 before the first */
    _Atomic uint32_t life;
    _Atomic int64_t open_from_ms;  /* no OPEN before: the service was away */
    _Atomic int64_t check_from_ms; /* no check before: the daemon did not answer */
    _Atomic uint64_t twin_state;
    struct kv_conn_target twin; /* written once, before TWIN_KNOWN is set */
};

/* One call on its way. */
struct request {
    struct kv_client *client;
    const struct kv_client_call *call;
    struct kv_err *err;
    int64_t deadline_ms; /* monotonic: the end of the whole call */
};

int kv_client_new(const struct kv_client_config *config, struct kv_client **out)
{
    struct kv_client *client = OPENSSL_zalloc(sizeof(*client));
    if (client == NULL)
        return KV_E_NOMEM;
    client->config = *config;
    atomic_init(&client->life, 1);
    if (kv_pool_init(&client->pool) != 0) {
        OPENSSL_free(client);
        return KV_E_NOMEM;
    }
    *out = client;
    return 0;
}

void kv_client_free(struct kv_client *client)
{
    if (client == NULL)
        return;
    kv_pool_fini(&client->pool);
    OPENSSL_free(client);
}

static uint64_t current_life(const struct kv_client *client)
{
    return (uint64_t)kv_pool_generation() << 32 | atomic_load(&client->life);
}

static void begin_life(struct kv_client *client)
{
    (void)atomic_fetch_add(&client->life, 1);
}

static int64_t now_ms(void)
{
    return kv_monotonic_ms(kv_clock_system());
}

static void fill_target(const struct kv_client *client, const char *address,
                        struct kv_conn_target *target)
{
    *target =
        (struct kv_conn_target){.server_uid = client->config.server_uid,
                                .connect_timeout_ms = client->config.connect_timeout_ms,
                                .reply_timeout_ms = client->config.reply_timeout_ms,
                                .deadline_ms = INT64_MAX};
    if (kv_str_copy(target->address, sizeof(target->address), address) != 0)
        target->address[0] = '\0'; /* cannot be: both are as long */
}

/* HELLO names the installation and thereby the abstract twin of the path socket. A
 * later connection there must belong to the very uid that served the path. */
static void learn_twin(struct kv_client *client, const struct kv_conn *conn)
{
    const uint64_t mine =
        (uint64_t)kv_pool_generation() << TWIN_SHIFT | TWIN_BEING_WRITTEN;
    uint64_t seen = atomic_load(&client->twin_state);
    if (seen == TWIN_KNOWN || seen == mine ||
        !atomic_compare_exchange_strong(&client->twin_state, &seen, mine))
        return;
    char id[2 * KV_ID_LEN + 1];
    char address[KV_CONN_ADDRESS_MAX] = "@keyvault/";
    kv_hex_encode(id, conn->installation, KV_ID_LEN);
    (void)strncat(address, id, sizeof(address) - strlen(address) - 1);
    (void)strncat(address, "/keys", sizeof(address) - strlen(address) - 1);
    fill_target(client, address, &client->twin);
    client->twin.server_uid = (int64_t)conn->server_uid;
    atomic_store(&client->twin_state, TWIN_KNOWN);
}

/* The abstract socket to try when the path is out of sight. An abstract name can be
 * taken by anybody, so without a uid to insist on there is none. */
static bool find_twin(struct kv_client *client, struct kv_conn_target *target)
{
    const struct kv_client_config *config = &client->config;
    if (config->abstract_socket[0] != '\0' &&
        config->server_uid != KV_CONN_ANY_SAFE_UID) {
        fill_target(client, config->abstract_socket, target);
        return true;
    }
    if (atomic_load(&client->twin_state) != TWIN_KNOWN)
        return false;
    *target = client->twin;
    return true;
}

static int refuse_anonymous(const char *address, struct kv_err *err)
{
    int rc = kv_err_set(err, KV_E_DENIED, "client.wrong-server",
                        "the abstract socket %s needs server-uid", address);
    kv_err_hint(err, "set server-uid in the keyvault section of openssl.cnf to the "
                     "keyring's uid");
    return rc;
}

static void note_server(struct kv_client *client, const struct kv_conn *conn)
{
    int64_t old_pid = atomic_exchange(&client->server_pid, (int64_t)conn->server_pid);
    if (old_pid != 0 && old_pid != (int64_t)conn->server_pid)
        begin_life(client);
}

static int connect_any(const struct request *request, struct kv_conn *conn)
{
    struct kv_client *client = request->client;
    struct kv_conn_target target;
    const char *address = client->config.socket;
    if (address[0] == '@' && client->config.server_uid == KV_CONN_ANY_SAFE_UID)
        return refuse_anonymous(address, request->err);
    fill_target(client, address, &target);
    target.deadline_ms = request->deadline_ms;
    int rc = kv_conn_open(conn, &target, request->err);
    if (rc == KV_E_UNAVAILABLE && address[0] != '@' && find_twin(client, &target)) {
        target.deadline_ms = request->deadline_ms;
        if (kv_conn_open(conn, &target, NULL) != 0)
            return rc; /* what is wrong with the path says more */
        rc = 0;
        *request->err = KV_ERR_INIT;
    } else if (rc == 0 && address[0] != '@') {
        learn_twin(client, conn);
    }
    if (rc == 0) {
        note_server(client, conn);
        conn->life = atomic_load(&client->life);
    }
    return rc;
}

static int put_message(struct kv_buf *out, enum kv_verb verb, const void *msg)
{
    switch (verb) {
    case KV_VERB_OPEN:
    case KV_VERB_INFO:
    case KV_VERB_CERT:
        kv_msg_uri_put(out, msg);
        return 0;
    case KV_VERB_LIST:
        kv_msg_list_put(out, msg);
        return 0;
    case KV_VERB_SIGN:
        kv_msg_sign_put(out, msg);
        return 0;
    case KV_VERB_DECRYPT:
        kv_msg_decrypt_put(out, msg);
        return 0;
    case KV_VERB_DERIVE:
        kv_msg_derive_put(out, msg);
        return 0;
    case KV_VERB_HELLO:
    case KV_VERB_ROLE_FIRST:
        break;
    }
    return KV_E_INTERNAL;
}

/* The name of the key that a call is about. */
static void name_of(const struct kv_client_call *call, struct kv_uri *uri)
{
    const char *text = "";
    if (call->key != NULL)
        text = call->key->uri;
    else if (call->verb == KV_VERB_INFO || call->verb == KV_VERB_CERT)
        text = ((const struct kv_msg_uri *)call->msg)->uri;
    if (kv_uri_parse(text, strlen(text), uri, NULL) != 0 || uri->name[0] == '\0')
        kv_str_cut(uri->name, sizeof(uri->name), "NAME", strlen("NAME"));
}

/* What a TLS server needs, or for other uses a role that is wider. */
static const char *role_for(const struct kv_client_call *call)
{
    bool is_for_tls = call->verb != KV_VERB_DECRYPT && call->verb != KV_VERB_DERIVE;
    if (call->verb == KV_VERB_DECRYPT)
        is_for_tls = ((const struct kv_msg_decrypt *)call->msg)->enc == KV_ENC_TLS;
    return is_for_tls ? "tls-server" : "crypto-user";
}

/* What ends in a log or on a terminal is one line and no command. */
static void wash(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

/* The daemon refused: pass on what it says, and help where it gives no hint. */
static int refused(const struct kv_client_call *call, const struct kv_frame *reply,
                   struct kv_err *err)
{
    struct kv_msg_error msg;
    if (kv_msg_error_get(reply->payload, &msg) != 0)
        return kv_err_set(err, reply->status, "client.refused",
                          "the key daemon refused: %s", kv_code_text(reply->status));
    wash(msg.id);
    wash(msg.message);
    wash(msg.hint);
    int rc = kv_err_set(err, reply->status, msg.id, "%s", msg.message);
    if (msg.hint[0] != '\0') {
        kv_err_hint(err, "%s", msg.hint);
    } else if (rc == KV_E_SEALED) {
        kv_err_hint(err, "open it with `keyvault slot open`");
    } else if (rc == KV_E_DENIED) {
        struct kv_uri uri;
        name_of(call, &uri);
        kv_err_hint(err,
                    "keyvault access grant unix:USER --role %s --scope keys/%s, USER "
                    "being uid %lu",
                    role_for(call), uri.name, (unsigned long)geteuid());
    }
    return rc;
}

static int exchange(const struct request *request, struct kv_conn *conn,
                    const struct kv_client_call *call)
{
    struct kv_conn_target limits;
    struct kv_frame reply;
    fill_target(request->client, "", &limits);
    limits.deadline_ms = request->deadline_ms;
    size_t begin = kv_conn_begin(conn, call->verb);
    int rc = put_message(&conn->out, call->verb, call->msg);
    if (rc != 0)
        return kv_err_set(request->err, rc, "client.bad-verb", "no such request");
    kv_frame_end(&conn->out, begin);
    rc = kv_conn_exchange(conn, &limits, &reply, request->err);
    if (rc != 0) {
        kv_conn_drop(conn);
        return rc;
    }
    if (reply.status != 0)
        rc = refused(call, &reply, request->err);
    else
        rc = call->on_reply(call->arg, reply.payload, request->err);
    kv_buf_reset(&conn->in); /* a decrypted secret does not linger */
    return rc;
}

static int compare_key(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    const struct kv_client_key *key = arg;
    struct kv_msg_key found;
    if (kv_msg_key_get(payload, &found) != 0)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon sent a malformed key description");
    if (memcmp(found.version, key->version, KV_ID_LEN) == 0 &&
        found.spki.len == key->spki.len &&
        memcmp(found.spki.data, key->spki.data, key->spki.len) == 0)
        return 0;
    int rc = kv_err_set(err, KV_E_INTEGRITY, "client.key-mismatch",
                        "the daemon's key %s has another public key than the one "
                        "loaded",
                        key->uri);
    kv_err_hint(err, "write the key file again with `keyvault key uri-pem` and restart "
                     "this program");
    return rc;
}

/* Ask for the grant and compare, once per key and life of the daemon. */
static int open_key(const struct request *request, struct kv_conn *conn)
{
    struct kv_client *client = request->client;
    const struct kv_client_key *key = request->call->key;
    uint64_t life = current_life(client);
    if (key == NULL || atomic_load(key->opened) == life)
        return 0;
    int64_t open_from_ms = atomic_load(&client->open_from_ms);
    if (open_from_ms != 0 && now_ms() < open_from_ms)
        return 0;
    struct kv_msg_uri msg = {.ops = 0};
    int rc = kv_str_copy(msg.uri, sizeof(msg.uri), key->uri);
    if (rc != 0)
        return kv_err_set(request->err, rc, "client.too-big",
                          "the key's URI is too long");
    const struct kv_client_call open_call = {.verb = KV_VERB_OPEN,
                                             .msg = &msg,
                                             .key = key,
                                             .on_reply = compare_key,
                                             .arg = (void *)(uintptr_t)key};
    rc = exchange(request, conn, &open_call);
    if (rc == 0)
        atomic_store(key->opened, life);
    if (rc != KV_E_UNAVAILABLE || conn->fd < 0 || conn->is_broken)
        return rc;
    /* The daemon is there, but whom it asks for new grants is not. A grant that it has
     * given before, to another worker, still holds: let it decide by the version. */
    atomic_store(&client->open_from_ms, now_ms() + client->config.reply_timeout_ms);
    *request->err = KV_ERR_INIT;
    return 0;
}

/* Whether the daemon has hung up on a connection that waited: looked at once after each
 * end of a life, when every connection of the pool may be one to the former daemon. */
static bool is_stale(const struct kv_client *client, struct kv_conn *conn)
{
    const uint32_t life = atomic_load(&client->life);
    if (conn->life == life)
        return false;
    conn->life = life;
    return !kv_conn_is_quiet(conn);
}

/* One attempt on a claimed connection. `may_retry` becomes true when the connection
 * had served before and broke now. */
static int attempt(const struct request *request, struct kv_conn *conn, bool *may_retry)
{
    struct kv_client *client = request->client;
    const struct kv_client_key *key = request->call->key;
    *may_retry = false;
    /* That of a wait context stays: its owner still has it, and it was looked at. */
    if (conn->fd >= 0 && conn->on_wait == NULL &&
        (!kv_conn_is_usable(conn) || is_stale(client, conn)))
        kv_conn_close(conn);
    int rc = 0;
    if (conn->fd < 0)
        KV_TRY(connect_any(request, conn));
    bool was_opened = key != NULL && atomic_load(key->opened) == current_life(client);
    rc = open_key(request, conn);
    if (rc == 0)
        rc = exchange(request, conn, request->call);
    if (rc != 0 && (conn->fd < 0 || conn->is_broken)) {
        begin_life(client);
        *may_retry = rc == KV_E_UNAVAILABLE;
    } else if (rc == KV_E_NOT_FOUND && was_opened) {
        atomic_store(key->opened, 0); /* the daemon forgot it: open again */
        *may_retry = true;
    }
out:
    return rc;
}

/* The same in an ASYNC job, on the connection of its wait context. False when there is
 * none to use, or when it broke: the ordinary way is still open then. */
static bool attempt_async(const struct request *request, int *rc)
{
    struct kv_client *client = request->client;
    bool may_retry = false;
    struct kv_conn *conn = client->config.is_async ? kv_async_conn(client) : NULL;
    if (conn == NULL)
        return false;
    *rc = 0;
    if (conn->fd < 0)
        *rc = connect_any(request, conn);
    if (*rc == 0 && conn->on_wait == NULL)
        may_retry = kv_async_announce(client, conn) != 0;
    if (*rc == 0 && !may_retry)
        *rc = attempt(request, conn, &may_retry);
    kv_async_settle(conn);
    return !may_retry;
}

/* The ordinary way: wait for the answer on a connection of the pool. */
static int attempt_pooled(const struct request *request, bool *may_retry)
{
    struct kv_pool *pool = &request->client->pool;
    struct kv_pool_slot *slot = kv_pool_claim(pool, request->deadline_ms);
    if (slot == NULL) {
        *may_retry = false;
        return kv_err_set(request->err, KV_E_TIMEOUT, "client.timeout",
                          "every connection to the key daemon was busy for too long");
    }
    int rc = attempt(request, &slot->conn, may_retry);
    kv_pool_release(pool, slot);
    return rc;
}

static int perform(struct kv_client *client, const struct kv_client_call *call,
                   struct kv_err *err)
{
    int rc = 0;
    bool may_retry = true;
    if (client->config.bad_setting[0] != '\0')
        return kv_err_set(err, KV_E_INVALID, "client.bad-setting", "%s",
                          client->config.bad_setting);
    int64_t most_ms =
        client->config.connect_timeout_ms + client->config.reply_timeout_ms;
    if (call->limit_ms != 0 && call->limit_ms < most_ms)
        most_ms = call->limit_ms;
    const struct request request = {
        .client = client, .call = call, .err = err, .deadline_ms = now_ms() + most_ms};
    if (attempt_async(&request, &rc))
        return rc;
    for (int i = 0; i < 2 && may_retry; i++) {
        *err = KV_ERR_INIT;
        rc = attempt_pooled(&request, &may_retry);
    }
    return rc;
}

static const char *verb_name(enum kv_verb verb)
{
    static const char *const names[] = {
        [KV_VERB_OPEN] = "OPEN",     [KV_VERB_INFO] = "INFO",
        [KV_VERB_CERT] = "CERT",     [KV_VERB_LIST] = "LIST",
        [KV_VERB_SIGN] = "SIGN",     [KV_VERB_DECRYPT] = "DECRYPT",
        [KV_VERB_DERIVE] = "DERIVE",
    };
    const size_t n = sizeof(names) / sizeof(names[0]);
    return (size_t)verb < n && names[verb] != NULL ? names[verb] : "OTHER";
}

/* Not inline: a host's thread may have a small stack, and this one is seldom needed. */
__attribute__((noinline)) static void trace(const struct kv_client *client,
                                            const struct kv_client_call *call,
                                            int64_t begin_us, int rc,
                                            const struct kv_err *err)
{
    char list[KV_URI_MAX + 1] = "-";
    struct kv_trace_entry entry = {.verb = verb_name(call->verb),
                                   .uri = list,
                                   .begin_us = begin_us,
                                   .result = rc == 0 ? NULL : err->id};
    if (rc != 0 && err->id[0] == '\0')
        entry.result = kv_code_name(rc);
    if (call->key != NULL) {
        entry.uri = call->key->uri;
    } else if (call->verb == KV_VERB_LIST) {
        const struct kv_msg_list *msg = call->msg;
        struct kv_uri uri = {.collection = (enum kv_uri_collection)msg->collection};
        kv_str_cut(uri.vault, sizeof(uri.vault), msg->vault, strlen(msg->vault));
        if (kv_uri_format(&uri, list, sizeof(list)) != 0)
            list[0] = '-';
    } else {
        entry.uri = ((const struct kv_msg_uri *)call->msg)->uri;
    }
    kv_trace_write(client->config.trace, &entry);
}

int kv_client_call(struct kv_client *client, const struct kv_client_call *call,
                   struct kv_err *err)
{
    if (client->config.trace == NULL)
        return perform(client, call, err);
    const int64_t begin_us = kv_trace_begin_us();
    const int rc = perform(client, call, err);
    trace(client, call, begin_us, rc, err);
    return rc;
}

/* It was no answer: what comes next would wait as well. */
static bool is_silent(int rc, const struct kv_err *err)
{
    return rc == KV_E_UNAVAILABLE || rc == KV_E_TIMEOUT ||
           kv_str_has_prefix(err->id, "client.");
}

int kv_client_check(struct kv_client *client, const struct kv_client_key *key,
                    struct kv_err *err)
{
    struct kv_err found = KV_ERR_INIT;
    struct kv_msg_uri msg = {.ops = 0};
    if (now_ms() < atomic_load(&client->check_from_ms) ||
        kv_str_copy(msg.uri, sizeof(msg.uri), key->uri) != 0)
        return 0;
    const struct kv_client_call call = {.verb = KV_VERB_INFO,
                                        .msg = &msg,
                                        .on_reply = compare_key,
                                        .arg = (void *)(uintptr_t)key,
                                        .limit_ms = KV_CLIENT_CHECK_MS};
    int rc = kv_client_call(client, &call, &found);
    if (rc == KV_E_INTEGRITY && strcmp(found.id, "client.key-mismatch") == 0) {
        if (err != NULL)
            *err = found;
        return rc;
    }
    if (rc != 0 && is_silent(rc, &found))
        atomic_store(&client->check_from_ms, now_ms() + KV_CLIENT_PAUSE_MS);
    return 0;
}
