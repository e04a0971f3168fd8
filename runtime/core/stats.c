/* SPDX-License-Identifier: MIT */
/* Copies of the counters, taken while their owners go on. */
#include "weft/stats.h"

#include <errno.h>

#include "core/offload.h"
#include "core/runtime.h"

static uint64_t look(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int weft_stats_worker(struct weft_runtime *runtime, unsigned worker,
                      struct weft_worker_stats *ret_stats)
{
    struct worker_counters *from;

    if (worker >= runtime->workers)
        return -ERANGE;
    from = &runtime->worker[worker].counters;
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
        .longest_turn_ns = look(&from->longest_turn_ns),
        .last_poll_ns = look(&from->last_poll_ns),
        .parked = look(&from->parked),
    };
    return 0;
}

void weft_stats_runtime(struct weft_runtime *runtime, struct weft_runtime_stats *ret_stats)
{
    struct weft_runtime_stats stats = {.workers = runtime->workers};
    unsigned threads, queued;
    size_t stacks, bytes;
    uint64_t finished = 0;

    /* What ended is read first: a fiber that starts meanwhile is not counted as minus one. */
    for (unsigned i = 0; i < runtime->workers; i++)
        finished += look(&runtime->worker[i].counters.finished);
    for (unsigned i = 0; i < runtime->workers; i++)
        stats.live_fibers += look(&runtime->worker[i].counters.spawned);
    stats.live_fibers += atomic_load_explicit(&runtime->spawned_outside, memory_order_relaxed);
    stats.live_fibers -= finished;
    offload_pool_stats(runtime->offload, &threads, &queued);
    stack_usage(&stacks, &bytes);
    stats.stacks = stacks;
    stats.stack_bytes = bytes;
    stats.offload_threads = threads;
    stats.offload_queued = queued;
    *ret_stats = stats;
}
