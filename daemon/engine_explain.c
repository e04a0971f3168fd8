/* SPDX-License-Identifier: MIT */
/*
 * engine_explain: why a job does not run.
 *
 * What may hold a job up is a table, in the order in which it has to be got out of the way: the
 * first row that holds is the reason.  A new thing that holds jobs up is a row in it, at its place.
 *
 * I24  All facts of one explanation are of one moment, under one hold of the lock; what that costs
 *      is bounded (ENGINE_AHEAD_MAX).
 *
 * Who may call: request fibers.  Puts nothing into words: that is methods_explain.c.
 */
#include "daemon/engine_impl.h"

#include <errno.h>

/* ---- the reasons ----------------------------------------------------------------------------- */

/* What the rows look at: the facts so far, and the job, NULL if only the store has it (then it has
 * ended). */
struct view {
    const struct engine_explanation *facts;
    const struct job *job;
};

static enum job_state state_of(const struct view *view)
{
    return view->facts->record->state;
}

static enum run_stop stop_of(const struct view *view)
{
    return view->job && view->job->run ? view->job->run->stop : RUN_GOES_ON;
}

static bool waits(const struct view *view)
{
    return state_of(view) >= JOB_WAITING && state_of(view) <= JOB_QUEUED;
}

static bool is_retrying(const struct view *view)
{
    return job_state_is_end(state_of(view)) && view->job && view->job->committing;
}

static bool has_ended(const struct view *view)
{
    return job_state_is_end(state_of(view));
}

/* A waiting job that somebody else commits can only be on its way out. */
static bool is_cancelling(const struct view *view)
{
    return stop_of(view) == RUN_CANCELLED || (waits(view) && view->job->committing);
}

static bool is_ending(const struct view *view)
{
    return state_of(view) == JOB_RUNNING && view->job->committing;
}

static bool is_stopping(const struct view *view)
{
    return state_of(view) == JOB_RUNNING && stop_of(view) == RUN_INTERRUPTED;
}

static bool is_running(const struct view *view)
{
    return state_of(view) == JOB_RUNNING;
}

static bool is_frozen(const struct view *view)
{
    return is_running(view) && view->job && view->job->run &&
           atomic_load(&view->job->run->freeze.done);
}

static bool is_drained(const struct view *view)
{
    return view->facts->draining;
}

static bool is_held(const struct view *view)
{
    return view->facts->drained;
}

static bool has_needs(const struct view *view)
{
    return state_of(view) == JOB_WAITING;
}

static bool backs_off(const struct view *view)
{
    return state_of(view) == JOB_DELAYED && view->facts->record->failures > 0;
}

static bool is_delayed(const struct view *view)
{
    return state_of(view) == JOB_DELAYED;
}

static bool queue_is_paused(const struct view *view)
{
    return view->facts->paused;
}

static bool queue_is_off(const struct view *view)
{
    return view->facts->concurrency == 0;
}

static bool rate_is_used_up(const struct view *view)
{
    return view->facts->next_start_at != 0;
}

static bool queue_is_full(const struct view *view)
{
    return view->facts->running >= view->facts->concurrency;
}

static bool user_is_full(const struct view *view)
{
    uint32_t most = view->facts->concurrency_user;
    return most > 0 && view->facts->running_user >= most;
}

static bool others_come_first(const struct view *view)
{
    return view->facts->ahead > 0;
}

static const struct {
    enum engine_why why;
    bool (*holds)(const struct view *view);
} reasons[] = {
    {ENGINE_WHY_RETRYING, is_retrying},
    {ENGINE_WHY_ENDED, has_ended},
    {ENGINE_WHY_CANCELLING, is_cancelling},
    {ENGINE_WHY_ENDING, is_ending},
    {ENGINE_WHY_STOPPING, is_stopping},
    {ENGINE_WHY_FROZEN, is_frozen},
    {ENGINE_WHY_RUNNING, is_running},
    {ENGINE_WHY_DRAINING, is_drained},
    {ENGINE_WHY_DEPENDENCIES, has_needs},
    {ENGINE_WHY_BACKOFF, backs_off},
    {ENGINE_WHY_DELAY, is_delayed},
    {ENGINE_WHY_DRAINED, is_held},
    {ENGINE_WHY_QUEUE_PAUSED, queue_is_paused},
    {ENGINE_WHY_QUEUE_OFF, queue_is_off},
    {ENGINE_WHY_QUEUE_RATE, rate_is_used_up},
    {ENGINE_WHY_QUEUE_FULL, queue_is_full},
    {ENGINE_WHY_USER_FULL, user_is_full},
    {ENGINE_WHY_QUEUE_ORDER, others_come_first},
};

static enum engine_why find_reason(const struct view *view)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].holds(view))
            return reasons[i].why;
    return ENGINE_WHY_NEXT;
}

/* ---- the facts ------------------------------------------------------------------------------- */

static void look_at_queue(const struct queue *queue, struct engine_explanation *facts)
{
    facts->configured = queue->configured;
    facts->running = queue->running;
    facts->concurrency = queue->now.concurrency;
    facts->concurrency_user = queue->now.concurrency_user;
    facts->paused = queue->now.paused;
    facts->rate = queue->now.rate;
    facts->next_start_at = engine_next_start_locked(queue);
    facts->queued = queue->shares.queued;
}

static void look_at_needs(const struct job_needs *needs, struct engine_explanation *facts)
{
    for (size_t i = 0; needs && i < needs->count; i++) {
        if (!needs->all[i].link)
            continue;
        if (facts->waits_for_count < ENGINE_NEEDS_MAX)
            facts->waits_for[facts->waits_for_count] = needs->all[i].id;
        facts->waits_for_count++;
    }
}

/* job: NULL if only the store has it.  facts->record is filled. */
static void explain_locked(struct engine *engine, const struct job *job,
                           struct engine_explanation *facts)
{
    const struct queue *queue = queue_set_find(engine->queues, facts->record->queue);
    facts->draining = engine->draining;
    facts->drained = engine->drained;
    if (queue)
        look_at_queue(queue, facts);
    if (job && job->record.state == JOB_QUEUED && job->heap_index != JOB_NOT_IN_HEAP)
        facts->ahead = shares_count_before(&queue->shares, job, ENGINE_AHEAD_MAX);
    if (job && job->share)
        facts->running_user = job->share->running;
    if (job)
        look_at_needs(job->needs, facts);
    facts->why = find_reason(&(struct view){facts, job});
}

/* record: what the store said before, or NULL.
 * Errors: -ENOENT it is not in memory, and the store must be asked. */
static int look(struct engine *engine, const struct peer *peer, uint64_t id,
                struct engine_explanation *facts)
{
    int rc = engine_lock(engine);
    if (rc < 0)
        return rc;
    const struct job *job = engine_find_locked(engine, peer, id);
    bool stored = facts->record && job_state_is_end(facts->record->state);
    if (job) {
        job_record_free(facts->record); /* memory knows better */
        facts->record = NULL;
        rc = job_record_copy(&job->record, &facts->record);
    } else if (!stored) {
        rc = -ENOENT;
    }
    if (rc == 0)
        explain_locked(engine, job, facts);
    engine_unlock(engine);
    return rc;
}

/* Memory, then the store; then once more, for the facts besides the record.  One that is live in
 * the store was retried, or accepted, in between: it is in memory by now or soon (I21). */
static int explain(struct engine *engine, const struct peer *peer, uint64_t id,
                   struct engine_explanation *facts)
{
    int rc;
    while ((rc = look(engine, peer, id, facts)) == -ENOENT) {
        job_record_free(facts->record);
        facts->record = NULL;
        rc = engine_fill_stored(engine, peer, &id, 1, NULL, &facts->record);
        if (rc < 0)
            return rc;
        if (!facts->record)
            return -ENOENT;
    }
    return rc;
}

int engine_explain(struct engine *engine, const struct peer *peer, uint64_t id,
                   struct engine_explanation *ret_explanation, struct rpc_error *error)
{
    struct engine_explanation facts = {0};
    int rc = explain(engine, peer, id, &facts);
    if (rc == 0) {
        *ret_explanation = facts;
        return 0;
    }
    job_record_free(facts.record);
    return rc == -ENOENT ? engine_refuse_id(error, id) : engine_refuse(engine, error, rc);
}
