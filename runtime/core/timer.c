/* SPDX-License-Identifier: MIT */
/* The timer heap.  Four children a node: half the levels of a binary heap, and the children share a
 * cache line (16-byte entries). */
#include "core/timer.h"

#include <stdbool.h>
#include <stdlib.h>

#include "core/park.h"
#include "core/scope.h"

enum { ARITY = 4, INITIAL_CAPACITY = 64, EXPIRE_BATCH = 512 };

void timers_init(struct timers *timers)
{
    *timers = (struct timers){0};
    atomic_init(&timers->next_ns, UINT64_MAX);
}

void timers_destroy(struct timers *timers)
{
    free(timers->heap);
}

static inline void heap_place(struct timers *timers, size_t index, struct timer_entry entry)
{
    timers->heap[index] = entry;
    entry.timer->index = index;
}

static void heap_sift_up(struct timers *timers, size_t index, struct timer_entry entry)
{
    while (index > 0) {
        size_t parent = (index - 1) / ARITY;

        if (timers->heap[parent].deadline_ns <= entry.deadline_ns)
            break;
        heap_place(timers, index, timers->heap[parent]);
        index = parent;
    }
    heap_place(timers, index, entry);
}

static size_t heap_earliest_child(const struct timers *timers, size_t index)
{
    size_t first = index * ARITY + 1, best = first;

    for (size_t child = first + 1; child < first + ARITY && child < timers->count; child++)
        if (timers->heap[child].deadline_ns < timers->heap[best].deadline_ns)
            best = child;
    return best;
}

static void heap_sift_down(struct timers *timers, size_t index, struct timer_entry entry)
{
    while (index * ARITY + 1 < timers->count) {
        size_t child = heap_earliest_child(timers, index);

        if (timers->heap[child].deadline_ns >= entry.deadline_ns)
            break;
        heap_place(timers, index, timers->heap[child]);
        index = child;
    }
    heap_place(timers, index, entry);
}

static void publish_next(struct timers *timers)
{
    uint64_t next = timers->count ? timers->heap[0].deadline_ns : UINT64_MAX;

    for (struct timer *timer = timers->spilled; unlikely(timer != NULL); timer = timer->next)
        next = timer->deadline_ns < next ? timer->deadline_ns : next;
    atomic_store_explicit(&timers->next_ns, next, memory_order_relaxed);
}

static bool heap_reserve(struct timers *timers)
{
    size_t capacity = timers->capacity ? timers->capacity * 2 : INITIAL_CAPACITY;
    struct timer_entry *heap;

    if (timers->count < timers->capacity)
        return true;
    heap = realloc(timers->heap, capacity * sizeof(*heap));
    if (!heap)
        return false;
    timers->heap = heap;
    timers->capacity = capacity;
    return true;
}

/* M3. */
static void spill(struct timers *timers, struct timer *timer, uint64_t deadline_ns)
{
    timer->index = TIMER_SPILLED;
    timer->deadline_ns = deadline_ns;
    timer->next = timers->spilled;
    timers->spilled = timer;
}

static void spilled_remove(struct timers *timers, struct timer *timer)
{
    struct timer **link = &timers->spilled;

    while (*link != timer)
        link = &(*link)->next;
    *link = timer->next;
    timer->index = TIMER_IDLE;
}

void timer_add(struct timers *timers, struct timer *timer, uint64_t deadline_ns)
{
    timer->home = timers;
    spin_lock(&timers->lock);
    if (likely(heap_reserve(timers)))
        heap_sift_up(timers, timers->count++, (struct timer_entry){deadline_ns, timer});
    else
        spill(timers, timer, deadline_ns);
    publish_next(timers);
    spin_unlock(&timers->lock);
}

static void heap_remove(struct timers *timers, size_t index)
{
    struct timer_entry last = timers->heap[--timers->count];

    timers->heap[index].timer->index = TIMER_IDLE;
    if (index == timers->count)
        return;
    if (index > 0 && timers->heap[(index - 1) / ARITY].deadline_ns > last.deadline_ns)
        heap_sift_up(timers, index, last);
    else
        heap_sift_down(timers, index, last);
}

void timer_remove(struct timer *timer)
{
    struct timers *timers = timer->home;

    spin_lock(&timers->lock);
    if (timer->index != TIMER_IDLE) {
        if (unlikely(timer->index == TIMER_SPILLED))
            spilled_remove(timers, timer);
        else
            heap_remove(timers, timer->index);
        publish_next(timers);
    }
    spin_unlock(&timers->lock);
}

static void expire(struct timer *timer, struct wait_batch *batch)
{
    if (timer->fiber)
        park_claim(timer->fiber, PARK_TIMEOUT, batch);
    else
        scope_expire(timer->scope, batch); /* M2: under the lock, which scope_leave takes */
}

static unsigned expire_spilled(struct timers *timers, uint64_t now_ns, struct wait_batch *batch)
{
    unsigned expired = 0;

    for (struct timer *timer = timers->spilled, *next; timer; timer = next) {
        next = timer->next;
        if (timer->deadline_ns > now_ns)
            continue;
        spilled_remove(timers, timer);
        expire(timer, batch);
        expired++;
    }
    return expired;
}

unsigned timers_expire(struct timers *timers, uint64_t now_ns, struct wait_batch *batch)
{
    unsigned expired = 0;

    if (timers_next(timers) > now_ns)
        return 0;
    spin_lock(&timers->lock);
    while (timers->count > 0 && timers->heap[0].deadline_ns <= now_ns && expired < EXPIRE_BATCH) {
        struct timer *timer = timers->heap[0].timer;

        heap_remove(timers, 0);
        expired++;
        expire(timer, batch);
    }
    if (unlikely(timers->spilled != NULL))
        expired += expire_spilled(timers, now_ns, batch);
    publish_next(timers);
    spin_unlock(&timers->lock);
    return expired;
}

size_t timers_armed(struct timers *timers)
{
    size_t armed;

    spin_lock(&timers->lock);
    armed = timers->count;
    for (struct timer *timer = timers->spilled; timer; timer = timer->next)
        armed++;
    spin_unlock(&timers->lock);
    return armed;
}
