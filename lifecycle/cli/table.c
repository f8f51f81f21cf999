/*
 * Collect cells, measure them with wcwidth, print with two spaces between columns.
 * Text that is no valid string of the locale is shown byte by byte.
 */
#include "lifecycle/cli/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

struct cell {
    char *text;
    size_t width; /* terminal cells */
};

struct kv_table {
    size_t n_columns;
    size_t n_cells;
    size_t cap;
    struct cell *cells; /* the headings are the first row */
    size_t widths[KV_TABLE_COLUMNS_MAX];
    bool failed;
};

/* Copy `text` to `out` (as long) without what a terminal would obey; returns cells. */
static size_t clean(const char *text, char *out)
{
    mbstate_t state = {0};
    size_t width = 0;
    size_t left = strlen(text);
    while (left > 0) {
        wchar_t wide = 0;
        size_t n = mbrtowc(&wide, text, left, &state);
        int cells = n > 0 && n <= left ? wcwidth(wide) : -1;
        if (cells < 0) {
            memset(&state, 0, sizeof(state));
            n = n > 0 && n <= left ? n : 1;
            *out++ = '?';
            width++;
        } else {
            memcpy(out, text, n);
            out += n;
            width += (size_t)cells;
        }
        text += n;
        left -= n;
    }
    *out = '\0';
    return width;
}

static bool make_room(struct kv_table *table)
{
    if (table->n_cells < table->cap)
        return true;
    size_t cap = table->cap == 0 ? 64 : table->cap * 2;
    struct cell *cells = reallocarray(table->cells, cap, sizeof(*cells));
    if (cells == NULL)
        return false;
    table->cells = cells;
    table->cap = cap;
    return true;
}

void kv_table_add(struct kv_table *table, const char *text)
{
    if (text == NULL)
        text = "";
    char *copy = make_room(table) ? malloc(strlen(text) + 1) : NULL;
    if (copy == NULL) {
        table->failed = true;
        return;
    }
    size_t column = table->n_cells % table->n_columns;
    size_t width = clean(text, copy);
    table->cells[table->n_cells++] = (struct cell){.text = copy, .width = width};
    if (width > table->widths[column])
        table->widths[column] = width;
}

void kv_table_add_time(struct kv_table *table, long long seconds)
{
    char text[40] = "";
    time_t when = (time_t)seconds;
    struct tm parts;
    if (seconds != 0 && gmtime_r(&when, &parts) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M", &parts);
    kv_table_add(table, text);
}

struct kv_table *kv_table_new(size_t n_columns, const char *const *headings)
{
    KV_ASSERT(n_columns > 0 && n_columns <= KV_TABLE_COLUMNS_MAX);
    struct kv_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->n_columns = n_columns;
    for (size_t i = 0; i < n_columns; i++)
        kv_table_add(table, headings[i]);
    return table;
}

int kv_table_print(const struct kv_table *table, FILE *out)
{
    for (size_t i = 0; i < table->n_cells; i++) {
        size_t column = i % table->n_columns;
        bool is_last = column + 1 == table->n_columns || i + 1 == table->n_cells;
        const struct cell *cell = &table->cells[i];
        (void)fputs(cell->text, out);
        if (is_last)
            (void)fputc('\n', out);
        for (size_t n = cell->width; !is_last && n < table->widths[column] + 2; n++)
            (void)fputc(' ', out);
    }
    return table->failed ? KV_E_NOMEM : 0;
}

void kv_table_free(struct kv_table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}
