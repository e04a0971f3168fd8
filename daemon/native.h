/* SPDX-License-Identifier: MIT */
/*
 * native: handlers by name, and calling them.  What a module is: <weft/module.h>.
 *
 * The modules that come with weftd (modules/) are linked in and always there.  The table of all
 * handlers is complete before the first job is looked at, and does not change from then on.
 */
#pragma once

#include "protocol/params.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft/module.h>

struct problem; /* problem.h */
struct rpc_error;
struct run_outcome; /* run.h */
struct run_request;

/* A module that is known.  Immutable; lives as long as the process. */
struct native_module {
    char *name;
    char *version; /* NULL: it does not say */
    char *origin;  /* where it came from: a path, or "weftd" */
    bool apart;    /* each call has a process of its own, which loads it (run_module.c) */
    struct native_module *next; /* the table's */
};

/* A handler that is known, with copies of what its module said.  The same. */
struct native_handler {
    const struct native_module *module;
    char *name;
    char *summary;             /* NULL: none */
    struct param_spec *params; /* NULL: any object is accepted */
    bool *paths;               /* beside params: must it be an absolute path? */
    size_t params_count;
    int (*run)(struct weft_attempt *attempt);   /* NULL: apart */
    int (*check)(struct weft_attempt *attempt); /* NULL: apart, or it has none */
};

/* Put weftd's own modules into the table, once: before the first job, which else finds no handler.
 * Who adds or finds does it too.  Errors: as native_add(), each time. */
int native_add_built_in(struct problem *problem);

/**
 * Put a module's handlers into the table.  `origin` is where it came from.  Only before the first
 * job; the table and what it points to must stay.  One thread.
 * Errors: -EINVAL the table makes no sense, or is of another version; -EEXIST there is such a
 *         handler already; -ENOMEM.  All with problem, which names origin; then nothing was added.
 */
int native_add(const struct weft_module *table, const char *origin, struct problem *problem);

/* The same for a module that is not loaded into this process; its handlers have no functions. */
int native_add_hosted(const struct weft_module *table, const char *path, struct problem *problem);

/* NULL if there is none; then the nearest is named by native_check().  Any thread. */
const struct native_handler *native_find(const char *name);

/* The index-th handler over all modules; NULL behind the last.  For hello. */
const struct native_handler *native_at(size_t index);

/* Is there such a handler, and do args suit it, as far as can be told here?  Used at submit, so that a
 * bad call is refused there and not at run time.  Errors, with *error: -EINVAL (no_such_handler,
 * invalid_params); -ENOMEM. */
int native_check(const char *name, const json_t *args, struct rpc_error *error);

/* Call the handler that request->spec names, and put what came of it into the outcome.
 * Returns: 0 with outcome->result; else -errno with outcome->error.  Context: as the handler's. */
int native_run(const struct run_request *request, struct run_outcome *ret_outcome);
