/* SPDX-License-Identifier: MIT */
/* methods_stats: daemon.stats, a snapshot put together from everybody's counters. */
#include "daemon/engine.h"
#include "daemon/log.h"
#include "daemon/memory.h"
#include "daemon/methods_impl.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/store.h"
#include "protocol/json_memory.h"
#include "weft/stats.h"
#include "weft/time.h"

#include <errno.h>
#include <unistd.h>

#define I(value) ((json_int_t)(value))

static json_t *worker_json(const struct weft_worker_stats *worker, uint64_t now)
{
    uint64_t since = worker->last_poll_ns ? now - worker->last_poll_ns : 0;
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b}", "turns",
        I(worker->turns), "spawned", I(worker->spawned), "finished", I(worker->finished), "steals",
        I(worker->steals), "stolen", I(worker->stolen), "searches", I(worker->searches), "parks",
        I(worker->parks), "wakes", I(worker->wakes), "polls", I(worker->polls), "events",
        I(worker->events), "timers", I(worker->timers), "injected", I(worker->injected), "handoffs",
        I(worker->handoffs), "longest_turn", (double)worker->longest_turn_ns / 1e9, "since_poll",
        (double)since / 1e9, "parked", (int)worker->parked);
}

static json_t *workers_json(struct weft_runtime *runtime)
{
    json_t *workers = json_array();
    struct weft_worker_stats worker;
    for (unsigned i = 0; workers && weft_stats_worker(runtime, i, &worker) == 0; i++)
        workers = json_memory_append(workers, worker_json(&worker, weft_now_ns()));
    return workers;
}

static json_t *runtime_json(struct weft_runtime *runtime)
{
    struct weft_runtime_stats stats;
    weft_stats_runtime(runtime, &stats);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "workers", I(stats.workers),
                     "fibers", I(stats.live_fibers), "stacks", I(stats.stacks), "stack_bytes",
                     I(stats.stack_bytes), "offload_threads", I(stats.offload_threads),
                     "offload_queued", I(stats.offload_queued), "spare_threads",
                     I(stats.spare_threads), "without_worker", I(stats.without_worker));
}

/* Live states: jobs there are now.  End states: ends reached since the start. */
static json_t *jobs_json(const struct engine_stats *stats)
{
    json_t *jobs = json_object();
    for (int state = JOB_WAITING; jobs && state < JOB_STATE_COUNT; state++) {
        uint64_t count =
            job_state_is_end((enum job_state)state) ? stats->ended[state] : stats->live[state];
        jobs = json_memory_set(jobs, job_state_name((enum job_state)state), json_integer(I(count)));
    }
    return jobs;
}

static json_t *totals_json(const struct engine_stats *stats)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "submitted",
                     I(stats->submitted), "started", I(stats->started), "retried",
                     I(stats->retried), "interrupted", I(stats->interrupted), "revived",
                     I(stats->revived), "not_durable", I(stats->memory_only), "recent",
                     I(stats->recent), "kept", I(stats->kept), "forgotten", I(stats->forgotten));
}

static json_t *store_json(struct store *store)
{
    struct store_stats stats;
    store_stats(store, &stats);
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:b}", "commits", I(stats.commits), "writes",
        I(stats.writes), "reads", I(stats.reads), "batch_max", I(stats.batch_max), "commit_seconds",
        (double)stats.commit_ns / 1e9, "commit_longest", (double)stats.commit_max_ns / 1e9,
        "pending", I(stats.pending), "file_bytes", I(stats.file_bytes), "wal_bytes",
        I(stats.wal_bytes), "failed", (int)stats.failed);
}

static json_t *runs_json(struct runner *runner)
{
    struct runner_stats stats;
    runner_stats(runner, &stats);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "programs", I(stats.programs), "calls",
                     I(stats.calls), "killed", I(stats.killed), "orphans", I(stats.orphans), "live",
                     I(stats.live));
}

static json_t *server_json(struct server *server)
{
    struct server_stats stats;
    server_stats(server, &stats);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "connections", I(stats.connections),
                     "in_flight", I(stats.in_flight), "accepted", I(stats.accepted), "refused",
                     I(stats.refused), "requests", I(stats.requests), "errors", I(stats.errors));
}

static json_t *events_json(const struct events_stats *stats)
{
    return json_pack("{s:I, s:I, s:I}", "last", I(stats->last), "kept", I(stats->kept),
                     "subscribers", I(stats->readers));
}

int method_daemon_stats(struct request *request, json_t **ret_result)
{
    const struct daemon_context *context = request->context;
    struct engine_stats engine;
    engine_stats(context->engine, &engine);
    *ret_result = json_pack(
        "{s:s, s:i, s:f, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:I}}", "version",
        context->version, "pid", (int)getpid(), "uptime",
        (double)(weft_now_ns() - context->started_ns) / 1e9, "drained", (int)engine.drained,
        "workers", workers_json(context->runtime), "runtime", runtime_json(context->runtime),
        "jobs", jobs_json(&engine), "totals", totals_json(&engine), "store",
        store_json(context->store), "runs", runs_json(context->runner), "server",
        server_json(context->server), "events", events_json(&engine.events), "memory",
        memory_json(), "log", "lost", I(log_lost()));
    return 0;
}
