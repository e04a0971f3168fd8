/* SPDX-License-Identifier: MIT */
/*
 * job_heap: see job_heap.h.
 *
 * I4  The index of heap->jobs[i] is i for every i < count; a job in no heap says JOB_NOT_IN_HEAP.
 * I5  No child sorts before its parent.
 *
 * 4-ary: half the depth of a binary heap, and the four children of a node lie in one cache line.
 */
#include "daemon/job_heap.h"

#include <errno.h>
#include <stdlib.h>

enum { FANOUT = 4, CAPACITY_MIN = 64 };

void job_heap_init(struct job_heap *heap, enum job_heap_order order)
{
    *heap = (struct job_heap){.order = order};
}

static uint32_t *index_of(const struct job_heap *heap, struct job *job)
{
    return heap->order == JOB_HEAP_BY_EXPIRY ? &job->expiry_index : &job->heap_index;
}

void job_heap_destroy(struct job_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++)
        *index_of(heap, heap->jobs[i]) = JOB_NOT_IN_HEAP;
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

static int64_t key_of(const struct job_heap *heap, const struct job *job)
{
    switch (heap->order) {
    case JOB_HEAP_BY_RANK:
        return job->rank;
    case JOB_HEAP_BY_DUE:
        return job->record.due_at;
    case JOB_HEAP_BY_EXPIRY:
        break;
    }
    return job->record.expires_at;
}

static bool before(const struct job_heap *heap, const struct job *a, const struct job *b)
{
    int64_t key_a = key_of(heap, a), key_b = key_of(heap, b);
    return key_a != key_b ? key_a < key_b : a->record.id < b->record.id;
}

static void put(struct job_heap *heap, size_t index, struct job *job)
{
    heap->jobs[index] = job;
    *index_of(heap, job) = (uint32_t)index;
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
    size_t index = *index_of(heap, job);
    struct job *last = heap->jobs[--heap->count];
    *index_of(heap, job) = JOB_NOT_IN_HEAP;
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

void job_heap_rebuild(struct job_heap *heap)
{
    for (size_t i = heap->count; i-- > 0;)
        sift_down(heap, i, heap->jobs[i]);
}
