#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/options.h"

TestSuite(options, .timeout = 20);

struct row {
    const char *why;
    const char *args[10];
    const char *id; /* NULL: accepted */
};

static const struct row rows[] = {
    {"all that is needed", {"--dir", "d", "--run", "r", "--service-uid", "7"}, NULL},
    {"help alone", {"--help"}, NULL},
    {"version alone", {"--version"}, NULL},
    {"only making needs no run directory", {"--dir", "d", "--init-only"}, NULL},
    {"the audit key needs no run directory",
     {"--dir", "d", "--audit-key-fd", "3"},
     NULL},
    {"nothing", {NULL}, "options.missing"},
    {"no uid", {"--dir", "d", "--run", "r"}, "options.missing"},
    {"uid is a name",
     {"--dir", "d", "--run", "r", "--service-uid", "www"},
     "options.bad-value"},
    {"negative uid",
     {"--dir", "d", "--run", "r", "--service-uid", "-1"},
     "options.bad-value"},
    {"uid of nobody at all", {"--service-uid", "4294967295"}, "options.bad-value"},
    {"too many threads", {"--threads", "63"}, "options.bad-value"},
    {"nonces perhaps", {"--prepared-nonces", "yes"}, "options.bad-value"},
    {"unknown log format", {"--log", "xml"}, "options.bad-value"},
    {"unknown option", {"--listen", "0.0.0.0"}, "options.unknown"},
    {"value missing", {"--dir"}, "options.unknown"},
    {"stray argument",
     {"--dir", "d", "--run", "r", "--service-uid", "7", "x"},
     "options.unknown"},
};

Test(options, accepts_what_the_usage_says_and_nothing_else)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *argv[12] = {strdup("keyvault-keyring")};
        int argc = 1;
        while (argc <= 9 && rows[i].args[argc - 1] != NULL) {
            argv[argc] = strdup(rows[i].args[argc - 1]);
            argc++;
        }
        struct kv_options options;
        struct kv_err err = KV_ERR_INIT;
        const int rc = kv_options_parse(&options, argc, argv, &err);
        cr_assert_eq(rc == 0, rows[i].id == NULL, "%s: %s", rows[i].why, err.message);
        if (rows[i].id != NULL)
            cr_assert_str_eq(err.id, rows[i].id, "%s", rows[i].why);
        for (int k = 0; k < argc; k++)
            free(argv[k]);
    }
}

Test(options, values_arrive)
{
    char *argv[] = {"keyvault-keyring", "--dir", "d",      "--run",     "r",
                    "--service-uid",    "1234",  "--init", "--threads", "3",
                    "--ready-fd",       "5",     "--log",  "text",      "--allow-swap"};
    struct kv_options options;
    cr_assert_eq(
        kv_options_parse(&options, (int)(sizeof(argv) / sizeof(argv[0])), argv, NULL),
        0);
    cr_assert_str_eq(options.dir, "d");
    cr_assert_str_eq(options.run, "r");
    cr_assert_eq(options.service_uid, 1234);
    cr_assert(options.may_init && !options.only_init && options.may_swap);
    cr_assert_eq(options.n_threads, 3);
    cr_assert_eq(options.ready_fd, 5);
    cr_assert_eq(options.log_format, KV_LOG_TEXT);
    cr_assert_eq(options.prepared_nonces, KV_SWITCH_AUTO);
}

Test(options, nonces_are_prepared_when_asked)
{
    static const char *const values[] = {"auto", "on", "off"};
    static const enum kv_switch switches[] = {KV_SWITCH_AUTO, KV_SWITCH_ON,
                                              KV_SWITCH_OFF};
    for (size_t i = 0; i < 3; i++) {
        char value[8];
        char *argv[] = {"keyvault-keyring",  "--dir", "d", "--init-only",
                        "--prepared-nonces", value};
        struct kv_options options;
        (void)strcpy(value, values[i]);
        cr_assert_eq(kv_options_parse(&options, 6, argv, NULL), 0);
        cr_assert_eq(options.prepared_nonces, switches[i]);
    }
}
