/* SPDX-License-Identifier: MIT */
/*
 * life: see life.h.
 *
 *   main thread    store opened -> runtime -> main fiber ... -> store stopped and closed
 *   main fiber     runner, engine, recovery, server; then waits for `wake`; then stops it all
 *   services       engine_run, server_run: end by themselves when they are told to stop
 *   helpers        signals, watchdog, the clock of the stop: cancelled when the services have ended
 *
 * I1  Services and helpers return 0, whatever happened: how the engine ended is in engine_result.
 *     So neither group is ever cancelled by a child.
 * I2  READY is sent when the socket listens and recovery is committed.
 */
#include "daemon/life.h"

#include "daemon/engine.h"
#include "daemon/life_impl.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/output.h"
#include "daemon/run.h"
#include "daemon/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long fibers may then take to end: no job has any left, but a module may have started some. */
#define LAST_GRACE WEFT_SECOND

const char *life_config_path(const char *given, char buffer[static 4096])
{
    const char *home;
    if (given)
        return given;
    if (geteuid() == 0)
        strcpy(buffer, "/etc/weft/weftd.conf");
    else if ((home = getenv("XDG_CONFIG_HOME")) && home[0] == '/')
        snprintf(buffer, 4096, "%s/weft/weftd.conf", home);
    else if ((home = getenv("HOME")) && home[0] == '/')
        snprintf(buffer, 4096, "%s/.config/weft/weftd.conf", home);
    else
        return NULL;
    bool is_none = access(buffer, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
    return is_none ? NULL : buffer; /* what cannot be looked at now is read, and says why not */
}

/* ---- up ------------------------------------------------------------------------------------ */

static int make_runner(struct life *life, struct problem *problem)
{
    struct store_life store;
    const char *state = life->first->daemon.state_dir;
    int err = output_store_new(state, &life->outputs);
    if (err)
        return problem_set(problem, err, "the output folder in %s: %s", state,
                           strerrordesc_np(-err));
    store_life(life->store, &store);
    err = runner_new(life->first, life->outputs, store.instance, problem, &life->runner);
    if (err == 0 && life->options->program_fds)
        runner_limit_descriptors(life->runner, life->options->program_fds);
    return err;
}

static void log_recovery(const struct engine_recovery *recovery)
{
    log_info("recovered: %zu queued, %zu delayed, %zu waiting, %zu to run again, %zu failed, %zu "
             "dead, %zu left-over processes killed",
             recovery->queued, recovery->delayed, recovery->waiting, recovery->requeued,
             recovery->failed, recovery->dead, recovery->killed);
}

static int make_engine(struct life *life, struct problem *problem)
{
    const struct engine_parts parts = {.config = life->first,
                                       .store = life->store,
                                       .runner = life->runner,
                                       .outputs = life->outputs};
    struct store_life store;
    struct engine_recovery recovery;
    int err = engine_new(&parts, &life->engine);
    if (err)
        return problem_set(problem, err, "the engine: %s", strerrordesc_np(-err));
    err = store_settings(life->store, engine_adopt_setting, life->engine, problem);
    if (!err)
        err = store_recover(life->store, engine_adopt, life->engine, problem);
    if (err)
        return err;
    store_life(life->store, &store);
    engine_set_next_id(life->engine, store.next_id);
    engine_set_kept(life->engine, store.ended);
    err = store_start(life->store);
    if (err)
        return problem_set(problem, err, "the store's thread: %s", strerrordesc_np(-err));
    err = engine_recover(life->engine, problem, &recovery);
    if (!err)
        log_recovery(&recovery);
    return err;
}

static int make_server(struct life *life, struct problem *problem)
{
    life->context = (struct daemon_context){
        .runtime = weft_runtime_self(),
        .engine = life->engine,
        .store = life->store,
        .runner = life->runner,
        .started_ns = weft_now_ns(),
        .version = WEFT_VERSION,
        .reload = life_reload,
        .main = life,
    };
    int err = server_new(life->first, life->options->inherited_fd, &life->context, problem,
                         &life->server);
    if (!err)
        life->context.server = life->server;
    return err;
}

static int make_all(struct life *life)
{
    struct problem problem = {0};
    int err = make_runner(life, &problem);
    if (!err)
        err = make_engine(life, &problem);
    if (!err)
        err = make_server(life, &problem);
    if (err)
        log_error("%s", problem.text[0] ? problem.text : strerrordesc_np(-err));
    return err;
}

/* ---- down ---------------------------------------------------------------------------------- */

static int stop_reason(const struct life *life)
{
    int err = atomic_load(&life->server_error);
    return err || !atomic_load(&life->engine_ended) ? err : life->engine_result;
}

static void begin_stop(struct life *life)
{
    weft_mutex_lock_shielded(&life->reload_lock);
    life->grace = life->current->daemon.grace;
    life->drain = life->current->daemon.drain;
    weft_mutex_unlock(&life->reload_lock);
    life->stop_deadline = weft_deadline_after(life->grace);
    notify_stopping(); /* before life_watch_stop asks for more time */
    weft_event_set(&life->stopping);
}

/* README.md: the engine first, so that clients who wait are told, then the connections. */
static void stop_all(struct life *life)
{
    begin_stop(life);
    if (life->options->inherited_fd >= 0)
        server_close_listener(life->server); /* who comes now waits for the next start */
    engine_drain(life->engine);
    int err = engine_stop(life->engine, weft_deadline_after(life->drain));
    if (err)
        log_error("jobs could not be stopped in order: %s", strerrordesc_np(-err));
    atomic_store(&life->jobs_stopped, true);
    server_stop(life->server, weft_deadline_after(LIFE_FAREWELL));
}

static void free_all(struct life *life)
{
    server_free(life->server);
    engine_free(life->engine);
    runner_free(life->runner);
    output_store_free(life->outputs);
}

/* ---- between ------------------------------------------------------------------------------- */

static int engine_main(void *arg)
{
    struct life *life = arg;
    life->engine_result = engine_run(life->engine);
    atomic_store(&life->engine_ended, true);
    weft_event_set(&life->wake);
    return 0;
}

/* Cancelled when the services have ended. */
static int retain_main(void *arg)
{
    struct life *life = arg;
    (void)engine_retain(life->engine);
    return 0;
}

static int clock_main(void *arg)
{
    struct life *life = arg;
    (void)engine_clock(life->engine);
    return 0;
}

static int server_main(void *arg)
{
    struct life *life = arg;
    int err = server_run(life->server);
    atomic_store(&life->server_error, err);
    if (err)
        weft_event_set(&life->wake);
    return err;
}

static int watch_signals(struct life *life)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return weft_signals_new(&set, &life->signal_source);
}

static int start(struct life *life, struct weft_group *helpers, struct weft_group *services)
{
    int err = watch_signals(life);
    if (!err)
        err = weft_group_spawn(helpers, "signals", life_watch_signals, life);
    if (!err)
        err = weft_group_spawn(helpers, "watchdog", life_feed_watchdog, life);
    if (!err)
        err = weft_group_spawn(helpers, "stop", life_watch_stop, life); /* while there is memory */
    if (!err)
        err = weft_group_spawn(helpers, "retain", retain_main, life);
    if (!err)
        err = weft_group_spawn(helpers, "clock", clock_main, life);
    if (!err)
        err = weft_group_spawn(services, "engine", engine_main, life);
    if (!err)
        err = weft_group_spawn(services, "server", server_main, life);
    if (err)
        log_error("signals or fibers cannot be set up: %s", strerrordesc_np(-err));
    return err;
}

static void announce(const struct life *life)
{
    notify_ready();
    notify_status("ready on %s", life->first->daemon.socket);
    log_notice("weftd %s ready on %s, state in %s, %s", WEFT_VERSION, life->first->daemon.socket,
               life->first->daemon.state_dir,
               life->first->path ? life->first->path : "embedded defaults");
}

static void kill_orphans(const struct life *life)
{
    int killed = runner_kill_orphans(life->runner);
    if (killed < 0)
        log_warning("processes of jobs may be left: %s", strerrordesc_np(-killed));
    if (killed > 0)
        log_warning("%d processes were killed that had outlived their jobs", killed);
}

static int serve(struct life *life)
{
    struct weft_group helpers, services;
    weft_group_init(&helpers);
    weft_group_init(&services);
    int err = start(life, &helpers, &services);
    if (!err) {
        announce(life);
        weft_event_wait(&life->wake, WEFT_NO_DEADLINE);
        err = stop_reason(life);
        stop_all(life);
    } else {
        weft_group_cancel(&services);
    }
    weft_group_join(&services);
    kill_orphans(life);
    weft_group_cancel(&helpers);
    weft_group_join(&helpers);
    weft_signals_free(life->signal_source);
    return err ? err : stop_reason(life);
}

static int stop_store(void *arg)
{
    struct life *life = arg;
    store_stop(life->store);
    return 0;
}

static int life_main(void *arg)
{
    struct life *life = arg;
    life->begun = true;
    int err = make_all(life);
    if (!err)
        err = serve(life);
    /* its thread calls into the engine and wakes fibers: before those and the runtime are gone */
    if (weft_offload(stop_store, life, NULL) < 0)
        stop_store(life);
    free_all(life);
    return err;
}

static int run(struct life *life)
{
    struct weft_options options;
    weft_options_init(&options);
    options.workers = life->first->runtime.workers;
    options.stack_size = life->first->runtime.stack_size;
    options.offload_threads = life->first->runtime.offload_max;
    options.handoff_ns = life->first->runtime.handoff;
    if (options.handoff_ns == 0)
        options.handoff_ns = WEFT_HANDOFF_NEVER;
    options.handle_signals = false;
    options.grace_ns = LAST_GRACE;
    int err = weft_run(&options, life_main, life);
    struct problem problem = {0};
    if (!life->begun)
        log_error("cannot start the workers (threads, and a loop for each): %s", strerror(-err));
    if (store_error(life->store, &problem))
        log_error("the store failed: %s", problem.text);
    return err;
}

int life_run(const struct life_options *options, struct config *config)
{
    struct problem problem = {0};
    struct life life = {.options = options, .first = config, .current = config};
    weft_mutex_init(&life.reload_lock);
    weft_event_init(&life.wake);
    weft_event_init(&life.stopping);
    int err = store_open(&config->store, config->daemon.state_dir, &problem, &life.store);
    if (err) {
        log_error("%s", problem.text);
    } else {
        err = run(&life);
        if (err == -ETIMEDOUT) { /* threads are stuck and use what would be freed here */
            log_stop();
            _exit(EXIT_FAILURE);
        }
        store_stop(life.store);
        store_free(life.store);
    }
    if (life.current != life.first)
        config_free(life.current);
    config_free(life.first);
    return err;
}
