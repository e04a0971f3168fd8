/* SPDX-License-Identifier: MIT */
/*
 * job: the state machine, and a job in memory.
 *
 * I1  job_edges[] is the only description of what may happen to a job; names, moves, the diagram in
 *     docs/job-states.md and the test that every edge is taken all read it.
 * I2  job_move() and job_record_move() change a record by the same function, so what the store is
 *     told is what the job becomes.
 *
 * Who may call: the engine, under its lock; anybody for the pure parts.  Knows no queue, no store,
 * no clock but job_wall_now().
 */
#include "daemon/job.h"

#include "daemon/queue.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct job_edge job_edges[] = {
    {JOB_NONE, JOB_QUEUED, JOB_BY_SUBMIT},
    {JOB_NONE, JOB_DELAYED, JOB_BY_SUBMIT},
    {JOB_NONE, JOB_WAITING, JOB_BY_SUBMIT},
    {JOB_WAITING, JOB_QUEUED, JOB_BY_DEPENDENCIES},
    {JOB_WAITING, JOB_DELAYED, JOB_BY_DEPENDENCIES},
    {JOB_WAITING, JOB_CANCELLED, JOB_BY_DEPENDENCIES},
    {JOB_WAITING, JOB_CANCELLED, JOB_BY_CANCEL},
    {JOB_WAITING, JOB_TIMED_OUT, JOB_BY_EXPIRY},
    {JOB_DELAYED, JOB_QUEUED, JOB_BY_DUE},
    {JOB_DELAYED, JOB_CANCELLED, JOB_BY_CANCEL},
    {JOB_DELAYED, JOB_TIMED_OUT, JOB_BY_EXPIRY},
    {JOB_QUEUED, JOB_RUNNING, JOB_BY_DISPATCH},
    {JOB_QUEUED, JOB_CANCELLED, JOB_BY_CANCEL},
    {JOB_QUEUED, JOB_TIMED_OUT, JOB_BY_EXPIRY},
    {JOB_RUNNING, JOB_SUCCEEDED, JOB_BY_SUCCESS},
    {JOB_RUNNING, JOB_FAILED, JOB_BY_FAILURE},
    {JOB_RUNNING, JOB_DELAYED, JOB_BY_FAILURE},
    {JOB_RUNNING, JOB_DEAD, JOB_BY_FAILURE},
    {JOB_RUNNING, JOB_TIMED_OUT, JOB_BY_TIMEOUT},
    {JOB_RUNNING, JOB_DELAYED, JOB_BY_TIMEOUT},
    {JOB_RUNNING, JOB_DEAD, JOB_BY_TIMEOUT},
    {JOB_RUNNING, JOB_TIMED_OUT, JOB_BY_EXPIRY},
    {JOB_RUNNING, JOB_CANCELLED, JOB_BY_CANCEL},
    {JOB_RUNNING, JOB_QUEUED, JOB_BY_INTERRUPT},
    {JOB_RUNNING, JOB_QUEUED, JOB_BY_CRASH},
    {JOB_RUNNING, JOB_FAILED, JOB_BY_CRASH},
    {JOB_RUNNING, JOB_DEAD, JOB_BY_CRASH},
    {JOB_FAILED, JOB_QUEUED, JOB_BY_RETRY},
    {JOB_CANCELLED, JOB_QUEUED, JOB_BY_RETRY},
    {JOB_TIMED_OUT, JOB_QUEUED, JOB_BY_RETRY},
    {JOB_DEAD, JOB_QUEUED, JOB_BY_RETRY},
};
enum { EDGES = sizeof(job_edges) / sizeof(job_edges[0]) };
const size_t job_edge_count = EDGES;

static _Atomic uint64_t edges_taken[EDGES]; /* atomic, relaxed: a count for tests */

/* "none" has a name for messages and diagrams; a client cannot ask for it. */
static const char *const state_names[JOB_STATE_COUNT] = {
    [JOB_NONE] = "none",     [JOB_WAITING] = "waiting",     [JOB_DELAYED] = "delayed",
    [JOB_QUEUED] = "queued", [JOB_RUNNING] = "running",     [JOB_SUCCEEDED] = "succeeded",
    [JOB_FAILED] = "failed", [JOB_CANCELLED] = "cancelled", [JOB_TIMED_OUT] = "timed_out",
    [JOB_DEAD] = "dead",
};

static const char *const cause_names[JOB_CAUSE_COUNT] = {
    [JOB_BY_DEPENDENCIES] = "dependencies",
    [JOB_BY_SUBMIT] = "submit",
    [JOB_BY_DUE] = "due",
    [JOB_BY_DISPATCH] = "dispatch",
    [JOB_BY_SUCCESS] = "success",
    [JOB_BY_FAILURE] = "failure",
    [JOB_BY_TIMEOUT] = "timeout",
    [JOB_BY_CANCEL] = "cancel",
    [JOB_BY_INTERRUPT] = "interrupt",
    [JOB_BY_CRASH] = "crash",
    [JOB_BY_EXPIRY] = "expiry",
    [JOB_BY_RETRY] = "retry",
};

const char *job_state_name(enum job_state state)
{
    return (unsigned)state < JOB_STATE_COUNT ? state_names[state] : NULL;
}

const char *job_cause_name(enum job_cause cause)
{
    return (unsigned)cause < JOB_CAUSE_COUNT ? cause_names[cause] : NULL;
}

int job_state_from_name(const char *name, enum job_state *ret_state)
{
    for (int state = JOB_NONE + 1; state < JOB_STATE_COUNT; state++) {
        if (strcmp(state_names[state], name) == 0) {
            *ret_state = (enum job_state)state;
            return 0;
        }
    }
    return -EINVAL;
}

bool job_state_is_end(enum job_state state)
{
    return state >= JOB_SUCCEEDED && state < JOB_STATE_COUNT;
}

bool job_state_may_retry(enum job_state state)
{
    return job_state_is_end(state) && state != JOB_SUCCEEDED;
}

uint64_t job_edge_taken(size_t edge)
{
    return edge < EDGES ? atomic_load_explicit(&edges_taken[edge], memory_order_relaxed) : 0;
}

static int find_edge(enum job_state from, enum job_state to, enum job_cause cause)
{
    for (int i = 0; i < EDGES; i++)
        if (job_edges[i].from == from && job_edges[i].to == to && job_edges[i].cause == cause)
            return i;
    return -EPROTO;
}

/* As new but for its attempts, which are numbered on: an earlier one's number must not come again.
 * Result and error are the caller's, as at every move. */
static void start_anew(struct job_record *record)
{
    record->failures = 0;
    record->crashes = 0;
    record->exit_code = JOB_NO_EXIT;
    record->term_signal = JOB_NO_EXIT;
    record->started_at = 0;
    record->finished_at = 0;
}

static void apply_cause(struct job_record *record, enum job_cause cause, int64_t now)
{
    switch (cause) {
    case JOB_BY_SUBMIT:
        record->submitted_at = now;
        break;
    case JOB_BY_DUE:
        record->due_at = 0;
        break;
    case JOB_BY_DISPATCH:
        record->attempt++;
        record->started_at = now;
        record->exit_code = JOB_NO_EXIT;
        record->term_signal = JOB_NO_EXIT;
        break;
    case JOB_BY_FAILURE:
    case JOB_BY_TIMEOUT:
        record->failures++;
        break;
    case JOB_BY_INTERRUPT: /* the attempt did not happen (I3 of job.h) */
        record->attempt--;
        record->started_at = 0;
        break;
    case JOB_BY_CRASH:
        record->crashes++;
        break;
    case JOB_BY_RETRY:
        start_anew(record);
        break;
    case JOB_BY_SUCCESS:
    case JOB_BY_CANCEL:
    case JOB_BY_EXPIRY:
    case JOB_BY_DEPENDENCIES:
    case JOB_CAUSE_COUNT:
        break;
    }
}

/* The wall clock may be set back while a job is there: its own times never run backwards. */
static int64_t not_before(const struct job_record *record, int64_t now)
{
    if (now < record->submitted_at)
        now = record->submitted_at;
    return now < record->started_at ? record->started_at : now;
}

/* Returns the edge's index. */
static int take_edge(struct job_record *record, enum job_state to, enum job_cause cause,
                     int64_t now)
{
    int edge = find_edge(record->state, to, cause);
    if (edge < 0)
        return edge;
    now = not_before(record, now);
    apply_cause(record, cause, now);
    record->state = to;
    if (to != JOB_DELAYED && to != JOB_WAITING)
        record->due_at = cause == JOB_BY_RETRY ? now : 0;
    if (job_state_is_end(to))
        record->finished_at = now;
    return edge;
}

int job_record_move(struct job_record *record, enum job_state to, enum job_cause cause, int64_t now)
{
    int edge = take_edge(record, to, cause, now);
    return edge < 0 ? edge : 0;
}

int job_move(struct job *job, enum job_state to, enum job_cause cause, int64_t now)
{
    int edge = take_edge(&job->record, to, cause, now);
    if (edge < 0)
        return edge;
    atomic_fetch_add_explicit(&edges_taken[edge], 1, memory_order_relaxed);
    return 0;
}

/* base * 2^(failures-1), at most cap, without overflow. */
static uint64_t backoff_step(uint32_t failures, uint64_t base_ns, uint64_t cap_ns)
{
    unsigned shift = failures > 0 ? failures - 1 : 0;
    if (base_ns == 0 || cap_ns == 0)
        return 0;
    if (shift >= 64 || base_ns > (cap_ns >> shift))
        return cap_ns;
    return base_ns << shift;
}

uint64_t job_backoff_ns(uint32_t failures, uint64_t base_ns, uint64_t cap_ns, uint64_t random)
{
    uint64_t step = backoff_step(failures, base_ns, cap_ns);
    uint64_t part = step / 1024 * (random % 1024) + step % 1024 * (random % 1024) / 1024;
    uint64_t wait = step - step / 2;
    return wait > UINT64_MAX - part ? UINT64_MAX : wait + part;
}

int64_t job_waits_since(const struct job_record *record)
{
    return record->due_at > record->submitted_at ? record->due_at : record->submitted_at;
}

int64_t job_wall_after(int64_t at, uint64_t ns)
{
    return ns > (uint64_t)(INT64_MAX - at) ? INT64_MAX : at + (int64_t)ns;
}

int64_t job_wall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int copy_text(const char *text, char **ret_copy)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return -ENOMEM;
    *ret_copy = copy;
    return 0;
}

int job_new(const struct job_record *record, struct queue *queue, struct job **ret_job)
{
    size_t size = strlen(record->spec) + 1;
    char *result = NULL, *error = NULL;
    struct job *job = malloc(sizeof(*job) + size);
    int rc = job ? copy_text(record->result, &result) : -ENOMEM;
    if (rc == 0)
        rc = copy_text(record->error, &error);
    if (rc < 0) {
        free(result);
        free(job);
        return rc;
    }
    *job = (struct job){.record = *record,
                        .queue = queue,
                        .heap_index = JOB_NOT_IN_HEAP,
                        .expiry_index = JOB_NOT_IN_HEAP};
    job->record.spec = memcpy(job + 1, record->spec, size);
    job->record.queue = queue ? queue->name : record->queue;
    job->record.result = result;
    job->record.error = error;
    *ret_job = job;
    return 0;
}

void job_free(struct job *job)
{
    if (!job)
        return;
    job_set_texts(job, NULL, NULL);
    free(job->needs);
    free(job->key);
    free(job);
}

void job_set_texts(struct job *job, char *result, char *error)
{
    free((char *)job->record.result);
    free((char *)job->record.error);
    job->record.result = result;
    job->record.error = error;
}
