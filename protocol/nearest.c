/* SPDX-License-Identifier: MIT */
/* Edit distance between short names (optimal string alignment: a swap of neighbours is one edit).
 *
 * I1  Work and stack are bounded by NEAREST_NAME_MAX squared, whatever a client sends.
 *
 * Pure: any thread.  Compares bytes, so a character of several bytes counts as several edits. */
#include "protocol/nearest.h"

#include <stdint.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Rows of the distance table; only the last two are ever looked back at. */
struct rows {
    size_t before[NEAREST_NAME_MAX + 1], above[NEAREST_NAME_MAX + 1], row[NEAREST_NAME_MAX + 1];
};

static size_t cell(const struct rows *rows, const char *a, size_t i, const char *b, size_t j)
{
    size_t replaced = rows->above[j - 1] + (a[i - 1] != b[j - 1]);
    size_t best = smaller(replaced, smaller(rows->above[j], rows->row[j - 1]) + 1);
    if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        best = smaller(best, rows->before[j - 2] + 1);
    return best;
}

size_t nearest_distance(const char *a, const char *b)
{
    size_t a_size = strnlen(a, NEAREST_NAME_MAX + 1), b_size = strnlen(b, NEAREST_NAME_MAX + 1);
    if (a_size > NEAREST_NAME_MAX || b_size > NEAREST_NAME_MAX)
        return SIZE_MAX;
    struct rows rows = {{0}};
    for (size_t j = 0; j <= b_size; j++)
        rows.row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        memcpy(rows.before, rows.above, sizeof(rows.above));
        memcpy(rows.above, rows.row, sizeof(rows.row));
        rows.row[0] = i;
        for (size_t j = 1; j <= b_size; j++)
            rows.row[j] = cell(&rows, a, i, b, j);
    }
    return rows.row[b_size];
}

void nearest_init(struct nearest *nearest, const char *word)
{
    size_t size = smaller(strlen(word), NEAREST_NAME_MAX + 1);
    size_t too_far = (size < 3 ? 1 : size / 3) + 1;
    *nearest = (struct nearest){.word = word, .distance = smaller(too_far, size)};
}

void nearest_offer(struct nearest *nearest, const char *candidate)
{
    size_t distance = nearest_distance(nearest->word, candidate);
    if (distance >= nearest->distance)
        return;
    nearest->best = candidate;
    nearest->distance = distance;
}
