/* The service's end of the role channel, for tests. */
#include "tests/support/fake_service.h"

#include <stdio.h>
#include <string.h>

#include "store/core/str.h"

#define BEAT_MS 100

static const uint8_t fake_vault[KV_ID_LEN] = {0xfa, 0xce};

static int vault_key(struct kv_fake_service *service)
{
    struct kv_buf payload;
    struct kv_bytes reply;
    struct kv_role_vault_key msg = {
        .term = 1, .wrapped = {service->wrapped.data, service->wrapped.len}};
    const bool is_new = service->wrapped.len == 0;
    memcpy(msg.vault, service->vault, KV_ID_LEN);
    kv_buf_init(&payload, 512);
    kv_role_vault_key_put(&payload, &msg);
    int rc = kv_channel_client_call(
        &service->client, is_new ? KV_ROLE_VAULT_KEY_NEW : KV_ROLE_VAULT_KEY_OPEN,
        &payload, &reply);
    if (rc == 0 && is_new) {
        rc = kv_role_vault_key_get(reply, &msg);
        if (rc == 0)
            rc = kv_buf_append(&service->wrapped, msg.wrapped.data, msg.wrapped.len);
    }
    kv_buf_free(&payload);
    return rc;
}

int kv_fake_service_open(struct kv_fake_service *service, const char *path)
{
    struct kv_msg_hello_reply hello;
    if (service->vault[0] == 0) {
        memcpy(service->vault, fake_vault, KV_ID_LEN);
        kv_buf_init(&service->wrapped, 256);
        atomic_store(&service->lease_ms, KV_LEASE_MS);
        atomic_store(&service->epoch, 1);
    }
    int rc = kv_channel_client_open(&service->client, path);
    if (rc == 0)
        rc = kv_channel_client_hello(&service->client, KV_ROLE_HELLO, 0, &hello);
    if (rc == 0)
        rc = vault_key(service);
    return rc;
}

int kv_fake_service_key(struct kv_fake_service *service, const char *name,
                        const struct kv_role_key_new *request)
{
    struct kv_buf payload;
    struct kv_bytes reply;
    struct kv_role_key_made made;
    char version[2 * KV_ID_LEN + 1];
    KV_ASSERT(service->n_keys < KV_FAKE_KEYS_MAX);
    struct kv_fake_key *key = &service->keys[service->n_keys];
    struct kv_role_key_new msg = *request;
    msg.ident = (struct kv_ident){.kind = KV_KIND_KEY, .term = 1, .row_version = 1};
    memcpy(msg.ident.vault, service->vault, KV_ID_LEN);
    KV_ASSERT(kv_str_copy(msg.ident.name, sizeof(msg.ident.name), name) == 0);
    memset(msg.ident.version, (int)service->n_keys + 1, KV_ID_LEN);
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    kv_role_key_new_put(&payload, &msg);
    int rc = kv_channel_client_call(&service->client,
                                    msg.import == KV_IMPORT_NONE ? KV_ROLE_KEY_GENERATE
                                                                 : KV_ROLE_KEY_IMPORT,
                                    &payload, &reply);
    kv_buf_free(&payload);
    if (rc == 0)
        rc = kv_role_key_made_get(reply, &made);
    if (rc != 0)
        return rc;
    key->ident = msg.ident;
    kv_buf_init(&key->row, KV_ROW_MAX);
    kv_hex_encode(version, msg.ident.version, KV_ID_LEN);
    (void)snprintf(key->uri, sizeof(key->uri), "keyvault://default/keys/%s/%s", name,
                   version); /* both are short */
    service->n_keys++;
    return kv_buf_append(&key->row, made.row.data, made.row.len);
}

static const struct kv_fake_key *find_key(const struct kv_fake_service *service,
                                          const struct kv_role_grant *grant)
{
    struct kv_uri uri;
    const bool has_uri = kv_uri_parse(grant->uri, strlen(grant->uri), &uri, NULL) == 0;
    for (unsigned i = 0; i < service->n_keys; i++) {
        const struct kv_fake_key *key = &service->keys[i];
        if (grant->has_version
                ? memcmp(key->ident.version, grant->version, KV_ID_LEN) == 0
                : has_uri && strcmp(uri.name, key->ident.name) == 0)
            return key;
    }
    return NULL;
}

static int answer_grant(struct kv_fake_service *service, struct kv_bytes question,
                        struct kv_buf *out, struct kv_err *err)
{
    struct kv_role_grant grant;
    if (kv_role_grant_get(question, &grant) != 0)
        return kv_err_set(err, KV_E_INVALID, "fake.bad-question", "malformed");
    const struct kv_fake_key *key = find_key(service, &grant);
    if (key == NULL)
        return kv_err_set(err, KV_E_NOT_FOUND, "fake.not-found", "no such key");
    if (!grant.is_info && (key->ops == 0 || key->uid != grant.uid))
        return kv_err_set(err, KV_E_DENIED, "fake.denied", "uid %u may not", grant.uid);
    struct kv_role_granted granted = {.ident = key->ident,
                                      .ops = key->uid == grant.uid ? key->ops : 0,
                                      .lease_ms = atomic_load(&service->lease_ms),
                                      .epoch = atomic_load(&service->epoch),
                                      .row = {key->row.data, key->row.len}};
    memcpy(granted.uri, key->uri, sizeof(granted.uri));
    kv_role_granted_put(out, &granted);
    return 0;
}

static int answer_cert(const struct kv_fake_service *service, struct kv_bytes question,
                       struct kv_buf *out, struct kv_err *err)
{
    static const uint8_t big[KV_CERT_DER_MAX];
    struct kv_role_grant grant;
    const unsigned n_big = atomic_load(&service->n_big_certs);
    struct kv_msg_certs certs = {.n = 1, .der = {{(const uint8_t *)"leaf", 4}}};
    if (kv_role_grant_get(question, &grant) != 0 || !grant.is_info)
        return kv_err_set(err, KV_E_INVALID, "fake.bad-question", "malformed");
    for (unsigned i = 0; i < n_big; i++)
        certs.der[i] = (struct kv_bytes){big, sizeof(big)};
    if (n_big > 0)
        certs.n = (uint16_t)n_big;
    memcpy(certs.uri, grant.uri, sizeof(certs.uri));
    kv_msg_certs_put(out, &certs);
    return 0;
}

static int answer_list(const struct kv_fake_service *service, struct kv_bytes question,
                       struct kv_buf *out, struct kv_err *err)
{
    struct kv_role_list list;
    struct kv_msg_list_reply reply = {.n = 0};
    if (kv_role_list_get(question, &list) != 0)
        return kv_err_set(err, KV_E_INVALID, "fake.bad-question", "malformed");
    for (unsigned i = 0; i < service->n_keys; i++) {
        (void)snprintf(reply.entry[i].uri, sizeof(reply.entry[i].uri), "keyvault:%s",
                       service->keys[i].ident.name);
        reply.n++;
    }
    kv_msg_list_reply_put(out, &reply);
    return 0;
}

static void answer(struct kv_fake_service *service, const struct kv_frame *question)
{
    int rc = 0;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf payload;
    struct kv_buf out;
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    if (question->verb == KV_ROLE_GRANT)
        rc = answer_grant(service, question->payload, &payload, &err);
    else if (question->verb == KV_ROLE_CERT)
        rc = answer_cert(service, question->payload, &payload, &err);
    else
        rc = answer_list(service, question->payload, &payload, &err);
    const struct kv_frame reply = {.id = question->id,
                                   .verb = question->verb,
                                   .flags = KV_FRAME_REPLY,
                                   .status = rc};
    const size_t begin = kv_frame_begin(&out, &reply);
    if (rc == 0)
        kv_wire_put_raw(&out, payload.data, payload.len);
    else
        kv_msg_error_put(&out, &err);
    kv_frame_end(&out, begin);
    (void)kv_channel_client_send(&service->client, out.data, out.len); /* read tells */
    kv_buf_free(&payload);
    kv_buf_free(&out);
}

static void beat(struct kv_fake_service *service)
{
    struct kv_buf payload;
    struct kv_role_beat msg = {.epoch = atomic_load(&service->epoch)};
    memcpy(msg.vault, service->vault, KV_ID_LEN);
    kv_buf_init(&payload, 64);
    kv_role_beat_put(&payload, &msg);
    (void)kv_channel_client_request(&service->client, KV_ROLE_BEAT, &payload);
    kv_buf_free(&payload);
}

static void *service_main(void *arg)
{
    struct kv_fake_service *service = arg;
    struct kv_buf *held = &service->client.held;
    struct kv_frame question;
    size_t len = 0;
    while (kv_frame_decode(held->data, held->len, KV_FRAME_MAX_ROLE, &question, &len) ==
           1) {
        answer(service, &question);
        kv_buf_consume(held, len);
    }
    while (atomic_load(&service->is_running)) {
        struct kv_frame frame;
        const int rc = kv_channel_client_read(&service->client, &frame, BEAT_MS);
        if (rc == KV_E_TIMEOUT)
            beat(service);
        else if (rc != 0)
            break;
        else if (frame.flags == 0) {
            atomic_fetch_add(&service->n_questions, 1);
            if (!atomic_load(&service->is_silent))
                answer(service, &frame);
        }
    }
    return NULL;
}

void kv_fake_service_run(struct kv_fake_service *service)
{
    atomic_store(&service->is_running, true);
    beat(service);
    KV_ASSERT(pthread_create(&service->thread, NULL, service_main, service) == 0);
}

void kv_fake_service_hang_up(struct kv_fake_service *service)
{
    if (atomic_exchange(&service->is_running, false))
        KV_ASSERT(pthread_join(service->thread, NULL) == 0);
    kv_channel_client_close(&service->client);
}

void kv_fake_service_free(struct kv_fake_service *service)
{
    kv_fake_service_hang_up(service);
    for (unsigned i = 0; i < service->n_keys; i++)
        kv_buf_free(&service->keys[i].row);
    kv_buf_free(&service->wrapped);
    memset(service, 0, sizeof(*service));
}
