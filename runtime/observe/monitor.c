/* SPDX-License-Identifier: MIT */
/*
 * The monitor's thread: see monitor.h.
 *
 *   I1  A worker is stuck in a turn if it is not parked, a fiber is current, and none of its
 *       counters of progress (turns, lone yields, polls) has moved since it was first seen so.
 *       That a fiber ran at least so long follows from this; that it did not run a period longer
 *       does not.
 *   I2  A stuck turn is reported once: until progress moves.
 *   I3  A deadlock is reported when in two looks, a while apart, the runtime was quiet (every
 *       worker parked, every queue empty, no timer armed, nobody between a wake and a queue), all
 *       fibers waited for what only fibers end (observe/owner.c), and no counter of the workers had
 *       moved from before the first look to after the second: then no fiber ran, so nothing of it
 *       has changed.  A plain thread may still wake somebody, so it is a report and not more.
 *   I4  One deadlock is reported once: until something moves.
 *   I5  A worker that is stuck for handoff_ns is taken from its thread if there is something that
 *       its loop would do now; else it is asked again a period later.  So a computation that nobody
 *       minds keeps its worker, and what comes meanwhile waits for two periods at most.
 *   I6  A fiber that has lost its worker is reported as slow all the same, once.
 *
 * A period is a quarter of slow_ns or half of handoff_ns, whichever is shorter, within bounds.
 */
#include "observe/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "core/handoff.h"
#include "core/runtime.h"
#include "core/worker.h"
#include "observe/census.h"
#include "observe/code.h"
#include "observe/describe.h"
#include "observe/graph.h"
#include "observe/owner.h"
#include "observe/report.h"
#include "observe/text.h"
#include "weft/report.h"
#include "weft/runtime.h"
#include "weft/time.h"

enum { PERIODS_PER_SLOW = 4, PERIODS_PER_HANDOFF = 2, STACK_BYTES = 256 * 1024 };

static const uint64_t PERIOD_MIN_NS = 200 * WEFT_MICROSECOND, PERIOD_MAX_NS = 50 * WEFT_MILLISECOND;

/* What the monitor remembers of a worker. */
struct watch {
    uint64_t progress; /* as it was at since_ns */
    uint64_t since_ns; /* when the turn was first seen; 0: it is in none */
    bool told;         /* I2 */
};

enum quiet { BUSY, MAYBE_DEADLOCKED, TOLD }; /* I3, I4 */

struct monitor {
    struct weft_runtime *runtime;
    struct monitor_tasks tasks;
    uint64_t period_ns;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* stop, or asleep was taken back */
    bool stop;           /* guarded by lock */
    atomic_bool asleep;  /* seq_cst: N1; set and cleared under lock */
    enum quiet quiet;    /* what follows is the thread's own */
    uint64_t quiet_moves;
    struct watch watch[]; /* one per worker */
};

static uint64_t look(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* --- stuck turns */

static uint64_t progress_of(struct worker *worker)
{
    return look(&worker->counters.turns) + look(&worker->counters.lone_yields) +
           look(&worker->counters.polls);
}

/* I1.  Returns: for how long the worker has been in its turn. */
static uint64_t watch_update(struct watch *watch, struct worker *worker, uint64_t now)
{
    uint64_t progress = progress_of(worker);
    bool in_turn = !look(&worker->counters.parked) &&
                   atomic_load_explicit(&worker->current, memory_order_relaxed) != NULL;

    if (in_turn && watch->since_ns && watch->progress == progress)
        return now - watch->since_ns;
    watch->progress = progress;
    watch->since_ns = in_turn ? now : 0;
    watch->told = false;
    return 0;
}

/* Who runs on the worker.  False: it has just been left. */
static bool look_at_current(struct worker *worker, struct look *ret_look)
{
    struct fiber *fiber;
    bool found = false;

    if (look_begin() < 0)
        return false;
    fiber = atomic_load_explicit(&worker->current, memory_order_acquire);
    if (fiber)
        found = look_at(worker->runtime, fiber, NULL, ret_look) &&
                ret_look->info.state == WEFT_FIBER_RUNNING;
    look_end();
    return found;
}

static void report_stuck(struct monitor *monitor, unsigned worker, const struct look *stuck,
                         uint64_t elapsed)
{
    struct weft_report report = {.kind = WEFT_REPORT_SLOW_FIBER,
                                 .fiber_id = stuck->info.id,
                                 .fiber_name = stuck->info.name,
                                 .elapsed_ns = elapsed};
    struct text text = {0};

    text_add(&text, "weft: fiber ");
    describe_fiber(&text, &stuck->info);
    text_add(&text,
             " has run for %" PRIu64 " ms on worker %u without returning to the scheduler%s\n",
             elapsed / WEFT_MILLISECOND, worker,
             stuck->info.without_worker ? "; the worker goes on without it" : "");
    describe_frames(&text, &stuck->info, "   ");
    report.text = text.data;
    if (!text.error)
        report_emit(monitor->runtime, &report);
    text_end(&text);
}

static void check_slow(struct monitor *monitor, struct watch *watch, struct worker *worker,
                       uint64_t elapsed)
{
    struct code_map map;
    struct look stuck;

    if (monitor->tasks.slow_ns == 0 || elapsed < monitor->tasks.slow_ns || watch->told ||
        !look_at_current(worker, &stuck))
        return;
    code_map_read(&map);
    look_interrupt(worker->runtime, &map, &stuck);
    if (progress_of(worker) != watch->progress)
        return; /* it came back: who was looked at may be another */
    watch->told = true;
    report_stuck(monitor, worker->index, &stuck, elapsed);
}

/* I5.  Returns: whether it was taken. */
static bool check_handoff(struct monitor *monitor, const struct watch *watch, struct worker *worker,
                          uint64_t now)
{
    if (now - watch->since_ns < monitor->tasks.handoff_ns || !handoff_is_due(worker, now))
        return false;
    int r = handoff_take(worker, watch->since_ns, watch->told);
    if (r < 0)
        monitor->tasks.handoff_ns = WEFT_HANDOFF_NEVER; /* not with this kernel */
    return r > 0;
}

static void check_turn(struct monitor *monitor, unsigned index, uint64_t now)
{
    struct worker *worker = &monitor->runtime->worker[index];
    struct watch *watch = &monitor->watch[index];
    uint64_t elapsed = watch_update(watch, worker, now);

    if (elapsed == 0)
        return;
    /* A report takes a while, in which what waits could run; who has lost its worker is a stray, and
     * its report says so (I6). */
    if (!check_handoff(monitor, watch, worker, now))
        check_slow(monitor, watch, worker, elapsed);
}

/* I6.  Returns: whether there is a stray that may have to be reported later. */
static bool check_strays(struct monitor *monitor)
{
    struct weft_runtime *runtime = monitor->runtime;
    uint64_t now = weft_now_ns();
    struct code_map map;
    struct stray stray;
    struct look slow;
    bool found, more;

    if (monitor->tasks.slow_ns == 0)
        return false;
    while (handoff_next_slow(&runtime->threads, monitor->tasks.slow_ns, now, &stray, &more)) {
        if (look_begin() < 0)
            return false;
        found = look_at(runtime, stray.fiber, NULL, &slow) && slow.info.id == stray.id &&
                slow.info.without_worker;
        look_end();
        if (!found)
            continue;
        code_map_read(&map);
        look_interrupt(runtime, &map, &slow);
        if (handoff_is_stray(&runtime->threads, stray.fiber, stray.since_ns))
            report_stuck(monitor, stray.worker, &slow, now - stray.since_ns);
    }
    return more;
}

static void check_turns(struct monitor *monitor)
{
    uint64_t now = weft_now_ns();

    for (unsigned i = 0; i < monitor->runtime->workers; i++)
        check_turn(monitor, i, now);
}

/* --- deadlocks */

static bool all_parked(struct weft_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->workers; i++)
        if (!atomic_load_explicit(&runtime->worker[i].counters.parked, memory_order_seq_cst))
            return false;
    return true;
}

static bool is_quiet(struct weft_runtime *runtime)
{
    if (atomic_load(&runtime->stopping) || atomic_load(&runtime->visitors) > 0 ||
        inject_length(&runtime->inject) > 0 || !all_parked(runtime))
        return false;
    for (unsigned i = 0; i < runtime->workers; i++)
        if (worker_queued(&runtime->worker[i]) > 0 || timers_armed(&runtime->worker[i].timers) > 0)
            return false;
    return true;
}

/* Grows whenever a fiber runs or starts, or a worker wakes up. */
static uint64_t moves_of(struct weft_runtime *runtime)
{
    uint64_t moves = look(&runtime->spawned_outside);

    for (unsigned i = 0; i < runtime->workers; i++)
        moves += progress_of(&runtime->worker[i]) + look(&runtime->worker[i].counters.parks);
    return moves;
}

static bool all_wait_for_fibers(const struct census *census)
{
    for (size_t i = 0; i < census->count; i++) {
        const struct weft_fiber_info *info = &census->looks[i].info;

        if (info->state != WEFT_FIBER_WAITING || !info->wait_kind ||
            !wait_is_internal(info->wait_kind))
            return false;
    }
    return census->count > 0;
}

static void report_deadlock(struct monitor *monitor, const struct census *census)
{
    struct weft_report report = {.kind = WEFT_REPORT_DEADLOCK};
    uint64_t now = weft_now_ns();
    struct text text = {0}, circle = {0};

    text_add(&text,
             "weft: deadlock: %zu fiber%s, and no timer, descriptor or call that could wake one; "
             "only a thread outside of the runtime still can\n",
             census->count, census->count == 1 ? " waits" : "s wait");
    graph_describe_circle(&circle, census);
    if (circle.size > 0)
        text_add(&text, "circle: %s\n", circle.data);
    for (size_t i = 0; i < census->count; i++) {
        describe_fiber(&text, &census->looks[i].info);
        text_add(&text, " ");
        describe_state(&text, &census->looks[i].info, now);
        text_add(&text, "\n");
        describe_frames(&text, &census->looks[i].info, "   ");
    }
    report.text = text.data;
    if (!text.error)
        report_emit(monitor->runtime, &report);
    text_end(&text);
    text_end(&circle);
}

bool monitor_sees_deadlock(struct weft_runtime *runtime, struct census *census, uint64_t *ret_moves)
{
    uint64_t moves = moves_of(runtime);

    if (!is_quiet(runtime) || census_take(census, runtime, WEFT_DUMP_BACKTRACE) < 0)
        return false;
    *ret_moves = moves;
    return all_wait_for_fibers(census) && is_quiet(runtime) && moves_of(runtime) == moves;
}

/* All workers are parked.  Returns: whether to look again after a period. */
static bool check_deadlock(struct monitor *monitor)
{
    struct census census = {0};
    enum quiet before = monitor->quiet;
    uint64_t moves = 0;
    bool again = false;

    if (before == TOLD && moves_of(monitor->runtime) == monitor->quiet_moves)
        return false; /* I4 */
    monitor->quiet = BUSY;
    if (monitor_sees_deadlock(monitor->runtime, &census, &moves)) {
        again = before != MAYBE_DEADLOCKED || moves != monitor->quiet_moves;
        monitor->quiet = again ? MAYBE_DEADLOCKED : TOLD;
        monitor->quiet_moves = moves;
        if (!again)
            report_deadlock(monitor, &census);
    }
    census_free(&census);
    return again;
}

/* --- the thread */

/* Until the period is over, or the monitor is to stop.  False: stop. */
static bool pause_period(struct monitor *monitor)
{
    uint64_t until_ns = weft_deadline_after(monitor->period_ns);
    struct timespec until = {.tv_sec = (time_t)(until_ns / WEFT_SECOND),
                             .tv_nsec = (long)(until_ns % WEFT_SECOND)};
    int error = 0;
    bool stop;

    pthread_mutex_lock(&monitor->lock);
    while (!monitor->stop && error != ETIMEDOUT)
        error = pthread_cond_timedwait(&monitor->wake, &monitor->lock, &until);
    stop = monitor->stop;
    pthread_mutex_unlock(&monitor->lock);
    return !stop;
}

/* Until a worker is awake (N1), or the monitor is to stop.  Not if something has moved since
 * `moves` was read: what was found out then may not hold any more.  False: stop. */
static bool sleep_while_parked(struct monitor *monitor, uint64_t moves)
{
    bool stop;

    pthread_mutex_lock(&monitor->lock);
    atomic_store_explicit(&monitor->asleep, true, memory_order_seq_cst);
    if (!all_parked(monitor->runtime) || moves_of(monitor->runtime) != moves)
        atomic_store_explicit(&monitor->asleep, false, memory_order_seq_cst);
    while (!monitor->stop && atomic_load_explicit(&monitor->asleep, memory_order_seq_cst))
        pthread_cond_wait(&monitor->wake, &monitor->lock);
    stop = monitor->stop;
    pthread_mutex_unlock(&monitor->lock);
    return !stop;
}

void monitor_note_awake(struct monitor *monitor)
{
    /* The worker's `parked` was stored sequentially consistently before (N1). */
    if (!atomic_load_explicit(&monitor->asleep, memory_order_seq_cst))
        return;
    pthread_mutex_lock(&monitor->lock);
    atomic_store_explicit(&monitor->asleep, false, memory_order_seq_cst);
    pthread_cond_signal(&monitor->wake);
    pthread_mutex_unlock(&monitor->lock);
}

static void *monitor_main(void *arg)
{
    struct monitor *monitor = arg;
    bool go_on = true;

    while (go_on) {
        uint64_t moves = moves_of(monitor->runtime);
        bool idle = all_parked(monitor->runtime);

        check_turns(monitor);
        if (check_strays(monitor))
            idle = false;
        if (idle && !(monitor->tasks.deadlocks && check_deadlock(monitor)))
            go_on = sleep_while_parked(monitor, moves);
        if (go_on)
            go_on = pause_period(monitor);
    }
    return NULL;
}

static uint64_t period_for(const struct monitor_tasks *tasks)
{
    uint64_t slow = tasks->slow_ns ? tasks->slow_ns / PERIODS_PER_SLOW : UINT64_MAX;
    uint64_t handoff = tasks->handoff_ns / PERIODS_PER_HANDOFF;
    uint64_t period = slow < handoff ? slow : handoff;

    if (period < PERIOD_MIN_NS)
        return PERIOD_MIN_NS;
    return period > PERIOD_MAX_NS ? PERIOD_MAX_NS : period;
}

static int start_thread(struct monitor *monitor)
{
    pthread_attr_t attributes;
    sigset_t all;
    int error = pthread_attr_init(&attributes);

    if (error)
        return -error;
    sigfillset(&all);
    error = pthread_attr_setsigmask_np(&attributes, &all);
    if (!error)
        error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (!error)
        error = pthread_create(&monitor->thread, &attributes, monitor_main, monitor);
    pthread_attr_destroy(&attributes);
    if (!error)
        pthread_setname_np(monitor->thread, "weft-monitor");
    return -error;
}

static void monitor_init(struct monitor *monitor)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&monitor->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&monitor->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

int monitor_start(struct weft_runtime *runtime, const struct monitor_tasks *tasks)
{
    struct monitor *monitor = calloc(1, sizeof(*monitor) + runtime->workers * sizeof(struct watch));
    int r;

    if (!monitor)
        return -ENOMEM;
    monitor->runtime = runtime;
    monitor->tasks = *tasks;
    monitor->period_ns = period_for(tasks);
    monitor_init(monitor);
    r = start_thread(monitor);
    if (r < 0) {
        monitor_free(monitor);
        return r;
    }
    atomic_store_explicit(&runtime->monitor, monitor, memory_order_seq_cst);
    return 0;
}

void monitor_stop(struct monitor *monitor)
{
    if (!monitor)
        return;
    pthread_mutex_lock(&monitor->lock);
    monitor->stop = true;
    pthread_cond_signal(&monitor->wake);
    pthread_mutex_unlock(&monitor->lock);
    pthread_join(monitor->thread, NULL);
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return;
    pthread_cond_destroy(&monitor->wake);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor);
}
