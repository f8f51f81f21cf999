/*
 * Lists in pages. The position is the last name (or version) that the client has
 * seen, not a number: items written meanwhile neither repeat nor hide others.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/b64.h"
#include "store/core/str.h"

#define PAGE_MAX 25

bool kv_call_query(const struct kv_call *call, const char *name, char *out,
                   size_t out_size)
{
    if (call->request == NULL)
        return false;
    int found = kv_query_get(kv_http_query(call->request), name, out, out_size);
    if (found < 0)
        out[0] = '\0';
    return found != 0;
}

static int bad_page(struct kv_call *call, const char *name)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_INVALID, "api.bad-page",
               "the query parameter '%s' is out of range", name);
    kv_call_fail(&call->task, KV_E_INVALID, &err);
    return KV_E_INVALID;
}

static int read_token(const char *token, char after_name[KV_NAME_MAX + 1])
{
    struct kv_buf text;
    kv_buf_init(&text, KV_NAME_MAX);
    int rc = kv_b64_decode(KV_B64_URL, token, strlen(token), &text);
    if (rc == 0 && !kv_name_is_valid((const char *)text.data, text.len))
        rc = KV_E_INVALID;
    if (rc == 0)
        kv_str_cut(after_name, KV_NAME_MAX + 1, (const char *)text.data, text.len);
    kv_buf_free(&text);
    return rc;
}

int kv_call_page(struct kv_call *call, size_t *limit, char after_name[KV_NAME_MAX + 1])
{
    const char *query = call->request != NULL ? kv_http_query(call->request) : "";
    char text[256];
    int64_t number = PAGE_MAX;
    int found = kv_query_get(query, "maxresults", text, sizeof(text));
    if (found < 0 || (found == 1 && kv_str_to_i64(text, 1, PAGE_MAX, &number) != 0))
        return bad_page(call, "maxresults");
    after_name[0] = '\0';
    found = kv_query_get(query, "$skiptoken", text, sizeof(text));
    if (found < 0 || (found == 1 && read_token(text, after_name) != 0))
        return bad_page(call, "$skiptoken");
    *limit = (size_t)number;
    return 0;
}

int kv_call_versions_query(struct kv_call *call, uint8_t kind,
                           struct kv_list_query *query)
{
    char after[KV_NAME_MAX + 1];
    memset(query, 0, sizeof(*query));
    int rc = kv_call_page(call, &query->limit, after);
    if (rc != 0)
        return rc;
    query->what = KV_LIST_VERSIONS;
    query->kind = kind;
    memcpy(query->vault, call->task.vault->id, KV_ID_LEN);
    memcpy(query->name, call->name, sizeof(query->name));
    if (after[0] != '\0' &&
        (strlen(after) != KV_VERSION_TEXT_LEN ||
         kv_hex_decode(query->after_version, KV_ID_LEN, after) != 0))
        return bad_page(call, "$skiptoken");
    return 0;
}

json_t *kv_call_next_link(const struct kv_call *call, const char *last_name)
{
    char url[300];
    if (last_name == NULL || call->request == NULL)
        return json_null();
    struct kv_buf link;
    kv_buf_init(&link, 32768);
    kv_service_vault_url(call->task.service, call->task.vault, url, sizeof(url));
    (void)kv_buf_append_str(&link, url);
    (void)kv_buf_append_str(&link, kv_http_path(call->request));
    size_t n = kv_query_copy(kv_http_query(call->request), "$skiptoken", &link);
    (void)kv_buf_append_str(&link, n == 0 ? "?$skiptoken=" : "&$skiptoken=");
    int rc = kv_b64_encode(KV_B64_URL, last_name, strlen(last_name), &link);
    const char *text = rc == 0 ? kv_buf_cstr(&link) : NULL;
    json_t *json = text != NULL ? json_string(text) : NULL;
    kv_buf_free(&link);
    return json;
}

void kv_call_reply_list(struct kv_call *call, json_t *items, bool is_versions)
{
    char last[2 * KV_ID_LEN + 1];
    const char *position = NULL;
    if (call->task.has_more && is_versions) {
        kv_hex_encode(last, call->task.last_version, KV_ID_LEN);
        position = last;
    } else if (call->task.has_more) {
        position = call->task.last_name;
    }
    kv_call_reply(call, 200,
                  json_pack("{s:o,s:o}", "value", items, "nextLink",
                            kv_call_next_link(call, position)));
}
