/* SPDX-License-Identifier: MIT */
/*
 * native: handlers that run inside weftd, as fiber functions, by name.
 *
 * A module is a table of handlers (modules/core.c: echo, sleep; modules/file.c: file.copy,
 * file.hash, which live in modules/file_copy.c and modules/file_hash.c).  Modules are linked in and
 * listed in native.c; loading shared objects comes later behind the same versioned struct.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct param_spec; /* protocol/params.h */
struct rpc_error;

#define NATIVE_ABI 1

/* One call.  Its content is private to native.c; lives for the call. */
struct native_call;

struct native_handler {
    const char *name;                /* "file.copy" */
    const struct param_spec *params; /* NULL: any object is accepted (echo) */
    size_t params_count;

    /* What the table cannot say, asked after it; may be NULL.  Any thread, must not block.
     * Errors: -EINVAL with *error. */
    int (*check)(const json_t *args, struct rpc_error *error);

    /* Runs on a fiber, may suspend, may resume on another thread, must not block a loop (blocking
     * calls and long computations by weft_offload).  Cancellation, timeout and shutdown arrive by
     * the scope: pass -ECANCELED and -ETIMEDOUT of any suspending call on, after undoing what must
     * not stay (a half-written copy).  args was checked against params.
     * Returns: 0 after native_result(); else -errno, best with native_fail() first. */
    int (*run)(struct native_call *call, const json_t *args);
};

struct native_module {
    uint32_t abi; /* NATIVE_ABI */
    const char *name;
    const struct native_handler *handlers;
    size_t handlers_count;
};

extern const struct native_module native_core; /* modules/core.c */
extern const struct native_module native_file; /* modules/file.c */

struct run_request; /* run.h */
struct run_outcome;

/* Call the handler that request->spec names, and put what came of it into the outcome.
 * Returns: 0 with outcome->result; else -errno with outcome->error.  Context: as the handler's. */
int native_run(const struct run_request *request, struct run_outcome *ret_outcome);

/* NULL if there is none; then nearest is named by native_check().  Any thread. */
const struct native_handler *native_find(const char *name);

/* The index-th handler over all modules; NULL behind the last.  For hello and --help. */
const struct native_handler *native_at(size_t index);

/* Is there such a handler, and do args suit it?  Used at submit, so that a bad call is refused
 * there and not at run time.  Errors: -EINVAL with *error (no_such_handler, invalid_params). */
int native_check(const char *name, const json_t *args, struct rpc_error *error);

/* ---- for handlers ---- */

/* Set the result: takes over the reference (NULL: out of memory was met, the call fails). */
int native_result(struct native_call *call, json_t *result);

/* Say why; returns err, so `return native_fail(call, -errno_saved, "open %s", path)`.  The errno's
 * own text is appended. */
int native_fail(struct native_call *call, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

uint64_t native_job_id(const struct native_call *call);
uint32_t native_attempt(const struct native_call *call);
