/*
 * Reader and writer of keyvault: URIs.
 *
 * The length and the alphabet are judged first, so everything after that (messages
 * included) handles letters, digits, hyphens and slashes only. Then the text is
 * split at slashes from left to right:
 *
 *   keyvault: [ // VAULT / ] [ COLLECTION / ] [ NAME [ / VERSION ] ]
 *
 * Results are gathered in a local object and copied out when all is well.
 */
#include "store/core/uri.h"

#include "store/core/str.h"

#include <stdio.h>
#include <string.h>

#define SCHEME "keyvault:"
#define SCHEME_LEN (sizeof(SCHEME) - 1)
#define VAULT_NAME_MIN 3U

/* What is left to read; `at` is not terminated. */
struct rest {
    const char *at;
    size_t len;
};

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           c == '-';
}

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool kv_name_is_valid(const char *text, size_t len)
{
    if (len < 1 || len > KV_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(text[i]))
            return false;
    }
    return true;
}

bool kv_vault_name_is_valid(const char *text, size_t len)
{
    if (len < VAULT_NAME_MIN || len > KV_VAULT_NAME_MAX || !is_letter(text[0]) ||
        text[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(text[i]) || (text[i] == '-' && text[i + 1] == '-'))
            return false;
    }
    return true;
}

/* Split off what stands before the next slash, and the slash. False: no slash, all
 * of it is in `head`. */
static bool split(struct rest *rest, struct rest *head)
{
    const char *slash = rest->len == 0 ? NULL : memchr(rest->at, '/', rest->len);
    *head = *rest;
    if (slash == NULL) {
        *rest = (struct rest){0};
        return false;
    }
    head->len = (size_t)(slash - rest->at);
    rest->at = slash + 1;
    rest->len -= head->len + 1;
    return true;
}

/* The whole text: length, scheme and alphabet. */
static int check_text(const char *text, size_t len, struct kv_err *err)
{
    if (len > KV_URI_MAX)
        return kv_err_set(err, KV_E_TOO_BIG, "uri.too-long",
                          "the URI has %zu bytes, at most %d are allowed", len,
                          KV_URI_MAX);
    if (len < SCHEME_LEN || strncasecmp(text, SCHEME, SCHEME_LEN) != 0) {
        kv_err_set(err, KV_E_INVALID, "uri.bad-scheme",
                   "the text does not begin with \"" SCHEME "\"");
        kv_err_hint(err, "write " SCHEME "NAME or " SCHEME "//VAULT/keys/NAME");
        return KV_E_INVALID;
    }
    for (size_t i = SCHEME_LEN; i < len; i++) {
        if (is_name_char(text[i]) || text[i] == '/')
            continue;
        kv_err_set(err, KV_E_INVALID, "uri.bad-character",
                   "byte %zu of the URI is 0x%02x, which no " SCHEME " URI contains",
                   i + 1, (unsigned)(uint8_t)text[i]);
        kv_err_hint(err, "use letters, digits, hyphens and slashes only; there is no "
                         "query, no fragment and no percent-encoding");
        return KV_E_INVALID;
    }
    return 0;
}

static int parse_vault(struct rest *rest, struct kv_uri *uri, struct kv_err *err)
{
    struct rest vault;
    if (!split(rest, &vault)) {
        kv_err_set(err, KV_E_INVALID, "uri.bad-form",
                   "no slash follows the vault in the URI");
        kv_err_hint(err, "write " SCHEME "//%.*s/ to list the vault", (int)vault.len,
                    vault.at);
        return KV_E_INVALID;
    }
    if (vault.len == 0)
        return 0;
    if (!kv_vault_name_is_valid(vault.at, vault.len)) {
        kv_err_set(err, KV_E_INVALID, "uri.bad-vault", "\"%.*s\" is not a vault name",
                   (int)vault.len, vault.at);
        kv_err_hint(err, "a vault name has 3 to 24 letters, digits and hyphens, begins "
                         "with a letter, and has no double or final hyphen");
        return KV_E_INVALID;
    }
    memcpy(uri->vault, vault.at, vault.len);
    return 0;
}

static int parse_collection(struct rest word, struct kv_uri *uri, struct kv_err *err)
{
    if (word.len == 4 && memcmp(word.at, "keys", 4) == 0) {
        uri->collection = KV_URI_KEYS;
        return 0;
    }
    if (word.len == 12 && memcmp(word.at, "certificates", 12) == 0) {
        uri->collection = KV_URI_CERTIFICATES;
        return 0;
    }
    kv_err_set(err, KV_E_INVALID, "uri.bad-collection",
               "\"%.*s\" stands where \"keys\" or \"certificates\" is expected",
               (int)word.len, word.at);
    return KV_E_INVALID;
}

static int parse_name(struct rest name, struct kv_uri *uri, struct kv_err *err)
{
    if (!kv_name_is_valid(name.at, name.len)) {
        if (name.len == 0)
            kv_err_set(err, KV_E_INVALID, "uri.bad-name",
                       "the URI has an empty object name");
        else
            kv_err_set(err, KV_E_INVALID, "uri.bad-name",
                       "\"%.*s\" is not an object name", (int)name.len, name.at);
        kv_err_hint(err, "an object name has 1 to 127 letters, digits and hyphens");
        return KV_E_INVALID;
    }
    memcpy(uri->name, name.at, name.len);
    return 0;
}

static int parse_version(struct rest version, struct kv_uri *uri, struct kv_err *err)
{
    if (version.len != KV_VERSION_TEXT_LEN ||
        kv_hex_decode(uri->version, KV_ID_LEN, version.at) != 0) {
        kv_err_set(err, KV_E_INVALID, "uri.bad-version",
                   "\"%.*s\" is not a version of \"%s\"", (int)version.len, version.at,
                   uri->name);
        kv_err_hint(err, "a version is 32 lower-case hexadecimal digits; leave it and "
                         "its slash out for the newest");
        return KV_E_INVALID;
    }
    uri->has_version = true;
    return 0;
}

/* NAME or NAME/VERSION. */
static int parse_object(struct rest rest, struct kv_uri *uri, struct kv_err *err)
{
    struct rest name;
    bool has_version = split(&rest, &name);
    int rc = parse_name(name, uri, err);
    if (rc != 0 || !has_version)
        return rc;
    return parse_version(rest, uri, err);
}

/* What follows keyvault://VAULT/ . */
static int parse_path(struct rest rest, struct kv_uri *uri, struct kv_err *err)
{
    if (rest.len == 0)
        return 0;
    struct rest word;
    bool has_slash = split(&rest, &word);
    int rc = parse_collection(word, uri, err);
    if (rc != 0)
        return rc;
    if (!has_slash) {
        kv_err_set(err, KV_E_INVALID, "uri.bad-form",
                   "no slash follows \"%.*s\" in the URI", (int)word.len, word.at);
        kv_err_hint(err, "add /NAME, or a slash to list");
        return KV_E_INVALID;
    }
    return rest.len == 0 ? 0 : parse_object(rest, uri, err);
}

/* What follows keyvault: when no // does. */
static int parse_short(struct rest rest, struct kv_uri *uri, struct kv_err *err)
{
    if (rest.len == 0)
        return 0;
    struct rest word;
    if (!split(&rest, &word))
        return parse_name(word, uri, err);
    int rc = parse_collection(word, uri, err);
    return rc != 0 ? rc : parse_object(rest, uri, err);
}

int kv_uri_parse(const char *text, size_t len, struct kv_uri *out, struct kv_err *err)
{
    int rc = check_text(text, len, err);
    if (rc != 0)
        return rc;
    struct kv_uri uri = {.collection = KV_URI_ANY};
    struct rest rest = {.at = text + SCHEME_LEN, .len = len - SCHEME_LEN};
    if (rest.len >= 2 && rest.at[0] == '/' && rest.at[1] == '/') {
        rest.at += 2;
        rest.len -= 2;
        rc = parse_vault(&rest, &uri, err);
        if (rc == 0)
            rc = parse_path(rest, &uri, err);
    } else {
        rc = parse_short(rest, &uri, err);
    }
    if (rc == 0)
        *out = uri;
    return rc;
}

static bool is_consistent(const struct kv_uri *uri)
{
    size_t vault_len = strnlen(uri->vault, sizeof(uri->vault));
    size_t name_len = strnlen(uri->name, sizeof(uri->name));
    if (vault_len > 0 && !kv_vault_name_is_valid(uri->vault, vault_len))
        return false;
    if (name_len > 0 && !kv_name_is_valid(uri->name, name_len))
        return false;
    if (uri->has_version && name_len == 0)
        return false;
    /* The short form has no room for a vault or a version. */
    return uri->collection != KV_URI_ANY || name_len == 0 ||
           (vault_len == 0 && !uri->has_version);
}

static const char *collection_text(enum kv_uri_collection collection)
{
    switch (collection) {
    case KV_URI_ANY:
        return "";
    case KV_URI_KEYS:
        return "keys/";
    case KV_URI_CERTIFICATES:
        return "certificates/";
    }
    return NULL;
}

int kv_uri_format(const struct kv_uri *uri, char *out, size_t out_size)
{
    const char *collection = collection_text(uri->collection);
    if (collection == NULL || !is_consistent(uri))
        return KV_E_INVALID;

    char version[KV_VERSION_TEXT_LEN + 2] = "";
    if (uri->has_version) {
        version[0] = '/';
        kv_hex_encode(version + 1, uri->version, KV_ID_LEN);
    }
    bool is_short = uri->collection == KV_URI_ANY && uri->name[0] != '\0';
    char text[KV_URI_MAX + 1];
    if (is_short)
        (void)snprintf(text, sizeof(text), SCHEME "%s", uri->name);
    else
        (void)snprintf(text, sizeof(text), SCHEME "//%s/%s%s%s", uri->vault, collection,
                       uri->name, version);
    return kv_str_copy(out, out_size, text);
}
