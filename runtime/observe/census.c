/* SPDX-License-Identifier: MIT */
/* Looking at all fibers, in chunks; nothing is held between them. */
#include "observe/census.h"

#include <errno.h>
#include <stdlib.h>

enum { CHUNK = 64 };

static int census_reserve(struct census *census)
{
    size_t capacity = census->capacity ? 2 * census->capacity : 2 * CHUNK;
    struct look *looks;

    if (census->count + CHUNK <= census->capacity)
        return 0;
    looks = realloc(census->looks, capacity * sizeof(*looks));
    if (!looks)
        return -ENOMEM;
    census->looks = looks;
    census->capacity = capacity;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct look *one = a, *other = b;

    return one->info.id < other->info.id ? -1 : one->info.id > other->info.id;
}

int census_take(struct census *census, struct weft_runtime *runtime, unsigned flags)
{
    struct look_cursor cursor = {0};
    int r;

    do {
        r = census_reserve(census);
        if (r == 0)
            r = look_more(runtime, flags, &cursor, &census->looks[census->count], CHUNK);
        if (r > 0)
            census->count += (size_t)r;
    } while (r > 0);
    if (census->count > 0)
        qsort(census->looks, census->count, sizeof(*census->looks), by_id);
    for (size_t i = 0; i < census->count; i++) /* the copies have moved */
        if (census->looks[i].info.name)
            census->looks[i].info.name = census->looks[i].name;
    return r;
}

void census_free(struct census *census)
{
    free(census->looks);
}

struct look *census_find(const struct census *census, uint64_t id)
{
    struct look wanted = {.info.id = id};

    if (census->count == 0)
        return NULL;
    return bsearch(&wanted, census->looks, census->count, sizeof(wanted), by_id);
}
