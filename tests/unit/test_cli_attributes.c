/* lifecycle/cli/attributes.c: flags as attributes and tags of a request. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/attributes.h"

TestSuite(cli_attributes, .timeout = 20);

#define WORDS_MAX 24

/* The body that the flags of a command line make; NULL after a failure. */
static json_t *body_of(const char *line, int *rc, struct kv_err *err)
{
    static char text[512];
    char *argv[WORDS_MAX + 1] = {"keyvault"};
    int argc = 1;
    struct kv_cli cli = {0};
    json_t *body = json_object();
    cr_assert_lt(strlen(line), sizeof(text));
    strcpy(text, line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
        cr_assert_lt(argc, WORDS_MAX);
        argv[argc++] = word;
    }
    cr_assert_eq(kv_command_parse(argc, argv, &cli.invocation, err), 0, "%s: %s", line,
                 err->message);
    *rc = kv_attributes_read(&cli, body, err);
    if (*rc == 0)
        return body;
    json_decref(body);
    return NULL;
}

static const struct good {
    const char *line;
    const char *json;
} good[] = {
    {"key create k", "{}"},
    {"key create k --disabled", "{\"attributes\":{\"enabled\":false}}"},
    {"key update k --enabled", "{\"attributes\":{\"enabled\":true}}"},
    {"key update k --expires 2031-02-03 --not-before 1700000000",
     "{\"attributes\":{\"exp\":1927843200,\"nbf\":1700000000}}"},
    {"secret update s --expires 2100-01-01T00:00:01Z",
     "{\"attributes\":{\"exp\":4102444801}}"},
    {"secret set s --tags a=b,c=", "{\"tags\":{\"a\":\"b\",\"c\":\"\"}}"},
    {"secret set s --tag a=b,c --tag d=e=f --tag=g=",
     "{\"tags\":{\"a\":\"b,c\",\"d\":\"e=f\",\"g\":\"\"}}"},
    {"secret set s --tag a=1 --tags a=2,b=3", "{\"tags\":{\"a\":\"1\",\"b\":\"3\"}}"},
    {"cert update c --no-tags", "{\"tags\":{}}"},
    {"cert update c --disabled --tag t=1",
     "{\"attributes\":{\"enabled\":false},\"tags\":{\"t\":\"1\"}}"},
    {"cert renew c --tag t=1", "{\"tags\":{\"t\":\"1\"}}"},
};

Test(cli_attributes, flags_become_members)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        int rc = -1;
        json_t *body = body_of(good[i].line, &rc, &err);
        json_t *expected = json_loads(good[i].json, 0, NULL);
        cr_assert_eq(rc, 0, "%s: %s", good[i].line, err.message);
        char *shown = json_dumps(body, 0);
        cr_expect(json_equal(body, expected), "%s: %s", good[i].line, shown);
        free(shown);
        json_decref(expected);
        json_decref(body);
    }
}

static const char *const bad[] = {
    "key update k --enabled --disabled",
    "key update k --expires yesterday",
    "key update k --expires 2031-02-29",
    "key update k --expires 2031-13-01",
    "key update k --expires 2031-02-03T10:00",
    "key update k --not-before 0",
    "key update k --not-before -5",
    "key update k --expires 253402300800",
    "key update k --tag novalue",
    "key update k --tag =value",
    "key update k --tags a=b,,c=d",
    "key update k --no-tags --tag a=b",
    "key update k --no-tags --tags a=b",
    "key update k --tag \xff=b",
    "key update k --tag a=\xff",
};

Test(cli_attributes, refuses_what_they_cannot_be)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        int rc = 0;
        json_t *body = body_of(bad[i], &rc, &err);
        cr_expect_eq(rc, KV_E_INVALID, "%s", bad[i]);
        cr_expect_str_eq(err.id, "cli.bad-flag", "%s", bad[i]);
        cr_expect_null(body, "%s", bad[i]);
    }
}
