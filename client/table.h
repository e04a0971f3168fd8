/* SPDX-License-Identifier: MIT */
/* table: rows of cells, printed in columns as wide as they need.  More rows may be added and printed
 * after that: the columns stay as wide as they were, and a cell that is wider sticks out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 16

struct table {
    size_t columns;
    const char *right; /* per column 'r' (numbers) or 'l'; borrowed */
    char **cells;      /* owned; rows of `columns` */
    size_t count, capacity;
    size_t widths[TABLE_COLUMNS_MAX]; /* set by the first print */
    bool is_measured;
    bool failed; /* out of memory was met: rows are missing */
};

/* align: a letter per column, "rll" for three. */
void table_init(struct table *table, const char *align);
void table_destroy(struct table *table);

/* Add one cell (copied); a row is as many as there are columns. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print the rows, and forget them.  width: cut each line to so many characters; 0: do not.
 * Errors: -ENOMEM rows are missing. */
int table_print(struct table *table, FILE *to, size_t width);
