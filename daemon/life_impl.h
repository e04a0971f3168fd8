/* SPDX-License-Identifier: MIT */
/*
 * life_impl: what life.c, life_reload.c and life_watch.c share.
 */
#pragma once

#include "daemon/life.h"
#include "daemon/methods.h"
#include "daemon/problem.h"
#include "daemon/store.h"
#include "weft/weft.h"

#include <stdatomic.h>

/* How long replies may still be written after the jobs have been stopped. */
#define LIFE_FAREWELL (2 * WEFT_SECOND)

struct output_store;

struct life {
    const struct life_options *options;
    struct config *first;   /* what this life started with: the restart keys in force */
    struct config *current; /* guarded by reload_lock; may be `first` */
    bool begun;             /* there is a runtime */
    struct weft_mutex reload_lock;

    struct store *store;
    struct output_store *outputs;
    struct runner *runner;
    struct engine *engine;
    struct server *server;
    struct daemon_context context;

    struct weft_event wake; /* one of the following is set */
    struct weft_signals *signal_source;
    atomic_int signals; /* SIGTERM and SIGINT so far */
    atomic_bool engine_ended;
    int engine_result;       /* valid once engine_ended */
    atomic_int server_error; /* why nobody is served; 0: they are, or it was to end */

    struct weft_event stopping; /* the following are set */
    uint64_t grace, drain;
    uint64_t stop_deadline; /* the stop's begin + grace */
    atomic_bool jobs_stopped;
};

/* life_reload.c: daemon_context.reload, and the same for SIGHUP. */
int life_reload(struct daemon_context *context, struct problem *problem, json_t **ret_report);
void life_reload_on_signal(struct life *life);

/* life_watch.c: fibers; arg is the life, they end when they are cancelled. */
int life_watch_signals(void *arg);
int life_feed_watchdog(void *arg); /* ends at once if nobody asked for it */
int life_watch_stop(
    void *arg); /* from `stopping` on: asks for time, and hurries when it is short */
void life_hurry(struct life *life);
