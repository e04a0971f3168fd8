/* SPDX-License-Identifier: MIT */
/* The valid name that was perhaps meant, by edit distance.  Offer each candidate, then read best:
 *     struct nearest nearest;
 *     nearest_init(&nearest, "piority");
 *     for each row: nearest_offer(&nearest, row->name);
 *     if (nearest.best != NULL) "did you mean ..."                                               */
#pragma once

#include <stddef.h>

/* Longer names are not compared: nobody mistypes that much, and the work stays bounded. */
#define NEAREST_NAME_MAX 64

struct nearest {
    const char *word; /* borrowed */
    const char *best; /* the closest candidate so far, borrowed; NULL: none is near enough */
    size_t distance;  /* of best; before that the first distance that is too far */
};

/* Near enough is one edit or a third of the word's length, but never all of the word. */
void nearest_init(struct nearest *nearest, const char *word);
void nearest_offer(struct nearest *nearest, const char *candidate);

/* Edits (insert, delete, replace a byte, swap two neighbours) that turn a into b; SIZE_MAX if
 * either is longer than NEAREST_NAME_MAX. */
size_t nearest_distance(const char *a, const char *b);
