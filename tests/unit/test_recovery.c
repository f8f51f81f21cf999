#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/recovery.h"

TestSuite(recovery, .timeout = 20);

static uint8_t key[KV_RECOVERY_LEN];
static struct kv_buf text;

static void setup(void)
{
    kv_buf_init_secret(&text, 128);
    for (uint8_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 37 + 11);
    cr_assert_eq(kv_recovery_format(key, &text), 0);
}

static void teardown(void)
{
    kv_buf_free(&text);
}

Test(recovery, reads_what_it_wrote, .init = setup, .fini = teardown)
{
    uint8_t again[KV_RECOVERY_LEN];
    cr_assert_eq(text.len, KV_RECOVERY_TEXT_LEN);
    cr_assert_eq(kv_recovery_parse((const char *)text.data, text.len, again, NULL), 0);
    cr_assert_eq(memcmp(again, key, sizeof(key)), 0);
}

Test(recovery, forgives_how_people_type, .init = setup, .fini = teardown)
{
    char typed[128];
    size_t n = 0;
    uint8_t again[KV_RECOVERY_LEN];
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.data[i];
        if (c == '-')
            c = ' ';
        else if (c == '0')
            c = 'o';
        else if (c == '1')
            c = 'l';
        else if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        typed[n++] = c;
    }
    typed[n++] = '\n';
    cr_assert_eq(kv_recovery_parse(typed, n, again, NULL), 0);
    cr_assert_eq(memcmp(again, key, sizeof(key)), 0);
}

Test(recovery, finds_every_single_typing_mistake, .init = setup, .fini = teardown)
{
    uint8_t again[KV_RECOVERY_LEN];
    for (size_t i = 0; i < text.len; i++) {
        struct kv_err err = KV_ERR_INIT;
        const uint8_t old = text.data[i];
        if (old == '-')
            continue;
        text.data[i] = old == 'Z' ? 'Y' : 'Z';
        cr_assert_eq(kv_recovery_parse((const char *)text.data, text.len, again, &err),
                     KV_E_INVALID);
        cr_assert_str_eq(err.id, "recovery.bad-checksum");
        text.data[i] = old;
    }
}

Test(recovery, refuses_what_is_no_recovery_key, .init = setup, .fini = teardown)
{
    uint8_t again[KV_RECOVERY_LEN];
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_recovery_parse("", 0, again, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "recovery.bad-form");
    cr_assert_eq(kv_recovery_parse((const char *)text.data, text.len - 1, again, NULL),
                 KV_E_INVALID);
    cr_assert_eq(kv_buf_append_str(&text, "A"), 0);
    cr_assert_eq(kv_recovery_parse((const char *)text.data, text.len, again, NULL),
                 KV_E_INVALID);
    text.data[0] = 'U';
    cr_assert_eq(kv_recovery_parse((const char *)text.data, text.len - 1, again, NULL),
                 KV_E_INVALID);
}
