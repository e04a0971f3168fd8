/* SPDX-License-Identifier: MIT */
/*
 * A worker's loop: ticks, polling, searching, parking.
 *
 *   L1  A worker with work polls its libev loop once per POLL_QUANTUM_NS of time.  The clock is
 *       read once per `period` turns, and the period adapts so that this is often enough.
 *   L2  At each quantum the fiber in the slot, and then the running lineage of spawners, go behind
 *       the woken fibers: neither a spawn storm nor two fibers that wake each other starve them.
 *   L3  Parking: announce, full barrier, look at every queue again, and only then block (I3).
 *   L4  Timers are precise to the kernel's timer slack: a timerfd, set only before the worker
 *       blocks and only if its next deadline is earlier than what is set.  (libev's own timers
 *       round to milliseconds.)
 *   L5  Where half the ring is full, a tick takes no more from the inject queue than turns have
 *       passed since the last one: with more ready fibers than the ring holds, each goes through
 *       that queue about once a turn.
 *   L6  Where one fiber waits behind one that runs (I5), the owner is likely to get to it before a
 *       thief could: it is stolen when the owner has not switched for LONE_NS.  What is in the slot
 *       was woken by the fiber that runs, which is likely to wait soon: it is stolen when two looks
 *       find the owner in the same turn, at least DOZE_NS apart.
 *   L7  The oldest continuation of the deque goes behind the woken fibers when nobody has stolen it
 *       for OLDEST_WAITS_NS: on one worker a child that spawns for ever does not starve its
 *       spawner.  Not sooner, because depth first is what bounds memory.
 */
#include "core/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "core/handoff.h"
#include "core/hooks.h"
#include "core/loop.h"
#include "core/ring.h"
#include "core/runtime.h"
#include "observe/monitor.h"
#include "weft/time.h"

enum {
    POLL_QUANTUM_NS = 100000,
    OLDEST_WAITS_NS = 10000000,
    PERIOD_MAX = 61,
    PERIOD_AFTER_IDLING = 4, /* nothing is known of the turns to come */
    LONE_NS = 1000,
    LONE_PAUSES = 8, /* between two looks at the owner's counter: each costs it a cache miss */
    DOZE_NS = 100000,
    DOZES = 16,
    SEARCH_PASSES = 4,
    INJECT_BATCH = 64
};

__thread struct worker *worker_guess;

struct offload_pool *worker_offload(struct worker *worker)
{
    return worker->runtime->offload;
}

struct offload_pool *worker_files(struct worker *worker)
{
    return worker->runtime->files;
}

/* A stray has none of its own: one of the others, not always the same. */
struct poller *worker_poller(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;

    if (likely(!worker->is_stray))
        return &worker->poller;
    return &runtime->worker[(uintptr_t)fiber_self() / CACHE_LINE % runtime->workers].poller;
}

size_t worker_ready(struct worker *worker)
{
    bool slot = atomic_load_explicit(&worker->slot, memory_order_relaxed) != NULL;

    return slot + deque_length(&worker->deque) + runq_length(&worker->runq);
}

void worker_wake(struct worker *worker, struct worker *from)
{
    if (from)
        count(&from->counters.wakes, 1);
    ev_async_send(worker->loop, &worker->wake);
}

/* What others could take from it (I5).  A slot alone is looked at, but nobody is woken for it. */
static enum idle_work worker_work(struct worker *worker)
{
    size_t ready = worker_ready(worker);

    if (ready > 1)
        return WORK_SURPLUS;
    return ready == 1 ? WORK_LONE : WORK_NONE;
}

void worker_notify_slow(struct worker *worker, unsigned idle_state)
{
    enum idle_work work = worker_work(worker);
    struct worker *sleeper;

    if (work == WORK_NONE || !idle_needs_wake(worker->idle, idle_state, work))
        return;
    sleeper = idle_take_sleeper(worker->idle, work);
    if (sleeper)
        worker_wake(sleeper, worker);
}

void worker_queue_pinned(struct fiber *fiber, struct worker *from)
{
    struct worker *home = fiber->home;
    struct weft_runtime *runtime = home->runtime;

    if (from == home) {
        inject_push(&home->pinned_ready, fiber, fiber, 1);
        return; /* it is awake, and looks before it parks */
    }
    /* As in sched_inject.  Its loop's own protocol keeps the wake-up from being lost. */
    atomic_fetch_add_explicit(&runtime->visitors, 1, memory_order_relaxed);
    inject_push(&home->pinned_ready, fiber, fiber, 1);
    worker_wake(home, from);
    atomic_fetch_sub_explicit(&runtime->visitors, 1, memory_order_release);
}

void worker_add_timer(struct worker *worker, struct weft_runtime *runtime, struct timer *timer,
                      uint64_t deadline_ns)
{
    struct worker *other = &runtime->worker[(uintptr_t)timer / CACHE_LINE % runtime->workers];

    timer_add(worker ? &worker->timers : &other->timers, timer, deadline_ns);
    if (unlikely(!worker))
        worker_wake(other, NULL); /* it may be about to block, having looked at its timers before */
}

/* --- the loop's callbacks: on the scheduler's stack, in ev_run */

static void on_wake(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)loop, (void)watcher, (void)events; /* waking up was all */
}

static void on_poll(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct worker *worker = container_of(watcher, struct worker, poll);

    (void)loop, (void)events;
    count(&worker->counters.events, poller_dispatch(&worker->poller, worker));
}

static void on_alarm(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct worker *worker = container_of(watcher, struct worker, alarm);
    uint64_t expirations;

    (void)loop, (void)events;
    if (read(worker->timer_fd, &expirations, sizeof(expirations)) > 0)
        worker->alarm_ns = UINT64_MAX;
}

/* --- timers and polling */

static void worker_expire(struct worker *worker, uint64_t now)
{
    struct wait_batch batch = {0};

    count(&worker->counters.timers, timers_expire(&worker->timers, now, &batch));
    wait_batch_wake_on(worker, &batch);
}

/* After a loop turn: what expired, and the start of a new quantum. */
static void worker_polled(struct worker *worker, uint64_t start, bool parked)
{
    uint64_t now = weft_now_ns();

    worker_expire(worker, now);
    if (hooked())
        hook_polled(worker, start, parked);
    worker->poll_ns = worker->tick_ns = now;
    count(&worker->counters.polls, 1);
    atomic_store_explicit(&worker->counters.last_poll_ns, now, memory_order_relaxed);
}

static void worker_note_turn(struct worker *worker, uint64_t now)
{
    uint64_t away = now - worker->poll_ns;

    if (away > atomic_load_explicit(&worker->counters.longest_turn_ns, memory_order_relaxed))
        atomic_store_explicit(&worker->counters.longest_turn_ns, away, memory_order_relaxed);
}

/* Behind all that were woken. */
static void worker_queue_up(struct worker *worker, struct fiber *fiber)
{
    if (fiber)
        sched_append(worker, fiber);
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* How many injected fibers the ring can take: half a ring, or as many as turns have passed if that
 * is more and there is room, lest they push out others that then come back for nothing; but one in
 * any case: the ring may be full each time that this looks (L5). */
static size_t worker_room(struct worker *worker)
{
    size_t ready = runq_length(&worker->runq), room = RUNQ_SLOTS - ready;
    size_t half = ready < RUNQ_SLOTS / 2 ? RUNQ_SLOTS / 2 - ready : 0;
    size_t turns = smaller((size_t)worker->period, room ? room : 1);

    return half > turns ? half : turns;
}

/* Move a fair share of the inject queue behind the woken fibers. */
static void worker_queue_injected(struct worker *worker)
{
    struct inject *inject = &worker->runtime->inject;
    size_t share = inject_length(inject) / worker->runtime->workers + 1;
    size_t most = smaller(worker_room(worker), INJECT_BATCH);
    size_t taken;
    struct fiber *fiber = inject_take(inject, smaller(share, most), &taken);
    struct fiber *next;

    if (!fiber)
        return;
    count(&worker->counters.injected, taken);
    for (; fiber; fiber = next) {
        next = fiber->next;
        sched_append(worker, fiber);
    }
    if (taken > 1)
        worker_notify(worker);
}

/* The oldest continuation, if it has been just that for long: where no thief takes it, it waits for
 * all that was spawned after it (L7). */
static void worker_age_oldest(struct worker *worker, uint64_t now)
{
    int64_t top = atomic_load_explicit(&worker->deque.top, memory_order_relaxed);

    if (top != worker->oldest || deque_empty(&worker->deque)) {
        worker->oldest = top;
        worker->oldest_ns = now;
    } else if (now - worker->oldest_ns >= OLDEST_WAITS_NS) {
        worker_queue_up(worker, deque_steal(&worker->deque));
    }
}

static struct fiber *worker_next_pinned(struct worker *worker)
{
    size_t taken;

    return inject_take(&worker->pinned_ready, 1, &taken);
}

/* A pinned fiber runs before what else is ready here.  Nobody may have been told of that, as it was to be
 * next: a thief may have it now (I3 of idle.h). */
static struct fiber *worker_past_queue(struct worker *worker, struct fiber *pinned)
{
    if (worker_ready(worker) > 0)
        worker_notify(worker);
    return pinned;
}

static void worker_adapt(struct worker *worker, uint64_t elapsed)
{
    if (elapsed > POLL_QUANTUM_NS)
        worker->period = worker->period / 2 + 1;
    else if (elapsed < POLL_QUANTUM_NS / 2 && worker->period < PERIOD_MAX)
        worker->period++;
}

/* The budget of turns is used up: see what else there is.  Returns the fiber whose turn it is, or
 * NULL. */
static struct fiber *worker_tick(struct worker *worker)
{
    uint64_t now = weft_now_ns();
    struct fiber *fiber;

    worker_adapt(worker, now - worker->tick_ns);
    worker->tick_ns = now;
    worker->budget = worker->period;
    worker_queue_injected(worker);
    if (now - worker->poll_ns >= POLL_QUANTUM_NS) {
        worker_note_turn(worker, now);
        ev_run(worker->loop, EVRUN_NOWAIT);
        worker_polled(worker, now, false);
        worker_queue_up(worker, sched_take_slot(worker)); /* L2 */
        worker_queue_up(worker, deque_pop(&worker->deque));
        worker_age_oldest(worker, now);
        if (runq_length(&worker->runq) > 1)
            worker_notify(worker); /* filling the slot told nobody (Q3) */
    }
    /* By turns: one who is pinned here, and the oldest woken one. */
    worker->pinned_first = !worker->pinned_first;
    if (worker->pinned_first && (fiber = worker_next_pinned(worker)))
        return worker_past_queue(worker, fiber);
    return runq_pop(&worker->runq);
}

/* --- searching */

static struct fiber *worker_steal_from(struct worker *worker, struct worker *victim, bool slot_too)
{
    struct fiber *fiber = deque_steal(&victim->deque);
    unsigned taken = 1;

    if (!fiber)
        fiber = runq_steal(&victim->runq, &worker->runq, &taken);
    if (!fiber && slot_too)
        fiber = sched_take_slot(victim);
    if (!fiber)
        return NULL;
    if (hooked())
        hook_stolen(worker, victim, fiber, taken);
    count(&worker->counters.steals, 1);
    count(&worker->counters.stolen, taken);
    return fiber;
}

/* Steal from whoever has more than one; else *ret_lone is somebody who has one, or NULL. */
static struct fiber *worker_steal(struct worker *worker, struct worker **ret_lone)
{
    struct weft_runtime *runtime = worker->runtime;
    unsigned first = (unsigned)(worker_random(worker) % runtime->workers);

    *ret_lone = NULL;
    for (unsigned i = 0; i < runtime->workers; i++) {
        struct worker *victim = &runtime->worker[(first + i) % runtime->workers];
        enum idle_work work = victim == worker ? WORK_NONE : worker_work(victim);
        struct fiber *fiber = NULL;

        if (work == WORK_SURPLUS)
            fiber = worker_steal_from(worker, victim, false);
        else if (work == WORK_LONE)
            *ret_lone = victim;
        if (fiber)
            return fiber;
    }
    return NULL;
}

static uint64_t turns_of(struct worker *worker)
{
    return atomic_load_explicit(&worker->counters.turns, memory_order_relaxed);
}

/* Steal what is lone if its owner does not switch for LONE_NS, and from the slot if it has not even
 * since the last look (L6). */
static struct fiber *worker_watch(struct worker *worker, struct worker *victim)
{
    uint64_t turns = turns_of(victim);
    bool again = worker->watched == victim && worker->watched_turns == turns;
    uint64_t start = weft_now_ns();

    if (again && start - worker->watched_ns >= DOZE_NS)
        return worker_steal_from(worker, victim, true);
    if (!again) {
        worker->watched = victim;
        worker->watched_turns = turns;
        worker->watched_ns = start;
    }
    do {
        for (unsigned i = 0; i < LONE_PAUSES; i++)
            spin_pause();
        if (turns_of(victim) != turns)
            return NULL;
    } while (weft_now_ns() - start < LONE_NS);
    return worker_steal_from(worker, victim, false);
}

static struct fiber *worker_search(struct worker *worker)
{
    struct worker *lone;
    struct fiber *fiber;

    if (worker->alone)
        return NULL;
    if (!worker->searching && !idle_start_search(&worker->runtime->idle))
        return NULL;
    worker->searching = true;
    count(&worker->counters.searches, 1);
    for (unsigned pass = 0; pass < SEARCH_PASSES; pass++) {
        fiber = worker_steal(worker, &lone);
        if (fiber)
            return fiber;
    }
    return lone ? worker_watch(worker, lone) : NULL;
}

/* The worker has something to run: it searches no more (I2). */
static struct fiber *worker_found(struct worker *worker, struct fiber *fiber)
{
    struct worker *sleeper;

    if (worker->searching) {
        worker->searching = false;
        if (idle_stop_search(worker->idle)) {
            sleeper = idle_notify(worker->idle, WORK_SURPLUS);
            if (sleeper)
                worker_wake(sleeper, worker);
        }
    }
    return fiber;
}

/* --- parking */

static enum idle_work work_visible(struct weft_runtime *runtime)
{
    enum idle_work most = WORK_NONE;

    if (inject_length(&runtime->inject) > 0 ||
        atomic_load_explicit(&runtime->ended, memory_order_acquire))
        return WORK_SURPLUS;
    for (unsigned i = 0; i < runtime->workers; i++) {
        enum idle_work work = worker_work(&runtime->worker[i]);

        if (work > most)
            most = work;
    }
    return most;
}

/* `limit_ns`: at the latest. */
static void worker_set_alarm(struct worker *worker, uint64_t limit_ns)
{
    uint64_t next = timers_next(&worker->timers);
    struct itimerspec when = {0};

    if (next > limit_ns)
        next = limit_ns;
    if (next >= worker->alarm_ns)
        return; /* L4: an alarm too early is only a wake-up for nothing */
    if (next == 0)
        next = 1;
    when.it_value.tv_sec = (time_t)(next / WEFT_SECOND);
    when.it_value.tv_nsec = (long)(next % WEFT_SECOND);
    timerfd_settime(worker->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    worker->alarm_ns = next;
}

static void worker_awake(struct worker *worker)
{
    struct monitor *monitor;

    atomic_store_explicit(&worker->counters.parked, 0, memory_order_seq_cst);
    monitor = atomic_load_explicit(&worker->runtime->monitor, memory_order_seq_cst);
    if (unlikely(monitor != NULL))
        monitor_note_awake(monitor);
}

/* Block in the loop. */
static void worker_sleep(struct worker *worker, uint64_t now, uint64_t limit_ns)
{
    worker_set_alarm(worker, limit_ns);
    count(&worker->counters.parks, 1);
    /* Release: whoever sees it parked sees what it counted before (monitor.c). */
    atomic_store_explicit(&worker->counters.parked, 1, memory_order_release);
    ev_run(worker->loop, EVRUN_ONCE);
    worker_awake(worker);
    worker_polled(worker, now, true);
    worker->budget = worker->period = PERIOD_AFTER_IDLING;
}

static void worker_park(struct worker *worker)
{
    struct weft_runtime *runtime = worker->runtime;
    uint64_t now = weft_now_ns();
    enum dozer dozer;
    enum idle_work work;
    bool sleeps;

    worker_note_turn(worker, now);
    dozer = idle_announce(&runtime->idle, worker, worker->searching, worker->dozes_left > 0);
    worker->searching = false;
    work = work_visible(runtime); /* L3 */
    if (work == WORK_LONE)
        worker->dozes_left = DOZES;
    else if (worker->dozes_left > 0)
        worker->dozes_left--;
    sleeps = work == WORK_NONE || (work == WORK_LONE && dozer != DOZER_NONE);
    if (sleeps)
        worker_sleep(worker, now, dozer == DOZER_SELF ? now + DOZE_NS : UINT64_MAX);
    worker->searching = idle_return(&runtime->idle, worker, !sleeps);
}

/* The next fiber to run from the scheduler's stack; NULL when the runtime has ended. */
static struct fiber *worker_pick(struct worker *worker)
{
    struct fiber *fiber;

    for (;;) {
        if (worker->budget < 0 && (fiber = worker_tick(worker)))
            return fiber;
        if ((fiber = sched_next(worker)))
            return fiber;
        if (worker->budget < 0)
            continue;
        if (atomic_load_explicit(&worker->runtime->ended, memory_order_acquire))
            return NULL;
        worker_queue_injected(worker);
        if ((fiber = worker_next_pinned(worker)))
            return worker_past_queue(worker, fiber);
        if ((fiber = runq_pop(&worker->runq)) || (fiber = worker_search(worker)))
            return fiber;
        worker_park(worker);
    }
}

void worker_loop(struct thread *thread)
{
    struct worker *worker = thread->worker;
    struct fiber *fiber;

    worker_guess = worker;
    worker->errno_location = thread->errno_location;
    if (worker->poll_ns == 0) /* else another thread has driven it before */
        worker->poll_ns = worker->tick_ns = weft_now_ns();
    while (thread->worker == worker && (fiber = worker_pick(worker)))
        sched_run(worker, worker_found(worker, fiber));
}

/* --- making and unmaking */

static int worker_start_watchers(struct worker *worker)
{
    int r;

    ev_async_init(&worker->wake, on_wake);
    r = loop_start_wake(worker->loop, &worker->wake);
    if (r < 0)
        return r;
    ev_io_init(&worker->poll, on_poll, worker->poller.epoll_fd, EV_READ);
    ev_io_start(worker->loop, &worker->poll);
    ev_io_init(&worker->alarm, on_alarm, worker->timer_fd, EV_READ);
    ev_io_start(worker->loop, &worker->alarm);
    return loop_settle(worker->loop);
}

static int worker_open_loop(struct worker *worker)
{
    int r;

    loop_lock();
    r = loop_open(worker->poller.epoll_fd, &worker->loop); /* the newest */
    if (r == 0)
        r = worker_start_watchers(worker);
    loop_unlock();
    return r;
}

int worker_init(struct worker *worker, struct weft_runtime *runtime, unsigned index)
{
    int r;

    memset(worker, 0, sizeof(*worker));
    worker->runtime = runtime;
    worker->index = index;
    worker->idle = &runtime->idle;
    worker->alone = runtime->workers == 1;
    worker->runq.alone = worker->alone;
    worker->period = worker->budget = PERIOD_MAX;
    worker->random = (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    worker->alarm_ns = UINT64_MAX;
    worker->poller.epoll_fd = -1;
    worker->oldest = -1;
    timers_init(&worker->timers);
    worker->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (worker->timer_fd < 0)
        return -errno;
    r = poller_init(&worker->poller);
    if (r == 0)
        r = deque_init(&worker->deque, worker->alone);
    if (r == 0)
        r = worker_open_loop(worker);
    return r;
}

void worker_destroy(struct worker *worker)
{
    stack_cache_flush(&worker->stacks);
    ring_free(worker);
    if (worker->loop)
        ev_loop_destroy(worker->loop);
    deque_destroy(&worker->deque);
    if (worker->poller.epoll_fd >= 0)
        poller_destroy(&worker->poller);
    if (worker->timer_fd >= 0)
        close(worker->timer_fd);
    timers_destroy(&worker->timers);
}
