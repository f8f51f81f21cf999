/*
 * The header that tells a client where to get a token: its spelling is a contract.
 */
#include <criterion/criterion.h>

#include "lifecycle/auth/challenge.h"

TestSuite(challenge, .timeout = 20);

Test(challenge, is_written_as_the_sdks_read_it)
{
    char out[256];
    struct kv_challenge challenge = {
        .domain = "vault.localhost", .tenant = "T", .port = 8443};
    cr_assert_eq(kv_challenge_format(&challenge, out, sizeof(out)), 0);
    cr_assert_str_eq(out, "Bearer authorization=\"https://localhost:8443/T\", "
                          "resource=\"https://vault.localhost\", "
                          "scope=\"https://vault.localhost:8443/.default\"");
    cr_assert_eq(kv_challenge_format(&challenge, out, 100), KV_E_TOO_BIG);
    challenge.domain = "v.example";
    challenge.port = 443;
    cr_assert_eq(kv_challenge_format(&challenge, out, sizeof(out)), 0);
    cr_assert_str_eq(out, "Bearer authorization=\"https://v.example:443/T\", "
                          "resource=\"https://v.example\"");
    cr_assert_eq(kv_challenge_format(&challenge, out, 40), KV_E_TOO_BIG);
}
