/*
 * Request targets: a method's letter, a path, and behind the first `?` a query. A match
 * is consistent in itself, decoding yields UTF-8 no longer than its source, and a
 * copied query says what the first one said, without the parameter left out.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_path(const char *method, const char *path)
{
    struct kv_route_match match;
    memset(&match, 'x', sizeof(match));
    kv_route_find(method, path, &match);
    KV_ASSERT(memchr(match.allow, '\0', sizeof(match.allow)) != NULL);
    KV_ASSERT(match.is_path_known == (match.allow[0] != '\0'));
    if (match.route == NULL) {
        KV_ASSERT(strstr(match.allow, method) == NULL);
        return;
    }
    KV_ASSERT(match.is_path_known && strstr(match.allow, method) != NULL);
    KV_ASSERT(strcmp(match.route->method, method) == 0);
    size_t name_len = strnlen(match.name, sizeof(match.name));
    size_t version_len = strnlen(match.version, sizeof(match.version));
    KV_ASSERT(name_len < sizeof(match.name) && version_len < sizeof(match.version));
    KV_ASSERT(kv_utf8_is_valid(match.name, name_len));
    KV_ASSERT(kv_utf8_is_valid(match.version, version_len));
    KV_ASSERT(name_len == 0 || strstr(match.route->path, "{name}") != NULL);
    KV_ASSERT(version_len == 0 || strstr(match.route->path, "{version}") != NULL);
    const char *collection = kv_route_collection(match.route);
    KV_ASSERT(collection == NULL || strstr(match.route->path, collection) != NULL);
}

static void check_decoding(const char *text, size_t len)
{
    char out[256];
    char again[256];
    int rc = kv_percent_decode(text, len, out, sizeof(out));
    if (rc != 0)
        return;
    size_t n = strlen(out);
    KV_ASSERT(n <= len && kv_utf8_is_valid(out, n));
    if (strchr(out, '%') == NULL) {
        KV_ASSERT(kv_percent_decode(out, n, again, sizeof(again)) == 0);
        KV_ASSERT(strcmp(out, again) == 0);
    }
}

static void check_query(const char *query)
{
    static const char *const names[] = {"api-version", "maxresults", "$skiptoken", "a"};
    struct kv_buf copy;
    kv_buf_init(&copy, strlen(query) + 2);
    size_t n = kv_query_copy(query, "$skiptoken", &copy);
    const char *text = kv_buf_cstr(&copy);
    KV_ASSERT(text != NULL && (n == 0) == (text[0] == '\0'));
    const char *rest = n > 0 ? text + 1 : text;
    bool is_valid = kv_query_is_valid(query);
    KV_ASSERT(!is_valid || kv_query_is_valid(rest));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char before[64];
        char after[64];
        int found = kv_query_get(query, names[i], before, sizeof(before));
        int kept = kv_query_get(rest, names[i], after, sizeof(after));
        if (i == 2) {
            KV_ASSERT(kept == 0);
            continue;
        }
        KV_ASSERT(found == kept);
        KV_ASSERT(found != 1 || strcmp(before, after) == 0);
        KV_ASSERT(!is_valid || found >= 0 || found == KV_E_TOO_BIG);
        if (i == 0 && found == 1)
            (void)kv_api_version_is_known(before);
    }
    kv_buf_free(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const methods[] = {"GET",    "POST", "PUT",    "PATCH",
                                          "DELETE", "HEAD", "OPTIONS"};
    if (len == 0)
        return 0;
    const char *method = methods[data[0] % (sizeof(methods) / sizeof(methods[0]))];
    char *path = strndup((const char *)data + 1, len - 1);
    KV_ASSERT(path != NULL);
    size_t path_len = strcspn(path, "?");
    const char *query = "";
    if (path[path_len] == '?') {
        path[path_len] = '\0';
        query = path + path_len + 1;
    }
    check_path(method, path);
    check_decoding(path, path_len);
    check_query(query);
    free(path);
    return 0;
}
