/* SPDX-License-Identifier: MIT */
/*
 * engine_progress: how far calls are, as their handlers say.
 *
 *   handler: says it (progress.lock: the run's `said`, the run into `fresh`), wakes the teller
 *   teller, a fiber of engine_run(): takes runs that are due, tells each: record, event
 *
 * I36  A handler says it as often as it likes, and waits for nobody: what it said last stands in the
 *      run, and is told EVERY_NS after what was told before, at the earliest.
 * I37  What was said last is told, at the latest before the move that ends the attempt.
 * I38  record.progress is set only from the first word of an attempt to its end, before anything of
 *      that is planned or stored: it lies where the result of a job that has ended does.
 * I39  A run is in `fresh` from a word of its handler until that is told.  It leaves only under the
 *      engine's lock, and a run is freed only after that: so whoever has the lock may use what it
 *      found there.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EVERY_NS (500 * WEFT_MILLISECOND)
enum { BATCH = 64 }; /* runs that are told of under one lock */

void engine_progress_init(struct engine_progress *progress)
{
    pthread_mutex_init(&progress->lock, NULL);
    weft_event_init(&progress->said);
}

void engine_progress_destroy(struct engine_progress *progress)
{
    pthread_mutex_destroy(&progress->lock);
}

/* ---- saying ---------------------------------------------------------------------------------- */

void engine_progress_say(void *arg, const struct run_progress *said)
{
    struct job_run *run = arg;
    struct engine_progress *progress = &run->engine->progress;
    pthread_mutex_lock(&progress->lock);
    bool is_first = !run->is_fresh;
    run->said = *said;
    if (is_first) {
        run->is_fresh = true;
        run->fresh_next = progress->fresh;
        progress->fresh = run;
    }
    pthread_mutex_unlock(&progress->lock);
    if (is_first)
        weft_event_set(&progress->said);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* NULL: out of memory; then it is as if this had not been said. */
static char *text_of(const struct run_progress *said)
{
    json_t *json = json_object();
    int rc = 0;
    if (said->fraction >= 0) /* rounded: what is behind that is nobody's progress */
        rc = json_object_set_new(json, "fraction", json_real(round(said->fraction * 1e4) / 1e4));
    if (said->text[0])
        rc |= json_object_set_new(json, "text", job_text_to_json(said->text));
    char *text = rc == 0 ? json_memory_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(json);
    return text;
}

/* Takes over text.  A running job has no result yet (job.h). */
static void set_text_locked(struct job *job, char *text)
{
    free((char *)job->record.progress);
    job->record.progress = text;
}

static void tell_locked(struct job_run *run, const struct run_progress *said)
{
    struct engine *engine = run->engine;
    char *text = text_of(said);
    run->told_ns = weft_now_ns();
    if (!text)
        return;
    set_text_locked(run->job, text);
    if (events_publish_progress(engine->events, &run->job->record, job_wall_now()))
        engine->heard = true;
}

/* Take the first run that is due out of `fresh`.  NULL: none is; *next_ns is when the next one will
 * be, if that is sooner. */
static struct job_run *take_due(struct engine_progress *progress, uint64_t now_ns,
                                struct run_progress *ret_said, uint64_t *next_ns)
{
    struct job_run *run, **link = &progress->fresh;
    pthread_mutex_lock(&progress->lock);
    for (; (run = *link); link = &run->fresh_next) {
        uint64_t due_ns = run->told_ns ? run->told_ns + EVERY_NS : 0;
        if (due_ns <= now_ns)
            break;
        if (due_ns < *next_ns)
            *next_ns = due_ns;
    }
    if (run) {
        *link = run->fresh_next;
        run->is_fresh = false;
        *ret_said = run->said;
    }
    pthread_mutex_unlock(&progress->lock);
    return run;
}

/* Returns when to look again. */
static uint64_t tell_some(struct engine *engine)
{
    uint64_t now_ns = weft_now_ns(), next_ns = WEFT_NO_DEADLINE;
    struct run_progress said;
    struct job_run *run = NULL;
    engine_lock_shielded(engine);
    for (int i = 0; i < BATCH; i++) {
        run = take_due(&engine->progress, now_ns, &said, &next_ns);
        if (!run)
            break;
        tell_locked(run, &said);
    }
    engine_unlock(engine);
    return run ? now_ns : next_ns;
}

static int teller_main(void *arg)
{
    struct engine *engine = arg;
    int rc = 0;
    while (rc == 0) {
        weft_event_clear(&engine->progress.said);
        uint64_t next_ns = tell_some(engine);
        rc = weft_event_wait(&engine->progress.said, next_ns);
        if (rc == -ETIMEDOUT)
            rc = weft_check_cancel();
    }
    return 0;
}

void engine_progress_start(struct engine *engine)
{
    struct weft_group *group = &engine->progress.group;
    weft_group_init(group);
    if (weft_group_spawn(group, "progress", teller_main, engine))
        log_warning("the progress of jobs is told only at their ends: out of memory");
}

void engine_progress_stop(struct engine *engine)
{
    weft_group_cancel(&engine->progress.group);
    weft_group_join(&engine->progress.group);
}

/* ---- the end of an attempt ------------------------------------------------------------------- */

void engine_progress_end_locked(struct job_run *run)
{
    struct engine_progress *progress = &run->engine->progress;
    struct job_run **link = &progress->fresh;
    pthread_mutex_lock(&progress->lock);
    bool was_fresh = run->is_fresh;
    while (was_fresh && *link != run)
        link = &(*link)->fresh_next;
    if (was_fresh)
        *link = run->fresh_next;
    run->is_fresh = false;
    struct run_progress said = run->said;
    pthread_mutex_unlock(&progress->lock);
    if (was_fresh)
        tell_locked(run, &said); /* I37 */
    set_text_locked(run->job, NULL);
}
