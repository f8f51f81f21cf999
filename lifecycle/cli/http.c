/*
 * Requests written by hand, replies read by llhttp; the bytes go through
 * transport.c, which knows sockets and TLS.
 *
 * A kept connection may have been closed by the server meanwhile. A GET is then sent
 * once more on a new one; anything else is not, because it may have been done.
 */
#include "lifecycle/cli/http.h"

#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/transport.h"
#include "store/core/secret.h"
#include "store/core/str.h"

struct kv_client {
    struct kv_transport transport;
    char host[KV_CLIENT_HOST_MAX];
    char port[8]; /* "" for a Unix socket */
    char token[8192];
};

/* --- opening -------------------------------------------------------------------- */

static int bad_api(const char *api, struct kv_err *err)
{
    (void)kv_err_set(err, KV_E_INVALID, "cli.bad-api",
                     "'%s' is no address of the API; expected unix:PATH or "
                     "https://HOST[:PORT]",
                     api);
    kv_err_hint(err, "set KEYVAULT_API; keyvaultd --dev DIR writes it into DIR/env");
    return KV_E_INVALID;
}

static int read_url(struct kv_client *client, const char *api, struct kv_err *err)
{
    const char *host = api + strlen("https://");
    size_t len = strcspn(host, "/");
    const char *port = "443";
    char authority[KV_CLIENT_HOST_MAX + 8];
    int64_t number = 0;
    if (len == 0 || len >= sizeof(authority) ||
        (host[len] == '/' && host[len + 1] != '\0'))
        return bad_api(api, err);
    kv_str_cut(authority, sizeof(authority), host, len);
    char *colon = strrchr(authority, ':');
    if (colon != NULL && strchr(colon, ']') == NULL) {
        *colon = '\0';
        port = colon + 1;
    }
    if (kv_str_to_i64(port, 1, 65535, &number) != 0 || authority[0] == '\0' ||
        strcspn(authority, "@?#% \"\\") != strlen(authority) ||
        kv_str_copy(client->host, sizeof(client->host), authority) != 0 ||
        kv_str_copy(client->port, sizeof(client->port), port) != 0)
        return bad_api(api, err);
    return 0;
}

static int set_token(struct kv_client *client, const char *token, struct kv_err *err)
{
    if (token == NULL)
        return 0;
    if (kv_str_copy(client->token, sizeof(client->token), token) != 0 ||
        strcspn(token, "\r\n ") != strlen(token))
        return kv_err_set(err, KV_E_INVALID, "cli.bad-token",
                          "KEYVAULT_TOKEN is no bearer token");
    return 0;
}

static int set_address(struct kv_client *client, const struct kv_client_config *config,
                       struct kv_err *err)
{
    const char *api = config->api;
    int rc = 0;
    if (kv_str_has_prefix(api, "unix:") && api[5] != '\0') {
        rc = kv_transport_set_unix(&client->transport, api + 5, err);
        return rc != 0 ? rc
                       : kv_str_copy(client->host, KV_CLIENT_HOST_MAX, "localhost");
    }
    if (!kv_str_has_prefix(api, "https://"))
        return bad_api(api, err);
    rc = read_url(client, api, err);
    if (rc == 0)
        rc = kv_transport_set_tls(&client->transport, config->ca, err);
    return rc == 0 ? set_token(client, config->token, err) : rc;
}

int kv_client_open(struct kv_client **out, const struct kv_client_config *config,
                   struct kv_err *err)
{
    struct kv_client *client = kv_wiping_calloc(1, sizeof(*client));
    if (client == NULL)
        return KV_E_NOMEM;
    kv_transport_init(&client->transport);
    int rc = set_address(client, config, err);
    if (rc == 0)
        *out = client;
    else
        kv_client_close(client);
    return rc;
}

void kv_client_close(struct kv_client *client)
{
    if (client == NULL)
        return;
    kv_transport_fini(&client->transport);
    kv_wiping_free(client);
}

bool kv_client_is_unix(const struct kv_client *client)
{
    return client->port[0] == '\0';
}

const char *kv_client_host(const struct kv_client *client)
{
    return client->host;
}

int kv_client_set_host(struct kv_client *client, const char *host, struct kv_err *err)
{
    if (kv_str_copy(client->host, sizeof(client->host), host) != 0)
        return kv_err_set(err, KV_E_TOO_BIG, "cli.bad-api",
                          "the host name of the vault is too long");
    kv_transport_disconnect(&client->transport);
    return 0;
}

/* --- the request ---------------------------------------------------------------- */

static int write_request(const struct kv_client *client, const char *method,
                         const char *target, struct kv_bytes body, struct kv_buf *out)
{
    (void)kv_buf_append_str(out, method);
    (void)kv_buf_append_str(out, " ");
    (void)kv_buf_append_str(out, target);
    (void)kv_buf_append_str(out, " HTTP/1.1\r\nHost: ");
    (void)kv_buf_append_str(out, client->host);
    if (client->port[0] != '\0' && strcmp(client->port, "443") != 0) {
        (void)kv_buf_append_str(out, ":");
        (void)kv_buf_append_str(out, client->port);
    }
    (void)kv_buf_append_str(out, "\r\nAccept: application/json\r\n"
                                 "User-Agent: keyvault/" KV_VERSION "\r\n");
    if (client->token[0] != '\0') {
        (void)kv_buf_append_str(out, "Authorization: Bearer ");
        (void)kv_buf_append_str(out, client->token);
        (void)kv_buf_append_str(out, "\r\n");
    }
    if (body.data != NULL)
        (void)kv_buf_append_str(out, "Content-Type: application/json\r\n");
    if (body.data != NULL || strcmp(method, "GET") != 0)
        (void)kv_buf_appendf(out, "Content-Length: %zu\r\n", body.len);
    (void)kv_buf_append_str(out, "\r\n");
    (void)kv_buf_append(out, body.data, body.len);
    return kv_buf_status(out);
}

/* --- the reply ------------------------------------------------------------------ */

struct reading {
    llhttp_t parser;
    struct kv_reply *reply;
    bool is_complete;
};

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    return kv_buf_append(&reading->reply->body, at, len) == 0 ? 0 : -1;
}

static int on_message_complete(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    /* 1xx replies announce another one. */
    if (parser->status_code < 200)
        return 0;
    reading->reply->status = parser->status_code;
    reading->is_complete = true;
    return HPE_PAUSED;
}

static int bad_reply(const char *why, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                      "what answers there does not speak HTTP as expected (%s)", why);
}

/* The stream ended: good only if that is how the reply says its length. */
static int on_end(struct reading *reading, bool got_any, struct kv_err *err)
{
    llhttp_errno_t end = llhttp_finish(&reading->parser);
    if (reading->is_complete)
        return 0;
    if (got_any || end != HPE_OK)
        return bad_reply("it ends in the middle", err);
    return kv_err_set(err, KV_E_UNAVAILABLE, "cli.unreachable",
                      "the API closed the connection without an answer");
}

static int on_bytes(struct reading *reading, const uint8_t *bytes, size_t n,
                    struct kv_err *err)
{
    llhttp_errno_t result = llhttp_execute(&reading->parser, (const char *)bytes, n);
    if (result == HPE_OK || reading->is_complete)
        return 0;
    return bad_reply(kv_buf_status(&reading->reply->body) != 0
                         ? "too long"
                         : llhttp_errno_name(result),
                     err);
}

/* `*got_any` tells whether the server answered at all. */
static int read_reply(struct kv_client *client, struct kv_reply *reply, bool *got_any,
                      struct kv_err *err)
{
    struct reading reading = {.reply = reply};
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&reading.parser, HTTP_RESPONSE, &settings);
    reading.parser.data = &reading;
    uint8_t bytes[8192];
    int rc = 0;
    while (rc == 0 && !reading.is_complete) {
        size_t n = 0;
        rc = kv_transport_read(&client->transport, bytes, sizeof(bytes), &n, err);
        if (rc == 0 && n == 0) {
            rc = on_end(&reading, *got_any, err);
        } else if (rc == 0) {
            *got_any = true;
            rc = on_bytes(&reading, bytes, n, err);
        }
    }
    if (rc == 0 && llhttp_should_keep_alive(&reading.parser) == 0)
        kv_transport_disconnect(&client->transport);
    kv_wipe(bytes, sizeof(bytes));
    return rc;
}

static int exchange_once(struct kv_client *client, const struct kv_buf *request,
                         struct kv_reply *reply, bool *got_any, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(kv_transport_connect(&client->transport, client->host, client->port, err));
    KV_TRY(kv_transport_write(&client->transport, request->data, request->len, err));
    KV_TRY(read_reply(client, reply, got_any, err));
out:
    if (rc != 0)
        kv_transport_disconnect(&client->transport);
    return rc;
}

int kv_client_exchange(struct kv_client *client, const char *method, const char *target,
                       struct kv_bytes body, struct kv_reply *reply, struct kv_err *err)
{
    *reply = (struct kv_reply){0};
    kv_buf_init_secret(&reply->body, KV_CLIENT_REPLY_MAX);
    struct kv_buf request;
    kv_buf_init_secret(&request, KV_CLIENT_REPLY_MAX);
    bool was_connected = kv_transport_is_connected(&client->transport);
    bool got_any = false;
    struct kv_err first = KV_ERR_INIT;
    int rc = 0;
    KV_TRY(write_request(client, method, target, body, &request));
    rc = exchange_once(client, &request, reply, &got_any, &first);
    if (rc == KV_E_UNAVAILABLE && was_connected && !got_any &&
        strcmp(method, "GET") == 0) {
        first = KV_ERR_INIT;
        rc = exchange_once(client, &request, reply, &got_any, &first);
    }
    if (rc != 0 && err != NULL && err->code == 0)
        *err = first;
out:
    kv_buf_free(&request);
    return rc;
}

void kv_reply_free(struct kv_reply *reply)
{
    kv_buf_free(&reply->body);
}
