/*
 * The query string: names and values are percent-encoded on the wire, both
 * ("api%2Dversion=7.5"). A plus sign is a plus sign.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int kv_percent_decode(const char *text, size_t len, char *out, size_t out_size)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_value(text[i + 1]) : -1;
            int low = len - i > 2 ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return KV_E_INVALID;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (n + 1 >= out_size)
            return KV_E_TOO_BIG;
        out[n++] = c;
    }
    out[n] = '\0';
    return kv_utf8_is_valid(out, n) ? 0 : KV_E_INVALID;
}

struct pair {
    const char *text; /* whole "name=value" */
    size_t len;
    size_t name_len;
};

/* Step through the pairs; false at the end. Empty ones are passed over. */
static bool next_pair(const char **at, struct pair *pair)
{
    while (**at == '&')
        (*at)++;
    if (**at == '\0')
        return false;
    pair->text = *at;
    pair->len = strcspn(*at, "&");
    const char *equals = memchr(pair->text, '=', pair->len);
    pair->name_len = equals != NULL ? (size_t)(equals - pair->text) : pair->len;
    *at += pair->len;
    return true;
}

static bool is_named(const struct pair *pair, const char *name)
{
    char text[64];
    return kv_percent_decode(pair->text, pair->name_len, text, sizeof(text)) == 0 &&
           kv_str_equal_nocase(text, name);
}

bool kv_query_is_valid(const char *query)
{
    struct pair pair;
    char text[2048];
    while (next_pair(&query, &pair))
        if (kv_percent_decode(pair.text, pair.len, text, sizeof(text)) != 0)
            return false;
    return true;
}

int kv_query_get(const char *query, const char *name, char *out, size_t out_size)
{
    struct pair pair;
    while (next_pair(&query, &pair)) {
        if (!is_named(&pair, name))
            continue;
        size_t skip = pair.name_len < pair.len ? pair.name_len + 1 : pair.len;
        int rc = kv_percent_decode(pair.text + skip, pair.len - skip, out, out_size);
        return rc == 0 ? 1 : rc;
    }
    return 0;
}

size_t kv_query_copy(const char *query, const char *without, struct kv_buf *out)
{
    struct pair pair;
    size_t n = 0;
    while (next_pair(&query, &pair)) {
        if (is_named(&pair, without))
            continue;
        (void)kv_buf_append_str(out, n++ == 0 ? "?" : "&");
        (void)kv_buf_append(out, pair.text, pair.len);
    }
    return n;
}

/* 7.4-preview.1 is what Debian 12's package for Python asks for by default. */
bool kv_api_version_is_known(const char *version)
{
    static const char *const known[] = {
        "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.4-preview.1", "2025-07-01"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(version, known[i]) == 0)
            return true;
    return false;
}
