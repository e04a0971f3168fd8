/* SPDX-License-Identifier: MIT */
/*
 * methods: the command table.  One row per method of the wire; the rows say what the parameters
 * are, so checking, the error texts, hello's list and the protocol page come from one place.
 *
 * A handler runs on its own fiber, gets checked params, and either sets a result or fills error:
 *   returns 0       -> *ret_result is the reply's result (reference handed over); NULL: out of memory
 *   returns -errno  -> request->error is the reply; if its code is still RPC_OK the errno is
 *                      translated by the one table in methods.c
 * job.submit's and queue.set's own rows have no param table: job_spec_from_json() and
 * queue_change_from_json() check everything.
 */
#pragma once

#include "daemon/job.h"
#include "protocol/error.h"
#include "protocol/params.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct problem;
struct engine;
struct runner;
struct server;
struct store;
struct weft_runtime;

/* What the handlers may use.  Filled by main, borrowed by all, outlives server and sessions. */
struct daemon_context {
    struct weft_runtime *runtime;
    struct engine *engine;
    struct store *store;
    struct runner *runner;
    struct server *server; /* set after server_new() */
    uint64_t started_ns;   /* monotonic */
    const char *version;

    /* daemon.reload and SIGHUP: load, diff, apply; serialised inside.  Fiber, suspends.
     * *ret_report: {"changed": n, "restart": ["daemon.socket", …]}, a new reference.
     * Errors: -EINVAL the file is bad (text in problem), nothing changed. */
    int (*reload)(struct daemon_context *context, struct problem *problem, json_t **ret_report);
    void *main; /* main.c's own */
};

/* What is told to a client once its request is answered, until there is no more or the connection
 * ends: events.subscribe fills it in.  Whoever has the connection asks for the next records when it
 * has written those before, as lines (session.c) or as it is done in HTTP (http_events.c). */
struct request_follow_up {
    /* NULL: there is no follow-up.  The next records, objects in an array, which may be empty:
     * nothing of that was for this client.  Suspends; one fiber at a time.
     * Errors: -EPIPE nothing more will come, -ETIMEDOUT nothing until deadline_ns, others. */
    int (*next)(void *arg, uint64_t deadline_ns, json_t **ret_records);
    const char *name;        /* what a record is called, "event" */
    void (*free)(void *arg); /* once, whether it was asked or not; never suspends */
    void *arg;
};

/* How a descriptor goes with the reply.  Filled in by whoever has the connection (session_pass.c). */
struct request_pass {
    /* To be called before a descriptor is opened: waits until this connection has none on its way,
     * so that what a client does not take is bounded.  Errors: the scope's. */
    int (*begin)(void *arg);
    void *arg;
    int fd; /* -1, until the handler sets it, when it cannot fail any more; taken over */
};

struct request {
    struct daemon_context *context;
    const struct peer *peer;
    struct request_follow_up *follow_up; /* NULL: not here (a batch) */
    struct request_pass *pass;           /* NULL: not here (a batch, HTTP) */
    const json_t *params;                /* checked object; NULL if none were given */
    const struct engine_turn *turn;      /* for submits: when the next request may start; or NULL */
    struct rpc_error error;
    /* By methods_call(): it is done, and no error may be the reply.  Where there is no memory for its
     * own, the client must see that the reply is lost. */
    bool changed;
};

struct method {
    const char *name;                /* "job.get" */
    const struct param_spec *params; /* NULL with params_count 0: takes none */
    size_t params_count;
    int (*handle)(struct request *request, json_t **ret_result);
    bool checks_itself; /* params go to the handler unchecked */
    bool takes_turns;   /* a client's requests of this kind take effect in the order they came */
    bool changes;       /* what it did stays done, whatever becomes of the reply */
};

/* hello ping job.submit job.submit_many job.get job.list job.wait job.cancel job.retry job.explain
 * job.logs job.output queue.list queue.pause queue.resume queue.set queue.purge events.subscribe daemon.stats
 * daemon.reload.  Sorted by name. */
extern const struct method methods[];
extern const size_t methods_count;

/* Whether requests of this method take turns: then the handler calls request->turn.  Pure. */
bool methods_takes_turns(const char *name);

/* Check and run one request: what session.c calls.  Never NULL-result on 0.
 * Errors: -errno with request->error complete (method_not_found names the nearest); it is the reply
 * unless request->changed. */
int methods_call(struct request *request, const char *name, json_t **ret_result);
