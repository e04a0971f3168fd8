/* SPDX-License-Identifier: MIT */
/*
 * config_table: one row per key.
 *
 * I1  Every field of struct config that a file can set has exactly one row; defaults, parsing,
 *     printing, the reload diff and conf/weftd.conf (by a test) follow from the rows.
 * I2  A default is text, read by the same parser as the file, so it obeys the same bounds.
 */
#include "daemon/config_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define KIB    (UINT64_C(1) << 10)
#define MIB    (UINT64_C(1) << 20)
#define TIB    (UINT64_C(1) << 40)

#define ROW(section, member, type, text, min, max, live)                                           \
    {                                                                                              \
#section, #member, type, offsetof(struct config, section.member), text, min, max, live     \
    }
/* Of a program, given by [exec] to all. */
#define PROGRAM(name, type)                                                                        \
    {                                                                                              \
        "exec", #name, type, offsetof(struct config, exec.program), "", 0, 0, true                 \
    }
#define QUEUE(member, type, text, min, max)                                                        \
    {                                                                                              \
        "queue", #member, type, offsetof(struct config_queue, member), text, min, max, true        \
    }

const struct config_key config_keys[] = {
    ROW(runtime, workers, CONFIG_COUNT32, "0", 0, 1024, false),
    ROW(runtime, stack_size, CONFIG_SIZE, "256K", 64 * KIB, MIB, false),
    ROW(runtime, offload_max, CONFIG_COUNT32, "64", 1, 4096, false),
    ROW(runtime, handoff, CONFIG_DURATION, "10ms", 0, HOUR, false),

    ROW(daemon, socket, CONFIG_STRING, "", 0, 0, false),
    ROW(daemon, socket_mode, CONFIG_MODE, "0660", 0, 0777, false),
    ROW(daemon, socket_group, CONFIG_STRING, "", 0, 0, false),
    ROW(daemon, state_dir, CONFIG_STRING, "", 0, 0, false),
    ROW(daemon, drain, CONFIG_DURATION, "5s", 0, DAY, true),
    ROW(daemon, grace, CONFIG_DURATION, "20s", SECOND, 7 * DAY, true),
    ROW(daemon, max_jobs, CONFIG_COUNT64, "2000000", 1, UINT64_C(1) << 32, true),
    ROW(daemon, max_jobs_user, CONFIG_COUNT64, "0", 0, UINT64_C(1) << 32, true),
    ROW(daemon, recent, CONFIG_COUNT32, "10000", 0, 10000000, true),
    ROW(daemon, key_keep, CONFIG_DURATION, "1h", 0, 3650 * DAY, true),
    ROW(daemon, events, CONFIG_COUNT32, "10000", 1, 10000000, true),
    ROW(daemon, max_connections, CONFIG_COUNT32, "10000", 1, 1000000, true),
    ROW(daemon, max_connections_user, CONFIG_COUNT32, "1000", 1, 1000000, true),
    ROW(daemon, max_in_flight, CONFIG_COUNT32, "128", 1, 65536, true),
    ROW(daemon, line_max, CONFIG_SIZE, "1M", KIB, 256 * MIB, true),
    ROW(daemon, partial_line_timeout, CONFIG_DURATION, "30s", 0, DAY, true),
    ROW(daemon, idle_timeout, CONFIG_DURATION, "0s", 0, 365 * DAY, true),
    ROW(daemon, write_timeout, CONFIG_DURATION, "1m", 0, DAY, true),

    ROW(http, listen, CONFIG_STRING, "", 0, 0, false),
    ROW(http, token_file, CONFIG_STRING, "", 0, 0, true),
    ROW(http, user, CONFIG_STRING, "", 0, 0, true),
    ROW(http, max_connections, CONFIG_COUNT32, "100", 1, 100000, true),
    ROW(http, keep_alive, CONFIG_DURATION, "15s", 10000000, HOUR, true),

    ROW(store, reserve, CONFIG_SIZE, "64M", 0, TIB, true),
    ROW(store, checkpoint, CONFIG_SIZE, "16M", 64 * KIB, 16 * 1024 * MIB, true),
    ROW(store, wal_max, CONFIG_SIZE, "1G", 0, TIB, true),
    ROW(store, batch_max, CONFIG_COUNT32, "4096", 1, 1000000, true),

    ROW(memory, decay, CONFIG_DURATION, "10s", 0, DAY, false),
    ROW(memory, arenas, CONFIG_COUNT32, "0", 0, 4094, false),

    QUEUE(concurrency, CONFIG_CONCURRENCY, "1", 0, 1000000),
    QUEUE(timeout, CONFIG_DURATION, "0s", 0, 365 * DAY),
    QUEUE(aging, CONFIG_DURATION, "1m", 0, 365 * DAY),
    QUEUE(paused, CONFIG_SWITCH, "no", 0, 0),
    QUEUE(rate, CONFIG_RATE, "none", 0, 0),
    QUEUE(concurrency_user, CONFIG_COUNT32, "0", 0, 1000000),
    QUEUE(max_waiting, CONFIG_COUNT64, "0", 0, UINT64_C(1) << 32),
    QUEUE(priority, CONFIG_INT32, "0", 0, 1000000), /* JOB_PRIORITY_MAX, and as far below 0 */
    QUEUE(retries, CONFIG_COUNT32, "0", 0, 1000),   /* JOB_RETRIES_MAX */
    {"queue", "on_crash", CONFIG_ON_CRASH, offsetof(struct config_queue, crash_fails), "requeue", 0,
     0, true},
    QUEUE(timeout_total, CONFIG_DURATION, "0s", 0, 365 * DAY),

    ROW(exec, env, CONFIG_WORDS, "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TMPDIR", 0, 0,
        true),
    ROW(exec, cwd, CONFIG_STRING, "/", 0, 0, true),
    ROW(exec, cgroups, CONFIG_WISH, "auto", 0, 0, false),
    ROW(exec, output_max, CONFIG_SIZE, "16M", 0, TIB, true),
    {"exec", "output_keep", CONFIG_KEEP, offsetof(struct config, exec.keeps_tail), "head", 0, 0,
     true},
    ROW(exec, kill_grace, CONFIG_DURATION, "5s", 0, HOUR, true),
    PROGRAM(umask, CONFIG_UMASK),
    PROGRAM(nice, CONFIG_NICE),
    PROGRAM(ionice, CONFIG_IONICE),
    PROGRAM(limits, CONFIG_LIMITS),
    PROGRAM(memory_max, CONFIG_GROUP),
    PROGRAM(tasks_max, CONFIG_GROUP),
    PROGRAM(cpu_quota, CONFIG_GROUP),

    ROW(jobs, crash_limit, CONFIG_COUNT32, "3", 0, 1000000, true),
    ROW(jobs, retry_base, CONFIG_DURATION, "1s", 1000000, DAY, true),
    ROW(jobs, retry_cap, CONFIG_DURATION, "10m", 1000000, 365 * DAY, true),
    ROW(jobs, retain, CONFIG_DURATION, "30d", 0, 3650 * DAY, true),
    ROW(jobs, retain_max, CONFIG_COUNT64, "1000000", 0, UINT64_C(1) << 40, true),

    ROW(modules, load, CONFIG_WORDS, "", 0, 0, false),
    ROW(modules, trusted, CONFIG_WORDS, "", 0, 0, false),
    ROW(modules, memory, CONFIG_SIZE, "1G", 0, TIB, true),

    ROW(access, admin_group, CONFIG_STRING, "", 0, 0, true),

    ROW(log, level, CONFIG_LEVEL, "info", 0, 0, true),
};
const size_t config_keys_count = sizeof config_keys / sizeof config_keys[0];

const struct config_key *config_key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->section, section) == 0 && strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

const char *config_section_at(size_t index)
{
    const char *last = NULL;
    for (size_t i = 0; i < config_keys_count; i++) {
        if (last && strcmp(last, config_keys[i].section) == 0)
            continue;
        last = config_keys[i].section;
        if (index-- == 0)
            return last;
    }
    return NULL;
}

int config_section_defaults(const char *section, void *base)
{
    char why[CONFIG_WHY_MAX];
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->section, section) != 0)
            continue;
        int err = config_value_parse(key, key->default_text, base, why);
        if (err)
            return err;
    }
    return 0;
}

static int queue_add(struct config *config, const char *name, struct config_queue **ret_queue)
{
    size_t count = config->queues_count;
    struct config_queue *queues = realloc(config->queues, (count + 1) * sizeof *queues);
    if (!queues)
        return -ENOMEM;
    config->queues = queues;
    struct config_queue *queue = &queues[count];
    memset(queue, 0, sizeof *queue);
    queue->name = strdup(name);
    if (!queue->name)
        return -ENOMEM;
    config->queues_count++;
    *ret_queue = queue;
    return config_section_defaults("queue", queue);
}

int config_queue_get(struct config *config, const char *name, struct config_queue **ret_queue)
{
    for (size_t i = 0; i < config->queues_count; i++) {
        if (strcmp(config->queues[i].name, name) == 0) {
            *ret_queue = &config->queues[i];
            return 0;
        }
    }
    return queue_add(config, name, ret_queue);
}

/* The queue that is always there, and wide: most people have only this one. */
static int add_default_queue(struct config *config)
{
    struct config_queue *queue;
    int err = queue_add(config, "default", &queue);
    if (err)
        return err;
    char why[CONFIG_WHY_MAX];
    return config_value_parse(config_key_find("queue", "concurrency"), "auto", queue, why);
}

int config_new_defaults(struct config **ret_config)
{
    struct config *config = calloc(1, sizeof *config);
    if (!config)
        return -ENOMEM;
    int err = 0;
    const char *section;
    for (size_t i = 0; !err && (section = config_section_at(i)); i++) {
        if (strcmp(section, "queue") != 0)
            err = config_section_defaults(section, config);
    }
    if (!err)
        err = add_default_queue(config);
    if (err) {
        config_free(config);
        return err;
    }
    *ret_config = config;
    return 0;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config_keys_count; i++) {
        if (strcmp(config_keys[i].section, "queue") != 0)
            config_value_destroy(&config_keys[i], config);
    }
    for (size_t i = 0; i < config->queues_count; i++)
        free(config->queues[i].name); /* a queue's other fields own nothing */
    free(config->queues);
    free(config->path);
    free(config);
}
