/*
 * Which types of keys a vault holds, and how it refuses the others.
 */
#include <criterion/criterion.h>
#include <stdio.h>

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

TestSuite(api_keys_create, .timeout = 60, .init = setup, .fini = teardown);

static void expect_refused(const char *method, const char *path, const char *body,
                           const char *code, const char *id)
{
    json_t *json = NULL;
    cr_expect_eq(desk_call(&desk, method, path, body, &json), 400, "%s", body);
    cr_expect_str_eq(desk_error(json, "code"), code, "%s", body);
    cr_expect_str_eq(desk_error(json, "id"), id, "%s", body);
    json_decref(json);
}

static const char *const hardware[][3] = {
    {"POST", "/keys/k/create", "{\"kty\":\"RSA-HSM\"}"},
    {"POST", "/keys/k/create", "{\"kty\":\"EC-HSM\",\"crv\":\"P-256\"}"},
    {"PUT", "/keys/k", "{\"key\":{\"kty\":\"EC-HSM\"}}"},
    {"PUT", "/keys/k", "{\"key\":{\"kty\":\"EC\"},\"Hsm\":true}"},
};

Test(api_keys_create, keys_in_hardware_need_a_premium_vault_and_the_hardware)
{
    for (size_t i = 0; i < sizeof(hardware) / sizeof(hardware[0]); i++)
        expect_refused(hardware[i][0], hardware[i][1], hardware[i][2], "BadParameter",
                       "key.needs-premium");
    desk.vault->is_premium = true;
    for (size_t i = 0; i < sizeof(hardware) / sizeof(hardware[0]); i++)
        expect_refused(hardware[i][0], hardware[i][1], hardware[i][2], "NotSupported",
                       "api.not-offered");
    desk_fails(&desk, 404, "object.not-found", "GET", "/keys/k", NULL);
}

Test(api_keys_create, symmetric_and_unknown_types_are_no_keys_of_a_vault)
{
    static const char *const types[] = {"oct", "oct-HSM", "DSA", "rsa", ""};
    char body[64];
    for (size_t premium = 0; premium < 2; premium++) {
        desk.vault->is_premium = premium != 0;
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
            (void)snprintf(body, sizeof(body), "{\"kty\":\"%s\"}", types[i]);
            expect_refused("POST", "/keys/k/create", body, "BadParameter",
                           "api.bad-field");
            (void)snprintf(body, sizeof(body), "{\"key\":{\"kty\":\"%s\"}}", types[i]);
            expect_refused("PUT", "/keys/k", body, "BadParameter", "api.bad-field");
        }
    }
}
