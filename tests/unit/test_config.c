/* lifecycle/supervisor/config.c: keyvault.conf and what is wrong with it. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/supervisor/config.h"
#include "store/core/buf.h"

TestSuite(config, .timeout = 20);

static int parse(const char *text, struct kv_config *out, struct kv_err *err)
{
    return kv_config_parse(text, strlen(text), "keyvault.conf", out, err);
}

Test(config, empty_file_gives_the_defaults)
{
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(parse("", &config, &err), 0, "%s", err.message);
    cr_assert_str_eq(config.listen, "");
    cr_assert_str_eq(config.keyring_user, "keyvault-keys");
    cr_assert_str_eq(config.service_user, "keyvault");
    cr_assert_str_eq(config.log_format, "auto");
    cr_assert_eq(config.log_level, KV_LOG_INFO);
    cr_assert_not(config.allow_swap);
    cr_assert_str_eq(config.prepared_nonces, "auto");
}

Test(config, reads_every_option)
{
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    static const char text[] = "# all of it\n"
                               "api {\n"
                               "  listen = \"[::1]:8443\" // here\n"
                               "  domain = \"vault.example.com\"\n"
                               "}\n"
                               "/* users */ keyring { user = kk allow-swap = on\n"
                               "prepared-nonces = on }\n"
                               "service { user = ks }\n"
                               "audit { directory = '/a' segment-size = 64K keep = 3 }"
                               "quota { create = 1 use = 2 write = 3 other = 0 }"
                               "log { level = debug format = json }";
    cr_assert_eq(parse(text, &config, &err), 0, "%s", err.message);
    cr_assert_str_eq(config.listen, "[::1]:8443");
    cr_assert_str_eq(config.domain, "vault.example.com");
    cr_assert_str_eq(config.keyring_user, "kk");
    cr_assert_str_eq(config.service_user, "ks");
    cr_assert(config.allow_swap);
    cr_assert_str_eq(config.prepared_nonces, "on");
    cr_assert_eq(config.log_level, KV_LOG_DEBUG);
    cr_assert_str_eq(config.log_format, "json");
    cr_assert_str_eq(config.audit_dir, "/a");
    cr_assert_str_eq(config.audit_size, "64K");
    cr_assert_str_eq(config.audit_keep, "3");
    cr_assert(!config.is_audit_off);
    cr_assert_str_eq(config.quota[0], "1");
    cr_assert_str_eq(config.quota[1], "2");
    cr_assert_str_eq(config.quota[2], "3");
    cr_assert_str_eq(config.quota[3], "0");
}

Test(config, sizes_are_bytes_or_have_a_unit)
{
    int64_t bytes = 0;
    cr_assert_eq(kv_config_size("65536", &bytes), 0);
    cr_assert_eq(bytes, 65536);
    cr_assert_eq(kv_config_size("256M", &bytes), 0);
    cr_assert_eq(bytes, (int64_t)256 << 20);
    cr_assert_eq(kv_config_size("1024G", &bytes), 0);
    static const char *const wrong[] = {
        "", "M", "1", "1025G", "64k", "64KB", "-1M", "0064K", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_eq(kv_config_size(wrong[i], &bytes), KV_E_INVALID, "%s", wrong[i]);
}

static const struct bad {
    const char *text;
    const char *id;
    const char *place;    /* must stand in the message */
    const char *expected; /* likewise */
    const char *why;
} bad[] = {
    {"api {\n listen = 8443\n}", "config.bad-value", "keyvault.conf:2:", "HOST:PORT",
     "no host"},
    {"api { listen = \"h:65536\" }", "config.bad-value", ":1:", "65535", "port range"},
    {"api { listen = \":1\" }", "config.bad-value", ":1:", "HOST:PORT", "empty host"},
    {"api { listen = \"a b:1\" }", "config.bad-value", ":1:", "HOST:PORT", "space"},
    {"api { listen = \"[]:1\" }", "config.bad-value", ":1:", "HOST:PORT", "empty V6"},
    {"\n\napi { domain = \"-a.b\" }", "config.bad-value", ":3:", "DNS", "hyphen first"},
    {"api { domain = \"a..b\" }", "config.bad-value", ":1:", "DNS", "empty label"},
    {"api { domain = \"a.\" }", "config.bad-value", ":1:", "DNS", "final dot"},
    {"api {\ncertificate = a\n}", "config.not-offered", ":2:", "own", "not offered"},
    {"keyring { user = \"\" }", "config.bad-value", ":1:", "user name", "empty user"},
    {"service { user = \"a b\" }", "config.bad-value", ":1:", "user name", "space"},
    {"log {\nlevel = loud\n}", "config.bad-value", ":2:", "error, warn", "level"},
    {"audit {\n directory = audit }", "config.bad-value", ":2:", "absolute",
     "directory"},
    {"audit { segment-size = 1K }", "config.bad-value", ":1:", "64K", "segment-size"},
    {"audit { segment-size = 2T }", "config.bad-value", ":1:", "64K", "segment-size"},
    {"audit { keep = 1 }", "config.bad-value", ":1:", "segments", "keep"},
    {"oidc-issuer \"a\" { issuer = \"http://x\" }", "config.bad-value",
     ":1:", "https://", "issuer without TLS"},
    {"oidc-issuer \"a\" { issuer = \"https://x,y\" }", "config.bad-value",
     ":1:", "https://", "comma"},
    {"oidc-issuer \"a\" {\n tenant = \"x\" }", "config.bad-value", ":2:", "UUID",
     "tenant"},
    {"oidc-issuer \"a\" { ca-file = \"x\" }", "config.bad-value", ":1:", "absolute",
     "relative path"},
    {"oidc-issuer \"a\" { }", "config.bad-issuer", "keyvault.conf:", "issuer",
     "issuer without issuer"},
    {"oidc-issuer \"a b\" { issuer = \"https://x\" }", "config.bad-issuer",
     "keyvault.conf:", "letters", "bad name"},
    {"quota { use = many }", "config.bad-value", ":1:", "1000000", "quota"},
    {"quota { use = 1000001 }", "config.bad-value", ":1:", "1000000", "quota"},
    {"log { format = xml }", "config.bad-value", ":1:", "journald", "format"},
    {"api {\n lisen = \"a:1\"\n}", "config.syntax",
     ":2:", "listen, domain or certificate", "misspelt option"},
    {"apis { }", "config.syntax", ":1:", "audit, quota or log", "misspelt block"},
    {"keyring { allow-swap = maybe }", "config.syntax", ":1:", "on or off", "no bool"},
    {"keyring { prepared-nonces = 1 }", "config.bad-value", ":1:", "auto, on or off",
     "no switch"},
    {"api = 3", "config.syntax", ":1:", "brace", "block without brace"},
    {"api listen", "config.syntax", ":1:", "brace", "word without brace"},
    {"}", "config.syntax", ":1:", "brace", "closing brace"},
    {"include(\"/etc/passwd\")", "config.syntax", ":1:", "include", "no including"},
    {"api {\n", "config.unfinished", ":2:", "}", "open block"},
    {"api { listen = \"a:1\n", "config.unfinished", ":2:", "string", "open string"},
    {"/* x\ny", "config.unfinished", ":2:", "comment", "open comment"},
    {"a{b{c{d{e{f{g{h{i{", "config.too-deep", ":1:", "}", "nine blocks"},
    {"log {\n\x01}", "config.bad-byte", ":2:", "text", "control byte"},
};

Test(config, refuses_and_names_line_and_expectation)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_config config = {.domain = "untouched"};
        struct kv_err err = KV_ERR_INIT;
        cr_expect_eq(parse(bad[i].text, &config, &err), KV_E_INVALID, "%s", bad[i].why);
        cr_expect_str_eq(err.id, bad[i].id, "%s: %s", bad[i].why, err.message);
        cr_expect_not_null(strstr(err.message, bad[i].place), "%s: %s", bad[i].why,
                           err.message);
        cr_expect_not_null(strstr(err.message, bad[i].expected), "%s: %s", bad[i].why,
                           err.message);
        cr_expect_str_eq(config.domain, "untouched", "%s", bad[i].why);
    }
}

Test(config, issuers_become_settings_of_the_service)
{
    static struct kv_config config;
    static const char text[] =
        "oidc-issuer \"corp\" { issuer = \"https://i/r\" audience = \"api://v\" at-jwt "
        "= on "
        "}\n"
        "oidc-issuer \"b\" { issuer = \"https://j\" ca-file = \"/etc/ca.pem\" tenant = "
        "\"11111111-2222-4333-8444-555555555555\" }";
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_config_parse(text, strlen(text), "f", &config, &err), 0, "%s",
                 err.message);
    cr_assert_eq(config.n_oidc_issuers, 2);
    cr_assert_str_eq(config.oidc_issuers[0],
                     "name=corp,issuer=https://i/r,audience=api://v,at-jwt=on");
    cr_assert_str_eq(config.oidc_issuers[1],
                     "name=b,issuer=https://j,tenant=11111111-2222-4333-8444-"
                     "555555555555,ca-file=/etc/ca.pem");
    char many[2048] = "";
    for (int n = 0; n < 9; n++) {
        char one[128];
        (void)snprintf(one, sizeof(one),
                       "oidc-issuer \"n%d\" { issuer = \"https://x\" }\n", n);
        (void)strncat(many, one, sizeof(many) - strlen(many) - 1);
    }
    err = KV_ERR_INIT;
    cr_assert_eq(kv_config_parse(many, strlen(many), "f", &config, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "config.bad-issuer");
}

Test(config, braces_in_strings_and_comments_are_no_blocks)
{
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    static const char text[] = "# {{{{{{{{{{\n// {{{{{{{{{{\n/* {{{{{{{{{{ */\n"
                               "log { level = 'info' }\n";
    cr_assert_eq(parse(text, &config, &err), 0, "%s", err.message);
}

Test(config, refuses_nul_and_too_many_bytes)
{
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_config_parse("log {}\0", 7, "f", &config, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "config.bad-byte");
    struct kv_buf big;
    kv_buf_init(&big, KV_CONFIG_MAX_BYTES + 1);
    uint8_t *space = kv_buf_extend(&big, KV_CONFIG_MAX_BYTES + 1);
    cr_assert_not_null(space);
    memset(space, '\n', KV_CONFIG_MAX_BYTES + 1);
    err = KV_ERR_INIT;
    const char *text = (const char *)big.data;
    cr_assert_eq(kv_config_parse(text, big.len, "f", &config, &err), KV_E_TOO_BIG);
    cr_assert_str_eq(err.id, "config.too-big");
    err = KV_ERR_INIT;
    cr_assert_eq(kv_config_parse(text, big.len - 1, "f", &config, &err), 0);
    kv_buf_free(&big);
}

Test(config, loads_a_file_and_says_when_there_is_none)
{
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    char path[] = "/tmp/keyvault-config.XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "api{domain=a.b}", 15), 15);
    (void)close(fd);
    cr_expect_eq(kv_config_load(path, &config, &err), 0, "%s", err.message);
    cr_expect_str_eq(config.domain, "a.b");
    (void)unlink(path);
    cr_expect_eq(kv_config_load(path, &config, &err), KV_E_NOT_FOUND);
    cr_expect_str_eq(err.id, "config.missing");
    err = KV_ERR_INIT;
    cr_expect_eq(kv_config_load("/tmp", &config, &err), KV_E_IO);
    cr_expect_str_eq(err.id, "config.unreadable");
}

Test(config, a_failed_parse_does_not_spoil_the_next)
{
    struct kv_config config;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_neq(parse("api { listen = \"x\" }", &config, &err), 0);
    cr_assert_eq(parse("api { listen = \"x:1\" }", &config, NULL), 0);
    cr_assert_str_eq(config.listen, "x:1");
}
