/*
 * The grammar of uri.h, line by line, and every way to break it.
 */
#include "store/core/uri.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(uri, .timeout = 20);

#define V32 "0123456789abcdef0123456789abcdef"
#define N127                                                                           \
    "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ"                 \
    "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXY"

static const struct good_row {
    const char *text;
    const char *vault;
    enum kv_uri_collection collection;
    const char *name;
    bool has_version;
    const char *canonical; /* NULL: the text itself */
} good_rows[] = {
    {"keyvault://prod/keys/web", "prod", KV_URI_KEYS, "web", false, NULL},
    {"keyvault://prod/keys/web/" V32, "prod", KV_URI_KEYS, "web", true, NULL},
    {"keyvault:///keys/web", "", KV_URI_KEYS, "web", false, NULL},
    {"keyvault://a-b/certificates/Web-1", "a-b", KV_URI_CERTIFICATES, "Web-1", false,
     NULL},
    {"keyvault:///certificates/1/" V32, "", KV_URI_CERTIFICATES, "1", true, NULL},
    {"keyvault://prod/keys/", "prod", KV_URI_KEYS, "", false, NULL},
    {"keyvault:///certificates/", "", KV_URI_CERTIFICATES, "", false, NULL},
    {"keyvault://prod/", "prod", KV_URI_ANY, "", false, NULL},
    {"keyvault:///", "", KV_URI_ANY, "", false, NULL},
    {"keyvault:", "", KV_URI_ANY, "", false, "keyvault:///"},
    {"keyvault:web", "", KV_URI_ANY, "web", false, NULL},
    {"keyvault:keys", "", KV_URI_ANY, "keys", false, NULL},
    {"keyvault:keys/web", "", KV_URI_KEYS, "web", false, "keyvault:///keys/web"},
    {"keyvault:keys/web/" V32, "", KV_URI_KEYS, "web", true,
     "keyvault:///keys/web/" V32},
    {"keyvault:certificates/web", "", KV_URI_CERTIFICATES, "web", false,
     "keyvault:///certificates/web"},
    {"KeyVault:web", "", KV_URI_ANY, "web", false, "keyvault:web"},
    {"keyvault:///keys/" N127, "", KV_URI_KEYS, N127, false, NULL},
    {"keyvault://abcdefghijklmnopqrstuvwx/", "abcdefghijklmnopqrstuvwx", KV_URI_ANY, "",
     false, NULL},
    {"keyvault:---", "", KV_URI_ANY, "---", false, NULL},
};

Test(uri, reads_every_form_and_prints_it_back)
{
    for (size_t i = 0; i < sizeof(good_rows) / sizeof(good_rows[0]); i++) {
        const struct good_row *row = &good_rows[i];
        struct kv_uri uri;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_uri_parse(row->text, strlen(row->text), &uri, &err), 0,
                     "%s: %s", row->text, err.message);
        cr_expect_str_eq(uri.vault, row->vault, "%s", row->text);
        cr_expect_eq(uri.collection, row->collection, "%s", row->text);
        cr_expect_str_eq(uri.name, row->name, "%s", row->text);
        cr_expect_eq(uri.has_version, row->has_version, "%s", row->text);
        char out[KV_URI_MAX + 1];
        cr_assert_eq(kv_uri_format(&uri, out, sizeof(out)), 0, "%s", row->text);
        cr_expect_str_eq(out, row->canonical == NULL ? row->text : row->canonical);
    }
}

static const struct bad_row {
    const char *text;
    const char *id;
    const char *why;
} bad_rows[] = {
    {"", "uri.bad-scheme", "empty"},
    {"keyvault", "uri.bad-scheme", "no colon"},
    {"file:web", "uri.bad-scheme", "another scheme"},
    {" keyvault:web", "uri.bad-scheme", "space in front"},
    {"keyvault:we b", "uri.bad-character", "space"},
    {"keyvault:web?x=1", "uri.bad-character", "query"},
    {"keyvault:web#x", "uri.bad-character", "fragment"},
    {"keyvault:%77eb", "uri.bad-character", "percent-encoding"},
    {"keyvault:w\xC3\xA9", "uri.bad-character", "not ASCII"},
    {"keyvault:a_b", "uri.bad-character", "underscore"},
    {"keyvault://u@prod/keys/web", "uri.bad-character", "user information"},
    {"keyvault://prod:1/keys/web", "uri.bad-character", "port"},
    {"keyvault:keys/../web", "uri.bad-character", "dot segment"},
    {"keyvault://", "uri.bad-form", "no slash after the empty vault"},
    {"keyvault://prod", "uri.bad-form", "no slash after the vault"},
    {"keyvault://prod/keys", "uri.bad-form", "no slash after the collection"},
    {"keyvault://ab/", "uri.bad-vault", "vault too short"},
    {"keyvault://abcdefghijklmnopqrstuvwxy/", "uri.bad-vault", "vault too long"},
    {"keyvault://1ab/", "uri.bad-vault", "digit first"},
    {"keyvault://-ab/", "uri.bad-vault", "hyphen first"},
    {"keyvault://ab-/", "uri.bad-vault", "hyphen last"},
    {"keyvault://a--b/", "uri.bad-vault", "double hyphen"},
    {"keyvault://prod//web", "uri.bad-collection", "empty collection"},
    {"keyvault://prod/Keys/web", "uri.bad-collection", "case of the collection"},
    {"keyvault://prod/secrets/web", "uri.bad-collection", "unknown collection"},
    {"keyvault:/keys/web", "uri.bad-collection", "one slash"},
    {"keyvault:secrets/web", "uri.bad-collection", "short, unknown collection"},
    {"keyvault:keys/", "uri.bad-name", "short, empty name"},
    {"keyvault://prod/keys//" V32, "uri.bad-name", "empty name"},
    {"keyvault:///keys/" N127 "a", "uri.bad-name", "128 letters"},
    {"keyvault:///keys/web/", "uri.bad-version", "empty version"},
    {"keyvault:///keys/web/1", "uri.bad-version", "short version"},
    {"keyvault:///keys/web/" V32 "0", "uri.bad-version", "33 digits"},
    {"keyvault:///keys/web/0123456789ABCDEF0123456789abcdef", "uri.bad-version",
     "upper case"},
    {"keyvault:///keys/web/g123456789abcdef0123456789abcdef", "uri.bad-version",
     "not hexadecimal"},
    {"keyvault:///keys/web/" V32 "/", "uri.bad-version", "slash behind"},
};

Test(uri, refuses_what_the_grammar_does_not_have)
{
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        const struct bad_row *row = &bad_rows[i];
        struct kv_uri uri;
        struct kv_uri before;
        memset(&uri, 0x5A, sizeof(uri));
        before = uri;
        struct kv_err err = KV_ERR_INIT;
        int rc = kv_uri_parse(row->text, strlen(row->text), &uri, &err);
        cr_expect_eq(rc, KV_E_INVALID, "%s", row->why);
        cr_expect_eq(err.code, KV_E_INVALID, "%s", row->why);
        cr_expect_str_eq(err.id, row->id, "%s: %s", row->why, err.id);
        cr_expect_neq(err.message[0], '\0', "%s", row->why);
        cr_expect_eq(memcmp(&uri, &before, sizeof(uri)), 0, "%s: out touched",
                     row->why);
    }
}

Test(uri, refuses_more_than_1023_bytes)
{
    char text[KV_URI_MAX + 2];
    memset(text, 'a', sizeof(text));
    memcpy(text, "keyvault:", 9);
    struct kv_uri uri;
    struct kv_err err = KV_ERR_INIT;
    cr_expect_eq(kv_uri_parse(text, KV_URI_MAX + 1, &uri, &err), KV_E_TOO_BIG);
    cr_expect_str_eq(err.id, "uri.too-long");
    err = KV_ERR_INIT;
    cr_expect_eq(kv_uri_parse(text, KV_URI_MAX, &uri, &err), KV_E_INVALID);
    cr_expect_str_eq(err.id, "uri.bad-name");
}

Test(uri, refuses_an_embedded_nul)
{
    struct kv_uri uri;
    cr_expect_eq(kv_uri_parse("keyvault:a\0b", 12, &uri, NULL), KV_E_INVALID);
}

Test(uri, needs_no_terminator)
{
    struct kv_uri uri;
    cr_assert_eq(kv_uri_parse("keyvault:webXYZ", 12, &uri, NULL), 0);
    cr_expect_str_eq(uri.name, "web");
}

Test(uri, reads_the_version_as_bytes)
{
    const char *text = "keyvault:keys/web/" V32;
    struct kv_uri uri;
    cr_assert_eq(kv_uri_parse(text, strlen(text), &uri, NULL), 0);
    const uint8_t want[KV_ID_LEN] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                     0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF};
    cr_expect_eq(memcmp(uri.version, want, sizeof(want)), 0);
}

Test(uri, never_prints_what_it_would_not_read)
{
    char out[KV_URI_MAX + 1] = "before";
    struct kv_uri uri = {.vault = "prod", .collection = KV_URI_ANY, .name = "web"};
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID, "short + vault");
    uri = (struct kv_uri){.collection = KV_URI_ANY, .name = "web", .has_version = true};
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID,
                 "short + version");
    uri = (struct kv_uri){.collection = KV_URI_KEYS, .has_version = true};
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID, "no name");
    uri = (struct kv_uri){.collection = KV_URI_KEYS, .name = "a/b"};
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID, "bad name");
    uri = (struct kv_uri){.collection = KV_URI_KEYS, .vault = "a"};
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID, "bad vault");
    uri = (struct kv_uri){.collection = (enum kv_uri_collection)9, .name = "a"};
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID, "bad collection");
    uri = (struct kv_uri){.collection = KV_URI_KEYS, .name = "web"};
    memset(uri.name, 'a', sizeof(uri.name));
    cr_expect_eq(kv_uri_format(&uri, out, sizeof(out)), KV_E_INVALID, "unterminated");
    cr_expect_str_eq(out, "before");
}

Test(uri, says_when_the_room_is_too_small)
{
    char out[KV_URI_MAX + 1];
    struct kv_uri uri = {.collection = KV_URI_KEYS, .name = "web"};
    size_t len = strlen("keyvault:///keys/web");
    cr_expect_eq(kv_uri_format(&uri, out, len), KV_E_TOO_BIG);
    cr_expect_eq(kv_uri_format(&uri, out, len + 1), 0);
}
