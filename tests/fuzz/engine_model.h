/* SPDX-License-Identifier: MIT */
/*
 * What stands behind the methods in a fuzz target: a small model of the engine, in which no job ever
 * runs, so that no input of a fuzzer starts a program.  All else that a request goes through is the
 * real thing: methods, job specs, records, events.  Header only; one target, one model.
 *
 * M1  It does not look at a clock and takes its time from the number of the call, so that the same
 *     requests get the same replies.
 * M2  A call never waits: whoever waits for a job finds that it has just succeeded.
 * M3  Each call of a client is counted in model.calls.
 */
#pragma once

#include "daemon/engine.h"
#include "daemon/methods.h"
#include "daemon/problem.h"
#include "daemon/run.h"
#include "daemon/run_impl.h"
#include "daemon/server.h"
#include "daemon/session.h"
#include "daemon/store.h"
#include "fuzz.h"

#include <errno.h>
#include <string.h>

enum { MODEL_JOBS = 40, MODEL_EPOCH = 5, MODEL_EVENTS = 16, MODEL_LINE_MAX = 3000 };

static struct model {
    struct job_record *jobs[MODEL_JOBS]; /* of id i + 1 */
    size_t count;
    struct events *events;
    uint64_t calls;
    bool drained;
} model;

static const char model_output[] = "one\ntwo \xe2\x82\xac\n\xff\0three\n";

/* ---- jobs ------------------------------------------------------------------------------------ */

static int64_t model_now(void)
{
    return (int64_t)(1700000000000000000 + model.calls * 1000000000);
}

static void model_move(struct job_record *record, enum job_state to, enum job_cause cause)
{
    enum job_state before = record->state;
    HOLDS(job_record_move(record, to, cause, model_now()) == 0);
    if (events_publish(model.events, record, before, cause, model_now()))
        events_announce(model.events);
}

static bool model_sees(const struct peer *peer, const struct job_record *record)
{
    return peer->admin || peer->uid == record->uid;
}

static struct job_record *model_find(const struct peer *peer, uint64_t id, struct rpc_error *error)
{
    struct job_record *record = id >= 1 && id <= model.count ? model.jobs[id - 1] : NULL;
    if (record && model_sees(peer, record))
        return record;
    rpc_error_set(error, RPC_NO_SUCH_JOB, "there is no job %llu", (unsigned long long)id);
    return NULL;
}

/* "default", "night", and what a client may not see at work: the configuration's. */
static int model_queue(const char *name, struct rpc_error *error)
{
    if (!name || strcmp(name, "default") == 0 || strcmp(name, "night") == 0)
        return 0;
    return rpc_error_set_param(error, RPC_NO_SUCH_QUEUE, "queue", "night",
                               "there is no queue '%.100s'", name);
}

static int model_check_spec(const struct peer *peer, const struct job_spec *spec,
                            struct rpc_error *error)
{
    HOLDS((spec->argv != NULL) != (spec->call != NULL));
    if (model_queue(spec->queue, error))
        return -EINVAL;
    for (size_t i = 0; i < spec->after_count; i++)
        if (!model_find(peer, spec->after[i], error))
            return -ENOENT;
    if (model.count < MODEL_JOBS)
        return 0;
    rpc_error_set(error, RPC_BUSY, NULL);
    return -EAGAIN;
}

/* What the store would keep is read again as the same: job.h's promise of the stored form. */
static char *model_stored(const struct job_spec *spec)
{
    struct rpc_error error;
    struct job_spec *again;
    char *text, *text_again;
    HOLDS(job_spec_to_text(spec, &text) == 0);
    HOLDS(job_spec_from_text(text, &again, &error) == 0);
    HOLDS(job_spec_to_text(again, &text_again) == 0);
    HOLDS(strcmp(text, text_again) == 0);
    job_spec_free(again);
    free(text_again);
    return text;
}

static uint64_t model_add(const struct peer *peer, const struct job_spec *spec)
{
    char *text = model_stored(spec);
    struct job_record record = {.id = model.count + 1,
                                .uid = peer->uid,
                                .gid = peer->gid,
                                .exit_code = JOB_NO_EXIT,
                                .term_signal = JOB_NO_EXIT,
                                .priority = spec->priority,
                                .memory_only = spec->memory_only,
                                .submitted_at = model_now(),
                                .queue = spec->queue,
                                .spec = text};
    HOLDS(job_record_copy(&record, &model.jobs[model.count++]) == 0);
    free(text);
    model_move(model.jobs[model.count - 1], JOB_QUEUED, JOB_BY_SUBMIT);
    return record.id;
}

/* M2 */
static void model_finish(struct job_record *record)
{
    if (record->state == JOB_QUEUED)
        model_move(record, JOB_RUNNING, JOB_BY_DISPATCH);
    if (record->state == JOB_RUNNING)
        model_move(record, JOB_SUCCEEDED, JOB_BY_SUCCESS);
}

static inline void model_begin(void)
{
    model = (struct model){0};
    HOLDS(events_new(MODEL_EVENTS, &model.events) == 0);
}

static inline void model_end(void)
{
    struct events_stats stats;
    events_stats(model.events, &stats);
    HOLDS(stats.readers == 0);
    events_free(model.events);
    for (size_t i = 0; i < model.count; i++)
        job_record_free(model.jobs[i]);
}

/* ---- engine.h, what changes jobs --------------------------------------------------------------- */

static int model_submit(const struct peer *peer, struct engine_item *item)
{
    int err = model_check_spec(peer, item->spec, item->error);
    if (!err) {
        item->memory_only = item->spec->memory_only;
        item->id = model_add(peer, item->spec);
    }
    job_spec_free(item->spec);
    item->spec = NULL;
    return err;
}

int engine_submit(struct engine *engine, const struct peer *peer, struct engine_item *item,
                  const struct engine_turn *turn)
{
    (void)engine;
    model.calls++;
    int err = model_submit(peer, item);
    if (!err && turn)
        turn->done(turn->arg);
    return err;
}

static bool model_any_bad(const struct peer *peer, const struct engine_item *items, size_t count)
{
    bool bad = model.count + count > MODEL_JOBS;
    for (size_t i = 0; i < count; i++)
        bad |= !items[i].spec || model_check_spec(peer, items[i].spec, items[i].error) != 0;
    return bad;
}

int engine_submit_many(struct engine *engine, const struct peer *peer, struct engine_item *items,
                       size_t count, bool atomic, const struct engine_turn *turn,
                       struct rpc_error *error)
{
    (void)engine, (void)turn;
    model.calls++;
    bool refuse = atomic && model_any_bad(peer, items, count);
    for (size_t i = 0; i < count; i++) {
        if (items[i].spec && !refuse)
            (void)model_submit(peer, &items[i]);
        job_spec_free(items[i].spec);
    }
    return refuse ? rpc_error_set(error, RPC_BUSY, "some job was refused") : 0;
}

int engine_cancel(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                  enum job_state *results, struct rpc_error *errors)
{
    (void)engine;
    model.calls++;
    for (size_t i = 0; i < count; i++) {
        struct job_record *record = model_find(peer, ids[i], &errors[i]);
        if (record && !job_state_is_end(record->state))
            model_move(record, JOB_CANCELLED, JOB_BY_CANCEL);
        results[i] = record ? record->state : JOB_NONE;
    }
    return 0;
}

int engine_retry(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                 enum job_state *results, struct rpc_error *errors, struct rpc_error *error)
{
    (void)engine, (void)error;
    model.calls++;
    for (size_t i = 0; i < count; i++) {
        struct job_record *record = model_find(peer, ids[i], &errors[i]);
        results[i] = JOB_NONE;
        if (record && job_state_may_retry(record->state)) {
            model_move(record, JOB_QUEUED, JOB_BY_RETRY);
            results[i] = JOB_QUEUED;
        } else if (record) {
            rpc_error_set(&errors[i], RPC_CONFLICT, NULL);
        }
    }
    return 0;
}

/* ---- engine.h, what looks at jobs -------------------------------------------------------------- */

void engine_page_destroy(struct engine_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        job_record_free(page->records[i]);
    free(page->records);
}

static void model_page(struct engine_page *page, size_t most)
{
    *page = (struct engine_page){.records = calloc(most + 1, sizeof *page->records)};
    HOLDS(page->records != NULL);
}

static void model_page_add(struct engine_page *page, const struct job_record *record)
{
    HOLDS(job_record_copy(record, &page->records[page->count++]) == 0);
}

int engine_get(struct engine *engine, const struct peer *peer, uint64_t id,
               struct job_record **ret_record, struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    const struct job_record *record = model_find(peer, id, error);
    return record ? job_record_copy(record, ret_record) : -ENOENT;
}

static bool model_is_listed(const struct engine_filter *filter, const struct job_record *record)
{
    bool in = filter->queues == NULL;
    for (size_t i = 0; filter->queues && filter->queues[i]; i++)
        in |= strcmp(filter->queues[i], record->queue) == 0;
    return in && (!filter->states || filter->states & 1u << record->state) &&
           (!filter->before || record->id < filter->before) &&
           (!filter->of_user || filter->uid == record->uid) &&
           job_match_text(&filter->match, record->spec);
}

int engine_list(struct engine *engine, const struct peer *peer, const struct engine_filter *filter,
                struct engine_page *ret_page, struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    HOLDS(filter->limit >= 1 && filter->limit <= ENGINE_LIST_MAX);
    for (size_t i = 0; filter->queues && filter->queues[i]; i++)
        if (model_queue(filter->queues[i], error))
            return -EINVAL;
    model_page(ret_page, MODEL_JOBS);
    for (size_t i = model.count; i > 0 && ret_page->count < filter->limit; i--)
        if (model_sees(peer, model.jobs[i - 1]) && model_is_listed(filter, model.jobs[i - 1]))
            model_page_add(ret_page, model.jobs[i - 1]);
    return 0;
}

int engine_wait(struct engine *engine, const struct peer *peer, const uint64_t *ids, size_t count,
                uint64_t deadline_ns, struct engine_page *ret_page, struct rpc_error *error)
{
    (void)engine, (void)deadline_ns;
    model.calls++;
    for (size_t i = 0; i < count; i++)
        if (!model_find(peer, ids[i], error))
            return -ENOENT;
    model_page(ret_page, count);
    for (size_t i = 0; i < count; i++) {
        model_finish(model.jobs[ids[i] - 1]);
        model_page_add(ret_page, model.jobs[ids[i] - 1]);
    }
    return 0;
}

int engine_explain(struct engine *engine, const struct peer *peer, uint64_t id,
                   struct engine_explanation *ret_explanation, struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    const struct job_record *record = model_find(peer, id, error);
    if (!record)
        return -ENOENT;
    *ret_explanation = (struct engine_explanation){
        .why = job_state_is_end(record->state) ? ENGINE_WHY_ENDED : ENGINE_WHY_NEXT,
        .configured = true,
        .concurrency = 2,
        .queued = 1};
    return job_record_copy(record, &ret_explanation->record);
}

int engine_logs(struct engine *engine, const struct peer *peer, const struct engine_piece *piece,
                struct output_chunk *ret_chunk, bool *ret_eof, struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    const struct job_record *record = model_find(peer, piece->id, error);
    if (!record)
        return -ENOENT;
    HOLDS(piece->stream < OUTPUT_STREAM_COUNT && piece->limit > 0);
    size_t all = piece->stream == OUTPUT_STDOUT ? sizeof model_output - 1 : 0;
    size_t from = piece->offset < all ? piece->offset : all;
    size_t size = all - from < piece->limit ? all - from : piece->limit;
    *ret_chunk = (struct output_chunk){
        .size = size, .next = piece->offset + size, .at_end = from + size == all};
    if (size > 0)
        HOLDS((ret_chunk->data = malloc(size)) != NULL);
    if (size > 0)
        memcpy(ret_chunk->data, model_output + from, size);
    *ret_eof = ret_chunk->at_end && job_state_is_end(record->state);
    return 0;
}

int engine_share_output(struct engine *engine, const struct peer *peer,
                        const struct engine_piece *piece, struct engine_shared *ret_shared,
                        struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    const struct job_record *record = model_find(peer, piece->id, error);
    if (!record)
        return -ENOENT;
    *ret_shared = (struct engine_shared){.attempt = record->attempt,
                                         .eof = job_state_is_end(record->state),
                                         .share = {.fd = -1, .at_end = true}};
    return 0;
}

int engine_subscribe(struct engine *engine, const char *queue, uint64_t since,
                     struct events_reader *ret_reader, uint64_t *ret_last, struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    if (model_queue(queue, error))
        return -EINVAL;
    int err = events_open(model.events, since, ret_reader, ret_last);
    return err ? rpc_error_set_param(error, RPC_INVALID_PARAMS, "since", NULL, "not yet") : 0;
}

void engine_stats(struct engine *engine, struct engine_stats *ret_stats)
{
    (void)engine;
    model.calls++;
    *ret_stats = (struct engine_stats){.submitted = model.count, .drained = model.drained};
    for (size_t i = 0; i < model.count; i++)
        ret_stats->live[model.jobs[i]->state]++;
    events_stats(model.events, &ret_stats->events);
}

/* ---- engine.h, queues and the daemon ----------------------------------------------------------- */

static int model_queues(const char *name, struct engine_queue **ret_queues, size_t *ret_count,
                        struct rpc_error *error)
{
    model.calls++;
    if (model_queue(name, error))
        return -EINVAL;
    HOLDS((*ret_queues = calloc(1, sizeof **ret_queues)) != NULL);
    (*ret_queues)->name = "default";
    (*ret_queues)->configured = true;
    (*ret_queues)->now.concurrency = 2;
    *ret_count = 1;
    return 0;
}

int engine_queue_list(struct engine *engine, struct engine_queue **ret_queues, size_t *ret_count,
                      struct rpc_error *error)
{
    (void)engine;
    return model_queues(NULL, ret_queues, ret_count, error);
}

int engine_queue_change(struct engine *engine, const struct peer *peer, const char *name,
                        const struct queue_change *change, struct engine_queue **ret_queues,
                        size_t *ret_count, struct rpc_error *error)
{
    (void)engine;
    HOLDS(peer->admin && (change->given & change->reset) == 0);
    return model_queues(name, ret_queues, ret_count, error);
}

int engine_queue_freeze(struct engine *engine, const struct peer *peer, const char *name,
                        bool frozen, struct engine_queue **ret_queues, size_t *ret_count,
                        struct rpc_error *error)
{
    (void)engine, (void)frozen;
    HOLDS(peer->admin);
    return model_queues(name, ret_queues, ret_count, error);
}

int engine_queue_purge(struct engine *engine, const struct peer *peer, const char *name,
                       uint32_t states, uint64_t *ret_count, struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    HOLDS(peer->admin && states != 0);
    *ret_count = 0;
    return model_queue(name, error);
}

size_t engine_set_drained(struct engine *engine, const struct peer *peer, bool drained)
{
    (void)engine;
    model.calls++;
    HOLDS(peer->admin);
    model.drained = drained;
    return 0;
}

int engine_wait_drained(struct engine *engine, uint64_t deadline_ns)
{
    (void)engine, (void)deadline_ns;
    return 0;
}

int engine_backup(struct engine *engine, const char *name, char **ret_path, uint64_t *ret_bytes,
                  struct rpc_error *error)
{
    (void)engine;
    model.calls++;
    if (strchr(name, '/') || name[0] == '.')
        return rpc_error_set(error, RPC_INVALID_PARAMS, "no such name");
    *ret_bytes = 1;
    return (*ret_path = strdup(name)) ? 0 : -ENOMEM;
}

static int model_reload(struct daemon_context *context, struct problem *problem,
                        json_t **ret_report)
{
    (void)context;
    model.calls++;
    if (model.calls % 2)
        return problem_set(problem, -EINVAL, "weftd.conf:3: unknown key 'x'");
    *ret_report = json_pack("{s:i, s:[]}", "changed", 2, "restart");
    return 0;
}

static struct daemon_context model_context = {.version = "1.2.3", .reload = model_reload};

/* ---- store.h, run.h, server.h ------------------------------------------------------------------ */

void store_life(const struct store *store, struct store_life *ret_life)
{
    (void)store;
    *ret_life = (struct store_life){
        .next_id = 1, .starts = MODEL_EPOCH, .instance = "0123456789abcdef0123456789abcdef"};
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    (void)store;
    *ret_stats = (struct store_stats){0};
}

void runner_stats(struct runner *runner, struct runner_stats *ret_stats)
{
    (void)runner;
    *ret_stats = (struct runner_stats){0};
}

/* native.c is for its checks; nothing is called. */
void run_outcome_fail(struct run_outcome *outcome, const char *format, ...)
{
    (void)outcome, (void)format;
    HOLDS(!"a handler was called");
}

static const struct session_limits model_limits = {.max_in_flight = 4, .line_max = MODEL_LINE_MAX};

void server_limits(struct server *server, struct session_limits *ret_limits)
{
    (void)server;
    *ret_limits = model_limits;
}

void server_stats(struct server *server, struct server_stats *ret_stats)
{
    (void)server;
    *ret_stats = (struct server_stats){.connections = 1};
}
