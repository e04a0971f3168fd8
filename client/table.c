/* SPDX-License-Identifier: MIT */
/* table: see table.h.  The last column is not padded, so that lines have no blanks at the end. */
#include "client/table.h"

#include "client/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

void table_init(struct table *table, const char *align)
{
    *table = (struct table){.columns = strlen(align), .right = align};
}

static void drop_rows(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    table->count = 0;
}

void table_destroy(struct table *table)
{
    drop_rows(table);
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

static void measure(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        size_t columns = text_columns(table->cells[i]), *width = &table->widths[i % table->columns];
        *width = MAX(*width, columns);
    }
    table->is_measured = true;
}

static void print_blanks(FILE *to, size_t count)
{
    fprintf(to, "%*s", (int)count, "");
}

/* Returns: the columns of the terminal that it takes. */
static size_t print_cell(const struct table *table, size_t column, const char *cell, FILE *to)
{
    size_t taken = text_columns(cell), width = MAX(table->widths[column], taken);
    if (table->right[column] == 'r')
        print_blanks(to, width - taken);
    fputs(cell, to);
    if (table->right[column] != 'r')
        print_blanks(to, width - taken);
    fputs("  ", to);
    return width + 2;
}

/* The last cell is cut so that the line fits into width. */
static void print_row(const struct table *table, char **cells, size_t width, FILE *to)
{
    size_t last = table->columns - 1, before = 0;
    for (size_t i = 0; i < last; i++)
        before += print_cell(table, i, cells[i], to);
    size_t rest = width > before + 8 ? width - before : 8;
    if (width > 0)
        cells[last][text_prefix(cells[last], rest)] = '\0';
    if (table->right[last] == 'r')
        print_blanks(to, table->widths[last] - MIN(table->widths[last], text_columns(cells[last])));
    fprintf(to, "%s\n", cells[last]);
}

int table_print(struct table *table, FILE *to, size_t width)
{
    if (table->failed)
        return -ENOMEM;
    if (!table->is_measured)
        measure(table);
    for (size_t row = 0; row < table->count / table->columns; row++)
        print_row(table, table->cells + row * table->columns, width, to);
    drop_rows(table);
    return 0;
}
