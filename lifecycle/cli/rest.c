/*
 * JSON over http.c, with the errors of the API turned into ours.
 *
 * --vault over the Unix socket: the API picks the vault by host name, whose domain only
 * the status tells. So the vault is looked up there, and an unknown name is an error.
 * The commands of the noun `vault` are about no vault's contents: none is looked up.
 */
#include "lifecycle/cli/rest.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/http.h"
#include "store/core/secret.h"
#include "store/core/str.h"
#include "store/core/uri.h"

#define API_VERSION "api-version=2025-07-01"
#define STATUS_PATH "/keyvault/v1/status"
#define PAGES_MAX 100000

const char *kv_rest_address(void)
{
    const char *api = getenv("KEYVAULT_API");
    return api != NULL && api[0] != '\0' ? api : "unix:" KV_API_DEFAULT_SOCKET;
}

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

/* --- errors --------------------------------------------------------------------- */

static int code_of_status(int status, const char *id)
{
    if (status == 404)
        return KV_E_NOT_FOUND;
    if (status == 401 || status == 403)
        return KV_E_DENIED;
    if (status == 409)
        return KV_E_CONFLICT;
    if (status == 429)
        return KV_E_BUSY;
    if (status == 503)
        return strstr(id, "sealed") != NULL ? KV_E_SEALED : KV_E_UNAVAILABLE;
    return status >= 500 ? KV_E_INTERNAL : KV_E_INVALID;
}

/* Our API sends an id and a hint beside the contract's code and message; another
 * server of the contract sends code and message. */
static int fail_as_told(int status, const json_t *body, struct kv_err *err)
{
    const json_t *error = json_object_get(body, "error");
    const char *id = text_of(error, "id");
    const char *message = text_of(error, "message");
    const char *hint = text_of(error, "hint");
    int code = code_of_status(status, id);
    if (id[0] == '\0')
        id = text_of(error, "code");
    if (message[0] == '\0')
        (void)kv_err_set(err, code, "cli.refused", "the API answers with status %d",
                         status);
    else
        (void)kv_err_set(err, code, id[0] != '\0' ? id : "cli.refused", "%s", message);
    if (hint[0] != '\0')
        kv_err_hint(err, "%s", hint);
    else if (status == 401)
        kv_err_hint(err, "set KEYVAULT_TOKEN, or use the Unix socket as a user with a "
                         "role");
    return code;
}

/* --- one call -------------------------------------------------------------------- */

static int parse_body(const struct kv_reply *reply, json_t **out, struct kv_err *err)
{
    *out = NULL;
    if (reply->body.len == 0)
        return 0;
    json_error_t why;
    *out = json_loadb((const char *)reply->body.data, reply->body.len,
                      JSON_REJECT_DUPLICATES, &why);
    if (*out != NULL)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                      "the API's answer (status %d) is no JSON", reply->status);
}

static int write_body(const json_t *body, struct kv_buf *out, struct kv_bytes *bytes)
{
    *bytes = (struct kv_bytes){0};
    if (body == NULL)
        return 0;
    size_t len = json_dumpb(body, NULL, 0, JSON_COMPACT);
    uint8_t *space = len > 0 ? kv_buf_extend(out, len) : NULL;
    if (space == NULL || json_dumpb(body, (char *)space, len, JSON_COMPACT) != len)
        return KV_E_NOMEM;
    *bytes = (struct kv_bytes){out->data, out->len};
    return 0;
}

/* Send to exactly this target (path and whole query). */
static int call_target(struct kv_cli *cli, const char *method, const char *target,
                       const json_t *body, json_t **reply, struct kv_err *err)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, KV_CLIENT_REPLY_MAX);
    struct kv_bytes bytes;
    struct kv_reply raw = {0};
    json_t *parsed = NULL;
    int rc = 0;
    KV_TRY(write_body(body, &text, &bytes));
    KV_TRY(kv_client_exchange(cli->client, method, target, bytes, &raw, err));
    struct kv_err no_json = KV_ERR_INIT;
    rc = parse_body(&raw, &parsed, &no_json);
    if (raw.status < 200 || raw.status > 299)
        rc = fail_as_told(raw.status, parsed, err);
    else if (rc != 0)
        *err = no_json;
    if (rc == 0 && reply != NULL) {
        *reply = parsed;
        parsed = NULL;
    }
out:
    json_decref(parsed);
    kv_reply_free(&raw);
    kv_buf_free(&text);
    return rc;
}

static int call_path(struct kv_cli *cli, const char *method, const char *path,
                     const json_t *body, json_t **reply, struct kv_err *err)
{
    struct kv_buf target;
    kv_buf_init(&target, 4096);
    (void)kv_buf_append_str(&target, path);
    (void)kv_buf_append_str(&target, strchr(path, '?') != NULL ? "&" : "?");
    (void)kv_buf_append_str(&target, API_VERSION);
    const char *text = kv_buf_cstr(&target);
    int rc =
        text != NULL ? call_target(cli, method, text, body, reply, err) : KV_E_NOMEM;
    kv_buf_free(&target);
    return rc;
}

/* --- the vault ------------------------------------------------------------------- */

static int no_vault(const char *vault, struct kv_err *err)
{
    (void)kv_err_set(err, KV_E_NOT_FOUND, "cli.no-vault", "there is no vault '%s'",
                     vault);
    kv_err_hint(err, "keyvault status lists the vaults");
    return KV_E_NOT_FOUND;
}

/* The entry of the status for a vault; NULL: the default one. Borrowed. */
static const json_t *find_vault(const json_t *status, const char *name)
{
    size_t i = 0;
    json_t *vault = NULL;
    json_array_foreach(json_object_get(status, "vaults"), i, vault)
    {
        bool is_wanted = name != NULL
                             ? kv_str_equal_nocase(text_of(vault, "name"), name)
                             : json_is_true(json_object_get(vault, "isDefault"));
        if (is_wanted)
            return vault;
    }
    return NULL;
}

static const char *wanted_vault(const struct kv_cli *cli)
{
    const char *vault = cli->invocation.vault;
    if (strcmp(cli->invocation.command->noun, "vault") == 0)
        return NULL;
    if (vault == NULL)
        vault = getenv("KEYVAULT_VAULT");
    return vault != NULL && vault[0] != '\0' ? vault : NULL;
}

/* Host names are NAME.DOMAIN: put another name in front. */
static int swap_vault_label(struct kv_cli *cli, const char *vault, struct kv_err *err)
{
    char host[KV_CLIENT_HOST_MAX];
    const char *dot = strchr(kv_client_host(cli->client), '.');
    if (dot == NULL)
        return no_vault(vault, err);
    int n = snprintf(host, sizeof(host), "%s%s", vault, dot);
    if (n < 0 || (size_t)n >= sizeof(host))
        return no_vault(vault, err);
    return kv_client_set_host(cli->client, host, err);
}

static int select_vault(struct kv_cli *cli, const char *vault, struct kv_err *err)
{
    json_t *status = NULL;
    int rc = 0;
    if (!kv_vault_name_is_valid(vault, strlen(vault)))
        return kv_cli_bad(err,
                          "'%s' is no vault name: 3 to 24 letters, digits and "
                          "hyphens",
                          vault);
    if (!kv_client_is_unix(cli->client))
        return swap_vault_label(cli, vault, err);
    KV_TRY(call_path(cli, "GET", STATUS_PATH, NULL, &status, err));
    const char *url = text_of(find_vault(status, vault), "url");
    if (!kv_str_has_prefix(url, "https://")) {
        rc = no_vault(vault, err);
        goto out;
    }
    char host[KV_CLIENT_HOST_MAX];
    const char *begin = strstr(url, "//") + 2;
    kv_str_cut(host, sizeof(host), begin, strcspn(begin, ":/"));
    rc = kv_client_set_host(cli->client, host, err);
out:
    json_decref(status);
    return rc;
}

static int open_client(struct kv_cli *cli, struct kv_err *err)
{
    if (cli->client != NULL)
        return 0;
    const char *ca = getenv("KEYVAULT_CA");
    const struct kv_client_config config = {
        .api = kv_rest_address(),
        .token = getenv("KEYVAULT_TOKEN"),
        .ca = ca != NULL && ca[0] != '\0' ? ca : NULL,
    };
    int rc = kv_client_open(&cli->client, &config, err);
    const char *vault = wanted_vault(cli);
    if (rc == 0 && vault != NULL)
        rc = select_vault(cli, vault, err);
    return rc;
}

int kv_rest_vault_name(struct kv_cli *cli, char *out, size_t out_size,
                       struct kv_err *err)
{
    json_t *status = NULL;
    int rc = 0;
    KV_TRY(open_client(cli, err));
    KV_TRY(call_path(cli, "GET", STATUS_PATH, NULL, &status, err));
    const char *wanted = wanted_vault(cli);
    const char *name = text_of(find_vault(status, wanted), "name");
    if (name[0] == '\0')
        rc = no_vault(wanted != NULL ? wanted : "default", err);
    else
        kv_str_cut(out, out_size, name, strlen(name));
out:
    json_decref(status);
    return rc;
}

/* --- for the commands ------------------------------------------------------------ */

int kv_rest_call(struct kv_cli *cli, const char *method, const char *path,
                 const json_t *body, json_t **reply, struct kv_err *err)
{
    int rc = open_client(cli, err);
    return rc != 0 ? rc : call_path(cli, method, path, body, reply, err);
}

int kv_rest_print(struct kv_cli *cli, const char *path, struct kv_err *err)
{
    json_t *reply = NULL;
    int rc = kv_rest_call(cli, "GET", path, NULL, &reply, err);
    if (rc == 0)
        rc = kv_cli_print_json(reply, err);
    json_decref(reply);
    return rc;
}

/* Path and query of a nextLink: it names the same API by its public host name. */
static const char *link_target(const char *link)
{
    const char *host = strstr(link, "://");
    return host != NULL ? strchr(host + 3, '/') : NULL;
}

static int append_page(json_t *all, const json_t *page, struct kv_err *err)
{
    const json_t *value = json_object_get(page, "value");
    if (!json_is_array(value))
        return kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                          "the API's list has no member 'value'");
    return json_array_extend(all, (json_t *)value) == 0 ? 0 : KV_E_NOMEM;
}

int kv_rest_list(struct kv_cli *cli, const char *path, json_t **items,
                 struct kv_err *err)
{
    json_t *all = json_array();
    json_t *page = NULL;
    int rc = all != NULL ? 0 : KV_E_NOMEM;
    if (rc == 0)
        rc = kv_rest_call(cli, "GET", path, NULL, &page, err);
    for (unsigned n = 0; rc == 0; n++) {
        KV_TRY(append_page(all, page, err));
        const char *link = json_string_value(json_object_get(page, "nextLink"));
        if (link == NULL || link[0] == '\0')
            break;
        const char *target = link_target(link);
        if (target == NULL || n >= PAGES_MAX) {
            rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                            "the API's list has a next page that cannot be followed");
            break;
        }
        json_t *next = NULL;
        rc = call_target(cli, "GET", target, NULL, &next, err);
        json_decref(page);
        page = next;
    }
out:
    json_decref(page);
    if (rc == 0)
        *items = all;
    else
        json_decref(all);
    return rc;
}

int kv_rest_object_path(char out[KV_REST_PATH_MAX], const char *collection,
                        const char *name, const char *version)
{
    int n = snprintf(out, KV_REST_PATH_MAX, "/%s/%s%s%s", collection, name,
                     version[0] != '\0' ? "/" : "", version);
    return n > 0 && n < KV_REST_PATH_MAX ? 0 : KV_E_TOO_BIG;
}

const char *kv_rest_id_version(const char *id)
{
    const char *slash = strrchr(id, '/');
    return slash != NULL && strlen(slash + 1) == KV_VERSION_TEXT_LEN ? slash + 1 : "";
}

void kv_rest_id_name(const char *id, char *out, size_t out_size)
{
    const char *path = link_target(id);
    const char *name = path != NULL ? strchr(path + 1, '/') : NULL;
    if (name != NULL)
        kv_str_cut(out, out_size, name + 1, strcspn(name + 1, "/"));
    else
        kv_str_cut(out, out_size, "", 0);
}
