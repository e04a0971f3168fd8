/* SPDX-License-Identifier: MIT */
/*
 * engine_stop: an orderly stop, the count that it waits for, and an admin's drain, which comes before.
 *
 * I27  Once stopped, no job moves: what a client asked for and is being stored counts as active, as
 *      a run does, and nothing is begun any more.  So no event is published after events_close().
 *
 * Who may call: see engine.h.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"

#include <errno.h>

void engine_drain(struct engine *engine)
{
    engine_lock_shielded(engine);
    engine->draining = true;
    engine_unlock(engine);
    weft_event_set(&engine->kick);
}

static size_t count_runs(const struct engine *engine)
{
    size_t count = 0;
    for (const struct job_run *run = engine->runs; run; run = run->next)
        count++;
    return count;
}

size_t engine_set_drained(struct engine *engine, const struct peer *peer, bool drained)
{
    engine_lock_shielded(engine);
    bool changed = engine->drained != drained;
    size_t running = count_runs(engine);
    engine->drained = drained;
    weft_cond_broadcast(&engine->idle);
    engine_unlock(engine);
    weft_event_set(&engine->kick);
    if (changed && drained)
        log_notice("user %u has drained weftd: it starts no jobs until that is undone, or it is "
                   "started anew",
                   (unsigned)peer->uid);
    else if (changed)
        log_notice("user %u has ended the drain: jobs are started again", (unsigned)peer->uid);
    return running;
}

int engine_wait_drained(struct engine *engine, uint64_t deadline_ns)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    while (rc == 0 && engine->drained && engine->runs)
        rc = weft_cond_wait(&engine->idle, &engine->lock, deadline_ns);
    if (rc == 0 && !engine->drained)
        rc = -EAGAIN;
    engine_unlock(engine);
    return rc;
}

void engine_hold_locked(struct engine *engine)
{
    engine->active++;
}

void engine_release_locked(struct engine *engine)
{
    if (--engine->active == 0)
        weft_event_set(&engine->quiet);
}

void engine_push_rows(struct engine *engine, struct engine_op *op, enum store_kind kind,
                      const struct job_record **rows, size_t count)
{
    size_t stored = 0;
    for (size_t i = 0; i < count; i++)
        if (!rows[i]->memory_only)
            rows[stored++] = rows[i];
    op->op.rows = rows;
    op->op.count = stored;
    op->nothing = stored == 0;
    if (!op->nothing)
        engine_push(engine, op, kind);
}

void engine_push_change_locked(struct engine *engine, struct engine_op *op, enum store_kind kind,
                               const struct job_record **rows, size_t count)
{
    if (count == 0)
        return;
    engine_push_rows(engine, op, kind, rows, count);
    engine_hold_locked(engine);
}

static size_t count_active(struct engine *engine)
{
    engine_lock_shielded(engine);
    size_t active = engine->active;
    engine_unlock(engine);
    return active;
}

/* Until nothing runs, the deadline, a hurry, or the caller's own cancellation. */
static void wait_drained(struct engine *engine, uint64_t deadline_ns)
{
    int rc = 0;
    while (rc == 0 && !atomic_load(&engine->hurried)) {
        weft_event_clear(&engine->quiet);
        if (count_active(engine) == 0 || atomic_load(&engine->hurried))
            return;
        rc = weft_event_wait(&engine->quiet, deadline_ns);
    }
}

/* I27.  Returns whether it has stopped now. */
static bool try_stop(struct engine *engine)
{
    engine_lock_shielded(engine);
    engine->stopped = engine->active == 0;
    if (engine->stopped)
        engine_wake_all_locked(engine, -ESHUTDOWN);
    bool stopped = engine->stopped;
    engine_unlock(engine);
    return stopped;
}

static void interrupt_runs(struct engine *engine)
{
    engine_lock_shielded(engine);
    for (struct job_run *run = engine->runs; run; run = run->next)
        job_run_stop_locked(run, RUN_INTERRUPTED);
    engine_unlock(engine);
}

/* Once: a second stop finds none. */
static void log_passing(struct engine *engine)
{
    engine_lock_shielded(engine);
    size_t lost = engine->stopped ? engine->passing : 0;
    engine->passing = 0;
    engine_unlock(engine);
    if (lost > 0)
        log_warning("%zu jobs that are not durable had not ended, and are lost", lost);
}

int engine_stop(struct engine *engine, uint64_t drain_deadline_ns)
{
    engine_drain(engine);
    if (drain_deadline_ns != 0)
        wait_drained(engine, drain_deadline_ns);
    interrupt_runs(engine);
    for (weft_event_clear(&engine->quiet); !try_stop(engine); weft_event_clear(&engine->quiet))
        weft_event_wait_shielded(&engine->quiet);
    engine_ids_stop(engine);
    log_passing(engine);
    events_close(engine->events);
    weft_event_set(&engine->kick);
    return 0;
}

void engine_hurry(struct engine *engine)
{
    atomic_store(&engine->hurried, true);
    engine->runners.hurry(engine->runner);
    weft_event_set(&engine->quiet);
}
