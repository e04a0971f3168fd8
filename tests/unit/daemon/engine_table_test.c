/* SPDX-License-Identifier: MIT */
/* engine_table: jobs by id, against an array that holds one place for each id. */
#include "daemon/engine_impl.h"

#include "support/test.h"

#include <stdlib.h>

enum { IDS = 6000, BATCH = 300 };

static struct job *model[IDS + 1]; /* by id; NULL: not in the table */
static uint64_t seed = 88172645463325252u;

static uint64_t roll(uint64_t sides)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % sides;
}

static struct job *job_of(uint64_t id)
{
    struct job_record record = {.id = id, .queue = "q", .spec = "{}"};
    struct job *job;
    cr_assert_eq(job_new(&record, NULL, &job), 0);
    return job;
}

/* Ids in order, each job found by its id, and holes counted right. */
static void check(const struct job_table *table)
{
    size_t holes = 0, jobs = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct job_slot *slot = &table->slots[i];
        cr_assert(i == 0 || table->slots[i - 1].id < slot->id, "slot %zu", i);
        cr_assert(!slot->job || slot->job->record.id == slot->id);
        holes += slot->job == NULL;
        jobs += slot->job != NULL;
    }
    cr_assert_eq(holes, table->holes);
    for (uint64_t id = 1; id <= IDS; id++) {
        cr_assert_eq(job_table_find(table, id), model[id], "id %llu", (unsigned long long)id);
        jobs -= model[id] != NULL;
    }
    cr_assert_eq(jobs, 0);
    cr_assert(table->count <= table->capacity);
}

static void append(struct job_table *table, uint64_t id)
{
    cr_assert_eq(job_table_reserve(table, 1), 0);
    model[id] = job_of(id);
    job_table_append(table, model[id]);
}

static void drop(struct job_table *table, uint64_t id)
{
    job_table_remove(table, id);
    job_free(model[id]);
    model[id] = NULL;
}

/* Bring back up to `most` of the ids up to `newest` that are gone, one in `sides`. */
static void revive(struct job_table *table, uint64_t newest, size_t most, uint64_t sides)
{
    struct job *jobs[BATCH];
    size_t count = 0;
    for (uint64_t id = 1; id <= newest && count < most; id++)
        if (!model[id] && roll(sides) == 0)
            jobs[count++] = model[id] = job_of(id);
    cr_assert_eq(job_table_reserve(table, count), 0);
    job_table_insert(table, jobs, count);
}

Test(engine_table, old_ids_find_their_place_again)
{
    struct job_table table = {0};
    for (uint64_t id = 1; id <= IDS; id++) {
        append(&table, id);
        for (uint64_t gone = roll(3); gone > 0; gone--)
            drop(&table, 1 + roll(id));
        if (id % 50 == 0)
            revive(&table, id, 1 + roll(BATCH), 1 + roll(40));
        if (id % 100 == 0)
            check(&table);
    }
    check(&table);
    job_table_destroy(&table);
}

Test(engine_table, inserts_before_behind_and_between)
{
    struct job_table table = {0};
    struct job *jobs[4] = {job_of(1), job_of(3), job_of(5), job_of(9)};
    append(&table, 2);
    append(&table, 5);
    append(&table, 8);
    drop(&table, 5); /* leaves a hole, which is filled again */
    cr_assert_eq(job_table_reserve(&table, 4), 0);
    job_table_insert(&table, jobs, 4);
    for (size_t i = 0; i < 4; i++)
        model[jobs[i]->record.id] = jobs[i];
    cr_assert_eq(table.count, 6);
    cr_assert_eq(table.holes, 0);
    check(&table);
    job_table_insert(&table, NULL, 0);
    cr_assert_eq(table.count, 6);
    job_table_destroy(&table);
}

Test(engine_table, an_empty_table_takes_old_ids)
{
    struct job_table table = {0};
    struct job *jobs[2] = {job_of(7), job_of(11)};
    cr_assert_eq(job_table_reserve(&table, 2), 0);
    job_table_insert(&table, jobs, 2);
    model[7] = jobs[0];
    model[11] = jobs[1];
    check(&table);
    job_table_destroy(&table);
}
