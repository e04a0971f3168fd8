/* SPDX-License-Identifier: MIT */
/*
 * http_metrics: daemon.stats in the text format that Prometheus reads.
 *
 * I1  A metric is a row of one table, which says where in the result of daemon.stats its values are.
 * I2  All values of a metric stand together behind its HELP and TYPE, as the format wants.
 * I3  A counter only grows while weftd runs, and starts from 0 with it.
 */
#include "daemon/engine.h"
#include "daemon/http_impl.h"
#include "daemon/methods.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTER "counter"
#define GAUGE   "gauge"

enum shape {
    NUMBER,      /* section.key */
    WORKERS,     /* key of each of the array `section`, label worker */
    LIVE_STATES, /* members of `section` that are live states, label state */
    END_STATES   /* … that are ends */
};

static const struct metric {
    const char *name, *type, *section, *key;
    enum shape shape;
    const char *help;
} metrics[] = {
    {"weft_uptime_seconds", GAUGE, NULL, "uptime", NUMBER, "Time since weftd started."},
    {"weft_drained", GAUGE, NULL, "drained", NUMBER, "1 while an admin lets no job start."},

    {"weft_jobs", GAUGE, "jobs", NULL, LIVE_STATES, "Jobs that have not ended."},
    {"weft_jobs_ended_total", COUNTER, "jobs", NULL, END_STATES, "Jobs that ended."},
    {"weft_jobs_not_durable", GAUGE, "totals", "not_durable", NUMBER,
     "Jobs that have not ended and are in memory only."},
    {"weft_jobs_recent", GAUGE, "totals", "recent", NUMBER, "Ended jobs kept in memory."},
    {"weft_jobs_kept", GAUGE, "totals", "kept", NUMBER, "Ended jobs kept in the store."},
    {"weft_jobs_forgotten_total", COUNTER, "totals", "forgotten", NUMBER,
     "Ended jobs that were forgotten."},
    {"weft_jobs_submitted_total", COUNTER, "totals", "submitted", NUMBER, "Jobs accepted."},
    {"weft_jobs_revived_total", COUNTER, "totals", "revived", NUMBER,
     "Jobs brought back by job.retry."},
    {"weft_attempts_started_total", COUNTER, "totals", "started", NUMBER, "Attempts started."},
    {"weft_attempts_retried_total", COUNTER, "totals", "retried", NUMBER,
     "Attempts that failed and are followed by another one."},
    {"weft_attempts_interrupted_total", COUNTER, "totals", "interrupted", NUMBER,
     "Attempts that a stop of weftd interrupted."},

    {"weft_runs_live", GAUGE, "runs", "live", NUMBER, "Attempts that run now."},
    {"weft_runs_programs_total", COUNTER, "runs", "programs", NUMBER, "Programs started."},
    {"weft_runs_calls_total", COUNTER, "runs", "calls", NUMBER, "Native handlers called."},
    {"weft_runs_killed_total", COUNTER, "runs", "killed", NUMBER, "Process trees killed."},
    {"weft_runs_orphans_total", COUNTER, "runs", "orphans", NUMBER,
     "Processes that outlived their program and were ended."},

    {"weft_store_commits_total", COUNTER, "store", "commits", NUMBER, "Commits."},
    {"weft_store_commit_seconds_total", COUNTER, "store", "commit_seconds", NUMBER,
     "Time spent in commits."},
    {"weft_store_commit_longest_seconds", GAUGE, "store", "commit_longest", NUMBER,
     "Longest commit since the start."},
    {"weft_store_writes_total", COUNTER, "store", "writes", NUMBER, "Rows written."},
    {"weft_store_reads_total", COUNTER, "store", "reads", NUMBER, "Look-ups."},
    {"weft_store_batch_max", GAUGE, "store", "batch_max", NUMBER,
     "Most rows of one commit since the start."},
    {"weft_store_pending", GAUGE, "store", "pending", NUMBER, "Requests that wait for a commit."},
    {"weft_store_file_bytes", GAUGE, "store", "file_bytes", NUMBER, "Size of the store."},
    {"weft_store_wal_bytes", GAUGE, "store", "wal_bytes", NUMBER,
     "Size of its log that is not folded back yet."},
    {"weft_store_failed", GAUGE, "store", "failed", NUMBER, "1 once the store has failed."},

    {"weft_events_total", COUNTER, "events", "last", NUMBER, "Events of jobs."},
    {"weft_events_kept", GAUGE, "events", "kept", NUMBER, "Events kept for who reads later."},
    {"weft_event_subscribers", GAUGE, "events", "subscribers", NUMBER, "Subscriptions now."},

    {"weft_connections", GAUGE, "server", "connections", NUMBER, "Connections now."},
    {"weft_connections_accepted_total", COUNTER, "server", "accepted", NUMBER,
     "Connections accepted."},
    {"weft_connections_refused_total", COUNTER, "server", "refused", NUMBER,
     "Connections refused for a limit."},
    {"weft_requests_in_flight", GAUGE, "server", "in_flight", NUMBER, "Requests under way."},
    {"weft_requests_total", COUNTER, "server", "requests", NUMBER, "Requests."},
    {"weft_request_errors_total", COUNTER, "server", "errors", NUMBER, "Error replies."},

    {"weft_runtime_workers", GAUGE, "runtime", "workers", NUMBER, "Workers."},
    {"weft_runtime_fibers", GAUGE, "runtime", "fibers", NUMBER, "Fibers now."},
    {"weft_runtime_stacks", GAUGE, "runtime", "stacks", NUMBER, "Stacks in use or kept."},
    {"weft_runtime_stack_bytes", GAUGE, "runtime", "stack_bytes", NUMBER, "Size of these."},
    {"weft_runtime_offload_threads", GAUGE, "runtime", "offload_threads", NUMBER,
     "Threads for calls that block."},
    {"weft_runtime_offload_queued", GAUGE, "runtime", "offload_queued", NUMBER,
     "Calls that wait for such a thread."},
    {"weft_runtime_spare_threads", GAUGE, "runtime", "spare_threads", NUMBER,
     "Threads that wait to take over a worker."},
    {"weft_runtime_without_worker", GAUGE, "runtime", "without_worker", NUMBER,
     "Fibers whose worker was taken over."},

    {"weft_worker_turns_total", COUNTER, "workers", "turns", WORKERS, "Turns of fibers."},
    {"weft_worker_spawned_total", COUNTER, "workers", "spawned", WORKERS, "Fibers started."},
    {"weft_worker_finished_total", COUNTER, "workers", "finished", WORKERS, "Fibers ended."},
    {"weft_worker_steals_total", COUNTER, "workers", "steals", WORKERS, "Thefts from others."},
    {"weft_worker_stolen_total", COUNTER, "workers", "stolen", WORKERS, "Fibers so taken."},
    {"weft_worker_searches_total", COUNTER, "workers", "searches", WORKERS,
     "Searches for work elsewhere."},
    {"weft_worker_parks_total", COUNTER, "workers", "parks", WORKERS, "Times it went to sleep."},
    {"weft_worker_wakes_total", COUNTER, "workers", "wakes", WORKERS, "Times it woke another."},
    {"weft_worker_polls_total", COUNTER, "workers", "polls", WORKERS, "Runs of its loop."},
    {"weft_worker_events_total", COUNTER, "workers", "events", WORKERS, "Events of descriptors."},
    {"weft_worker_timers_total", COUNTER, "workers", "timers", WORKERS, "Timers that went off."},
    {"weft_worker_injected_total", COUNTER, "workers", "injected", WORKERS,
     "Fibers taken from the shared queue."},
    {"weft_worker_handoffs_total", COUNTER, "workers", "handoffs", WORKERS,
     "Times another thread took it over."},
    {"weft_worker_longest_turn_seconds", GAUGE, "workers", "longest_turn", WORKERS,
     "Longest turn of a fiber."},
    {"weft_worker_since_poll_seconds", GAUGE, "workers", "since_poll", WORKERS,
     "Time since its loop ran last."},
    {"weft_worker_parked", GAUGE, "workers", "parked", WORKERS, "1 while it sleeps."},

    {"weft_memory_allocated_bytes", GAUGE, "memory", "allocated", NUMBER, "Bytes given out."},
    {"weft_memory_cached_bytes", GAUGE, "memory", "cached", NUMBER,
     "Bytes of these that nobody uses: threads keep them for their next allocations."},
    {"weft_memory_active_bytes", GAUGE, "memory", "active", NUMBER, "Pages in use."},
    {"weft_memory_resident_bytes", GAUGE, "memory", "resident", NUMBER,
     "Pages that the allocator holds."},
    {"weft_memory_metadata_bytes", GAUGE, "memory", "metadata", NUMBER,
     "Bytes that the allocator uses itself."},
    {"weft_memory_retained_bytes", GAUGE, "memory", "retained", NUMBER,
     "Address space it keeps without memory."},
    {"weft_memory_arenas", GAUGE, "memory", "arenas", NUMBER, "Arenas it has."},
    {"weft_memory_mapped_bytes", GAUGE, "memory", "mapped", NUMBER, "Address space it holds."},
    {"weft_memory_rss_bytes", GAUGE, "memory", "rss", NUMBER, "Resident set of the process."},

    {"weft_log_lost_total", COUNTER, "log", "lost", NUMBER, "Lines of the log that were lost."},
};

/* ---- text ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static int add(struct jsonrpc_text *text, const char *format,
                                                     ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size_t used = (size_t)size < sizeof line ? (size_t)size : sizeof line - 1;
    return jsonrpc_text_append(text, line, used);
}

static int add_head(struct jsonrpc_text *text, const struct metric *metric)
{
    return add(text, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
               metric->type);
}

/* label NULL: none. */
static int add_value(struct jsonrpc_text *text, const struct metric *metric, const char *label,
                     const char *label_value, const json_t *value)
{
    char braces[96] = "";
    if (label)
        snprintf(braces, sizeof braces, "{%s=\"%s\"}", label, label_value);
    if (json_is_integer(value))
        return add(text, "%s%s %lld\n", metric->name, braces, (long long)json_integer_value(value));
    if (json_is_real(value))
        return add(text, "%s%s %.9g\n", metric->name, braces, json_real_value(value));
    return add(text, "%s%s %d\n", metric->name, braces, json_is_true(value));
}

/* ---- shapes -------------------------------------------------------------------------------- */

/* What is not there (figures of an allocator that has none) is left out. */
static int add_number(struct jsonrpc_text *text, const struct metric *metric, const json_t *stats)
{
    const json_t *section = metric->section ? json_object_get(stats, metric->section) : stats;
    const json_t *value = json_object_get(section, metric->key);
    if (!value || json_is_null(value))
        return 0;
    int err = add_head(text, metric);
    return err ? err : add_value(text, metric, NULL, NULL, value);
}

static int add_workers(struct jsonrpc_text *text, const struct metric *metric, const json_t *stats)
{
    const json_t *workers = json_object_get(stats, metric->section);
    int err = add_head(text, metric);
    for (size_t i = 0; !err && i < json_array_size(workers); i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        err = add_value(text, metric, "worker", number,
                        json_object_get(json_array_get(workers, i), metric->key));
    }
    return err;
}

static int add_states(struct jsonrpc_text *text, const struct metric *metric, const json_t *stats)
{
    const json_t *jobs = json_object_get(stats, metric->section);
    int err = add_head(text, metric);
    for (int state = JOB_WAITING; !err && state < JOB_STATE_COUNT; state++) {
        const char *name = job_state_name((enum job_state)state);
        bool is_end = job_state_is_end((enum job_state)state);
        if (is_end == (metric->shape == END_STATES))
            err = add_value(text, metric, "state", name, json_object_get(jobs, name));
    }
    return err;
}

static int add_info(struct jsonrpc_text *text, const json_t *stats)
{
    const char *version = json_string_value(json_object_get(stats, "version"));
    return add(text,
               "# HELP weft_info What runs here.\n# TYPE weft_info gauge\n"
               "weft_info{version=\"%s\"} 1\n",
               version ? version : "");
}

int http_metrics_text(const json_t *stats, struct jsonrpc_text *text)
{
    int err = add_info(text, stats);
    for (size_t i = 0; !err && i < sizeof metrics / sizeof metrics[0]; i++) {
        const struct metric *metric = &metrics[i];
        if (metric->shape == NUMBER)
            err = add_number(text, metric, stats);
        else if (metric->shape == WORKERS)
            err = add_workers(text, metric, stats);
        else
            err = add_states(text, metric, stats);
    }
    return err;
}

void http_metrics(struct http_request *request)
{
    json_t *stats;
    if (http_call(request, "daemon.stats", json_object(), &stats))
        return;
    if (http_metrics_text(stats, &request->text) == 0)
        request->status = 200;
    request->type = "text/plain; version=0.0.4; charset=utf-8";
    json_decref(stats);
}
