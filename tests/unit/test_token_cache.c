/*
 * Tokens that were good lately.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/token_cache.h"

static struct kv_token_cache *cache;

static void setup(void)
{
    cr_assert_eq(kv_token_cache_new(&cache), 0);
}

static void teardown(void)
{
    kv_token_cache_free(cache);
}

TestSuite(token_cache, .timeout = 60, .init = setup, .fini = teardown);

static struct kv_caller_id id_of(const char *app)
{
    struct kv_caller_id id;
    memset(&id, 0, sizeof(id));
    id.principal.kind = KV_PRINCIPAL_APP;
    (void)snprintf(id.principal.app, sizeof(id.principal.app), "%s", app);
    id.generation = 7;
    id.exp_s = 2000;
    return id;
}

Test(token_cache, it_keeps_for_a_minute_and_not_beyond_the_end)
{
    struct kv_caller_id id = id_of("a");
    cr_assert_null(kv_token_cache_find(cache, "token", 1000, 5000));
    kv_token_cache_put(cache, "token", &id, 5000);
    const struct kv_caller_id *found = kv_token_cache_find(cache, "token", 1000, 5000);
    cr_assert_not_null(found);
    cr_assert_str_eq(found->principal.app, "a");
    cr_assert_eq(found->generation, 7);
    cr_assert_null(kv_token_cache_find(cache, "tokem", 1000, 5000));
    cr_assert_not_null(
        kv_token_cache_find(cache, "token", 1000, 5000 + KV_TOKEN_CACHE_MS - 1));
    cr_assert_null(kv_token_cache_find(cache, "token", 1000, 5000 + KV_TOKEN_CACHE_MS));
    cr_assert_not_null(kv_token_cache_find(cache, "token", 2059, 5000));
    cr_assert_null(kv_token_cache_find(cache, "token", 2060, 5000), "expired");
}

Test(token_cache, tokens_take_turns_and_are_never_mixed_up)
{
    char token[16];
    char app[16];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(token, sizeof(token), "token-%d", i);
        (void)snprintf(app, sizeof(app), "%d", i);
        struct kv_caller_id id = id_of(app);
        kv_token_cache_put(cache, token, &id, 0);
    }
    int n_found = 0;
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(token, sizeof(token), "token-%d", i);
        (void)snprintf(app, sizeof(app), "%d", i);
        const struct kv_caller_id *found = kv_token_cache_find(cache, token, 0, 0);
        if (found == NULL)
            continue;
        cr_assert_str_eq(found->principal.app, app);
        n_found++;
    }
    cr_assert_gt(n_found, KV_TOKEN_CACHE_PLACES / 2);
    cr_assert_leq(n_found, KV_TOKEN_CACHE_PLACES);
}
