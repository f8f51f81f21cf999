/*
 * The --dev administrator's token and the headers that carry it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/token.h"

TestSuite(token, .timeout = 20);

Test(token, each_is_made_of_fresh_chance)
{
    char a[KV_TOKEN_TEXT_LEN + 1];
    char b[KV_TOKEN_TEXT_LEN + 1];
    uint8_t hash_a[KV_TOKEN_HASH_LEN];
    uint8_t hash_b[KV_TOKEN_HASH_LEN];
    cr_assert_eq(kv_token_make(kv_rand_system(), a, hash_a), 0);
    cr_assert_eq(kv_token_make(kv_rand_system(), b, hash_b), 0);
    cr_assert_eq(strlen(a), KV_TOKEN_TEXT_LEN);
    cr_assert_eq(strspn(a, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                           "0123456789-_"),
                 KV_TOKEN_TEXT_LEN);
    cr_assert_str_neq(a, b);
    cr_assert_arr_neq(hash_a, hash_b, sizeof(hash_a));
    cr_assert_eq(kv_token_hash(a, hash_b), 0);
    cr_assert_arr_eq(hash_a, hash_b, sizeof(hash_a));
}

Test(token, text_of_another_length_is_none)
{
    uint8_t hash[KV_TOKEN_HASH_LEN];
    char text[KV_TOKEN_TEXT_LEN + 2];
    memset(text, 'a', sizeof(text));
    text[KV_TOKEN_TEXT_LEN + 1] = '\0';
    cr_assert_eq(kv_token_hash(text, hash), KV_E_INVALID);
    text[KV_TOKEN_TEXT_LEN - 1] = '\0';
    cr_assert_eq(kv_token_hash(text, hash), KV_E_INVALID);
    cr_assert_eq(kv_token_hash("", hash), KV_E_INVALID);
}

static const struct {
    const char *format;
    bool matches;
} headers[] = {
    {"Bearer %s", true},
    {"bearer %s", true},
    {"BEARER  %s", true},
    {"Bearer%s", false},
    {"%s", false},
    {"Basic %s", false},
    {"Bearer %sx", false},
    {"Bearer x%s", false},
    {"Bearer %s ", false},
    {"Bearer \"%s\"", false},
    {"Bearer\t%s", false},
    {" Bearer %s", false},
    {"Bearer %s,Bearer %s", false},
};

Test(token, matches_as_bearer_and_in_no_other_way)
{
    char text[KV_TOKEN_TEXT_LEN + 1];
    uint8_t hash[KV_TOKEN_HASH_LEN];
    cr_assert_eq(kv_token_make(kv_rand_system(), text, hash), 0);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        char header[256] = "";
        size_t n = 0;
        for (const char *at = headers[i].format; *at != '\0'; at++) {
            if (at[0] == '%' && at[1] == 's') {
                n += (size_t)snprintf(header + n, sizeof(header) - n, "%s", text);
                at++;
            } else {
                header[n++] = *at;
            }
        }
        cr_assert_eq(kv_token_matches(header, hash), headers[i].matches, "%s",
                     headers[i].format);
    }
    cr_assert(!kv_token_matches(NULL, hash));
    cr_assert(!kv_token_matches("", hash));
    cr_assert(!kv_token_matches("Bearer", hash));
    cr_assert(!kv_token_matches("Bearer ", hash));
    char header[128];
    for (size_t i = 0; i < KV_TOKEN_TEXT_LEN; i++) {
        (void)snprintf(header, sizeof(header), "Bearer %s", text);
        header[7 + i] ^= 1;
        cr_assert(!kv_token_matches(header, hash), "each character counts");
    }
}
