#include <criterion/criterion.h>
#include <openssl/bio.h>
#include <string.h>
#include <unistd.h>

#include "provider/reason.h"
#include "store/core/uri.h"

TestSuite(reason, .timeout = 20);

/* What the last entry of the host's queue would be. */
static uint32_t raised;
static char text[1024];

static void new_error(const OSSL_CORE_HANDLE *handle)
{
    (void)handle;
    raised = 0;
}

static void __attribute__((format(printf, 3, 0)))
vset_error(const OSSL_CORE_HANDLE *handle, uint32_t reason, const char *format,
           va_list args)
{
    (void)handle;
    raised = reason;
    (void)BIO_vsnprintf(text, sizeof(text), format, args);
}

static const struct kv_reason_core core = {.new_error = new_error,
                                           .vset_error = vset_error};

static const char *string_of(uint32_t reason)
{
    for (const OSSL_ITEM *item = kv_reason_strings(); item->id != 0; item++)
        if (item->id == reason)
            return item->ptr;
    return NULL;
}

static const struct {
    int code;
    const char *id;
    const char *string;
} rows[] = {
    {KV_E_STATE, "key.expired", "the key or its certificate has expired"},
    {KV_E_STATE, "key.not-yet-valid", "the key or its certificate is not valid yet"},
    {KV_E_STATE, "key.disabled", "the key is disabled"},
    {KV_E_STATE, "key.pending", "the key's certificate has not been issued yet"},
    {KV_E_STATE, "cert.pending", "the key's certificate has not been issued yet"},
    {KV_E_NOT_FOUND, "key.deleted", "the key was deleted"},
    {KV_E_NOT_FOUND, "object.not-found", "no such key or certificate"},
    {KV_E_DENIED, "grant.denied", "no grant to use the key"},
    {KV_E_DENIED, "grant.revoked", "the grant to use the key was revoked"},
    {KV_E_DENIED, "key.op-not-permitted",
     "the key's operations do not include this one"},
    {KV_E_SEALED, "seal.no-vault-key", "vault is sealed"},
    {KV_E_UNAVAILABLE, "client.unreachable", "the key daemon cannot be reached"},
    {KV_E_UNAVAILABLE, "client.lost", "the key daemon closed the connection"},
    {KV_E_UNAVAILABLE, "channel.no-service",
     "the service that gives grants does not answer"},
    {KV_E_TIMEOUT, "client.timeout", "the key daemon did not answer in time"},
    {KV_E_DENIED, "client.wrong-server",
     "the key socket belongs to an unexpected user"},
    {KV_E_INVALID, "client.bad-reply", "the key daemon sent a malformed reply"},
    {KV_E_UNSUPPORTED, "client.version",
     "module and key daemon are of different versions"},
    {KV_E_INVALID, "client.bad-setting", "a setting of the module is not usable"},
    {KV_E_INTEGRITY, "client.key-mismatch",
     "the vault's key is not the one that was loaded"},
    {KV_E_BUSY, "channel.busy", "the key daemon has too much to do"},
    {KV_E_INVALID, "uri.bad-name", "malformed keyvault URI"},
    {KV_E_INVALID, "keyref.malformed", "malformed KEYVAULT KEY URI file"},
    {KV_E_CRYPTO, "key.sign-failed", "operation failed"},
    {KV_E_STATE, "a.later-one", "not usable in its present state"},
    {-999, "a.later-one", "operation failed"},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

Test(reason, each_refusal_has_its_own_and_a_text)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        struct kv_err err = KV_ERR_INIT;
        (void)kv_err_set(&err, rows[i].code, rows[i].id, "what happened");
        kv_reason_raise_err(&core, &err);
        cr_assert_not_null(string_of(raised), "%s", rows[i].id);
        cr_expect_str_eq(string_of(raised), rows[i].string);
    }
}

Test(reason, no_number_is_without_a_text_and_none_twice)
{
    unsigned n = 0;
    for (const OSSL_ITEM *item = kv_reason_strings(); item->id != 0; item++, n++)
        for (const OSSL_ITEM *other = kv_reason_strings(); other != item; other++) {
            cr_expect_neq(item->id, other->id);
            cr_expect_str_neq((const char *)item->ptr, (const char *)other->ptr);
        }
    cr_expect_eq(n, KV_REASON_NOT_IN_VAULT);
}

static void expect_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void expect_text(const char *format, ...)
{
    char expected[1024];
    va_list args;
    va_start(args, format);
    (void)BIO_vsnprintf(expected, sizeof(expected), format, args);
    va_end(args);
    cr_expect_str_eq(text, expected);
}

Test(reason, the_text_names_id_key_and_cure)
{
    const unsigned long uid = geteuid();
    struct kv_err err = KV_ERR_INIT;
    (void)kv_err_set(&err, KV_E_STATE, "key.expired",
                     "certificate web expired on 2026-11-24 08:00:00 UTC");
    kv_reason_raise_about(&core, &err, "keyvault:///keys/web");
    expect_text("keyvault: key.expired: certificate web expired on 2026-11-24 08:00:00 "
                "UTC (run: keyvault doctor --as %lu keyvault:///keys/web)",
                uid);
    kv_err_hint(&err, "do this");
    kv_reason_raise_about(&core, &err, "keyvault:///keys/web");
    expect_text("keyvault: key.expired: certificate web expired on 2026-11-24 08:00:00 "
                "UTC (do this; run: keyvault doctor --as %lu keyvault:///keys/web)",
                uid);
    kv_reason_raise_err(&core, &err);
    expect_text("keyvault: key.expired: certificate web expired on 2026-11-24 08:00:00 "
                "UTC (do this)");
}

Test(reason, a_failure_of_the_channel_is_told_of_the_key_it_was_for)
{
    const unsigned long uid = geteuid();
    struct kv_err err = KV_ERR_INIT;
    (void)kv_err_set(&err, KV_E_TIMEOUT, "client.timeout", "no answer");
    kv_reason_raise_about(&core, &err, "keyvault://prod/keys/web");
    expect_text("keyvault: client.timeout: key web: no answer (run: keyvault doctor "
                "--as %lu keyvault://prod/keys/web)",
                uid);
    kv_reason_raise_about(&core, &err, "keyvault:///certificates/web");
    expect_text("keyvault: client.timeout: certificate web: no answer (run: keyvault "
                "doctor --as %lu keyvault:///certificates/web)",
                uid);
    kv_reason_raise_about(&core, &err, "keyvault:///keys/");
    expect_text("keyvault: client.timeout: no answer (run: keyvault doctor --as %lu "
                "keyvault:///keys/)",
                uid);
}

Test(reason, the_longest_name_leaves_the_cure_whole)
{
    struct kv_err err = KV_ERR_INIT;
    char uri[KV_URI_MAX + 1];
    char cure[KV_URI_MAX + 64];
    struct kv_uri longest = {.vault = "a-vault-with-a-long-name",
                             .collection = KV_URI_KEYS,
                             .has_version = true};
    memset(longest.name, 'k', KV_NAME_MAX);
    cr_assert_eq(kv_uri_format(&longest, uri, sizeof(uri)), 0);
    (void)kv_err_set(&err, KV_E_DENIED, "grant.denied", "%.130s may not use '%s'",
                     "unix:a-user", longest.name);
    kv_err_hint(&err, "keyvault access grant unix:a-user --role tls-server --scope %s",
                longest.name);
    kv_reason_raise_about(&core, &err, uri);
    (void)BIO_snprintf(cure, sizeof(cure), "run: keyvault doctor --as %lu %s)",
                       (unsigned long)geteuid(), uri);
    cr_expect_not_null(strstr(text, cure));
}

Test(reason, without_upcalls_nothing_is_raised)
{
    static const struct kv_reason_core none;
    raised = 42;
    kv_reason_raise(&none, KV_REASON_DENIED, "text");
    kv_reason_mark(&none);
    kv_reason_drop(&none);
    cr_expect_eq(raised, 42);
}
