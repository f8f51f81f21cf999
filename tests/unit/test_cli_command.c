/* lifecycle/cli/command.c and the table it reads. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/cli.h"

TestSuite(cli_command, .timeout = 20);

#define WORDS_MAX 12

/* Parse words separated by one space. */
static int parse(const char *line, struct kv_invocation *out, struct kv_err *err)
{
    static char text[512];
    char *argv[WORDS_MAX + 1] = {"keyvault"};
    int argc = 1;
    cr_assert_lt(strlen(line), sizeof(text));
    strcpy(text, line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = word;
    }
    return kv_command_parse(argc, argv, out, err);
}

Test(cli_command, reads_noun_verb_name_and_flags_in_any_order)
{
    struct kv_invocation got;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(
        parse("--json key create --type=EC web --curve P-384 --vault prod", &got, &err),
        0, "%s", err.message);
    cr_assert_str_eq(got.command->noun, "key");
    cr_assert_str_eq(got.command->verb, "create");
    cr_assert_eq(got.n_args, 1);
    cr_assert_str_eq(got.args[0], "web");
    cr_assert_str_eq(kv_invocation_flag(&got, "type"), "EC");
    cr_assert_str_eq(kv_invocation_flag(&got, "curve"), "P-384");
    cr_assert_null(kv_invocation_flag(&got, "size"));
    cr_assert_str_eq(got.vault, "prod");
    cr_assert(got.as_json);
}

Test(cli_command, two_hyphens_end_the_flags)
{
    struct kv_invocation got;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(parse("key show -- --json", &got, &err), 0);
    cr_assert_str_eq(got.args[0], "--json");
    cr_assert_not(got.as_json);
}

Test(cli_command, a_flag_with_three_dots_may_be_given_again)
{
    struct kv_invocation got;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(
        parse("secret set s --tag a=1 --value v --tag=b=2 --tag c=", &got, &err), 0,
        "%s", err.message);
    cr_assert_str_eq(kv_invocation_flag_at(&got, "tag", 0), "a=1");
    cr_assert_str_eq(kv_invocation_flag_at(&got, "tag", 1), "b=2");
    cr_assert_str_eq(kv_invocation_flag_at(&got, "tag", 2), "c=");
    cr_assert_null(kv_invocation_flag_at(&got, "tag", 3));
    cr_assert_str_eq(kv_invocation_flag(&got, "value"), "v");
    cr_assert(kv_invocation_takes(&got, "tag"));
    cr_assert_not(kv_invocation_takes(&got, "pem"));
}

Test(cli_command, a_flag_is_not_given_again_without_end)
{
    char *argv[3 + 2 * (KV_CLI_MORE_MAX + 2)] = {"keyvault", "secret", "set"};
    int argc = 3;
    struct kv_invocation got;
    struct kv_err err = KV_ERR_INIT;
    for (size_t i = 0; i < KV_CLI_MORE_MAX + 2; i++) {
        argv[argc++] = "--tag";
        argv[argc++] = "a=b";
    }
    cr_assert_eq(kv_command_parse(argc, argv, &got, &err), KV_E_INVALID);
    cr_assert_not_null(strstr(err.message, "too often"));
}

Test(cli_command, version_alone_is_the_programs_and_with_value_the_objects)
{
    struct kv_invocation got;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(parse("--version", &got, &err), 0);
    cr_assert(got.wants_version);
    cr_assert_eq(parse("key show web --version abc", &got, &err), 0);
    cr_assert_not(got.wants_version);
    cr_assert_str_eq(got.version, "abc");
}

Test(cli_command, help_is_asked_for_at_every_level)
{
    static const char *const lines[] = {
        "help", "--help", "key --help", "help key", "key create --help", "-h"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct kv_invocation got;
        struct kv_err err = KV_ERR_INIT;
        cr_expect_eq(parse(lines[i], &got, &err), 0, "%s", lines[i]);
        cr_expect(got.wants_help, "%s", lines[i]);
    }
}

static const struct bad {
    const char *line;
    const char *message;
    const char *hint;
} bad[] = {
    {"", "a command is expected", "keyvault --help"},
    {"keys list", "no command 'keys'", "keyvault --help"},
    {"key", "wants a verb", "keyvault key --help"},
    {"key creat web", "creat", "keyvault key --help"},
    {"key create", "NAME", "keyvault key create --help"},
    {"key create a b", "'b' is one argument too many", "keyvault key create --help"},
    {"key list a", "'a' is one argument too many", "keyvault key list --help"},
    {"key create a --typ RSA", "no flag --typ", "--type"},
    {"key create a --jsn", "no flag --jsn", "--json"},
    {"key create a --frobnicate", "no flag --frobnicate", "keyvault key create --help"},
    {"key create a --type", "--type wants a value", "keyvault key create --help"},
    {"key create a --type EC --type EC", "twice", "keyvault key create --help"},
    {"key list --json --json", "twice", "keyvault key list --help"},
    {"key list --vault a --vault b", "twice", "keyvault key list --help"},
    {"key uri-pem a --follow=yes", "takes no value", "keyvault key uri-pem --help"},
    {"key list -j", "two hyphens", "keyvault key list --help"},
};

Test(cli_command, refuses_with_a_message_and_a_hint)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_invocation got;
        struct kv_err err = KV_ERR_INIT;
        cr_expect_eq(parse(bad[i].line, &got, &err), KV_E_INVALID, "%s", bad[i].line);
        cr_expect_str_eq(err.id, "cli.usage", "%s", bad[i].line);
        cr_expect_not_null(strstr(err.message, bad[i].message), "%s: %s", bad[i].line,
                           err.message);
        cr_expect_not_null(strstr(err.hint, bad[i].hint), "%s: %s", bad[i].line,
                           err.hint);
    }
}

Test(cli_command, every_row_of_the_table_is_sound)
{
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        size_t n_flags = 0;
        while (c->flags[n_flags].name != NULL)
            n_flags++;
        cr_expect_leq(n_flags, KV_CLI_FLAGS_MAX, "%s %s", c->noun, c->verb);
        cr_expect_not_null(c->run, "%s %s", c->noun, c->verb);
        cr_expect_neq(c->summary[strlen(c->summary) - 1], '.', "%s %s", c->noun,
                      c->verb);
        for (size_t i = 0; i < n_flags; i++)
            for (size_t g = 0; kv_global_flags[g].name != NULL; g++)
                cr_expect_str_neq(c->flags[i].name, kv_global_flags[g].name);
        for (const struct kv_command *d = c + 1; d->noun != NULL; d++)
            cr_expect(strcmp(c->noun, d->noun) != 0 || c->verb == NULL ||
                          d->verb == NULL || strcmp(c->verb, d->verb) != 0,
                      "%s %s stands twice", c->noun, c->verb);
    }
}

Test(cli_command, help_shows_every_flag)
{
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        struct kv_invocation asked = {.command = c, .wants_help = true};
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        kv_command_help(&asked, out);
        cr_assert_eq(fclose(out), 0);
        cr_expect_not_null(strstr(text, c->summary));
        for (size_t i = 0; c->flags[i].name != NULL; i++)
            cr_expect_not_null(strstr(text, c->flags[i].help), "%s", c->flags[i].name);
        free(text);
    }
}
