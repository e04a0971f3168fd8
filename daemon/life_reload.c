/* SPDX-License-Identifier: MIT */
/*
 * life_reload: a new configuration while everything runs.
 *
 * I1  The file is read and checked whole before anything changes; if it is bad, or if the engine
 *     cannot take it, everything stays as it was.
 * I2  Restart keys are compared with the configuration of the start, so they are named again at
 *     each reload until the restart.
 */
#include "daemon/engine.h"
#include "daemon/life_impl.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "protocol/json_memory.h"

#include <errno.h>

struct load {
    const struct life_options *options;
    struct problem problem;
    struct config *config;
};

static int load_main(void *arg)
{
    struct load *load = arg;
    char buffer[4096];
    return config_load(life_config_path(load->options->config_path, buffer),
                       &load->options->overrides, &load->problem, &load->config);
}

/* Every error of the file itself is -EINVAL to the caller, whatever open(2) said. */
static int load(const struct life *life, struct problem *problem, struct config **ret_config)
{
    struct load load = {.options = life->options};
    int result;
    int err = weft_offload(load_main, &load, &result);
    if (err)
        return problem_set(problem, err, "the configuration could not be read");
    if (result) {
        *problem = load.problem;
        return result == -ENOMEM ? result : -EINVAL;
    }
    *ret_config = load.config;
    return 0;
}

static int apply(struct life *life, const struct config *fresh, struct problem *problem)
{
    struct run_settings *settings;
    int err = run_settings_new(fresh, &settings);
    if (err)
        return problem_set(problem, err, "the runner could not take the new configuration");
    err = engine_apply_config(life->engine, fresh);
    if (err) {
        run_settings_put(settings);
        return problem_set(problem, err, "the engine could not take the new configuration");
    }
    /* Nothing of what follows can fail (I1). */
    runner_apply_settings(life->runner, settings);
    store_apply_config(life->store, &fresh->store);
    server_apply_config(life->server, fresh);
    log_set_level(fresh->log.level);
    return 0;
}

static json_t *report(size_t changed, const struct config_pending *pending)
{
    json_t *restart = json_array();
    for (size_t i = 0; restart && i < pending->count; i++)
        restart = json_memory_append(restart, json_string(pending->keys[i]));
    return json_pack("{s:I, s:o}", "changed", (json_int_t)changed, "restart", restart);
}

/* What changes now, and what only at the next start. */
static int compare(const struct life *life, const struct config *fresh, size_t *ret_changed,
                   struct config_pending *ret_pending)
{
    struct config_pending ignored;
    size_t unused;
    int err = config_diff(life->current, fresh, ret_changed, &ignored);
    if (err)
        return err;
    config_pending_destroy(&ignored);
    return config_diff(life->first, fresh, &unused, ret_pending);
}

static void log_reload(size_t changed, const struct config_pending *pending)
{
    log_notice("configuration reloaded: %zu changed", changed);
    for (size_t i = 0; i < pending->count; i++)
        log_notice("%s has changed and takes effect at the next start", pending->keys[i]);
}

/* Take over fresh, or leave it to the caller on failure. */
static int switch_to(struct life *life, struct config *fresh, struct problem *problem,
                     json_t **ret_report)
{
    struct config_pending pending;
    size_t changed;
    int err = compare(life, fresh, &changed, &pending);
    if (err)
        return problem_set(problem, err, "configuration: out of memory");
    err = apply(life, fresh, problem);
    if (!err) {
        if (life->current != life->first)
            config_free(life->current);
        life->current = fresh;
        log_reload(changed, &pending);
        *ret_report = report(changed, &pending);
    }
    config_pending_destroy(&pending);
    return err;
}

static int reload_locked(struct life *life, struct problem *problem, json_t **ret_report)
{
    struct config *fresh;
    int err = load(life, problem, &fresh);
    if (err)
        return err;
    err = switch_to(life, fresh, problem, ret_report);
    if (err)
        config_free(fresh);
    return err;
}

int life_reload(struct daemon_context *context, struct problem *problem, json_t **ret_report)
{
    struct life *life = context->main;
    int err = weft_mutex_lock(&life->reload_lock);
    if (err)
        return err;
    notify_reloading();
    err = reload_locked(life, problem, ret_report);
    if (err)
        log_error("reload: %s; the settings in force stay", problem->text);
    notify_ready();
    weft_mutex_unlock(&life->reload_lock);
    return err;
}

void life_reload_on_signal(struct life *life)
{
    struct problem problem = {0};
    json_t *ignored = NULL;
    life_reload(&life->context, &problem, &ignored);
    json_decref(ignored);
}
