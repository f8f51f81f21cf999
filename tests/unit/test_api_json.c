/*
 * Request bodies: what is refused before anything else sees it, and how members read.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/internal.h"

TestSuite(api_json, .timeout = 20);

static json_t *parse(const char *text)
{
    json_t *json = NULL;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_json_parse((const uint8_t *)text, strlen(text), &json, &err), 0,
                 "%s: %s", text, err.message);
    return json;
}

/* --- parse ------------------------------------------------------------------------ */

struct text {
    const char *why;
    const char *text;
    size_t len; /* 0: a string */
};

static const struct text good[] = {
    {"empty object", "{}", 0},
    {"white space around", " \t\r\n{ } \n", 0},
    {"escapes", "{\"a\":\"\\\\ \\\" \\/ \\u00e4 \\ud83d\\ude00\"}", 0},
    {"brackets in strings nest nothing", "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[{{{{{{\"}", 0},
    {"an escaped quote does not end a string", "{\"a\":\"\\\"[[[[[[[[[[[[[[[[[[[\"}",
     0},
    {"an escaped backslash does", "{\"a\":\"\\\\\",\"b\":[]}", 0},
    {"the same name in two objects", "{\"a\":{\"n\":1},\"b\":{\"n\":1}}", 0},
    {"numbers of any kind", "{\"a\":-1,\"b\":1e3,\"c\":0.5,\"d\":9223372036854775807}",
     0},
};

static const struct text bad[] = {
    {"not closed", "{\"a\":1", 0},
    {"closed twice", "{}}", 0},
    {"a second value", "{} {}", 0},
    {"array", "[]", 0},
    {"string", "\"a\"", 0},
    {"number", "1", 0},
    {"null", "null", 0},
    {"true", "true", 0},
    {"text", "value=1", 0},
    {"white space alone", "  ", 0},
    {"single quotes", "{'a':1}", 0},
    {"no quotes", "{a:1}", 0},
    {"comment", "{/* */}", 0},
    {"comma at the end", "{\"a\":1,}", 0},
    {"NaN", "{\"a\":NaN}", 0},
    {"leading zero", "{\"a\":01}", 0},
    {"plus sign", "{\"a\":+1}", 0},
    {"hexadecimal", "{\"a\":0x10}", 0},
    {"integer beyond 64 bits", "{\"a\":9223372036854775808}", 0},
    {"number beyond double", "{\"a\":1e999}", 0},
    {"duplicate member", "{\"value\":\"a\",\"value\":\"b\"}", 0},
    {"duplicate member in depth", "{\"attributes\":{\"exp\":1,\"exp\":2}}", 0},
    {"duplicate by escape", "{\"value\":\"a\",\"v\\u0061lue\":\"b\"}", 0},
    {"NUL escaped", "{\"a\":\"x\\u0000y\"}", 0},
    {"NUL escaped in a name", "{\"a\\u0000\":1}", 0},
    {"NUL raw", "{\"a\":\"x\0y\"}", 11},
    {"NUL behind the end", "{}\0", 3},
    {"lone surrogate", "{\"a\":\"\\ud800\"}", 0},
    {"surrogates in the wrong order", "{\"a\":\"\\ude00\\ud83d\"}", 0},
    {"no UTF-8", "{\"a\":\"\xff\"}", 0},
    {"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", 0},
    {"half a character at the end", "{\"a\":\"\xc3", 0},
    {"byte order mark", "\xef\xbb\xbf{}", 0},
    {"UTF-16", "{\0}\0", 4},
    {"line feed in a string", "{\"a\":\"x\ny\"}", 0},
    {"unknown escape", "{\"a\":\"\\x41\"}", 0},
    {"ends inside an escape", "{\"a\":\"\\", 0},
};

Test(api_json, takes_what_is_one_json_object)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_t *json = NULL;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_json_parse((const uint8_t *)good[i].text, strlen(good[i].text),
                                   &json, &err),
                     0, "%s: %s", good[i].why, err.message);
        cr_assert(json_is_object(json), "%s", good[i].why);
        json_decref(json);
    }
}

Test(api_json, refuses_what_is_none)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *json = NULL;
        struct kv_err err = KV_ERR_INIT;
        size_t len = bad[i].len != 0 ? bad[i].len : strlen(bad[i].text);
        cr_assert_eq(kv_json_parse((const uint8_t *)bad[i].text, len, &json, &err),
                     KV_E_INVALID, "%s", bad[i].why);
        cr_assert_str_eq(err.id, "api.bad-body", "%s", bad[i].why);
        cr_assert_null(json, "%s", bad[i].why);
    }
}

Test(api_json, an_empty_body_is_told_as_the_contract_tells_it)
{
    json_t *json = NULL;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_json_parse(NULL, 0, &json, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.no-body");
    cr_assert_str_eq(err.message, "Request body not specified");
}

/* {"a":{"a":... or {"a":[[[...: `depth` brackets in all. */
static size_t nest(char *out, size_t depth, char bracket)
{
    size_t n = 0;
    for (size_t i = 0; i < depth; i++) {
        bool is_object = bracket == '{' || i == 0;
        out[n++] = is_object ? '{' : '[';
        if (is_object && i + 1 < depth) {
            memcpy(out + n, "\"a\":", 4);
            n += 4;
        }
    }
    for (size_t i = depth; i-- > 0;)
        out[n++] = bracket == '{' || i == 0 ? '}' : ']';
    return n;
}

Test(api_json, nesting_ends_at_sixteen)
{
    static char text[1 << 20];
    const char brackets[] = {'{', '['};
    for (size_t i = 0; i < 2; i++) {
        json_t *json = NULL;
        struct kv_err err = KV_ERR_INIT;
        size_t len = nest(text, KV_JSON_DEPTH_MAX, brackets[i]);
        cr_assert_eq(kv_json_parse((uint8_t *)text, len, &json, &err), 0, "%s",
                     err.message);
        json_decref(json);
        json = NULL;
        len = nest(text, KV_JSON_DEPTH_MAX + 1, brackets[i]);
        cr_assert_eq(kv_json_parse((uint8_t *)text, len, &json, &err), KV_E_INVALID);
        cr_assert_str_eq(err.id, "api.bad-body");
        cr_assert_null(json);
    }
    memset(text, '[', sizeof(text));
    json_t *json = NULL;
    cr_assert_eq(kv_json_parse((uint8_t *)text, sizeof(text), &json, NULL),
                 KV_E_INVALID, "a million brackets do not reach the parser");
}

Test(api_json, complaints_quote_nothing_of_the_body)
{
    json_t *json = NULL;
    struct kv_err err = KV_ERR_INIT;
    const char *text = "{\"value\":\"hunter2\" \"x\"}";
    cr_assert_eq(kv_json_parse((const uint8_t *)text, strlen(text), &json, &err),
                 KV_E_INVALID);
    cr_assert_null(strstr(err.message, "hunter2"), "%s", err.message);
}

/* --- members ---------------------------------------------------------------------- */

Test(api_json, strings_are_strings)
{
    json_t *json = parse("{\"s\":\"text\",\"e\":\"\",\"n\":null,\"i\":1,\"o\":{}}");
    const char *out = "before";
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_json_string(json, "s", KV_REQUIRED, &out, &err), 0);
    cr_assert_str_eq(out, "text");
    cr_assert_eq(kv_json_string(json, "e", KV_REQUIRED, &out, &err), 0);
    cr_assert_str_eq(out, "", "an empty text is one");
    out = "before";
    cr_assert_eq(kv_json_string(json, "n", KV_OPTIONAL, &out, &err), 0);
    cr_assert_eq(kv_json_string(json, "absent", KV_OPTIONAL, &out, &err), 0);
    cr_assert_str_eq(out, "before", "null and absent leave it alone");
    cr_assert_eq(kv_json_string(json, "n", KV_REQUIRED, &out, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.missing-field");
    err = KV_ERR_INIT;
    cr_assert_eq(kv_json_string(json, "absent", KV_REQUIRED, &out, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.missing-field");
    cr_assert_not_null(strstr(err.message, "'absent'"), "it names the member");
    static const char *const wrong[] = {"i", "o"};
    for (size_t i = 0; i < 2; i++) {
        err = KV_ERR_INIT;
        cr_assert_eq(kv_json_string(json, wrong[i], KV_OPTIONAL, &out, &err),
                     KV_E_INVALID);
        cr_assert_str_eq(err.id, "api.bad-field");
    }
    cr_assert_eq(kv_json_string(NULL, "s", KV_OPTIONAL, &out, &err), 0, "no object");
    json_decref(json);
}

Test(api_json, names_of_members_have_case)
{
    json_t *json = parse("{\"Value\":\"x\"}");
    const char *out = NULL;
    cr_assert_eq(kv_json_string(json, "value", KV_REQUIRED, &out, NULL), KV_E_INVALID);
    json_decref(json);
}

Test(api_json, booleans_are_true_or_false)
{
    json_t *json = parse("{\"t\":true,\"f\":false,\"n\":null,\"i\":1,\"s\":\"true\"}");
    bool out = false;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_json_bool(json, "t", &out, &err), 0);
    cr_assert(out);
    cr_assert_eq(kv_json_bool(json, "n", &out, &err), 0);
    cr_assert_eq(kv_json_bool(json, "absent", &out, &err), 0);
    cr_assert(out, "left alone");
    cr_assert_eq(kv_json_bool(json, "f", &out, &err), 0);
    cr_assert(!out);
    cr_assert_eq(kv_json_bool(json, "i", &out, &err), KV_E_INVALID);
    cr_assert_eq(kv_json_bool(json, "s", &out, NULL), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.bad-field");
    json_decref(json);
}

Test(api_json, integers_are_whole)
{
    json_t *json = parse("{\"i\":-7,\"z\":0,\"n\":null,\"r\":1.0,\"e\":1e2,\"s\":\"1\","
                         "\"b\":true,\"max\":9223372036854775807}");
    int64_t out = 5;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_json_integer(json, "n", &out, &err), 0);
    cr_assert_eq(kv_json_integer(json, "absent", &out, &err), 0);
    cr_assert_eq(out, 5, "left alone");
    cr_assert_eq(kv_json_integer(json, "i", &out, &err), 0);
    cr_assert_eq(out, -7);
    cr_assert_eq(kv_json_integer(json, "z", &out, &err), 0);
    cr_assert_eq(out, 0);
    cr_assert_eq(kv_json_integer(json, "max", &out, &err), 0);
    cr_assert_eq(out, INT64_MAX);
    static const char *const wrong[] = {"r", "e", "s", "b"};
    for (size_t i = 0; i < 4; i++) {
        err = KV_ERR_INIT;
        cr_assert_eq(kv_json_integer(json, wrong[i], &out, &err), KV_E_INVALID, "%s",
                     wrong[i]);
        cr_assert_str_eq(err.id, "api.bad-field");
    }
    json_decref(json);
}

Test(api_json, objects_are_objects)
{
    json_t *json = parse("{\"o\":{\"a\":1},\"n\":null,\"a\":[],\"s\":\"{}\"}");
    const json_t *out = NULL;
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_json_object(json, "n", KV_OPTIONAL, &out, &err), 0);
    cr_assert_eq(kv_json_object(json, "absent", KV_OPTIONAL, &out, &err), 0);
    cr_assert_null(out);
    cr_assert_eq(kv_json_object(json, "o", KV_REQUIRED, &out, &err), 0);
    cr_assert_eq(json_object_size(out), 1);
    cr_assert_eq(kv_json_object(json, "a", KV_OPTIONAL, &out, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.bad-field");
    cr_assert_eq(kv_json_object(json, "s", KV_OPTIONAL, &out, NULL), KV_E_INVALID);
    err = KV_ERR_INIT;
    cr_assert_eq(kv_json_object(json, "n", KV_REQUIRED, &out, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.missing-field");
    json_decref(json);
}

static const struct {
    const char *why;
    const char *body;
    int rc;
    size_t len;
} bytes_rows[] = {
    {"plain", "{\"v\":\"AQID\"}", 0, 3},
    {"two letters of the url alphabet", "{\"v\":\"-_-_\"}", 0, 3},
    {"no padding needed", "{\"v\":\"AQ\"}", 0, 1},
    {"empty", "{\"v\":\"\"}", 0, 0},
    {"sixteen bytes fill the buffer", "{\"v\":\"AAAAAAAAAAAAAAAAAAAAAA\"}", 0, 16},
    {"seventeen do not fit", "{\"v\":\"AAAAAAAAAAAAAAAAAAAAAAA\"}", KV_E_TOO_BIG, 0},
    {"padding", "{\"v\":\"AQ==\"}", KV_E_INVALID, 0},
    {"standard alphabet", "{\"v\":\"+/+/\"}", KV_E_INVALID, 0},
    {"impossible length", "{\"v\":\"AQIDB\"}", KV_E_INVALID, 0},
    {"bits left over", "{\"v\":\"AR\"}", KV_E_INVALID, 0},
    {"space", "{\"v\":\"AQ ID\"}", KV_E_INVALID, 0},
    {"number", "{\"v\":1}", KV_E_INVALID, 0},
};

Test(api_json, bytes_are_base64url_without_padding)
{
    for (size_t i = 0; i < sizeof(bytes_rows) / sizeof(bytes_rows[0]); i++) {
        json_t *json = parse(bytes_rows[i].body);
        struct kv_buf out;
        struct kv_err err = KV_ERR_INIT;
        kv_buf_init(&out, 16);
        int rc = kv_json_bytes(json, "v", KV_REQUIRED, &out, &err);
        cr_assert_eq(rc, bytes_rows[i].rc, "%s: %d", bytes_rows[i].why, rc);
        if (rc == 0)
            cr_assert_eq(out.len, bytes_rows[i].len, "%s", bytes_rows[i].why);
        else
            cr_assert_str_eq(err.id, "api.bad-field", "%s", bytes_rows[i].why);
        kv_buf_free(&out);
        json_decref(json);
    }
    json_t *json = parse("{}");
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&out, 16);
    cr_assert_eq(kv_json_bytes(json, "v", KV_OPTIONAL, &out, NULL), 0);
    cr_assert_eq(kv_json_bytes(json, "v", KV_REQUIRED, &out, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.missing-field");
    kv_buf_free(&out);
    json_decref(json);
}

Test(api_json, characters_are_code_points)
{
    cr_assert_eq(kv_utf8_count(""), 0);
    cr_assert_eq(kv_utf8_count("abc"), 3);
    cr_assert_eq(kv_utf8_count("\xc3\xa4\xe2\x98\x83\xf0\x9f\x98\x80"), 3);
    cr_assert_eq(kv_utf8_count("e\xcc\x81"), 2, "a combining mark counts");
}

static const struct {
    const char *type;
    bool is_json;
} types[] = {
    {NULL, true}, /* not told: the body itself will show */
    {"application/json", true},
    {"application/json; charset=utf-8", true},
    {"application/json;charset=utf-8", true},
    {"Application/JSON", true},
    {"application/json ; odata=none", true},
    {"", false},
    {"text/plain", false},
    {"application/x-www-form-urlencoded", false},
    {"multipart/form-data; boundary=x", false},
    {"application/jsonp", false},
    {"application/json-seq", false},
    {"application/xml; application/json", false},
    {"json", false},
};

Test(api_json, only_json_is_read_as_json)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        cr_assert_eq(kv_json_is_media_type(types[i].type), types[i].is_json, "%s",
                     types[i].type != NULL ? types[i].type : "none");
}

/* --- attributes and tags -----------------------------------------------------------
 */

static struct kv_call_attrs blank(void)
{
    return (struct kv_call_attrs){
        .is_enabled = true, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE};
}

static int read_attrs(const char *text, struct kv_call_attrs *attrs, struct kv_err *err)
{
    json_t *json = parse(text);
    *attrs = blank();
    int rc = kv_json_attrs(json, attrs, err);
    attrs->tags = NULL; /* borrowed from what ends here */
    json_decref(json);
    return rc;
}

static const struct {
    const char *text;
    int64_t exp_s; /* KV_TIME_NONE - 1: refused */
} dates[] = {
#define BAD INT64_MAX
    {"{}", KV_TIME_NONE},
    {"{\"attributes\":null}", KV_TIME_NONE},
    {"{\"attributes\":{}}", KV_TIME_NONE},
    {"{\"attributes\":{\"exp\":null}}", KV_TIME_NONE},
    {"{\"attributes\":{\"exp\":0}}", 0},
    {"{\"attributes\":{\"exp\":2147483647}}", 2147483647},
    {"{\"attributes\":{\"exp\":2147483648}}", INT64_C(2147483648)},
    {"{\"attributes\":{\"exp\":253402300799}}", INT64_C(253402300799)},
    /* 2100-01-01 as a 32 bit SDK writes it, and the edges of that repair */
    {"{\"attributes\":{\"exp\":-192522496}}", INT64_C(4102444800)},
    {"{\"attributes\":{\"exp\":-1}}", INT64_C(4294967295)},
    {"{\"attributes\":{\"exp\":-2147483648}}", INT64_C(2147483648)},
    {"{\"attributes\":{\"exp\":-2147483649}}", BAD},
    {"{\"attributes\":{\"exp\":253402300800}}", BAD},
    {"{\"attributes\":{\"exp\":9223372036854775807}}", BAD},
    {"{\"attributes\":{\"exp\":-9223372036854775808}}", BAD},
    {"{\"attributes\":{\"exp\":1.5}}", BAD},
    {"{\"attributes\":{\"exp\":\"2030-01-01\"}}", BAD},
    {"{\"attributes\":{\"exp\":true}}", BAD},
    {"{\"attributes\":[]}", BAD},
    {"{\"attributes\":\"exp\"}", BAD},
};

Test(api_json, dates_are_unix_seconds_and_negative_ones_are_repaired)
{
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        struct kv_call_attrs attrs;
        struct kv_err err = KV_ERR_INIT;
        int rc = read_attrs(dates[i].text, &attrs, &err);
        cr_assert_eq(rc, dates[i].exp_s == BAD ? KV_E_INVALID : 0, "%s: %d",
                     dates[i].text, rc);
        if (rc == 0)
            cr_assert_eq(attrs.exp_s, dates[i].exp_s, "%s", dates[i].text);
        else
            cr_assert_str_eq(err.id, "api.bad-field", "%s", dates[i].text);
    }
}

Test(api_json, attributes_that_are_absent_stay)
{
    struct kv_call_attrs attrs = {.is_enabled = false, .nbf_s = 5, .exp_s = 6};
    json_t *json = parse("{\"attributes\":{\"exp\":7}}");
    cr_assert_eq(kv_json_attrs(json, &attrs, NULL), 0);
    cr_assert(!attrs.is_enabled);
    cr_assert_eq(attrs.nbf_s, 5);
    cr_assert_eq(attrs.exp_s, 7);
    cr_assert_null(attrs.tags);
    json_decref(json);
    json = parse("{\"attributes\":{\"enabled\":true,\"nbf\":3,\"created\":\"x\"},"
                 "\"tags\":{}}");
    cr_assert_eq(kv_json_attrs(json, &attrs, NULL), 0,
                 "unknown members are passed over");
    cr_assert(attrs.is_enabled);
    cr_assert_eq(attrs.nbf_s, 3);
    cr_assert_not_null(attrs.tags, "an empty map is a map: it replaces");
    json_decref(json);
}

Test(api_json, a_refusal_leaves_the_attributes_as_they_were)
{
    struct kv_call_attrs attrs = {.is_enabled = true, .nbf_s = 5, .exp_s = 6};
    struct kv_err err = KV_ERR_INIT;
    json_t *json = parse("{\"attributes\":{\"enabled\":false,\"nbf\":9,\"exp\":8}}");
    cr_assert_eq(kv_json_attrs(json, &attrs, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "api.bad-field");
    cr_assert(attrs.is_enabled && attrs.nbf_s == 5 && attrs.exp_s == 6);
    json_decref(json);
    json = parse("{\"attributes\":{\"nbf\":7}}");
    cr_assert_eq(kv_json_attrs(json, &attrs, NULL), KV_E_INVALID,
                 "compared with the date that stays");
    json_decref(json);
    json = parse("{\"attributes\":{\"nbf\":8,\"exp\":8}}");
    cr_assert_eq(kv_json_attrs(json, &attrs, NULL), 0);
    json_decref(json);
    json = parse("{\"attributes\":{\"enabled\":\"yes\"}}");
    cr_assert_eq(kv_json_attrs(json, &attrs, NULL), KV_E_INVALID);
    json_decref(json);
}

/* {"tags":{"<name><i>":"<value>"...}} with `n` entries, names of `name_len` and values
 * of `value_len` characters, each of them "ä" or "a". */
static json_t *tags_body(size_t n, size_t name_len, size_t value_len, const char *c)
{
    json_t *tags = json_object();
    for (size_t i = 0; i < n; i++) {
        char name[2048] = "";
        char value[2048] = "";
        char digits[8];
        (void)snprintf(digits, sizeof(digits), "%02zu", i % 100);
        for (size_t k = name_len > 2 ? 2 : name_len; k < name_len; k++)
            strcat(name, c);
        strcat(name, name_len > 0 ? digits : "");
        for (size_t k = 0; k < value_len; k++)
            strcat(value, c);
        cr_assert_eq(json_object_set_new(tags, name, json_string(value)), 0);
    }
    return json_pack("{s:o}", "tags", tags);
}

static const struct {
    const char *why;
    size_t n;
    size_t name_len;
    size_t value_len;
    int rc;
} tags_rows[] = {
    {"none", 0, 0, 0, 0},
    {"fifteen", 15, 2, 0, 0},
    {"sixteen", 16, 2, 0, KV_E_INVALID},
    {"longest name and value", 15, 256, 256, 0},
    {"name too long", 1, 257, 1, KV_E_INVALID},
    {"value too long", 1, 2, 257, KV_E_INVALID},
    {"name without a character", 1, 0, 1, KV_E_INVALID},
};

Test(api_json, tags_have_limits_in_characters)
{
    static const char *const characters[] = {"a", "\xc3\xa4", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < sizeof(tags_rows) / sizeof(tags_rows[0]); i++)
        for (size_t c = 0; c < 3; c++) {
            json_t *body = tags_body(tags_rows[i].n, tags_rows[i].name_len,
                                     tags_rows[i].value_len, characters[c]);
            struct kv_call_attrs attrs = blank();
            struct kv_err err = KV_ERR_INIT;
            cr_assert_eq(kv_json_attrs(body, &attrs, &err), tags_rows[i].rc, "%s, %s",
                         tags_rows[i].why, characters[c]);
            if (tags_rows[i].rc != 0)
                cr_assert_str_eq(err.id, "api.bad-field");
            else
                cr_assert_eq(attrs.tags, json_object_get(body, "tags"), "borrowed");
            json_decref(body);
        }
}

Test(api_json, tags_are_a_map_of_texts)
{
    static const char *const wrong[] = {
        "{\"tags\":[]}",           "{\"tags\":\"a\"}",      "{\"tags\":{\"a\":1}}",
        "{\"tags\":{\"a\":null}}", "{\"tags\":{\"a\":{}}}", "{\"tags\":{\"a\":true}}",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kv_call_attrs attrs;
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(read_attrs(wrong[i], &attrs, &err), KV_E_INVALID, "%s", wrong[i]);
        cr_assert_str_eq(err.id, "api.bad-field", "%s", wrong[i]);
    }
}
