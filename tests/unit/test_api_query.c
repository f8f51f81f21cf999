/*
 * Queries as the SDKs write them: names percent-encoded too, order free.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/api/internal.h"

TestSuite(api_query, .timeout = 20);

#define N64 "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
    const char *why;
    const char *text;
    const char *decoded; /* NULL: refused */
    int rc;
} decode_rows[] = {
    {"nothing", "", "", 0},
    {"plain", "api-version", "api-version", 0},
    {"name of the SDK", "api%2Dversion", "api-version", 0},
    {"lower-case digits", "%c3%a4", "\xc3\xa4", 0},
    {"raw UTF-8", "\xc3\xa4", "\xc3\xa4", 0},
    {"plus is no space", "a+b", "a+b", 0},
    {"decoded once only", "%2525", "%25", 0},
    {"a slash stays inside", "a%2Fb", "a/b", 0},
    {"end inside an escape", "a%", NULL, KV_E_INVALID},
    {"half an escape", "a%4", NULL, KV_E_INVALID},
    {"no hexadecimal digit", "%g0", NULL, KV_E_INVALID},
    {"no second digit", "%0g", NULL, KV_E_INVALID},
    {"sign instead of a digit", "%+1", NULL, KV_E_INVALID},
    {"NUL", "a%00b", NULL, KV_E_INVALID},
    {"half a character", "%c3", NULL, KV_E_INVALID},
    {"overlong slash", "%c0%af", NULL, KV_E_INVALID},
    {"surrogate", "%ed%a0%80", NULL, KV_E_INVALID},
    {"above U+10FFFF", "%f4%90%80%80", NULL, KV_E_INVALID},
};

Test(api_query, percent_decoding_knows_every_way_to_be_wrong)
{
    for (size_t i = 0; i < sizeof(decode_rows) / sizeof(decode_rows[0]); i++) {
        char out[64];
        int rc = kv_percent_decode(decode_rows[i].text, strlen(decode_rows[i].text),
                                   out, sizeof(out));
        cr_assert_eq(rc, decode_rows[i].rc, "%s: %d", decode_rows[i].why, rc);
        if (rc == 0)
            cr_assert_str_eq(out, decode_rows[i].decoded, "%s", decode_rows[i].why);
    }
}

Test(api_query, decoding_reads_and_writes_no_further_than_told)
{
    char out[4] = {'x', 'x', 'x', 'x'};
    cr_assert_eq(kv_percent_decode("%41%42", 3, out, sizeof(out)), 0);
    cr_assert_str_eq(out, "A");
    cr_assert_eq(kv_percent_decode("%41", 2, out, sizeof(out)), KV_E_INVALID);
    cr_assert_eq(kv_percent_decode("abc", 3, out, sizeof(out)), 0, "with its NUL");
    cr_assert_eq(kv_percent_decode("abcd", 4, out, sizeof(out)), KV_E_TOO_BIG);
    cr_assert_eq(kv_percent_decode("a", 1, out, 1), KV_E_TOO_BIG);
    cr_assert_eq(kv_percent_decode("", 0, out, 1), 0);
}

static const struct {
    const char *why;
    const char *query;
    const char *name;
    const char *value;
    int found;
} get_rows[] = {
    {"no query", "", "api-version", "", 0},
    {"plain", "api-version=7.5", "api-version", "7.5", 1},
    {"encoded name", "api%2Dversion=7.5", "api-version", "7.5", 1},
    {"all of the name encoded", "%61%70%69%2d%76ersion=7.5", "api-version", "7.5", 1},
    {"encoded dollar", "a=1&%24skiptoken=abc", "$skiptoken", "abc", 1},
    {"names have no case", "Api-Version=7.5", "api-version", "7.5", 1},
    {"among others", "a=1&maxresults=3&b=2", "maxresults", "3", 1},
    {"first of two", "n=1&n=2", "n", "1", 1},
    {"no value", "n", "n", "", 1},
    {"empty value", "n=", "n", "", 1},
    {"equals sign in the value", "n=a=b", "n", "a=b", 1},
    {"encoded ampersand is no border", "n=a%26m=b", "n", "a&m=b", 1},
    {"encoded equals sign is part of the name", "n%3D=b", "n", "", 0},
    {"empty pairs", "&&n=1&&", "n", "1", 1},
    {"only borders", "&&&", "n", "", 0},
    {"a longer name", "nn=1", "n", "", 0},
    {"a shorter name", "n=1", "nn", "", 0},
    {"value does not decode", "n=%zz", "n", "", KV_E_INVALID},
    {"name that does not decode is nobody's", "%zz=1&n=2", "n", "2", 1},
    {"value too long", "n=" N64, "n", "", KV_E_TOO_BIG},
    {"name too long to compare", N64 "=1", N64, "", 0},
};

Test(api_query, finds_a_parameter_by_its_decoded_name)
{
    for (size_t i = 0; i < sizeof(get_rows) / sizeof(get_rows[0]); i++) {
        char out[32] = "";
        int found = kv_query_get(get_rows[i].query, get_rows[i].name, out, sizeof(out));
        cr_assert_eq(found, get_rows[i].found, "%s: %d", get_rows[i].why, found);
        if (found == 1)
            cr_assert_str_eq(out, get_rows[i].value, "%s", get_rows[i].why);
    }
}

Test(api_query, a_query_is_valid_when_every_pair_decodes)
{
    char big[4096];
    cr_assert(kv_query_is_valid(""));
    cr_assert(kv_query_is_valid("a=1&b&=&%c3%a4=%c3%a4"));
    cr_assert(!kv_query_is_valid("a=1&b=%"));
    cr_assert(!kv_query_is_valid("%00=1"));
    cr_assert(!kv_query_is_valid("a=1&b=\xff"));
    memset(big, 'a', sizeof(big));
    big[2047] = '\0';
    cr_assert(kv_query_is_valid(big));
    big[2047] = 'a';
    big[2048] = '\0';
    cr_assert(!kv_query_is_valid(big), "a pair is at most 2047 bytes long");
}

static const struct {
    const char *query;
    const char *copy;
    size_t n;
} copy_rows[] = {
    {"", "", 0},
    {"$skiptoken=x", "", 0},
    {"%24skiptoken=x&%24SkipToken=y", "", 0},
    {"api%2Dversion=7.5", "?api%2Dversion=7.5", 1},
    {"a=1&$skiptoken=x&&b=%20", "?a=1&b=%20", 2},
    {"$skiptokens=1&skiptoken=2", "?$skiptokens=1&skiptoken=2", 2},
};

Test(api_query, copies_pairs_as_they_were_without_the_one_named)
{
    for (size_t i = 0; i < sizeof(copy_rows) / sizeof(copy_rows[0]); i++) {
        struct kv_buf out;
        kv_buf_init(&out, 256);
        cr_assert_eq(kv_query_copy(copy_rows[i].query, "$skiptoken", &out),
                     copy_rows[i].n, "%s", copy_rows[i].query);
        cr_assert_str_eq(kv_buf_cstr(&out), copy_rows[i].copy);
        kv_buf_free(&out);
    }
}

Test(api_query, api_versions_are_a_closed_list)
{
    static const char *const served[] = {
        "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "7.4-preview.1", "2025-07-01"};
    static const char *const refused[] = {
        "",     "7",          "7.7",         "7.00",          "7.5 ",
        " 7.5", "2016-10-01", "2025-07-01 ", "7.6-preview.2", "2025-07-02",
        "v7.5", "latest",     "2025-07-01a", "2025-7-1",
    };
    for (size_t i = 0; i < sizeof(served) / sizeof(served[0]); i++)
        cr_assert(kv_api_version_is_known(served[i]), "%s", served[i]);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        cr_assert(!kv_api_version_is_known(refused[i]), "%s", refused[i]);
}
