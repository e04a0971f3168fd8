/* SPDX-License-Identifier: MIT */
/* table: see table.h.  The last column is not padded, so that lines have no blanks at the end. */
#include "client/table.h"

#include "client/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, const char *align)
{
    *table = (struct table){.columns = strlen(align), .right = align};
}

void table_destroy(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
}

static bool make_room(struct table *table)
{
    if (table->count < table->capacity)
        return true;
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    char **cells = realloc(table->cells, capacity * sizeof *cells);
    if (!cells)
        return false;
    table->cells = cells;
    table->capacity = capacity;
    return true;
}

void table_add(struct table *table, const char *format, ...)
{
    va_list values;
    char *cell = NULL;
    va_start(values, format);
    bool made = make_room(table) && vasprintf(&cell, format, values) >= 0;
    va_end(values);
    if (made)
        table->cells[table->count++] = cell;
    else
        table->failed = true;
}

static void measure(const struct table *table, size_t widths[static TABLE_COLUMNS_MAX])
{
    memset(widths, 0, TABLE_COLUMNS_MAX * sizeof *widths);
    for (size_t i = 0; i < table->count; i++) {
        size_t columns = text_columns(table->cells[i]);
        if (columns > widths[i % table->columns])
            widths[i % table->columns] = columns;
    }
}

static void print_blanks(FILE *to, size_t count)
{
    fprintf(to, "%*s", (int)count, "");
}

static void print_row(const struct table *table, size_t row, const size_t *widths, FILE *to)
{
    for (size_t i = 0; i < table->columns; i++) {
        const char *cell = table->cells[row * table->columns + i];
        size_t blanks = widths[i] - text_columns(cell);
        bool is_last = i + 1 == table->columns;
        if (table->right[i] == 'r')
            print_blanks(to, blanks);
        fputs(cell, to);
        if (table->right[i] != 'r' && !is_last)
            print_blanks(to, blanks);
        fputs(is_last ? "\n" : "  ", to);
    }
}

/* Cut the last column of every row so that lines fit into width. */
static void cut_last(const struct table *table, const size_t *widths, size_t width)
{
    size_t before = 0;
    for (size_t i = 0; i + 1 < table->columns; i++)
        before += widths[i] + 2;
    size_t rest = width > before + 8 ? width - before : 8;
    for (size_t i = table->columns - 1; i < table->count; i += table->columns)
        table->cells[i][text_prefix(table->cells[i], rest)] = '\0';
}

int table_print(const struct table *table, FILE *to, size_t width)
{
    size_t widths[TABLE_COLUMNS_MAX];
    if (table->failed)
        return -ENOMEM;
    measure(table, widths);
    if (width > 0)
        cut_last(table, widths, width);
    for (size_t row = 0; row < table->count / table->columns; row++)
        print_row(table, row, widths, to);
    return 0;
}
