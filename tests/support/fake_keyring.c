/*
 * The fake keyring's server: one accepting thread per listener, one thread per
 * connection, blocking I/O. Simple on purpose; stop() shuts every socket down and
 * joins everything.
 */
#include "tests/support/fake_keyring.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/core/clock.h"
#include "store/core/str.h"
#include "tests/support/fake_hostile.h"
#include "tests/support/fake_keys.h"

#define MAX_CONNECTIONS 1024

struct fake_keyring {
    struct fake_key keys[FAKE_N_KEYS];
    struct fake_counts counts;
    _Atomic int mode;
    uint8_t installation[KV_ID_LEN];
    char path[108];
    char twin[108];
    int listeners[2];
    pthread_t acceptors[2];
    pthread_mutex_t lock;
    unsigned n_connections;   /* at most so many at once so far */
    int fds[MAX_CONNECTIONS]; /* -1: ended, its thread may be joined */
    pthread_t threads[MAX_CONNECTIONS];
};

struct peer {
    struct fake_keyring *keyring;
    int fd;
    unsigned index;
};

/* Keys are made when they are first asked for. */
static const struct fake_key *make_ready(struct fake_keyring *keyring, size_t i)
{
    pthread_mutex_lock(&keyring->lock);
    int rc = fake_key_make(&keyring->keys[i], NULL);
    pthread_mutex_unlock(&keyring->lock);
    return rc == 0 ? &keyring->keys[i] : NULL;
}

static const struct fake_key *find_by_version(struct fake_keyring *keyring,
                                              const uint8_t *version)
{
    for (size_t i = 0; i < FAKE_N_KEYS; i++) {
        if (memcmp(keyring->keys[i].version, version, KV_ID_LEN) == 0)
            return make_ready(keyring, i);
    }
    return NULL;
}

static const struct fake_key *find_by_uri(struct fake_keyring *keyring,
                                          const char *text)
{
    struct kv_uri uri;
    if (kv_uri_parse(text, strlen(text), &uri, NULL) != 0 ||
        (uri.vault[0] != '\0' && !kv_str_equal_nocase(uri.vault, "default")))
        return NULL;
    for (size_t i = 0; i < FAKE_N_KEYS; i++) {
        const struct fake_key *key = &keyring->keys[i];
        if (!key->is_absent && kv_str_equal_nocase(uri.name, key->name) &&
            (!uri.has_version || memcmp(uri.version, key->version, KV_ID_LEN) == 0))
            return make_ready(keyring, i);
    }
    return NULL;
}

static void full_uri(const struct fake_key *key, enum kv_uri_collection collection,
                     bool has_version, char *out, size_t out_size)
{
    struct kv_uri uri = {.collection = collection, .has_version = has_version};
    (void)snprintf(uri.name, sizeof(uri.name), "%s", key->name);
    memcpy(uri.version, key->version, KV_ID_LEN);
    if (kv_uri_format(&uri, out, out_size) != 0)
        out[0] = '\0';
}

static int answer_key(struct fake_keyring *keyring, const struct kv_frame *request,
                      struct kv_buf *out)
{
    struct kv_msg_uri msg;
    if (kv_msg_uri_get(request->payload, &msg) != 0)
        return KV_E_INVALID;
    const struct fake_key *key = find_by_uri(keyring, msg.uri);
    if (key == NULL)
        return KV_E_NOT_FOUND;
    const struct fake_key *shown = key;
    if (keyring->mode == FAKE_SWAPPED && request->verb == KV_VERB_OPEN)
        shown = make_ready(keyring, key == &keyring->keys[1] ? 6 : 1);
    struct kv_msg_key reply = {.kty = key->kty,
                               .curve = key->curve,
                               .bits = (uint16_t)EVP_PKEY_get_bits(key->pkey),
                               .ops = KV_OP_SIGN | KV_OP_DECRYPT | KV_OP_DERIVE,
                               .spki = {.data = shown->spki, .len = shown->spki_len}};
    memcpy(reply.version, key->version, KV_ID_LEN);
    full_uri(key, KV_URI_KEYS, true, reply.uri, sizeof(reply.uri));
    kv_msg_key_put(out, &reply);
    return 0;
}

static int answer_cert(struct fake_keyring *keyring, const struct kv_frame *request,
                       struct kv_buf *out)
{
    struct kv_msg_uri msg;
    if (kv_msg_uri_get(request->payload, &msg) != 0)
        return KV_E_INVALID;
    const struct fake_key *key = find_by_uri(keyring, msg.uri);
    if (key == NULL)
        return KV_E_NOT_FOUND;
    struct kv_msg_certs reply = {.n = (uint16_t)key->n_certs};
    full_uri(key, KV_URI_CERTIFICATES, true, reply.uri, sizeof(reply.uri));
    for (unsigned i = 0; i < key->n_certs; i++)
        reply.der[i] = (struct kv_bytes){.data = key->cert[i], .len = key->cert_len[i]};
    kv_msg_certs_put(out, &reply);
    return 0;
}

/* Pages of two, so that paging is exercised. */
static int answer_list(struct fake_keyring *keyring, const struct kv_frame *request,
                       struct kv_buf *out)
{
    struct kv_msg_list msg;
    if (kv_msg_list_get(request->payload, &msg) != 0)
        return KV_E_INVALID;
    struct kv_msg_list_reply *reply = calloc(1, sizeof(*reply));
    if (reply == NULL)
        return KV_E_NOMEM;
    bool is_behind = msg.after[0] == '\0';
    for (size_t i = 0; i < FAKE_N_KEYS; i++) {
        const struct fake_key *key = &keyring->keys[i];
        if (is_behind && reply->n < 2 && !key->is_absent) {
            struct kv_msg_list_entry *entry = &reply->entry[reply->n++];
            full_uri(key, msg.collection, false, entry->uri, sizeof(entry->uri));
            (void)snprintf(entry->desc, sizeof(entry->desc), "%s", key->desc);
        } else if (is_behind && !key->is_absent) {
            reply->has_more = 1;
        }
        if (!is_behind)
            is_behind = strcmp(msg.after, key->name) == 0;
    }
    kv_msg_list_reply_put(out, reply);
    free(reply);
    return 0;
}

static int answer_hello(struct fake_keyring *keyring, const struct kv_frame *request,
                        struct kv_buf *out)
{
    struct kv_msg_hello msg;
    if (kv_msg_hello_get(request->payload, &msg) != 0)
        return KV_E_INVALID;
    struct kv_msg_hello_reply reply = {.version = KV_PROTOCOL_VERSION,
                                       .has_service = 1};
    memcpy(reply.installation, keyring->installation, KV_ID_LEN);
    kv_msg_hello_reply_put(out, &reply);
    return 0;
}

static int operate(struct fake_keyring *keyring, const struct kv_frame *request,
                   struct kv_buf *out)
{
    struct kv_msg_sign sign;
    struct kv_msg_decrypt decrypt;
    struct kv_msg_derive derive;
    const struct fake_key *key = NULL;
    if (request->verb == KV_VERB_SIGN) {
        atomic_fetch_add(&keyring->counts.signs, 1);
        if (kv_msg_sign_get(request->payload, &sign) != 0)
            return KV_E_INVALID;
        key = find_by_version(keyring, sign.version);
        return key == NULL ? KV_E_NOT_FOUND : fake_key_sign(key, &sign, out);
    }
    if (request->verb == KV_VERB_DECRYPT) {
        if (kv_msg_decrypt_get(request->payload, &decrypt) != 0)
            return KV_E_INVALID;
        key = find_by_version(keyring, decrypt.version);
        return key == NULL ? KV_E_NOT_FOUND : fake_key_decrypt(key, &decrypt, out);
    }
    if (kv_msg_derive_get(request->payload, &derive) != 0)
        return KV_E_INVALID;
    key = find_by_version(keyring, derive.version);
    return key == NULL ? KV_E_NOT_FOUND : fake_key_derive(key, &derive, out);
}

static int answer(struct fake_keyring *keyring, const struct kv_frame *request,
                  struct kv_buf *out)
{
    if (request->verb != KV_VERB_HELLO)
        atomic_fetch_add(&keyring->counts.requests, 1);
    if (keyring->mode == FAKE_SEALED && request->verb != KV_VERB_HELLO)
        return KV_E_SEALED;
    if (keyring->mode == FAKE_DENIED && request->verb != KV_VERB_HELLO &&
        request->verb != KV_VERB_INFO)
        return KV_E_DENIED;
    if (keyring->mode == FAKE_NO_SERVICE &&
        (request->verb == KV_VERB_OPEN || request->verb == KV_VERB_INFO))
        return KV_E_UNAVAILABLE;
    switch (request->verb) {
    case KV_VERB_HELLO:
        return answer_hello(keyring, request, out);
    case KV_VERB_OPEN:
        atomic_fetch_add(&keyring->counts.opens, 1);
        return answer_key(keyring, request, out);
    case KV_VERB_INFO:
        atomic_fetch_add(&keyring->counts.infos, 1);
        return answer_key(keyring, request, out);
    case KV_VERB_CERT:
        return answer_cert(keyring, request, out);
    case KV_VERB_LIST:
        return answer_list(keyring, request, out);
    case KV_VERB_SIGN:
    case KV_VERB_DECRYPT:
    case KV_VERB_DERIVE:
        return operate(keyring, request, out);
    default:
        return KV_E_INVALID;
    }
}

static bool reply_to(struct fake_keyring *keyring, int fd,
                     const struct kv_frame *request)
{
    struct kv_buf payload;
    struct kv_buf out;
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_buf_init(&out, KV_FRAME_MAX);
    int mode = keyring->mode;
    int status = answer(keyring, request, &payload);
    struct kv_frame reply = {.id = request->id,
                             .verb = request->verb,
                             .flags = KV_FRAME_REPLY,
                             .status = status};
    size_t begin = kv_frame_begin(&out, &reply);
    if (status != 0) {
        struct kv_err err = KV_ERR_INIT;
        (void)kv_err_set(&err, status, "fake.refused", "the fake keyring says: %s",
                         kv_code_text(status));
        kv_msg_error_put(&out, &err);
    } else {
        (void)kv_buf_append(&out, payload.data, payload.len);
    }
    kv_frame_end(&out, begin);
    const struct fake_scene scene = {
        .mode = &keyring->mode, .fd = fd, .request = request, .out = &out};
    bool go_on = fake_hostile_applies(mode, request->verb)
                     ? fake_hostile_reply(mode, &scene)
                     : fake_send_all(fd, out.data, out.len);
    kv_buf_free(&payload);
    kv_buf_free(&out);
    return go_on;
}

static void *serve(void *arg)
{
    struct peer peer = *(struct peer *)arg;
    free(arg);
    struct kv_buf in;
    kv_buf_init(&in, KV_FRAME_MAX);
    bool go_on = true;
    while (go_on) {
        uint8_t chunk[4096];
        ssize_t n = recv(peer.fd, chunk, sizeof(chunk), 0);
        if (n <= 0 || kv_buf_append(&in, chunk, (size_t)n) != 0)
            break;
        struct kv_frame frame;
        size_t frame_len = 0;
        int got = 0;
        while (go_on && (got = kv_frame_decode(in.data, in.len, KV_FRAME_MAX, &frame,
                                               &frame_len)) == 1) {
            go_on = reply_to(peer.keyring, peer.fd, &frame);
            kv_buf_consume(&in, frame_len);
        }
        if (got < 0)
            break;
    }
    kv_buf_free(&in);
    pthread_mutex_lock(&peer.keyring->lock);
    (void)close(peer.fd);
    peer.keyring->fds[peer.index] = -1;
    pthread_mutex_unlock(&peer.keyring->lock);
    return NULL;
}

struct acceptor {
    struct fake_keyring *keyring;
    int fd;
};

/* Where to keep another connection, with the lock held; MAX_CONNECTIONS if nowhere. */
static unsigned find_place(struct fake_keyring *keyring)
{
    for (unsigned i = 0; i < keyring->n_connections; i++) {
        if (keyring->fds[i] == -1) {
            (void)pthread_join(keyring->threads[i],
                               NULL); /* it has let go of the lock */
            return i;
        }
    }
    return keyring->n_connections < MAX_CONNECTIONS ? keyring->n_connections++
                                                    : MAX_CONNECTIONS;
}

static void *accept_all(void *arg)
{
    struct acceptor acceptor = *(struct acceptor *)arg;
    struct fake_keyring *keyring = acceptor.keyring;
    free(arg);
    for (;;) {
        int fd = accept4(acceptor.fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        struct peer *peer = calloc(1, sizeof(*peer));
        pthread_mutex_lock(&keyring->lock);
        unsigned i = find_place(keyring);
        if (peer == NULL || i == MAX_CONNECTIONS) {
            (void)close(fd);
            free(peer);
        } else {
            *peer = (struct peer){.keyring = keyring, .fd = fd, .index = i};
            keyring->fds[i] = fd;
            atomic_fetch_add(&keyring->counts.connections, 1);
            if (pthread_create(&keyring->threads[i], NULL, serve, peer) != 0)
                abort();
        }
        pthread_mutex_unlock(&keyring->lock);
    }
}

static int listen_on(const char *address)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    size_t len = strlen(address);
    memcpy(sun.sun_path, address, len);
    socklen_t sun_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (address[0] == '@') {
        sun.sun_path[0] = '\0';
        sun_len--;
    } else {
        (void)unlink(address);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sun_len) != 0 ||
        listen(fd, 128) != 0) {
        (void)fprintf(stderr, "fake_keyring: %s: %s\n", address, strerror(errno));
        return -1;
    }
    return fd;
}

static int start_acceptor(struct fake_keyring *keyring, int i, const char *address)
{
    keyring->listeners[i] = listen_on(address);
    struct acceptor *acceptor = calloc(1, sizeof(*acceptor));
    if (keyring->listeners[i] < 0 || acceptor == NULL)
        return -1;
    *acceptor = (struct acceptor){.keyring = keyring, .fd = keyring->listeners[i]};
    return pthread_create(&keyring->acceptors[i], NULL, accept_all, acceptor);
}

struct fake_keyring *fake_keyring_start(const char *path, const char *state_dir,
                                        enum fake_mode mode)
{
    struct fake_keyring *keyring = calloc(1, sizeof(*keyring));
    if (keyring == NULL || strlen(path) >= sizeof(keyring->path))
        return NULL;
    keyring->mode = (int)mode;
    (void)snprintf(keyring->path, sizeof(keyring->path), "%s", path);
    pthread_mutex_init(&keyring->lock, NULL);
    if (kv_rand_fill(kv_rand_system(), keyring->installation, KV_ID_LEN) != 0 ||
        fake_keys_load(state_dir, keyring->keys) != 0) {
        (void)fprintf(stderr, "fake_keyring: cannot make keys\n");
        return NULL;
    }
    char id[2 * KV_ID_LEN + 1];
    kv_hex_encode(id, keyring->installation, KV_ID_LEN);
    (void)snprintf(keyring->twin, sizeof(keyring->twin), "@keyvault/%s/keys", id);
    if (start_acceptor(keyring, 0, keyring->path) != 0 ||
        start_acceptor(keyring, 1, keyring->twin) != 0)
        return NULL;
    return keyring;
}

void fake_keyring_set_mode(struct fake_keyring *keyring, enum fake_mode mode)
{
    keyring->mode = (int)mode;
}

void fake_keyring_prepare(struct fake_keyring *keyring, const char *uri)
{
    (void)find_by_uri(keyring, uri);
}

EVP_PKEY *fake_keyring_software(struct fake_keyring *keyring, const char *uri)
{
    const struct fake_key *key = find_by_uri(keyring, uri);
    return key != NULL && EVP_PKEY_up_ref(key->pkey) ? key->pkey : NULL;
}

struct fake_counts *fake_keyring_counts(struct fake_keyring *keyring)
{
    return &keyring->counts;
}

const char *fake_keyring_twin(const struct fake_keyring *keyring)
{
    return keyring->twin;
}

void fake_keyring_stop(struct fake_keyring *keyring)
{
    if (keyring == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        (void)shutdown(keyring->listeners[i], SHUT_RDWR);
        (void)pthread_join(keyring->acceptors[i], NULL);
        (void)close(keyring->listeners[i]);
    }
    pthread_mutex_lock(&keyring->lock);
    for (unsigned i = 0; i < keyring->n_connections; i++) {
        if (keyring->fds[i] >= 0)
            (void)shutdown(keyring->fds[i], SHUT_RDWR);
    }
    pthread_mutex_unlock(&keyring->lock);
    for (unsigned i = 0; i < keyring->n_connections; i++)
        (void)pthread_join(keyring->threads[i], NULL);
    (void)unlink(keyring->path);
    fake_keys_free(keyring->keys);
    pthread_mutex_destroy(&keyring->lock);
    free(keyring);
}
