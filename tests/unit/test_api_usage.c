/*
 * What was done with keys, over the REST API.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_usage, .timeout = 60, .init = setup, .fini = teardown);

#define SIGN                                                                           \
    "{\"alg\":\"ES256\",\"value\":\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"}"

static void make_and_sign(const char *name, unsigned n)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/keys/%s/create", name);
    cr_assert_eq(
        desk_call(&desk, "POST", path, "{\"kty\":\"EC\",\"crv\":\"P-256\"}", NULL),
        200);
    (void)snprintf(path, sizeof(path), "/keys/%s//sign", name);
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(desk_call(&desk, "POST", path, SIGN, NULL), 200);
}

static json_int_t number(const json_t *json, const char *member)
{
    return json_integer_value(json_object_get(json, member));
}

Test(api_usage, tells_what_was_done_with_each_key)
{
    json_t *json = NULL;
    json_int_t n_in_histogram = 0;
    make_and_sign("web", 3);
    make_and_sign("mail", 1);
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/usage", NULL, &json), 200);
    cr_expect_eq(json_array_size(json_object_get(json, "value")), 2);
    json_decref(json);
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/usage?name=WEB", NULL, &json),
                 200);
    cr_assert_eq(json_array_size(json_object_get(json, "value")), 1);
    const json_t *item = json_array_get(json_object_get(json, "value"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(item, "name")), "web");
    cr_expect_str_eq(json_string_value(json_object_get(item, "crv")), "P-256");
    cr_expect_eq(number(json_object_get(item, "operations"), "sign"), 3);
    cr_expect_eq(number(json_object_get(item, "operations"), "derive"), 0);
    cr_expect_eq(number(item, "errors"), 0);
    cr_expect_geq(number(item, "p99Us"), number(item, "p50Us"));
    const json_t *histogram = json_object_get(item, "histogramUs");
    cr_assert_eq(json_array_size(histogram), KV_USAGE_BUCKETS);
    for (size_t i = 0; i < KV_USAGE_BUCKETS; i++)
        n_in_histogram += json_integer_value(json_array_get(histogram, i));
    cr_expect_eq(n_in_histogram, 3);
    json_decref(json);
}

Test(api_usage, a_key_that_was_not_used_is_not_told)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/usage?name=web", NULL, &json),
                 200);
    cr_expect_eq(json_array_size(json_object_get(json, "value")), 0);
    json_decref(json);
}

Test(api_usage, a_name_that_is_none_is_refused)
{
    json_t *json = NULL;
    cr_assert_eq(desk_call(&desk, "GET", "/keyvault/v1/usage?name=a%20b", NULL, &json),
                 400);
    cr_expect_str_eq(desk_error(json, "id"), "api.bad-query");
    json_decref(json);
}
