/* SPDX-License-Identifier: MIT */
/* verb_stats: daemon.stats for people: a table of workers, then a line per part.  What each part
 * shows is a table too; a figure that weftd does not give is left out. */
#include "client/job_text.h"
#include "client/table.h"
#include "client/text.h"
#include "client/verbs.h"

#include <errno.h>

enum figure_kind { FIGURE_COUNT, FIGURE_BYTES, FIGURE_SECONDS, FIGURE_TEXT };

struct figure {
    const char *member, *label;
    enum figure_kind kind;
};

static const struct figure worker_figures[] = {
    {"turns", "TURNS", FIGURE_COUNT},       {"spawned", "SPAWNED", FIGURE_COUNT},
    {"steals", "STEALS", FIGURE_COUNT},     {"stolen", "STOLEN", FIGURE_COUNT},
    {"parks", "PARKS", FIGURE_COUNT},       {"wakes", "WAKES", FIGURE_COUNT},
    {"polls", "POLLS", FIGURE_COUNT},       {"events", "EVENTS", FIGURE_COUNT},
    {"handoffs", "HANDOFFS", FIGURE_COUNT}, {"longest_turn", "LONGEST", FIGURE_SECONDS},
};
#define WORKER_FIGURES (sizeof worker_figures / sizeof worker_figures[0])

static const struct figure job_figures[] = {
    {"waiting", "waiting", FIGURE_COUNT},     {"delayed", "delayed", FIGURE_COUNT},
    {"queued", "queued", FIGURE_COUNT},       {"running", "running", FIGURE_COUNT},
    {"succeeded", "succeeded", FIGURE_COUNT}, {"failed", "failed", FIGURE_COUNT},
    {"cancelled", "cancelled", FIGURE_COUNT}, {"timed_out", "timed out", FIGURE_COUNT},
    {"dead", "dead", FIGURE_COUNT},           {0},
};
static const struct figure total_figures[] = {
    {"submitted", "submitted", FIGURE_COUNT},
    {"started", "started", FIGURE_COUNT},
    {"retried", "retried", FIGURE_COUNT},
    {"revived", "revived", FIGURE_COUNT},
    {"interrupted", "interrupted", FIGURE_COUNT},
    {"not_durable", "not durable", FIGURE_COUNT},
    {"kept", "kept", FIGURE_COUNT},
    {"forgotten", "forgotten", FIGURE_COUNT},
    {0},
};
static const struct figure run_figures[] = {
    {"programs", "programs", FIGURE_COUNT}, {"calls", "calls", FIGURE_COUNT},
    {"killed", "killed", FIGURE_COUNT},     {"orphans", "orphans", FIGURE_COUNT},
    {"live", "live", FIGURE_COUNT},         {0},
};
static const struct figure store_figures[] = {
    {"commits", "commits", FIGURE_COUNT},
    {"writes", "writes", FIGURE_COUNT},
    {"batch_max", "largest batch", FIGURE_COUNT},
    {"commit_longest", "longest commit", FIGURE_SECONDS},
    {"pending", "pending", FIGURE_COUNT},
    {"file_bytes", "file", FIGURE_BYTES},
    {"wal_bytes", "log", FIGURE_BYTES},
    {0},
};
static const struct figure memory_figures[] = {
    {"allocator", "allocator", FIGURE_TEXT},  {"rss", "resident", FIGURE_BYTES},
    {"allocated", "allocated", FIGURE_BYTES}, {"active", "active", FIGURE_BYTES},
    {"retained", "retained", FIGURE_BYTES},   {0},
};
static const struct figure runtime_figures[] = {
    {"fibers", "live", FIGURE_COUNT},
    {"stacks", "stacks", FIGURE_COUNT},
    {"stack_bytes", "stack memory", FIGURE_BYTES},
    {"offload_threads", "offload threads", FIGURE_COUNT},
    {0},
};
static const struct figure server_figures[] = {
    {"connections", "connections", FIGURE_COUNT}, {"in_flight", "in flight", FIGURE_COUNT},
    {"requests", "requests", FIGURE_COUNT},       {"errors", "errors", FIGURE_COUNT},
    {"refused", "refused", FIGURE_COUNT},         {0},
};

static const struct figure event_figures[] = {
    {"last", "newest", FIGURE_COUNT},
    {"kept", "kept", FIGURE_COUNT},
    {"subscribers", "subscribers", FIGURE_COUNT},
    {0},
};

static const struct part {
    const char *member, *label;
    const struct figure *figures;
} parts[] = {
    {"jobs", "jobs", job_figures},         {"totals", "", total_figures},
    {"runs", "runs", run_figures},         {"store", "store", store_figures},
    {"memory", "memory", memory_figures},  {"runtime", "fibers", runtime_figures},
    {"server", "clients", server_figures}, {"events", "events", event_figures},
};

static const char *figure_text(const json_t *value, enum figure_kind kind,
                               char buffer[static TEXT_SHORT_MAX])
{
    double number = json_number_value(value);
    if (kind == FIGURE_TEXT)
        snprintf(buffer, TEXT_SHORT_MAX, "%s",
                 json_is_string(value) ? json_string_value(value) : "-");
    else if (kind == FIGURE_BYTES)
        text_bytes(number > 0 ? (uint64_t)number : 0, buffer);
    else if (kind == FIGURE_SECONDS && number < 1)
        snprintf(buffer, TEXT_SHORT_MAX, "%.1fms", number * 1000);
    else if (kind == FIGURE_SECONDS)
        text_duration(number, buffer);
    else
        snprintf(buffer, TEXT_SHORT_MAX, "%lld", (long long)json_integer_value(value));
    return buffer;
}

static int print_workers(struct command *command, const json_t *workers)
{
    size_t i;
    json_t *worker;
    struct table table;
    char text[TEXT_SHORT_MAX];
    table_init(&table, "rrrrrrrrrrr");
    table_add(&table, "WORKER");
    for (size_t k = 0; k < WORKER_FIGURES; k++)
        table_add(&table, "%s", worker_figures[k].label);
    json_array_foreach(workers, i, worker)
    {
        table_add(&table, "%zu", i);
        for (size_t k = 0; k < WORKER_FIGURES; k++)
            table_add(&table, "%s",
                      figure_text(json_object_get(worker, worker_figures[k].member),
                                  worker_figures[k].kind, text));
    }
    int err = table_print(&table, command->out, 0);
    table_destroy(&table);
    return err ? command_explain(command, err, NULL) : COMMAND_OK;
}

static void print_part(FILE *to, const struct part *part, const json_t *values)
{
    char text[TEXT_SHORT_MAX];
    const char *between = "";
    if (!values)
        return;
    fprintf(to, "%-8s ", part->label);
    for (const struct figure *at = part->figures; at->member; at++) {
        const json_t *value = json_object_get(values, at->member);
        if (!value)
            continue;
        if (at->kind == FIGURE_TEXT)
            fprintf(to, "%s%s", between, figure_text(value, at->kind, text));
        else
            fprintf(to, "%s%s %s", between, at->label, figure_text(value, at->kind, text));
        between = ", ";
    }
    fputc('\n', to);
}

static int print_stats(struct command *command, const json_t *stats)
{
    char up[TEXT_SHORT_MAX];
    fprintf(command->out, "weftd %s, pid %lld, up %s\n\n", job_string(stats, "version"),
            (long long)json_integer_value(json_object_get(stats, "pid")),
            text_duration(json_number_value(json_object_get(stats, "uptime")), up));
    int status = print_workers(command, json_object_get(stats, "workers"));
    fputc('\n', command->out);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        print_part(command->out, &parts[i], json_object_get(stats, parts[i].member));
    json_int_t lost = json_integer_value(json_object_get(json_object_get(stats, "log"), "lost"));
    if (lost > 0)
        fprintf(command->out, "\n%lld lines of the log were lost.\n", (long long)lost);
    if (json_is_true(json_object_get(stats, "drained")))
        fputs("\nweftd is drained: it starts no jobs until `weft drain --undo`.\n", command->out);
    if (json_is_true(json_object_get(json_object_get(stats, "store"), "failed")))
        fputs("\nThe store has FAILED: weftd's log says why.\n", command->out);
    return status;
}

int verb_stats(struct command *command)
{
    json_t *stats;
    int status = command_ask(command, "daemon.stats", &stats);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, stats);
    else
        status = print_stats(command, stats);
    json_decref(stats);
    return status;
}
