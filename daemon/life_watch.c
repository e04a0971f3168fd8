/* SPDX-License-Identifier: MIT */
/* life_watch: signals, the service manager's watchdog, and the clock of a stop. */
#include "daemon/engine.h"
#include "daemon/life_impl.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- signals ------------------------------------------------------------------------------- */

/* While jobs are being stopped, clients who wait for them are still to be told. */
void life_hurry(struct life *life)
{
    /* Before: what this hurry ends is still to be told to clients. */
    bool jobs_stopped = atomic_load(&life->jobs_stopped);
    engine_hurry(life->engine);
    if (jobs_stopped)
        server_stop(life->server, weft_now_ns());
}

/* As things are. */
static void leave(void)
{
    log_stop();
    _exit(EXIT_FAILURE);
}

/* First: stop.  Second: hurry.  Third: leave as things are; the store is good at any moment. */
static void on_stop_signal(struct life *life, int signal)
{
    int count = atomic_fetch_add(&life->signals, 1) + 1;
    if (count == 1) {
        engine_drain(life->engine); /* first, so that the log does not say it too early */
        log_notice("SIG%s: stopping", sigabbrev_np(signal));
        weft_event_set(&life->wake);
    } else if (count == 2) {
        log_notice("SIG%s again: hurrying", sigabbrev_np(signal));
        life_hurry(life);
    } else {
        log_error("SIG%s for the third time: leaving at once", sigabbrev_np(signal));
        leave();
    }
}

int life_watch_signals(void *arg)
{
    struct life *life = arg;
    int signal;
    while ((signal = weft_signals_wait(life->signal_source, WEFT_NO_DEADLINE)) > 0) {
        if (signal == SIGHUP)
            life_reload_on_signal(life);
        else
            on_stop_signal(life, signal);
    }
    return 0;
}

/* ---- watchdog ------------------------------------------------------------------------------ */

struct pulse {
    struct store_op op;
    struct weft_event done;
};

static void on_pulse(struct store_op *op)
{
    struct pulse *pulse = op->owner;
    weft_event_set(&pulse->done);
}

/* A worker that parks waits for events, which is fine; one that works must come back to its
 * loop. */
static bool worker_is_alive(const struct weft_worker_stats *stats, uint64_t interval)
{
    uint64_t now = weft_now_ns();
    return stats->parked || stats->last_poll_ns == 0 || stats->last_poll_ns + interval > now;
}

static bool loops_are_alive(struct weft_runtime *runtime, uint64_t interval)
{
    struct weft_worker_stats stats;
    for (unsigned i = 0; weft_stats_worker(runtime, i, &stats) == 0; i++) {
        if (!worker_is_alive(&stats, interval)) {
            log_warning("watchdog: worker %u has not been in its loop for %.1f s", i,
                        (double)(weft_now_ns() - stats.last_poll_ns) / 1e9);
            return false;
        }
    }
    return true;
}

/* One PING at a time: while the last one is out, the store makes no progress. */
static bool store_is_alive(struct store *store, struct pulse *pulse, bool *pending,
                           uint64_t deadline)
{
    if (!*pending) {
        weft_event_clear(&pulse->done);
        pulse->op = (struct store_op){.kind = STORE_PING, .done = on_pulse, .owner = pulse};
        *pending = true;
        store_push(store, &pulse->op);
    }
    if (weft_event_wait(&pulse->done, deadline))
        return false;
    *pending = false;
    return true;
}

static void feed(struct life *life, uint64_t interval, struct pulse *pulse)
{
    bool pending = false;
    const uint64_t step = interval / 3;
    while (weft_sleep(step) == 0) {
        bool store = store_is_alive(life->store, pulse, &pending, weft_deadline_after(step));
        if (!store && !weft_check_cancel())
            log_warning("watchdog: the store does not answer");
        if (store && loops_are_alive(life->context.runtime, interval))
            notify_watchdog();
    }
    if (pending)
        weft_event_wait_shielded(&pulse->done); /* it refers to our memory */
}

int life_feed_watchdog(void *arg)
{
    struct life *life = arg;
    uint64_t interval = notify_watchdog_ns();
    struct pulse pulse;
    if (!interval)
        return 0;
    weft_event_init(&pulse.done);
    notify_watchdog();
    feed(life, interval, &pulse);
    return 0;
}

/* ---- the clock of a stop ------------------------------------------------------------------- */

#define STEP          (2 * WEFT_SECOND)
#define LEAST_RESERVE WEFT_SECOND /* for killing and a commit, however short the grace */

/* When jobs have ended, for what is still to be told to clients, and all that comes after it. */
#define LAST_WORDS (LIFE_FAREWELL + WEFT_SECOND)

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t running(struct life *life)
{
    struct engine_stats stats;
    engine_stats(life->engine, &stats);
    return stats.live[JOB_RUNNING];
}

/* A handler that never comes back, or a process that the kernel does not let go.  Whoever manages us
 * is asked for no more time; the next start recovers. */
static void leave_unless_stopped(struct life *life)
{
    if (atomic_load(&life->jobs_stopped))
        return;
    log_error("the grace is over, and %llu jobs do not end: leaving them",
              (unsigned long long)running(life));
    leave();
}

int life_watch_stop(void *arg)
{
    struct life *life = arg;
    if (weft_event_wait(&life->stopping, WEFT_NO_DEADLINE))
        return 0;
    /* What is left after the hurry is for writing replies and the last commit. */
    uint64_t reserve = earlier(life->grace / 10, STEP);
    uint64_t hurry_at = life->stop_deadline - reserve;
    uint64_t leave_at = hurry_at + (reserve > LEAST_RESERVE ? reserve : LEAST_RESERVE);
    uint64_t end_at = leave_at + LAST_WORDS;
    uint64_t next = hurry_at; /* of these three */
    for (;;) {
        notify_extend(3 * STEP);
        notify_status("stopping: %llu jobs running", (unsigned long long)running(life));
        if (weft_sleep_until(earlier(weft_now_ns() + STEP, next)))
            return 0;
        if (weft_now_ns() < next)
            continue;
        if (next == end_at) {
            log_error("the grace is over, and weftd does not come to its end: leaving");
            leave();
        } else if (next == leave_at) {
            leave_unless_stopped(life);
            next = end_at;
        } else {
            log_warning("the grace is nearly over: killing what is left");
            life_hurry(life);
            next = leave_at;
        }
    }
}
