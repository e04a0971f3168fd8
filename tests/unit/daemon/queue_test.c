/* SPDX-License-Identifier: MIT */
#include "daemon/queue.h"

#include "daemon/config.h"
#include "daemon/job.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>

enum { COUNT = 100 };

#define S   UINT64_C(1000000000)
#define NOW (1000 * S)

static struct job jobs[COUNT];

static struct job *plain_job(size_t i, int64_t rank)
{
    jobs[i] = (struct job){.record.id = i + 1, .rank = rank, .heap_index = JOB_NOT_IN_HEAP};
    return &jobs[i];
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

static void put(struct queue *queue, size_t i, uid_t uid)
{
    plain_job(i, 0);
    jobs[i].record.uid = uid;
    jobs[i].queue = queue;
    cr_assert_eq(queue_reserve(queue, uid, 1), 0);
    queue_join(queue, &jobs[i]);
    queue_push(queue, &jobs[i]);
}

static void fill(struct queue *queue, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++)
        put(queue, i, 0);
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
    queue_release(&jobs[10]);
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
    plain_job(0, 0);
    jobs[0].record.submitted_at = 1000;
    plain_job(1, 0);
    jobs[1].record.submitted_at = 3000;
    jobs[1].record.priority = 1;
    cr_assert_eq(queue_reserve(queue, 0, 2), 0);
    for (size_t i = 0; i < 2; i++) {
        queue_join(queue, &jobs[i]);
        queue_push(queue, &jobs[i]);
    }
    const struct share *share = shares_find(&queue->shares, 0);
    cr_assert_eq(job_heap_peek(&share->ready), &jobs[1]);
    cr_assert_eq(queue_set_apply(set, &after), 0);
    cr_assert_eq(job_heap_peek(&share->ready), &jobs[0]);
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

/* ---- users ----------------------------------------------------------------------------------- */

Test(queue, a_user_with_many_jobs_holds_up_another_by_one_start)
{
    struct queue_set *set;
    cr_assert_eq(queue_set_new(&config, &set), 0);
    struct queue *queue = queue_set_find(set, "default");
    for (size_t i = 0; i < 10; i++)
        put(queue, i, 1000);
    put(queue, 20, 1001);
    put(queue, 21, 1001);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[20]);
    queue_release(&jobs[0]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[1]);
    queue_release(&jobs[1]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[21]);
    queue_release(&jobs[20]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[2]);
    cr_assert_eq(queue_set_count_of(set, 1000), 10);
    cr_assert_eq(queue_set_count_of(set, 1001), 2);
    cr_assert_eq(queue_set_count_of(set, 1), 0);
    queue_set_free(set);
}

Test(queue, a_limit_for_each_user_leaves_slots_to_others)
{
    struct queue_set *set;
    struct config_queue wide[] = {{"default", 4, .concurrency_user = 1}};
    struct config limited = {.queues = wide, .queues_count = 1};
    cr_assert_eq(queue_set_new(&limited, &set), 0);
    struct queue *queue = queue_set_find(set, "default");
    fill(queue, 0, 3);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[0]);
    cr_assert_null(queue_set_take_next(set, NOW));
    put(queue, 10, 1001);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[10]);
    wide[0].concurrency_user = 2; /* a reload */
    cr_assert_eq(queue_set_apply(set, &limited), 0);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[1]);
    cr_assert_null(queue_set_take_next(set, NOW));
    queue_release(&jobs[1]);
    cr_assert_eq(queue_set_take_next(set, NOW), &jobs[2]);
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
    queue_release(&jobs[0]);
    cr_assert_eq(queue_set_next_token(set, NOW), NOW + S);
    queue_remove(queue, &jobs[1]);
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
