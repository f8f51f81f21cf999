/*
 * Error objects: the first precise error wins, texts fit, codes have names.
 */
#include "store/core/err.h"
#include "store/core/str.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

TestSuite(err, .timeout = 20);

Test(err, first_error_wins)
{
    struct kv_err err = KV_ERR_INIT;
    cr_expect_eq(kv_err_set(&err, KV_E_INVALID, "a.first", "got %d", 7), KV_E_INVALID);
    cr_expect_eq(kv_err_set(&err, KV_E_IO, "a.second", "later"), KV_E_IO);
    cr_expect_eq(err.code, KV_E_INVALID);
    cr_expect_str_eq(err.id, "a.first");
    cr_expect_str_eq(err.message, "got 7");
    kv_err_hint(&err, "do %s", "this");
    kv_err_hint(&err, "or that");
    cr_expect_str_eq(err.hint, "do this");
}

Test(err, context_goes_in_front)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_context(&err, "nothing failed");
    cr_expect_eq(err.message[0], '\0');
    kv_err_set(&err, KV_E_IO, "a.b", "disk is gone");
    kv_err_context(&err, "reading %s", "file");
    kv_err_context(&err, "starting");
    cr_expect_str_eq(err.message, "starting: reading file: disk is gone");
}

Test(err, accepts_no_object)
{
    cr_expect_eq(kv_err_set(NULL, KV_E_BUSY, "a.b", "x"), KV_E_BUSY);
    cr_expect_eq(kv_err_errno(NULL, EIO, "a.b", "x"), KV_E_IO);
    kv_err_hint(NULL, "x");
    kv_err_context(NULL, "x");
    kv_err_cause_add(NULL, "a.b", "x");
}

Test(err, cuts_long_texts_between_characters)
{
    char text[2000];
    memset(text, 'x', sizeof(text));
    for (size_t i = 1; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    text[sizeof(text) - 1] = '\0';
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_INVALID, "a.b", "%s", text);
    cr_expect_eq(strlen(err.message), KV_ERR_TEXT_MAX - 1);
    cr_expect(kv_utf8_is_valid(err.message, strlen(err.message)));
    kv_err_context(&err, "%s", text + 1);
    cr_expect(kv_utf8_is_valid(err.message, strlen(err.message)));
    cr_expect_eq(strlen(err.message), KV_ERR_TEXT_MAX - 1);
}

Test(err, keeps_four_causes)
{
    struct kv_err err = KV_ERR_INIT;
    kv_err_cause_add(&err, "a.c", "nothing failed yet");
    cr_expect_eq(err.n_causes, 0);
    kv_err_set(&err, KV_E_INVALID, "a.b", "x");
    for (int i = 0; i < 6; i++)
        kv_err_cause_add(&err, "a.c", "cause %d", i);
    cr_expect_eq(err.n_causes, KV_ERR_MAX_CAUSES);
    cr_expect_str_eq(err.causes[0].id, "a.c");
    cr_expect_str_eq(err.causes[3].message, "cause 3");
}

Test(err, tells_a_full_disk_from_a_broken_one)
{
    struct kv_err err = KV_ERR_INIT;
    cr_expect_eq(kv_err_errno(&err, ENOSPC, "a.b", "write x"), KV_E_FULL);
    cr_expect_str_eq(err.message, "write x: No space left on device");
    err = KV_ERR_INIT;
    cr_expect_eq(kv_err_errno(&err, EDQUOT, "a.b", "write x"), KV_E_FULL);
    err = KV_ERR_INIT;
    cr_expect_eq(kv_err_errno(&err, EACCES, "a.b", "open x"), KV_E_IO);
    cr_expect_str_eq(err.message, "open x: Permission denied");
}

Test(err, every_code_has_its_own_name_and_text)
{
    for (int code = KV_E_INTERNAL; code <= KV_OK; code++) {
        cr_expect_str_neq(kv_code_name(code), "other", "%d", code);
        cr_expect_gt(strlen(kv_code_text(code)), 0, "%d", code);
        for (int other = KV_E_INTERNAL; other < code; other++)
            cr_expect_str_neq(kv_code_name(code), kv_code_name(other));
    }
    cr_expect_str_eq(kv_code_name(KV_E_NOT_FOUND), "not-found");
    cr_expect_str_eq(kv_code_name(1), "other");
    cr_expect_str_eq(kv_code_name(INT32_MIN), "other");
    cr_expect_str_eq(kv_code_name(KV_E_INTERNAL - 1), "other");
}

static int try_twice(int first, int second, int *n_calls)
{
    int rc;
    *n_calls = 0;
    KV_TRY((++*n_calls, first));
    KV_TRY((++*n_calls, second));
out:
    return rc;
}

Test(err, try_leaves_at_the_first_failure)
{
    int n = 0;
    cr_expect_eq(try_twice(0, KV_E_IO, &n), KV_E_IO);
    cr_expect_eq(n, 2);
    cr_expect_eq(try_twice(KV_E_BUSY, 0, &n), KV_E_BUSY);
    cr_expect_eq(n, 1);
}

Test(err, quoted_input_becomes_readable_text)
{
    static const struct {
        const char *input;
        const char *text;
    } rows[] = {
        {"name \xc3\xa4", "name \xc3\xa4"},
        {"bad \xff\xc3", "bad ??"},
        {"esc \x1b[31m", "esc ?[31m"},
        {"two\nlines\t", "two?lines?"},
        {"surrogate \xed\xa0\x80", "surrogate ???"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        kv_err_set(&err, KV_E_INVALID, "x.y", "%s", rows[i].input);
        kv_err_hint(&err, "%s", rows[i].input);
        cr_expect_str_eq(err.message, rows[i].text, "row %zu", i);
        cr_expect_str_eq(err.hint, rows[i].text, "row %zu", i);
        kv_err_context(&err, "\xff");
        cr_expect(kv_utf8_is_valid(err.message, strlen(err.message)), "row %zu", i);
    }
}

Test(err, failed_assertion_ends_the_process, .signal = SIGABRT)
{
    KV_ASSERT(1 + 1 == 2);
    KV_ASSERT(1 + 1 == 3);
}
