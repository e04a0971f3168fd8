/* SPDX-License-Identifier: MIT */
/*
 * run: the runner's life, and outcomes.
 *
 * I6  Settings are immutable and counted: a reload gives new ones to runs that start later.
 * I7  runner->lock and the locks of tree_roots are leaves, held for a few instructions; only
 *     `spawning` is held over a spawn.
 *
 * See run.h for who may call what.  How programs run: run_exec.c; how they end: run_stop.c.
 */
#include "daemon/run_impl.h"

#include "daemon/config.h"
#include "daemon/job.h"
#include "daemon/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* ---- outcomes -------------------------------------------------------------------------------- */

void run_outcome_init(struct run_outcome *outcome)
{
    *outcome = (struct run_outcome){.exit_code = JOB_NO_EXIT, .term_signal = JOB_NO_EXIT};
}

void run_outcome_destroy(struct run_outcome *outcome)
{
    free(outcome->result);
    free(outcome->error);
    run_outcome_init(outcome);
}

void run_outcome_fail(struct run_outcome *outcome, const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        return;
    free(outcome->error);
    outcome->error = text;
}

/* ---- settings -------------------------------------------------------------------------------- */

void run_settings_put(struct run_settings *settings)
{
    if (!settings || atomic_fetch_sub(&settings->references, 1) > 1)
        return;
    free(settings->env);
    free(settings->cwd);
    free(settings->socket);
    free(settings);
}

int run_settings_new(const struct config *config, struct run_settings **ret_settings)
{
    struct run_settings *settings = calloc(1, sizeof(*settings));
    if (!settings)
        return -ENOMEM;
    atomic_init(&settings->references, 1);
    settings->program = config->exec.program;
    settings->output_max = config->exec.output_max;
    settings->keeps_tail = config->exec.keeps_tail;
    settings->kill_grace = config->exec.kill_grace;
    settings->module_memory = config->modules.memory;
    settings->cwd = strdup(config->exec.cwd);
    int size = asprintf(&settings->socket, "WEFT_SOCKET=%s", config->daemon.socket);
    if (size < 0)
        settings->socket = NULL;
    int rc = run_env_allowed(config->exec.env, environ, &settings->env);
    if (rc < 0 || !settings->cwd || !settings->socket) {
        run_settings_put(settings);
        return -ENOMEM;
    }
    *ret_settings = settings;
    return 0;
}

struct run_settings *run_settings_get(struct runner *runner)
{
    pthread_mutex_lock(&runner->lock);
    struct run_settings *settings = runner->settings;
    atomic_fetch_add(&settings->references, 1);
    pthread_mutex_unlock(&runner->lock);
    return settings;
}

void runner_apply_settings(struct runner *runner, struct run_settings *settings)
{
    pthread_mutex_lock(&runner->lock);
    struct run_settings *old = runner->settings;
    runner->settings = settings;
    pthread_mutex_unlock(&runner->lock);
    run_settings_put(old);
    run_group_check(runner, &settings->program);
}

/* ---- the runner ------------------------------------------------------------------------------ */

int runner_new(const struct config *config, struct output_store *outputs, const char *instance,
               struct problem *problem, struct runner **ret_runner)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        int rc = -errno;
        return problem_set(problem, rc, "cannot become a subreaper: %s", strerror(-rc));
    }
    struct runner *runner = calloc(1, sizeof(*runner));
    if (!runner || run_settings_new(config, &runner->settings) < 0) {
        free(runner);
        return problem_set(problem, -ENOMEM, "out of memory");
    }
    int rc = cgroups_open(config->exec.cgroups, problem, &runner->cgroups);
    if (rc < 0) {
        run_settings_put(runner->settings);
        free(runner);
        return rc;
    }
    run_group_check(runner, &runner->settings->program);
    runner->outputs = outputs;
    runner->sweep_ns = RUN_SWEEP_NS;
    snprintf(runner->instance, sizeof(runner->instance), "%s", instance);
    pthread_mutex_init(&runner->lock, NULL);
    tree_roots_init(&runner->roots);
    *ret_runner = runner;
    return 0;
}

void runner_limit_descriptors(struct runner *runner, const struct rlimit *limit)
{
    runner->limits[0] = (struct weft_process_limit){RLIMIT_NOFILE, *limit};
    runner->limits_count = 1;
}

void runner_free(struct runner *runner)
{
    if (!runner)
        return;
    run_settings_put(runner->settings);
    cgroups_close(&runner->cgroups);
    tree_roots_destroy(&runner->roots);
    pthread_mutex_destroy(&runner->lock);
    free(runner);
}

void runner_hurry(struct runner *runner)
{
    atomic_store(&runner->hurried, true);
    pthread_mutex_lock(&runner->lock);
    for (struct run_attempt *attempt = runner->attempts; attempt; attempt = attempt->next)
        if (attempt->in_grace)
            weft_scope_cancel(&attempt->grace);
    pthread_mutex_unlock(&runner->lock);
}

void runner_stats(struct runner *runner, struct runner_stats *ret_stats)
{
    *ret_stats = (struct runner_stats){
        .programs = atomic_load(&runner->programs),
        .calls = atomic_load(&runner->calls),
        .killed = atomic_load(&runner->killed),
        .orphans = atomic_load(&runner->roots.reaped),
        .live = atomic_load(&runner->live),
    };
}

int run_offload(int (*fn)(void *), void *arg)
{
    struct weft_scope shield;
    int result = 0;
    weft_shield_enter(&shield);
    int rc = weft_offload(fn, arg, &result);
    weft_scope_leave(&shield);
    return rc < 0 ? fn(arg) : result; /* rc < 0: it did not run */
}
