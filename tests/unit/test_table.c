#include <criterion/criterion.h>

#include "store/keyring/table.h"

TestSuite(table, .timeout = 20);

static void count_evicted(void *arg, uint32_t index)
{
    (void)index;
    (*(unsigned *)arg)++;
}

Test(table, finds_what_was_put_and_nothing_else)
{
    bool is_new = false;
    struct kv_table *table = kv_table_new(100, sizeof(uint32_t), 42);
    for (uint32_t key = 0; key < 100; key++) {
        const uint32_t at = kv_table_put(table, &key, NULL, NULL, &is_new);
        cr_assert(is_new && at < 100);
    }
    for (uint32_t key = 0; key < 200; key++) {
        const uint32_t at = kv_table_find(table, &key);
        cr_assert_eq(at != KV_TABLE_NONE, key < 100);
        if (at != KV_TABLE_NONE)
            cr_assert_eq(*(const uint32_t *)kv_table_key(table, at), key);
    }
    cr_assert_eq(kv_table_count(table), 100);
    kv_table_free(table);
}

Test(table, evicts_the_entry_used_longest_ago)
{
    bool is_new = false;
    unsigned n_evicted = 0;
    struct kv_table *table = kv_table_new(3, sizeof(uint32_t), 1);
    for (uint32_t key = 0; key < 3; key++)
        (void)kv_table_put(table, &key, NULL, NULL, &is_new);
    const uint32_t zero = 0;
    const uint32_t one = 1;
    const uint32_t nine = 9;
    cr_assert_neq(kv_table_find(table, &zero), KV_TABLE_NONE);
    (void)kv_table_put(table, &nine, count_evicted, &n_evicted, &is_new);
    cr_assert_eq(n_evicted, 1);
    cr_assert_eq(kv_table_find(table, &one), KV_TABLE_NONE);
    cr_assert_neq(kv_table_find(table, &zero), KV_TABLE_NONE);
    cr_assert_neq(kv_table_find(table, &nine), KV_TABLE_NONE);
    cr_assert_eq(kv_table_count(table), 3);
    kv_table_free(table);
}

Test(table, survives_a_long_random_life)
{
    bool is_new = false;
    uint8_t is_in[64] = {0};
    struct kv_table *table = kv_table_new(64, 1, 7);
    uint32_t state = 12345;
    for (int i = 0; i < 20000; i++) {
        state = state * 1664525u + 1013904223u;
        const uint8_t key = (uint8_t)((state >> 16) % 64);
        const uint32_t at = kv_table_find(table, &key);
        cr_assert_eq(at != KV_TABLE_NONE, is_in[key]);
        if ((state >> 30) == 0 && at != KV_TABLE_NONE) {
            kv_table_remove(table, at);
            is_in[key] = 0;
        } else if (at == KV_TABLE_NONE) {
            (void)kv_table_put(table, &key, NULL, NULL, &is_new);
            is_in[key] = 1;
        }
    }
    uint32_t n = 0;
    for (uint32_t at = kv_table_first(table); at != KV_TABLE_NONE;
         at = kv_table_next(table, at))
        n++;
    cr_assert_eq(n, kv_table_count(table));
    kv_table_free(table);
}
