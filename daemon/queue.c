/* SPDX-License-Identifier: MIT */
/*
 * queue: the queues by name, and the fair choice over them.
 *
 * I6  cursor is the queue that was served last; the search begins behind it.
 *
 * Who may call: the engine, under its lock.
 */
#include "daemon/queue.h"

#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct queue_set {
    struct queue *first;
    struct queue *cursor; /* I6; NULL: nobody was served yet */
};

/* ---- one queue ------------------------------------------------------------------------------- */

int64_t queue_rank(const struct queue *queue, int64_t since, int32_t priority)
{
    int64_t aging = queue->aging_ns > INT64_MAX ? INT64_MAX : (int64_t)queue->aging_ns;
    int64_t worth, rank;
    if (aging == 0)
        return -(int64_t)priority;
    if (__builtin_mul_overflow(aging, (int64_t)priority, &worth))
        worth = priority > 0 ? INT64_MAX : INT64_MIN;
    if (__builtin_sub_overflow(since, worth, &rank))
        rank = worth > 0 ? INT64_MIN : INT64_MAX;
    return rank;
}

/* I7 */
static void queue_settle(struct queue *queue)
{
    struct units_rate before = queue->now.rate;
    queue->now = queue->configured_as;
    queue_settings_put(&queue->now, &queue->over.values, queue->over.given);
    if (before.count != queue->now.rate.count || before.per_ns != queue->now.rate.per_ns)
        rate_set(&queue->rate, queue->now.rate);
    shares_limit(&queue->shares, queue->now.concurrency_user);
}

void queue_set_over(struct queue *queue, const struct queue_change *over)
{
    queue->over = *over;
    queue_settle(queue);
}

static int queue_new(const char *name, struct queue **ret_queue)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    char *copy = queue ? strdup(name) : NULL;
    if (!copy) {
        free(queue);
        return -ENOMEM;
    }
    queue->name = copy;
    queue->configured_as.concurrency = 1;
    queue_settle(queue);
    *ret_queue = queue;
    return 0;
}

static void queue_free(struct queue *queue)
{
    shares_destroy(&queue->shares);
    free(queue->name);
    free(queue);
}

static void give_rank(struct queue *queue, struct job *job)
{
    job->rank = queue_rank(queue, job_waits_since(&job->record), job->record.priority);
}

static void rank_again(struct queue *queue)
{
    struct share *share = NULL;
    while ((share = shares_next(&queue->shares, share))) {
        for (size_t i = 0; i < share->ready.count; i++)
            give_rank(queue, share->ready.jobs[i]);
        job_heap_rebuild(&share->ready);
    }
}

int queue_reserve(struct queue *queue, uid_t uid, size_t more)
{
    return shares_reserve(&queue->shares, uid, more);
}

void queue_join(struct queue *queue, struct job *job)
{
    queue->live++;
    queue->states[job->record.state]++;
    shares_join(&queue->shares, job);
}

void queue_leave(struct queue *queue, struct job *job)
{
    queue->live--;
    shares_leave(&queue->shares, job);
}

void queue_push(struct queue *queue, struct job *job)
{
    give_rank(queue, job);
    shares_push(&queue->shares, job);
}

void queue_remove(struct queue *queue, struct job *job)
{
    shares_remove(&queue->shares, job);
}

void queue_defaults_give(const struct queue_defaults *defaults, struct job_spec *spec)
{
    if (!(spec->named & JOB_NAMED_PRIORITY))
        spec->priority = defaults->priority;
    if (!(spec->named & JOB_NAMED_RETRIES))
        spec->retries = defaults->retries;
    if (!(spec->named & JOB_NAMED_ON_CRASH))
        spec->on_crash = defaults->on_crash;
    if (!(spec->named & JOB_NAMED_TIMEOUT))
        spec->timeout_ns = defaults->timeout_ns;
    if (!(spec->named & JOB_NAMED_TIMEOUT_TOTAL))
        spec->timeout_total_ns = defaults->timeout_total_ns;
}

static void configure(struct queue *queue, const struct config_queue *config)
{
    bool rank_changes = queue->aging_ns != config->aging;
    queue->configured = true;
    queue->configured_as = (struct queue_settings){
        .concurrency = config->concurrency,
        .concurrency_user = config->concurrency_user,
        .paused = config->paused,
        .rate = config->rate,
        .max_waiting = config->max_waiting,
    };
    queue_settle(queue);
    queue->timeout_ns = config->timeout;
    queue->defaults = (struct queue_defaults){
        .priority = config->priority,
        .retries = config->retries,
        .on_crash = config->crash_fails ? JOB_CRASH_FAIL : JOB_CRASH_REQUEUE,
        .timeout_ns = config->timeout,
        .timeout_total_ns = config->timeout_total,
    };
    queue->aging_ns = config->aging;
    if (rank_changes)
        rank_again(queue);
}

/* ---- all queues ------------------------------------------------------------------------------ */

static void free_list(struct queue *queue)
{
    while (queue) {
        struct queue *next = queue->next;
        queue_free(queue);
        queue = next;
    }
}

void queue_set_free(struct queue_set *set)
{
    if (!set)
        return;
    free_list(set->first);
    free(set);
}

static struct queue *find_in(struct queue *queue, const char *name)
{
    while (queue && strcmp(queue->name, name) != 0)
        queue = queue->next;
    return queue;
}

struct queue *queue_set_find(const struct queue_set *set, const char *name)
{
    return find_in(set->first, name);
}

bool queue_set_has_defaults(const struct queue_set *set)
{
    for (const struct queue *queue = set->first; queue; queue = queue->next) {
        const struct queue_defaults *given = &queue->defaults;
        if (given->priority || given->retries || given->on_crash != JOB_CRASH_REQUEUE ||
            given->timeout_ns || given->timeout_total_ns)
            return true;
    }
    return false;
}

struct queue *queue_set_first(const struct queue_set *set)
{
    return set->first;
}

size_t queue_set_count_of(const struct queue_set *set, uid_t uid)
{
    size_t count = 0;
    for (const struct queue *queue = set->first; queue; queue = queue->next) {
        const struct share *share = shares_find(&queue->shares, uid);
        count += share ? share->live : 0;
    }
    return count;
}

static void append(struct queue **list, struct queue *queues)
{
    while (*list)
        list = &(*list)->next;
    *list = queues;
}

int queue_set_add_orphan(struct queue_set *set, const char *name, struct queue **ret_queue)
{
    struct queue *queue;
    int rc = queue_new(name, &queue);
    if (rc < 0)
        return rc;
    append(&set->first, queue);
    *ret_queue = queue;
    return 0;
}

/* Queues that config names and the set has not, as a list. */
static int make_missing(const struct queue_set *set, const struct config *config,
                        struct queue **ret_list)
{
    struct queue *list = NULL, *queue;
    for (size_t i = 0; i < config->queues_count; i++) {
        const char *name = config->queues[i].name;
        if (queue_set_find(set, name) || find_in(list, name))
            continue;
        if (queue_new(name, &queue) < 0) {
            free_list(list);
            return -ENOMEM;
        }
        append(&list, queue);
    }
    *ret_list = list;
    return 0;
}

int queue_set_apply(struct queue_set *set, const struct config *config)
{
    struct queue *missing;
    int rc = make_missing(set, config, &missing);
    if (rc < 0)
        return rc;
    append(&set->first, missing);
    for (struct queue *queue = set->first; queue; queue = queue->next)
        queue->configured = false;
    for (size_t i = 0; i < config->queues_count; i++)
        configure(queue_set_find(set, config->queues[i].name), &config->queues[i]);
    return 0;
}

int queue_set_new(const struct config *config, struct queue_set **ret_set)
{
    struct queue_set *set = calloc(1, sizeof(*set));
    int rc = set ? queue_set_apply(set, config) : -ENOMEM;
    if (rc < 0) {
        queue_set_free(set);
        return rc;
    }
    *ret_set = set;
    return 0;
}

/* All but a token. */
static bool is_ready(const struct queue *queue)
{
    return !queue->now.paused && queue->running < queue->now.concurrency &&
           shares_ready(&queue->shares);
}

static bool may_start(const struct queue *queue, uint64_t now_ns)
{
    return is_ready(queue) && rate_next(&queue->rate) <= now_ns;
}

/* The next in the ring: behind the last comes the first. */
static struct queue *behind(const struct queue_set *set, const struct queue *queue)
{
    return queue && queue->next ? queue->next : set->first;
}

struct job *queue_set_take_next(struct queue_set *set, uint64_t now_ns)
{
    struct queue *first = behind(set, set->cursor), *queue = first;
    while (queue && !may_start(queue, now_ns)) {
        queue = behind(set, queue);
        if (queue == first)
            return NULL;
    }
    if (!queue)
        return NULL;
    set->cursor = queue;
    queue->running++;
    if (queue->now.rate.count)
        rate_take(&queue->rate, now_ns);
    return shares_take(&queue->shares);
}

uint64_t queue_set_next_token(const struct queue_set *set, uint64_t now_ns)
{
    uint64_t first = UINT64_MAX;
    for (const struct queue *queue = set->first; queue; queue = queue->next) {
        uint64_t next = rate_next(&queue->rate);
        if (is_ready(queue) && next > now_ns && next < first)
            first = next;
    }
    return first;
}

void queue_release(struct job *job)
{
    job->queue->running--;
    shares_release(&job->queue->shares, job);
}

void queue_return_token(struct job *job)
{
    if (job->queue->now.rate.count)
        rate_give_back(&job->queue->rate);
}
