/* SPDX-License-Identifier: MIT */
/* The key-value server's table.  Called on fibers; each call is atomic. */
#ifndef EXAMPLES_KV_SERVER_TABLE_H
#define EXAMPLES_KV_SERVER_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data; /* ends with a null byte that does not count */
    size_t size;
};

/** Errors: -ENOMEM. */
int table_set(const struct text *key, const struct text *value);

/** Ownership: the caller frees ret_value->data.  Errors: -ENOENT no such key, -ENOMEM. */
int table_get(const struct text *key, struct text *ret_value);

/** Returns whether it was there. */
bool table_delete(const struct text *key);

/** Add to an integer; one that is not there is 0.
 * Errors: -EINVAL the value is no integer, -ERANGE the sum leaves its range, -ENOMEM. */
int table_add(const struct text *key, long long step, long long *ret_sum);

/** Errors: -EINVAL. */
int parse_integer(const struct text *text, long long *ret_number);

/** How many keys there are. */
long long table_count(void);

void table_clear(void);

#endif
