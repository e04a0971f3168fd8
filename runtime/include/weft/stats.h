/* SPDX-License-Identifier: MIT */
/* Counters, readable without stopping anyone.  Defaults of weft/weft.h apply. */
#ifndef WEFT_STATS_H
#define WEFT_STATS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_runtime;

/* Of one worker, since the start; each is exact, together they are not one moment. */
struct weft_worker_stats {
    uint64_t turns;           /* fibers resumed */
    uint64_t spawned;         /* fibers started from here */
    uint64_t finished;        /* fibers that ended here */
    uint64_t steals;          /* successful steals made by this worker */
    uint64_t stolen;          /* fibers that this worker took from others in those steals */
    uint64_t searches;        /* times it went looking */
    uint64_t parks;           /* times it blocked in its loop */
    uint64_t wakes;           /* other workers that it woke */
    uint64_t polls;           /* loop turns */
    uint64_t events;          /* descriptor events delivered */
    uint64_t timers;          /* timers expired */
    uint64_t injected;        /* fibers taken from the inject queue */
    uint64_t lone_yields;     /* yields that went straight on: nobody else was ready */
    uint64_t longest_turn_ns; /* longest observed stay away from the loop while it had work */
    uint64_t last_poll_ns;    /* weft_now_ns() of the last loop turn; 0 before the first */
    uint64_t parked;          /* 1 while it blocks in its loop */
    uint64_t ready;           /* fibers in its queues now; thieves may be at them */
    uint64_t timers_armed;    /* timers that have not expired yet */
    uint64_t handoffs;        /* times another thread took it over (weft/blocking.h) */
};

struct weft_runtime_stats {
    unsigned workers;
    uint64_t live_fibers;     /* spawned and not ended */
    uint64_t spawned;         /* since the start, by fibers and by plain threads */
    uint64_t timers_armed;    /* of all workers */
    uint64_t descriptors;     /* watched now, the whole process */
    uint64_t stacks;          /* stacks carved so far, all sizes, the whole process */
    uint64_t stack_bytes;     /* address space of those stacks */
    uint64_t offload_threads; /* alive, idle ones too */
    uint64_t offload_queued;  /* calls that wait for a thread */
    uint64_t unjoined;        /* failures of tasks that nobody asked for (weft/task.h) */
    uint64_t spare_threads;   /* alive, beyond one per worker */
    uint64_t without_worker;  /* fibers that run now, but not on a worker (weft/blocking.h) */
};

/** Context: any thread.  Errors: -ERANGE no such worker. */
int weft_stats_worker(struct weft_runtime *runtime, unsigned worker,
                      struct weft_worker_stats *ret_stats);

/** Context: any thread. */
void weft_stats_runtime(struct weft_runtime *runtime, struct weft_runtime_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
