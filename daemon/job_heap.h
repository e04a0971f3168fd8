/* SPDX-License-Identifier: MIT */
/*
 * job_heap: jobs in an order.  A job knows its index, so that removing it is O(log n); it is in one
 * heap at most, and in one by expiry besides.  Guarded by the engine's lock; never suspends, never logs.
 */
#pragma once

#include "daemon/job.h"

#include <stddef.h>
#include <stdint.h>

/* By what a heap is ordered. */
enum job_heap_order {
    JOB_HEAP_BY_RANK,   /* job.rank, then id */
    JOB_HEAP_BY_DUE,    /* record.due_at, then id */
    JOB_HEAP_BY_EXPIRY, /* record.expires_at, then id; its index is job.expiry_index */
};

struct job_heap {
    struct job **jobs;
    size_t count;
    size_t capacity;
    enum job_heap_order order;
};

void job_heap_init(struct job_heap *heap, enum job_heap_order order);
void job_heap_destroy(struct job_heap *heap); /* the jobs are not its own */

/* Make room for `more` further jobs, so that the pushes that follow cannot fail (reserve before
 * the commit, push after it).  Errors: -ENOMEM. */
int job_heap_reserve(struct job_heap *heap, size_t more);
void job_heap_push(struct job_heap *heap, struct job *job); /* room was reserved */
struct job *job_heap_peek(const struct job_heap *heap);     /* first, or NULL */
struct job *job_heap_pop(struct job_heap *heap);            /* first, or NULL */
void job_heap_remove(struct job_heap *heap, struct job *job);
void job_heap_trim(struct job_heap *heap, size_t keep); /* give memory back, keep room for these */
void job_heap_rebuild(struct job_heap *heap);           /* after every rank may have changed */

/* How many of its jobs come before `job`, which is in it; at most `most` are counted.  Looks at no
 * more than FANOUT jobs for each that it counts, and at no others. */
size_t job_heap_count_before(const struct job_heap *heap, const struct job *job, size_t most);
