/* SPDX-License-Identifier: MIT */
/*
 * engine_table: jobs by id, in a sorted array with holes (engine_impl.h says why).
 *
 * I1  slots are in ascending order of id, holes included.
 * I2  After a removal at most half of the slots (or 1024) are holes, so that memory is bounded by
 *     what is in it, and the squeezing costs O(1) a removal on average.
 * Guarded by the engine's lock.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <stdlib.h>

enum { CAPACITY_MIN = 1024 };

static int resize(struct job_table *table, size_t capacity)
{
    struct job_slot *slots = realloc(table->slots, capacity * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    table->slots = slots;
    table->capacity = capacity;
    return 0;
}

int job_table_reserve(struct job_table *table, size_t more)
{
    size_t need = table->count + more;
    size_t capacity = table->capacity < CAPACITY_MIN ? CAPACITY_MIN : table->capacity * 2;
    if (need <= table->capacity)
        return 0;
    return resize(table, capacity < need ? need : capacity);
}

void job_table_append(struct job_table *table, struct job *job)
{
    table->slots[table->count++] = (struct job_slot){job->record.id, job};
}

size_t job_table_index(const struct job_table *table, uint64_t id)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->slots[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct job *job_table_find(const struct job_table *table, uint64_t id)
{
    size_t index = job_table_index(table, id);
    return index < table->count && table->slots[index].id == id ? table->slots[index].job : NULL;
}

/* Into the hole that an earlier life of the job left, if that was not squeezed out. */
static bool refill(struct job_table *table, struct job *job)
{
    size_t index = job_table_index(table, job->record.id);
    if (index == table->count || table->slots[index].id != job->record.id)
        return false;
    table->slots[index].job = job;
    table->holes--;
    return true;
}

void job_table_insert(struct job_table *table, struct job *const *jobs, size_t count)
{
    struct job_slot *slots = table->slots;
    size_t from = table->count, to = from, next = count;
    for (size_t i = 0; i < count; i++)
        to += !refill(table, jobs[i]);
    table->count = to;
    while (to > from) { /* the gap is as wide as jobs are left to go into it */
        struct job *job = jobs[next - 1];
        uint64_t below = from > 0 ? slots[from - 1].id : 0;
        if (below > job->record.id) {
            slots[--to] = slots[--from];
            continue;
        }
        next--;
        if (below != job->record.id) /* else it has been refilled */
            slots[--to] = (struct job_slot){job->record.id, job};
    }
}

static void squeeze(struct job_table *table)
{
    size_t kept = 0;
    for (size_t i = 0; i < table->count; i++)
        if (table->slots[i].job)
            table->slots[kept++] = table->slots[i];
    table->count = kept;
    table->holes = 0;
    if (table->capacity > CAPACITY_MIN && table->capacity / 4 > kept)
        (void)resize(table, table->capacity / 2); /* on failure it stays large: no harm */
}

void job_table_remove(struct job_table *table, uint64_t id)
{
    size_t index = job_table_index(table, id);
    if (index == table->count || table->slots[index].id != id || !table->slots[index].job)
        return;
    table->slots[index].job = NULL;
    table->holes++;
    if (table->holes > CAPACITY_MIN && table->holes > table->count / 2)
        squeeze(table);
}

void job_table_destroy(struct job_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        job_free(table->slots[i].job);
    free(table->slots);
    *table = (struct job_table){0};
}
