/* SPDX-License-Identifier: MIT */
#include "daemon/queue.h"

#include "daemon/config.h"
#include "daemon/job.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>

enum { COUNT = 2000 };

#define S   UINT64_C(1000000000)
#define NOW (1000 * S)

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

/* I4 and I5 of queue.c. */
static void check_heap(const struct job_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        const struct job *job = heap->jobs[i], *parent = heap->jobs[i ? (i - 1) / 4 : 0];
        cr_assert_eq(job->heap_index, i);
        cr_assert(parent->rank < job->rank ||
                  (parent->rank == job->rank && parent->record.id <= job->record.id));
    }
}

Test(queue, heap_gives_jobs_by_rank_then_id)
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

Test(queue, heap_removes_from_any_place)
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

Test(queue, heap_by_due_sorts_by_due)
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

Test(queue, heap_counts_what_comes_before_a_job)
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

Test(queue, heap_gives_memory_back)
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

Test(queue, heap_refuses_what_no_index_can_hold)
{
    struct job_heap heap;
    job_heap_init(&heap, JOB_HEAP_BY_RANK);
    cr_assert_eq(job_heap_reserve(&heap, UINT32_MAX), -ENOMEM);
    cr_assert_null(heap.jobs);
}

/* ---- rank ------------------------------------------------------------------------------------ */

Test(queue, rank_ages)
{
    struct queue queue = {.aging_ns = 60};
    cr_assert_eq(queue_rank(&queue, 1000, 0), 1000);
    cr_assert_eq(queue_rank(&queue, 1000, 2), 880);
    cr_assert_eq(queue_rank(&queue, 1000, -2), 1120);
    /* a step of priority is worth the same as 60 ns of waiting */
    cr_assert_eq(queue_rank(&queue, 1060, 1), queue_rank(&queue, 1000, 0));
}

Test(queue, rank_without_aging_is_strict)
{
    struct queue queue = {.aging_ns = 0};
    cr_assert_lt(queue_rank(&queue, 5000, 1), queue_rank(&queue, 1, 0));
    cr_assert_eq(queue_rank(&queue, 5000, 1), queue_rank(&queue, 1, 1));
}

Test(queue, rank_saturates)
{
    struct queue queue = {.aging_ns = UINT64_MAX};
    cr_assert_eq(queue_rank(&queue, 1000, -JOB_PRIORITY_MAX), INT64_MAX);
    cr_assert_eq(queue_rank(&queue, -1000, JOB_PRIORITY_MAX), INT64_MIN);
    queue.aging_ns = INT64_MAX / 2;
    cr_assert_eq(queue_rank(&queue, INT64_MAX, -JOB_PRIORITY_MAX), INT64_MAX);
    cr_assert_eq(queue_rank(&queue, INT64_MAX, 0), INT64_MAX);
}

/* ---- the set --------------------------------------------------------------------------------- */

static struct config_queue three[] = {{"default", 2, 0, 0}, {"one", 1, 5, 0}, {"paused", 0, 0, 0}};
static struct config config = {.queues = three, .queues_count = 3};

static void fill(struct queue *queue, size_t from, size_t count)
{
    cr_assert_eq(job_heap_reserve(&queue->ready, count), 0);
    for (size_t i = from; i < from + count; i++) {
        plain_job(i, 0);
        jobs[i].queue = queue;
        job_heap_push(&queue->ready, &jobs[i]);
    }
}

Test(queue, set_takes_in_turn_and_within_the_limits)
{
    struct queue_set *set;
    cr_assert_eq(queue_set_new(&config, &set), 0);
    cr_assert_null(queue_set_take_next(set, NOW));
    fill(queue_set_find(set, "default"), 0, 10);
    fill(queue_set_find(set, "one"), 10, 10);
    fill(queue_set_find(set, "paused"), 20, 10);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[10]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[1]);
    cr_assert_null(queue_set_take_next(set, NOW));
    queue_release(queue_set_find(set, "one"));
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[11]);
    cr_assert_null(queue_set_take_next(set, NOW));
    queue_set_free(set);
}

Test(queue, set_applies_a_new_configuration)
{
    struct queue_set *set;
    cr_assert_eq(queue_set_new(&config, &set), 0);
    struct queue *one = queue_set_find(set, "one"), *paused = queue_set_find(set, "paused");
    struct config_queue fresh[] = {{"default", 1, 0, 0}, {"paused", 3, 7, 9}, {"new", 4, 0, 0}};
    struct config next = {.queues = fresh, .queues_count = 3};
    cr_assert_eq(queue_set_apply(set, &next), 0);
    cr_assert_not(one->configured);
    cr_assert_eq(one->now.concurrency, 1); /* its last */
    cr_assert_eq(queue_set_find(set, "one"), one);
    cr_assert(paused->configured);
    cr_assert_eq(paused->now.concurrency, 3);
    cr_assert_eq(paused->timeout_ns, 7);
    cr_assert_eq(queue_set_find(set, "new")->now.concurrency, 4);
    cr_assert_eq(queue_set_apply(set, &config), 0);
    cr_assert(one->configured);
    cr_assert_not(queue_set_find(set, "new")->configured);
    cr_assert_null(queue_set_find(set, "nowhere"));
    queue_set_free(set);
}

Test(queue, set_sorts_again_when_aging_changes)
{
    struct queue_set *set;
    struct config_queue strict[] = {{"default", 1, 0, 0}}, aging[] = {{"default", 1, 0, 1000}};
    struct config before = {.queues = strict, .queues_count = 1};
    struct config after = {.queues = aging, .queues_count = 1};
    cr_assert_eq(queue_set_new(&before, &set), 0);
    struct queue *queue = queue_set_find(set, "default");
    cr_assert_eq(job_heap_reserve(&queue->ready, 2), 0);
    plain_job(0, 0);
    jobs[0].record.submitted_at = 1000;
    plain_job(1, 0);
    jobs[1].record.submitted_at = 3000;
    jobs[1].record.priority = 1;
    for (size_t i = 0; i < 2; i++) {
        jobs[i].rank = queue_rank(queue, jobs[i].record.submitted_at, jobs[i].record.priority);
        job_heap_push(&queue->ready, &jobs[i]);
    }
    cr_assert_eq(job_heap_peek(&queue->ready), &jobs[1]);
    cr_assert_eq(queue_set_apply(set, &after), 0);
    cr_assert_eq(job_heap_peek(&queue->ready), &jobs[0]);
    queue_set_free(set);
}

Test(queue, set_keeps_orphans)
{
    struct queue_set *set;
    struct queue *orphan;
    cr_assert_eq(queue_set_new(&config, &set), 0);
    cr_assert_eq(queue_set_add_orphan(set, "old", &orphan), 0);
    cr_assert_eq(queue_set_find(set, "old"), orphan);
    cr_assert_not(orphan->configured);
    cr_assert_eq(orphan->now.concurrency, 1);
    fill(orphan, 0, 2);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_null(queue_set_take_next(set, NOW));
    queue_set_free(set);
}

/* ---- what an admin sets ---------------------------------------------------------------------- */

static void set_over(struct queue *queue, uint32_t given, struct queue_settings values)
{
    struct queue_change change = {.given = given, .values = values};
    queue_set_over(queue, &change);
}

Test(queue, a_paused_queue_gives_nothing_and_takes_no_turn)
{
    struct queue_set *set;
    cr_assert_eq(queue_set_new(&config, &set), 0);
    struct queue *first = queue_set_find(set, "default"), *one = queue_set_find(set, "one");
    fill(first, 0, 2);
    fill(one, 10, 2);
    set_over(first, QUEUE_PAUSED, (struct queue_settings){.paused = true});
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[10]);
    cr_assert_null(queue_set_take_next(set, NOW));
    cr_assert_eq(queue_set_next_token(set, NOW), UINT64_MAX);
    set_over(first, 0, (struct queue_settings){0});
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    queue_set_free(set);
}

Test(queue, what_is_set_lies_over_the_configuration_until_it_is_given_back)
{
    struct queue_set *set;
    cr_assert_eq(queue_set_new(&config, &set), 0);
    struct queue *queue = queue_set_find(set, "default");
    set_over(queue, QUEUE_CONCURRENCY, (struct queue_settings){.concurrency = 7, .paused = true});
    cr_assert_eq(queue->now.concurrency, 7);
    cr_assert_not(queue->now.paused); /* not given */
    struct config_queue fresh[] = {{"default", 3, .paused = true, .max_waiting = 9}};
    struct config next = {.queues = fresh, .queues_count = 1};
    cr_assert_eq(queue_set_apply(set, &next), 0);
    cr_assert_eq(queue->now.concurrency, 7);
    cr_assert(queue->now.paused);
    cr_assert_eq(queue->now.max_waiting, 9);
    set_over(queue, 0, (struct queue_settings){0});
    cr_assert_eq(queue->now.concurrency, 3);
    queue_set_free(set);
}

/* ---- rate ------------------------------------------------------------------------------------ */

Test(queue, a_rate_spreads_the_starts_of_its_queue_alone)
{
    struct queue_set *set;
    struct config_queue two[] = {{"default", 100}, {"slow", 100, .rate = {10, S}}};
    struct config with_rate = {.queues = two, .queues_count = 2};
    cr_assert_eq(queue_set_new(&with_rate, &set), 0);
    fill(queue_set_find(set, "default"), 0, 2);
    fill(queue_set_find(set, "slow"), 10, 5);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[10]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[1]);
    cr_assert_null(queue_set_take_next(set, NOW));
    cr_assert_eq(queue_set_next_token(set, NOW), NOW + S / 10);
    cr_assert_null(queue_set_take_next(set, NOW + S / 10 - 1));
    cr_assert_eq(queue_set_take_next(set, NOW + S / 10), &jobs[11]);
    cr_assert_null(queue_set_take_next(set, NOW + S / 10));
    /* long after, it has not been saved up */
    cr_assert_eq(queue_set_take_next(set, NOW + 100 * S), &jobs[12]);
    cr_assert_null(queue_set_take_next(set, NOW + 100 * S));
    queue_set_free(set);
}

Test(queue, nobody_waits_for_a_token_that_would_not_be_used)
{
    struct queue_set *set;
    struct config_queue slow[] = {{"default", 1, .rate = {1, S}}};
    struct config with_rate = {.queues = slow, .queues_count = 1};
    cr_assert_eq(queue_set_new(&with_rate, &set), 0);
    struct queue *queue = queue_set_find(set, "default");
    fill(queue, 0, 2);
    cr_assert_eq(queue_set_next_token(set, NOW), UINT64_MAX); /* it is there already */
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_eq(queue_set_next_token(set, NOW), UINT64_MAX); /* no slot */
    queue_release(queue);
    cr_assert_eq(queue_set_next_token(set, NOW), NOW + S);
    job_heap_pop(&queue->ready);
    cr_assert_eq(queue_set_next_token(set, NOW), UINT64_MAX); /* no job */
    queue_set_free(set);
}

Test(queue, a_new_rate_holds_at_once)
{
    struct queue_set *set;
    struct config_queue slow[] = {{"default", 100, .rate = {1, 3600 * S}}};
    struct config with_rate = {.queues = slow, .queues_count = 1};
    cr_assert_eq(queue_set_new(&with_rate, &set), 0);
    struct queue *queue = queue_set_find(set, "default");
    fill(queue, 0, 5);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_eq(queue_set_next_token(set, NOW), NOW + 3600 * S);
    set_over(queue, QUEUE_RATE, (struct queue_settings){.rate = {1, S}});
    cr_assert_eq(queue_set_next_token(set, NOW), NOW + S);
    set_over(queue, QUEUE_RATE, (struct queue_settings){.rate = {0}});
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[1]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[2]);
    queue_set_free(set);
}
