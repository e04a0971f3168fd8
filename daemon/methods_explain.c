/* SPDX-License-Identifier: MIT */
/*
 * methods_explain: job.explain: what engine_explain() found out, as one sentence for people and as
 * members for programs.
 *
 * I1  Each enum engine_why has a name on the wire, which stays as it is, and a sentence, which may
 *     change: both are rows of the table below.
 */
#include "daemon/engine.h"
#include "daemon/methods_impl.h"
#include "protocol/jsonrpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- words ----------------------------------------------------------------------------------- */

/* A stream into memory (open_memstream) would not tell that there is none. */
struct words {
    struct jsonrpc_text text;
    bool failed; /* out of memory */
};

__attribute__((format(printf, 2, 3))) static void say(struct words *to, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0) {
        to->failed = true;
        return;
    }
    to->failed |= jsonrpc_text_append(&to->text, text, (size_t)size) < 0;
    free(text);
}

static void say_time(struct words *to, int64_t at)
{
    char text[32];
    struct tm tm;
    time_t seconds = (time_t)(at / 1000000000);
    if (gmtime_r(&seconds, &tm) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        say(to, "%s", text);
    else
        say(to, "a time without a name");
}

static void say_error(struct words *to, const struct job_record *record)
{
    if (record->error)
        say(to, ": %s", record->error);
}

/* Of its timeout_total the error says what there is to say. */
static void say_timeout(struct words *to, const struct job_record *record)
{
    if (record->error && record->expires_at && strcmp(record->error, "timed out") != 0)
        say(to, "%s", record->error);
    else
        say(to, "attempt %u ran longer than its timeout", record->attempt);
}

static void say_end(struct words *to, const struct job_record *record)
{
    switch (record->state) {
    case JOB_SUCCEEDED:
        say(to, "attempt %u succeeded", record->attempt);
        break;
    case JOB_TIMED_OUT:
        say_timeout(to, record);
        break;
    case JOB_CANCELLED:
        say(to, "it was cancelled");
        if (record->attempt == 0) /* then it is no attempt's error, but why it was cancelled */
            say_error(to, record);
        break;
    case JOB_DEAD:
        say(to, "it was given up after attempt %u", record->attempt);
        say_error(to, record);
        break;
    default:
        say(to, "attempt %u failed", record->attempt);
        say_error(to, record);
    }
}

static void say_ended(struct words *to, const struct engine_explanation *facts)
{
    say_end(to, facts->record);
    if (!job_state_may_retry(facts->record->state))
        say(to, "; there is nothing to retry");
    else if (!facts->configured)
        say(to, "; it cannot be retried: its queue \"%s\" is not in the configuration any more",
            facts->record->queue);
    else if (facts->draining)
        say(to, "; it can be retried once weftd, which is stopping, has started again");
    else
        say(to, "; it can be retried");
}

static void say_retrying(struct words *to, const struct engine_explanation *facts)
{
    say_end(to, facts->record);
    say(to, "; it is being retried");
}

static void say_cancelling(struct words *to, const struct engine_explanation *facts)
{
    (void)facts;
    say(to, "it is being cancelled");
}

static void say_running(struct words *to, const struct engine_explanation *facts)
{
    say(to, "attempt %u has been running since ", facts->record->attempt);
    say_time(to, facts->record->started_at);
}

static void say_frozen(struct words *to, const struct engine_explanation *facts)
{
    say_running(to, facts);
    say(to, ", and stands still: queue \"%s\" has been frozen", facts->record->queue);
}

static void say_ending(struct words *to, const struct engine_explanation *facts)
{
    say(to, "attempt %u is over, and how it ended is being stored", facts->record->attempt);
}

static void say_stopping(struct words *to, const struct engine_explanation *facts)
{
    say(to, "weftd is stopping: attempt %u is being ended, and the job goes back to its queue",
        facts->record->attempt);
}

static void say_draining(struct words *to, const struct engine_explanation *facts)
{
    (void)facts;
    say(to, "weftd is stopping and starts nothing more; the job waits for its next start");
}

static void say_drained(struct words *to, const struct engine_explanation *facts)
{
    (void)facts;
    say(to, "an admin has drained weftd: it starts nothing until that is undone (daemon.drain)");
}

static void say_delay(struct words *to, const struct engine_explanation *facts)
{
    say(to, "its client asked for a delay, until ");
    say_time(to, facts->record->due_at);
}

static void say_dependencies(struct words *to, const struct engine_explanation *facts)
{
    size_t shown = facts->waits_for_count < 3 ? facts->waits_for_count : 3;
    say(to, "it waits for the end of job%s", facts->waits_for_count == 1 ? "" : "s");
    for (size_t i = 0; i < shown; i++)
        say(to, "%s %" PRIu64, i > 0 ? "," : "", facts->waits_for[i]);
    if (facts->waits_for_count > shown)
        say(to, " and %zu more", facts->waits_for_count - shown);
}

static void say_backoff(struct words *to, const struct engine_explanation *facts)
{
    say(to, "attempt %u failed", facts->record->attempt);
    say_error(to, facts->record);
    say(to, "; the next is due at ");
    say_time(to, facts->record->due_at);
}

static void say_queue_paused(struct words *to, const struct engine_explanation *facts)
{
    say(to, "queue \"%s\" is paused", facts->record->queue);
}

static void say_queue_off(struct words *to, const struct engine_explanation *facts)
{
    say(to, "queue \"%s\" has a concurrency of 0 and starts nothing", facts->record->queue);
}

static void say_ahead(struct words *to, const struct engine_explanation *facts)
{
    if (facts->ahead == 0)
        say(to, "it is the next");
    else if (facts->ahead == 1)
        say(to, "1 job is ahead of it");
    else
        say(to, "%s%zu jobs are ahead of it", facts->ahead >= ENGINE_AHEAD_MAX ? "at least " : "",
            facts->ahead);
}

static void say_queue_rate(struct words *to, const struct engine_explanation *facts)
{
    char rate[UNITS_TEXT_MAX];
    say(to, "queue \"%s\" starts at most %s, the next at ", facts->record->queue,
        units_format_rate(facts->rate, rate));
    say_time(to, facts->next_start_at);
    say(to, ", and ");
    say_ahead(to, facts);
}

static void say_queue_full(struct words *to, const struct engine_explanation *facts)
{
    if (facts->concurrency == 1)
        say(to, "the one slot");
    else
        say(to, "all %u slots", facts->concurrency);
    say(to, " of queue \"%s\" %s taken, and ", facts->record->queue,
        facts->concurrency == 1 ? "is" : "are");
    say_ahead(to, facts);
}

static void say_user_full(struct words *to, const struct engine_explanation *facts)
{
    say(to, "its user has %u of the %u slots that each may have in queue \"%s\"",
        facts->running_user, facts->concurrency_user, facts->record->queue);
}

static void say_queue_order(struct words *to, const struct engine_explanation *facts)
{
    say(to, "a slot of queue \"%s\" is free, and ", facts->record->queue);
    say_ahead(to, facts);
}

static void say_next(struct words *to, const struct engine_explanation *facts)
{
    say(to, "a slot of queue \"%s\" is free: it is about to start", facts->record->queue);
}

static const struct {
    const char *name;
    void (*say)(struct words *to, const struct engine_explanation *facts);
} sentences[ENGINE_WHY_COUNT] = {
    [ENGINE_WHY_ENDED] = {"ended", say_ended},
    [ENGINE_WHY_RETRYING] = {"retrying", say_retrying},
    [ENGINE_WHY_CANCELLING] = {"cancelling", say_cancelling},
    [ENGINE_WHY_RUNNING] = {"running", say_running},
    [ENGINE_WHY_FROZEN] = {"frozen", say_frozen},
    [ENGINE_WHY_ENDING] = {"ending", say_ending},
    [ENGINE_WHY_STOPPING] = {"stopping", say_stopping},
    [ENGINE_WHY_DRAINING] = {"draining", say_draining},
    [ENGINE_WHY_DRAINED] = {"drained", say_drained},
    [ENGINE_WHY_DEPENDENCIES] = {"dependencies", say_dependencies},
    [ENGINE_WHY_DELAY] = {"delay", say_delay},
    [ENGINE_WHY_BACKOFF] = {"backoff", say_backoff},
    [ENGINE_WHY_QUEUE_PAUSED] = {"queue_paused", say_queue_paused},
    [ENGINE_WHY_QUEUE_OFF] = {"queue_off", say_queue_off},
    [ENGINE_WHY_QUEUE_RATE] = {"queue_rate", say_queue_rate},
    [ENGINE_WHY_QUEUE_FULL] = {"queue_full", say_queue_full},
    [ENGINE_WHY_USER_FULL] = {"user_full", say_user_full},
    [ENGINE_WHY_QUEUE_ORDER] = {"queue_order", say_queue_order},
    [ENGINE_WHY_NEXT] = {"next", say_next},
};

static bool waits(const struct engine_explanation *facts)
{
    return facts->record->state >= JOB_WAITING && facts->record->state <= JOB_QUEUED;
}

/* NULL: out of memory. */
static json_t *reason_json(const struct engine_explanation *facts)
{
    struct words to = {0};
    sentences[facts->why].say(&to, facts);
    if (waits(facts) && !facts->configured)
        say(&to, "; its queue is not in the configuration any more");
    to.failed |= jsonrpc_text_append(&to.text, "", 1) < 0;
    json_t *reason = to.failed ? NULL : job_text_to_json(to.text.data);
    jsonrpc_text_destroy(&to.text);
    return reason;
}

/* ---- members --------------------------------------------------------------------------------- */

static json_t *queue_json(const struct engine_explanation *facts)
{
    char rate[UNITS_TEXT_MAX];
    json_t *queue = json_pack("{s:s, s:b, s:b, s:I, s:I, s:I}", "name", facts->record->queue,
                              "configured", (int)facts->configured, "paused", (int)facts->paused,
                              "running", (json_int_t)facts->running, "concurrency",
                              (json_int_t)facts->concurrency, "queued", (json_int_t)facts->queued);
    int rc = queue ? 0 : -1;
    if (rc == 0 && facts->rate.count)
        rc = json_object_set_new(queue, "rate", json_string(units_format_rate(facts->rate, rate)));
    if (rc == 0 && facts->concurrency_user) {
        rc = json_object_set_new(queue, "concurrency_user", json_integer(facts->concurrency_user));
        rc |= json_object_set_new(queue, "running_user", json_integer(facts->running_user));
    }
    if (rc == 0 && facts->next_start_at)
        rc = json_object_set_new(queue, "next_start_at",
                                 json_real((double)facts->next_start_at / 1e9));
    if (rc == 0)
        return queue;
    json_decref(queue);
    return NULL;
}

static int add_ahead(json_t *result, const struct engine_explanation *facts)
{
    if (facts->record->state != JOB_QUEUED)
        return 0;
    int rc = json_object_set_new(result, "ahead", json_integer((json_int_t)facts->ahead));
    if (facts->ahead >= ENGINE_AHEAD_MAX)
        rc |= json_object_set_new(result, "ahead_at_least", json_true());
    return rc;
}

static int add_needs(json_t *result, const struct engine_explanation *facts)
{
    if (facts->record->state != JOB_WAITING)
        return 0;
    json_t *ids = json_array();
    int rc = ids ? 0 : -1;
    for (size_t i = 0; i < facts->waits_for_count && i < ENGINE_NEEDS_MAX; i++)
        rc |= json_array_append_new(ids, json_integer((json_int_t)facts->waits_for[i]));
    rc |= json_object_set_new(result, "waits_for", ids);
    return rc | json_object_set_new(result, "waits_for_count",
                                    json_integer((json_int_t)facts->waits_for_count));
}

static int add_end(json_t *result, const struct engine_explanation *facts)
{
    bool may = job_state_may_retry(facts->record->state) && facts->configured && !facts->draining;
    if (!job_state_is_end(facts->record->state))
        return 0;
    return json_object_set_new(result, "retryable", json_boolean(may));
}

/* What job.get says under the same names, as far as it is part of the reason. */
static int add_of_job(json_t *result, const json_t *job)
{
    static const char *const names[] = {"attempt",    "retries",    "submitted_at", "due_at",
                                        "expires_at", "started_at", "finished_at",  "exit_code",
                                        "signal",     "error"};
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *value = json_object_get(job, names[i]);
        if (value)
            rc |= json_object_set(result, names[i], value);
    }
    return rc;
}

static int explanation_json(const struct engine_explanation *facts, json_t **ret_result)
{
    const struct job_record *record = facts->record;
    json_t *job;
    int err = job_record_to_json(record, &job);
    if (err)
        return err;
    json_t *result = json_pack(
        "{s:I, s:s, s:s, s:o, s:o, s:I, s:I, s:b}", "id", (json_int_t)record->id, "state",
        job_state_name(record->state), "why", sentences[facts->why].name, "reason",
        reason_json(facts), "queue", queue_json(facts), "failures", (json_int_t)record->failures,
        "crashes", (json_int_t)record->crashes, "draining", (int)facts->draining);
    bool whole = result && add_of_job(result, job) == 0 && add_ahead(result, facts) == 0 &&
                 add_needs(result, facts) == 0 && add_end(result, facts) == 0;
    json_decref(job);
    if (!whole) {
        json_decref(result);
        return -ENOMEM;
    }
    *ret_result = result;
    return 0;
}

int method_job_explain(struct request *request, json_t **ret_result)
{
    struct engine_explanation facts;
    uint64_t id = (uint64_t)params_int(request->params, "id", 0);
    int err = engine_explain(request->context->engine, request->peer, id, &facts, &request->error);
    if (err)
        return err;
    err = explanation_json(&facts, ret_result);
    job_record_free(facts.record);
    return err;
}
