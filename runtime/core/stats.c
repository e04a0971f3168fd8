/* SPDX-License-Identifier: MIT */
/* Copies of the counters, taken while their owners go on. */
#include "weft/stats.h"

#include <errno.h>

#include "core/offload.h"
#include "core/runtime.h"
#include "core/watch.h"

static uint64_t look(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int weft_stats_worker(struct weft_runtime *runtime, unsigned index,
                      struct weft_worker_stats *ret_stats)
{
    struct worker_counters *from;
    struct worker *worker;

    if (index >= runtime->workers)
        return -ERANGE;
    worker = &runtime->worker[index];
    from = &worker->counters;
    *ret_stats = (struct weft_worker_stats){
        .turns = look(&from->turns),
        .spawned = look(&from->spawned),
        .finished = look(&from->finished),
        .steals = look(&from->steals),
        .stolen = look(&from->stolen),
        .searches = look(&from->searches),
        .parks = look(&from->parks),
        .wakes = look(&from->wakes),
        .polls = look(&from->polls),
        .events = look(&from->events),
        .timers = look(&from->timers),
        .injected = look(&from->injected),
        .lone_yields = look(&from->lone_yields),
        .longest_turn_ns = look(&from->longest_turn_ns),
        .last_poll_ns = look(&from->last_poll_ns),
        .parked = look(&from->parked),
        .ready = worker_queued(worker),
        .timers_armed = timers_armed(&worker->timers),
        .handoffs = look(&from->handoffs),
    };
    return 0;
}

static void add_fibers(struct weft_runtime *runtime, struct weft_runtime_stats *stats)
{
    uint64_t finished = 0;

    /* What ended is read first: a fiber that starts meanwhile is not counted as minus one. */
    for (unsigned i = 0; i < runtime->workers; i++)
        finished += look(&runtime->worker[i].counters.finished);
    stats->spawned = look(&runtime->spawned_outside);
    for (unsigned i = 0; i < runtime->workers; i++)
        stats->spawned += look(&runtime->worker[i].counters.spawned);
    stats->live_fibers = stats->spawned - finished;
}

void weft_stats_runtime(struct weft_runtime *runtime, struct weft_runtime_stats *ret_stats)
{
    struct weft_runtime_stats stats = {.workers = runtime->workers};
    struct weft_executor_stats offload;
    unsigned extra, strays;
    size_t stacks, bytes;

    add_fibers(runtime, &stats);
    for (unsigned i = 0; i < runtime->workers; i++)
        stats.timers_armed += timers_armed(&runtime->worker[i].timers);
    offload_pool_stats(runtime->offload, &offload);
    stack_usage(&stacks, &bytes);
    stats.descriptors = watch_count();
    stats.stacks = stacks;
    stats.stack_bytes = bytes;
    stats.offload_threads = offload.threads;
    stats.offload_queued = offload.queued;
    stats.unjoined = look(&runtime->unjoined);
    threads_usage(&runtime->threads, &extra, &strays);
    stats.spare_threads = extra;
    stats.without_worker = strays;
    *ret_stats = stats;
}
