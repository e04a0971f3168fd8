/* SPDX-License-Identifier: MIT */
/*
 * queue: heaps of jobs, the queues by name, and the fair choice over them.
 *
 * I4  heap->jobs[i]->heap_index == i for every i < count; a job in no heap says JOB_NOT_IN_HEAP.
 * I5  No child sorts before its parent.
 * I6  cursor is the queue that was served last; the search begins behind it.
 *
 * Who may call: the engine, under its lock.  Heaps are 4-ary: half the depth of a binary heap, and
 * the four children of a node lie in one cache line.
 */
#include "daemon/queue.h"

#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FANOUT = 4, CAPACITY_MIN = 64 };

struct queue_set {
    struct queue *first;
    struct queue *cursor; /* I6; NULL: nobody was served yet */
};

/* ---- heap ------------------------------------------------------------------------------------ */

void job_heap_init(struct job_heap *heap, enum job_heap_order order)
{
    *heap = (struct job_heap){.order = order};
}

void job_heap_destroy(struct job_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        heap->jobs[i]->heap_index = JOB_NOT_IN_HEAP;
    free(heap->jobs);
    job_heap_init(heap, heap->order);
}

static int resize(struct job_heap *heap, size_t capacity)
{
    struct job **jobs = realloc(heap->jobs, capacity * sizeof(struct job *));
    if (!jobs)
        return -ENOMEM;
    heap->jobs = jobs;
    heap->capacity = capacity;
    return 0;
}

int job_heap_reserve(struct job_heap *heap, size_t more)
{
    size_t need = heap->count + more;
    size_t capacity = heap->capacity < CAPACITY_MIN ? CAPACITY_MIN : heap->capacity * 2;
    if (need <= heap->capacity)
        return 0;
    if (need >= JOB_NOT_IN_HEAP)
        return -ENOMEM;
    return resize(heap, capacity < need ? need : capacity);
}

void job_heap_trim(struct job_heap *heap, size_t keep)
{
    if (keep < heap->count)
        keep = heap->count;
    if (heap->capacity > 4096 && heap->capacity / 4 > keep)
        (void)resize(heap, heap->capacity / 2); /* on failure it stays large: no harm */
}

static bool before(const struct job_heap *heap, const struct job *a, const struct job *b)
{
    bool by_rank = heap->order == JOB_HEAP_BY_RANK;
    int64_t key_a = by_rank ? a->rank : a->record.due_at;
    int64_t key_b = by_rank ? b->rank : b->record.due_at;
    return key_a != key_b ? key_a < key_b : a->record.id < b->record.id;
}

static void put(struct job_heap *heap, size_t index, struct job *job)
{
    heap->jobs[index] = job;
    job->heap_index = (uint32_t)index;
}

static void sift_up(struct job_heap *heap, size_t index, struct job *job)
{
    while (index > 0) {
        size_t parent = (index - 1) / FANOUT;
        if (!before(heap, job, heap->jobs[parent]))
            break;
        put(heap, index, heap->jobs[parent]);
        index = parent;
    }
    put(heap, index, job);
}

/* The child that sorts first, or count if index has none. */
static size_t first_child(const struct job_heap *heap, size_t index)
{
    size_t best = index * FANOUT + 1;
    size_t end = best + FANOUT < heap->count ? best + FANOUT : heap->count;
    if (best >= heap->count)
        return heap->count;
    for (size_t child = best + 1; child < end; child++)
        if (before(heap, heap->jobs[child], heap->jobs[best]))
            best = child;
    return best;
}

static void sift_down(struct job_heap *heap, size_t index, struct job *job)
{
    size_t child;
    while ((child = first_child(heap, index)) < heap->count) {
        if (!before(heap, heap->jobs[child], job))
            break;
        put(heap, index, heap->jobs[child]);
        index = child;
    }
    put(heap, index, job);
}

void job_heap_push(struct job_heap *heap, struct job *job)
{
    sift_up(heap, heap->count++, job);
}

struct job *job_heap_peek(const struct job_heap *heap)
{
    return heap->count > 0 ? heap->jobs[0] : NULL;
}

void job_heap_remove(struct job_heap *heap, struct job *job)
{
    size_t index = job->heap_index;
    struct job *last = heap->jobs[--heap->count];
    job->heap_index = JOB_NOT_IN_HEAP;
    if (last == job)
        return;
    if (index > 0 && before(heap, last, heap->jobs[(index - 1) / FANOUT]))
        sift_up(heap, index, last);
    else
        sift_down(heap, index, last);
}

struct job *job_heap_pop(struct job_heap *heap)
{
    struct job *job = job_heap_peek(heap);
    if (job)
        job_heap_remove(heap, job);
    return job;
}

/* The next node in a walk from parents to children that is not below `index`; 0: there is none. */
static size_t past_subtree(size_t index)
{
    while (index > 0 && index % FANOUT == 0) /* the last of its parent's children */
        index = (index - 1) / FANOUT;
    return index > 0 ? index + 1 : 0;
}

/* By I5 nothing below a job that comes later comes before. */
size_t job_heap_count_before(const struct job_heap *heap, const struct job *job, size_t most)
{
    size_t count = 0, index = 0;
    do {
        bool counts = index < heap->count && before(heap, heap->jobs[index], job);
        count += counts;
        index = counts ? index * FANOUT + 1 : past_subtree(index);
    } while (index > 0 && count < most);
    return count;
}

/* Restore I5 after every rank may have changed. */
static void rebuild(struct job_heap *heap)
{
    for (size_t i = heap->count; i-- > 0;)
        sift_down(heap, i, heap->jobs[i]);
}

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
    job_heap_init(&queue->ready, JOB_HEAP_BY_RANK);
    *ret_queue = queue;
    return 0;
}

static void queue_free(struct queue *queue)
{
    job_heap_destroy(&queue->ready);
    free(queue->name);
    free(queue);
}

static void rank_again(struct queue *queue)
{
    for (size_t i = 0; i < queue->ready.count; i++) {
        struct job *job = queue->ready.jobs[i];
        job->rank = queue_rank(queue, job_waits_since(&job->record), job->record.priority);
    }
    rebuild(&queue->ready);
}

static void configure(struct queue *queue, const struct config_queue *config)
{
    bool rank_changes = queue->aging_ns != config->aging;
    queue->configured = true;
    queue->configured_as = (struct queue_settings){
        .concurrency = config->concurrency,
        .paused = config->paused,
        .rate = config->rate,
        .max_waiting = config->max_waiting,
    };
    queue_settle(queue);
    queue->timeout_ns = config->timeout;
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

struct queue *queue_set_first(const struct queue_set *set)
{
    return set->first;
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
    return !queue->now.paused && queue->running < queue->now.concurrency && queue->ready.count > 0;
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
    return job_heap_pop(&queue->ready);
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

void queue_release(struct queue *queue)
{
    queue->running--;
}
