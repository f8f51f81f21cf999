/* lifecycle/cli/table.c: columns in terminal cells, and nothing that drives one. */
#include <criterion/criterion.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/table.h"

TestSuite(cli_table, .timeout = 20);

static const char *const headings[] = {"NAME", "WHEN"};

static char *print(const char *const *cells, size_t n)
{
    struct kv_table *table = kv_table_new(2, headings);
    char *text = NULL;
    size_t len = 0;
    cr_assert_not_null(table);
    for (size_t i = 0; i < n; i++)
        kv_table_add(table, cells[i]);
    FILE *out = open_memstream(&text, &len);
    cr_assert_eq(kv_table_print(table, out), 0);
    cr_assert_eq(fclose(out), 0);
    kv_table_free(table);
    return text;
}

Test(cli_table, pads_all_but_the_last_column)
{
    static const char *const cells[] = {"a", "x", "longer-name", "y"};
    char *text = print(cells, 4);
    cr_expect_str_eq(text, "NAME         WHEN\na            x\nlonger-name  y\n");
    free(text);
}

Test(cli_table, measures_cells_and_not_bytes)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    /* two wide characters are four cells, as NAME is */
    static const char *const cells[] = {"\xe6\x97\xa5\xe6\x9c\xac", "x", "\xc3\xa4",
                                        "y"};
    char *text = print(cells, 4);
    cr_expect_str_eq(text, "NAME  WHEN\n\xe6\x97\xa5\xe6\x9c\xac  x\n\xc3\xa4     y\n");
    free(text);
}

Test(cli_table, disarms_control_bytes_and_broken_text)
{
    cr_assert_not_null(setlocale(LC_CTYPE, "C.UTF-8"));
    static const char *const cells[] = {"\x1b[2J", "a\nb", "\xff\xfe", NULL};
    char *text = print(cells, 4);
    cr_expect_str_eq(text, "NAME  WHEN\n?[2J  a?b\n??    \n");
    free(text);
}

Test(cli_table, shows_times_in_utc)
{
    struct kv_table *table = kv_table_new(2, headings);
    char *text = NULL;
    size_t len = 0;
    kv_table_add_time(table, 0);
    kv_table_add_time(table, 1800000000);
    FILE *out = open_memstream(&text, &len);
    cr_assert_eq(kv_table_print(table, out), 0);
    cr_assert_eq(fclose(out), 0);
    cr_expect_str_eq(text, "NAME  WHEN\n      2027-01-15 08:00\n");
    free(text);
    kv_table_free(table);
}
