/* SPDX-License-Identifier: MIT */
#include "daemon/job_heap.h"

#include "support/test.h"

#include <errno.h>

enum { COUNT = 2000 };

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct job jobs[COUNT];

static struct job *plain_job(size_t i, int64_t rank)
{
    jobs[i] = (struct job){.record.id = i + 1, .rank = rank, .heap_index = JOB_NOT_IN_HEAP};
    return &jobs[i];
}

/* I4 and I5 of job_heap.c. */
static void check_heap(const struct job_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        const struct job *job = heap->jobs[i], *parent = heap->jobs[i ? (i - 1) / 4 : 0];
        cr_assert_eq(job->heap_index, i);
        cr_assert(parent->rank < job->rank ||
                  (parent->rank == job->rank && parent->record.id <= job->record.id));
    }
}

Test(job_heap, gives_jobs_by_rank_then_id)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_null(job_heap_peek(&heap));
    cr_assert_null(job_heap_pop(&heap));
    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(job_heap_reserve(&heap, 1), 0);
        job_heap_push(&heap, plain_job(i, (int64_t)(next_random() % 50)));
    }
    check_heap(&heap);
    int64_t rank = -1;
    uint64_t id = 0;
    for (size_t i = 0; i < COUNT; i++) {
        struct job *job = job_heap_pop(&heap);
        cr_assert(job->rank > rank || (job->rank == rank && job->record.id > id));
        cr_assert_eq(job->heap_index, JOB_NOT_IN_HEAP);
        rank = job->rank;
        id = job->record.id;
    }
    cr_assert_null(job_heap_pop(&heap));
    job_heap_destroy(&heap);
}

Test(job_heap, removes_from_any_place)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_eq(job_heap_reserve(&heap, COUNT), 0);
    for (size_t i = 0; i < COUNT; i++)
        job_heap_push(&heap, plain_job(i, (int64_t)(next_random() % 1000)));
    for (size_t left = COUNT; left > 0; left--) {
        struct job *job = heap.jobs[next_random() % left];
        job_heap_remove(&heap, job);
        cr_assert_eq(job->heap_index, JOB_NOT_IN_HEAP);
        cr_assert_eq(heap.count, left - 1);
        if (left % 50 == 0)
            check_heap(&heap);
    }
    job_heap_destroy(&heap);
}

Test(job_heap, by_due_sorts_by_due)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_DUE);
    cr_assert_eq(job_heap_reserve(&heap, 3), 0);
    for (size_t i = 0; i < 3; i++) {
        plain_job(i, (int64_t)i);
        jobs[i].record.due_at = 100 - (int64_t)i;
        job_heap_push(&heap, &jobs[i]);
    }
    cr_assert_eq(job_heap_pop(&heap), &jobs[2]);
    cr_assert_eq(job_heap_pop(&heap), &jobs[1]);
    job_heap_destroy(&heap);
    cr_assert_eq(jobs[0].heap_index, JOB_NOT_IN_HEAP);
}

Test(job_heap, counts_what_comes_before_a_job)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_eq(job_heap_reserve(&heap, COUNT), 0);
    for (size_t i = 0; i < COUNT; i++)
        job_heap_push(&heap, plain_job(i, (int64_t)(next_random() % (COUNT / 2))));
    for (size_t i = 0; i < COUNT; i++) {
        size_t before = 0;
        for (size_t k = 0; k < COUNT; k++)
            before += jobs[k].rank < jobs[i].rank || (jobs[k].rank == jobs[i].rank && k < i);
        cr_assert_eq(job_heap_count_before(&heap, &jobs[i], SIZE_MAX), before);
        cr_assert_eq(job_heap_count_before(&heap, &jobs[i], 10), before < 10 ? before : 10);
    }
    job_heap_destroy(&heap);
}

Test(job_heap, a_job_may_be_in_one_by_expiry_besides)
{
    struct job_heap heap, expiring;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    job_heap_init(&expiring, JOB_HEAP_BY_EXPIRY);
    cr_assert_eq(job_heap_reserve(&heap, 3), 0);
    cr_assert_eq(job_heap_reserve(&expiring, 3), 0);
    for (size_t i = 0; i < 3; i++) {
        plain_job(i, (int64_t)i)->record.expires_at = 10 - (int64_t)i;
        jobs[i].expiry_index = JOB_NOT_IN_HEAP;
        job_heap_push(&heap, &jobs[i]);
        job_heap_push(&expiring, &jobs[i]);
    }
    cr_assert_eq(job_heap_peek(&expiring), &jobs[2]);
    job_heap_remove(&expiring, &jobs[1]);
    cr_assert_eq(jobs[1].expiry_index, JOB_NOT_IN_HEAP);
    check_heap(&heap);
    cr_assert_eq(job_heap_pop(&heap), &jobs[0]);
    cr_assert_eq(job_heap_pop(&expiring), &jobs[2]);
    cr_assert_eq(job_heap_pop(&expiring), &jobs[0]);
    cr_assert_eq(job_heap_pop(&heap), &jobs[1]);
    job_heap_destroy(&heap);
    job_heap_destroy(&expiring);
}

Test(job_heap, gives_memory_back)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_eq(job_heap_reserve(&heap, 100000), 0);
    job_heap_trim(&heap, 100000);
    cr_assert(heap.capacity >= 100000);
    for (int i = 0; i < 20; i++)
        job_heap_trim(&heap, 10);
    cr_assert(heap.capacity <= 4096);
    cr_assert(heap.capacity >= 10);
    job_heap_destroy(&heap);
}

Test(job_heap, refuses_what_no_index_can_hold)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_eq(job_heap_reserve(&heap, UINT32_MAX), -ENOMEM);
    cr_assert_null(heap.jobs);
}

Test(job_heap, is_in_order_again_after_every_rank_has_changed)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_eq(job_heap_reserve(&heap, COUNT), 0);
    for (size_t i = 0; i < COUNT; i++)
        job_heap_push(&heap, plain_job(i, (int64_t)i));
    for (size_t i = 0; i < COUNT; i++)
        jobs[i].rank = (int64_t)(next_random() % 1000);
    job_heap_rebuild(&heap);
    check_heap(&heap);
    job_heap_destroy(&heap);
}
