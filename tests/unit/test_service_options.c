/*
 * The command line of keyvault-service.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/service/options.h"

TestSuite(service_options, .timeout = 20);

#define ARGS_MAX 16

static int read_args(const char *const *args, struct kv_service_options *out,
                     struct kv_err *err)
{
    char *argv[2 * ARGS_MAX + 2] = {"keyvault-service"};
    int argc = 1;
    for (; args[argc - 1] != NULL; argc++)
        argv[argc] = (char *)args[argc - 1];
    return kv_service_options_read(out, argc, argv, err);
}

static const struct {
    const char *why;
    const char *args[ARGS_MAX];
    bool is_good;
} rows[] = {
    {"the least", {"--dir", "d", "--run", "r"}, true},
    {"help alone", {"--help"}, true},
    {"version alone", {"--version"}, true},
    {"the last one counts", {"--dir", "a", "--dir", "d", "--run", "r"}, true},
    {"value behind =", {"--dir=d", "--run=r"}, true},
    {"nothing", {NULL}, false},
    {"no run directory", {"--dir", "d"}, false},
    {"unknown", {"--dir", "d", "--run", "r", "--what"}, false},
    {"short", {"-d", "d"}, false},
    {"no value", {"--dir"}, false},
    {"stray argument", {"--dir", "d", "--run", "r", "x"}, false},
    {"uid is a name", {"--dir", "d", "--run", "r", "--admin-uid", "root"}, false},
    {"uid of nobody at all",
     {"--dir", "d", "--run", "r", "--admin-uid", "4294967295"},
     false},
    {"negative uid", {"--dir", "d", "--run", "r", "--keyring-uid", "-1"}, false},
    {"mode", {"--dir", "d", "--run", "r", "--api-mode", "0666"}, true},
    {"mode with more than permissions",
     {"--dir", "d", "--run", "r", "--api-mode", "4755"},
     false},
    {"mode is not octal", {"--dir", "d", "--run", "r", "--api-mode", "68"}, false},
    {"empty mode", {"--dir", "d", "--run", "r", "--api-mode", ""}, false},
    {"long mode", {"--dir", "d", "--run", "r", "--api-mode", "00777"}, false},
    {"port", {"--dir", "d", "--run", "r", "--listen", "127.0.0.1:65536"}, false},
    {"host name", {"--dir", "d", "--run", "r", "--listen", "localhost:1"}, false},
    {"no host", {"--dir", "d", "--run", "r", "--listen", ":1"}, false},
    {"no port", {"--dir", "d", "--run", "r", "--listen", "127.0.0.1"}, false},
    {"v6 without brackets", {"--dir", "d", "--run", "r", "--listen", "::1:1"}, false},
    {"log", {"--dir", "d", "--run", "r", "--log", "xml"}, false},
    {"level", {"--dir", "d", "--run", "r", "--log-level", "trace"}, false},
    {"descriptor", {"--dir", "d", "--run", "r", "--ready-fd", "1024"}, false},
    {"domain in upper case", {"--dir", "d", "--run", "r", "--domain", "V.x"}, false},
    {"domain ends in a dot", {"--dir", "d", "--run", "r", "--domain", "v."}, false},
    {"no domain", {"--dir", "d", "--run", "r", "--domain", ""}, false},
    {"domain with a port", {"--dir", "d", "--run", "r", "--domain", "v:1"}, false},
    {"domain with a quote", {"--dir", "d", "--run", "r", "--domain", "v\"x"}, false},
    {"token without dev", {"--dir", "d", "--run", "r", "--token-out", "t"}, false},
    {"dev without token", {"--dir", "d", "--run", "r", "--dev"}, false},
    {"small segments", {"--dir", "d", "--run", "r", "--audit-bytes", "1"}, false},
    {"nothing is kept", {"--dir", "d", "--run", "r", "--audit-keep", "1"}, false},
    {"no audit", {"--dir", "d", "--run", "r", "--no-audit"}, true},
    {"half a quota", {"--dir", "d", "--run", "r", "--quota", "1,2"}, false},
    {"no quota", {"--dir", "d", "--run", "r", "--quota", "off"}, true},
    {"dev", {"--dir", "d", "--run", "r", "--dev", "--token-out", "t"}, true},
};

Test(service_options, takes_what_the_usage_says_and_nothing_else)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_service_options options;
        struct kv_err err = KV_ERR_INIT;
        int rc = read_args(rows[i].args, &options, &err);
        cr_assert_eq(rc == 0, rows[i].is_good, "%s: %s", rows[i].why, err.message);
        if (rc != 0)
            cr_assert_str_eq(err.id, "service.usage", "%s", rows[i].why);
    }
}

Test(service_options, defaults_give_nobody_anything)
{
    static const char *const args[] = {"--dir", "d", "--run", "r", NULL};
    struct kv_service_options options;
    cr_assert_eq(read_args(args, &options, NULL), 0);
    cr_assert_eq(options.admin_uid, (uid_t)-1);
    cr_assert_eq(options.keyring_uid, geteuid());
    cr_assert_eq(options.api_mode, 0660);
    cr_assert_str_eq(options.host, "");
    cr_assert_str_eq(options.domain, "vault.localhost");
    cr_assert_eq(options.ready_fd, -1);
    cr_assert(!options.is_dev && !options.is_audit_off);
    cr_assert_eq(options.audit_bytes, 256 << 20);
    cr_assert_eq(options.audit_keep, 90);
    cr_assert_eq(options.quota.per_10s[KV_QUOTA_USE], 4000);
}

Test(service_options, values_arrive)
{
    static const char *const args[] = {"--dir",
                                       "d",
                                       "--run",
                                       "r",
                                       "--keyring-uid",
                                       "7",
                                       "--admin-uid",
                                       "0",
                                       "--dev",
                                       "--token-out",
                                       "t",
                                       "--listen",
                                       "[::1]:0",
                                       "--ready-fd=3",
                                       "--api-mode=600",
                                       "--audit-dir=a",
                                       "--audit-bytes=100000",
                                       "--audit-keep=7",
                                       NULL};
    struct kv_service_options options;
    cr_assert_eq(read_args(args, &options, NULL), 0);
    cr_assert_eq(options.keyring_uid, 7);
    cr_assert_eq(options.admin_uid, 0);
    cr_assert(options.is_dev);
    cr_assert_str_eq(options.token_out, "t");
    cr_assert_str_eq(options.host, "::1");
    cr_assert_eq(options.port, 0);
    cr_assert_eq(options.ready_fd, 3);
    cr_assert_eq(options.api_mode, 0600);
    cr_assert_str_eq(options.audit_dir, "a");
    cr_assert_eq(options.audit_bytes, 100000);
    cr_assert_eq(options.audit_keep, 7);
    cr_assert_eq(options.quota.per_10s[KV_QUOTA_USE], 0, "--dev has none");
}

Test(service_options, in_dev_the_starting_user_administers_unless_told_otherwise)
{
    static const char *const args[] = {"--dir", "d",           "--run", "r",
                                       "--dev", "--token-out", "t",     NULL};
    struct kv_service_options options;
    cr_assert_eq(read_args(args, &options, NULL), 0);
    cr_assert_eq(options.admin_uid, geteuid());
}
