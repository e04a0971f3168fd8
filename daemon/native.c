/* SPDX-License-Identifier: MIT */
/*
 * native: finding handlers, checking their arguments, calling them.
 *
 * I1  A call succeeds only with a result that could be written as JSON text; a handler that
 *     returns 0 without one has failed.
 * I2  A failed call has no result, and an error in words.
 *
 * native_find(), native_at() and native_check() are pure: any thread.  No limits on memory or time
 * here: a handler is trusted code.
 */
#include "daemon/native.h"

#include "daemon/job.h"
#include "daemon/run_impl.h"
#include "protocol/error.h"
#include "protocol/nearest.h"
#include "protocol/params.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct native_module *const modules[] = {&native_core, &native_file};

enum { MODULES = sizeof(modules) / sizeof(modules[0]) };

struct native_call {
    uint64_t id;
    uint32_t attempt;
    json_t *result;
    char *error; /* what native_fail() said */
};

/* ---- finding --------------------------------------------------------------------------------- */

const struct native_handler *native_at(size_t index)
{
    for (size_t i = 0; i < MODULES; i++) {
        if (index < modules[i]->handlers_count)
            return &modules[i]->handlers[index];
        index -= modules[i]->handlers_count;
    }
    return NULL;
}

const struct native_handler *native_find(const char *name)
{
    const struct native_handler *handler;
    for (size_t i = 0; (handler = native_at(i)); i++)
        if (strcmp(handler->name, name) == 0)
            return handler;
    return NULL;
}

/* ---- checking -------------------------------------------------------------------------------- */

static int no_such_handler(const char *name, struct rpc_error *error)
{
    const struct native_handler *handler;
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (size_t i = 0; (handler = native_at(i)); i++)
        nearest_offer(&nearest, handler->name);
    if (nearest.best)
        return rpc_error_set_param(error, RPC_NO_SUCH_HANDLER, "call", nearest.best,
                                   "there is no handler \"%.64s\"; did you mean \"%s\"?", name,
                                   nearest.best);
    return rpc_error_set_param(error, RPC_NO_SUCH_HANDLER, "call", NULL,
                               "there is no handler \"%.64s\"", name);
}

/* The parameter at fault is one of "args", of that handler. */
static int bad_args(const struct native_handler *handler, struct rpc_error *error)
{
    struct rpc_error inner = *error;
    char param[RPC_PARAM_MAX];
    snprintf(param, sizeof(param), "args%s%.50s", inner.param[0] ? "." : "", inner.param);
    return rpc_error_set_param(error, inner.code, param, inner.nearest[0] ? inner.nearest : NULL,
                               "%s: %s", handler->name, inner.message);
}

int native_check(const char *name, const json_t *args, struct rpc_error *error)
{
    const struct native_handler *handler = native_find(name);
    int rc = 0;
    if (!handler)
        return no_such_handler(name, error);
    if (handler->params)
        rc = params_check(args, handler->params, handler->params_count, error);
    else if (args && !json_is_object(args))
        rc = rpc_error_set(error, RPC_INVALID_PARAMS, "the arguments must be an object");
    if (rc == 0 && handler->check)
        rc = handler->check(args, error);
    return rc < 0 ? bad_args(handler, error) : 0;
}

/* ---- for handlers ---------------------------------------------------------------------------- */

int native_result(struct native_call *call, json_t *result)
{
    if (!result)
        return -ENOMEM;
    json_decref(call->result);
    call->result = result;
    return 0;
}

int native_fail(struct native_call *call, int err, const char *format, ...)
{
    va_list args;
    char *text, *whole;
    va_start(args, format);
    int size = vasprintf(&text, format, args);
    va_end(args);
    if (size < 0)
        return err;
    if (asprintf(&whole, "%s: %s", text, strerrordesc_np(-err) ?: "unknown error") >= 0) {
        free(call->error);
        call->error = whole;
    }
    free(text);
    return err;
}

uint64_t native_job_id(const struct native_call *call)
{
    return call->id;
}

uint32_t native_attempt(const struct native_call *call)
{
    return call->attempt;
}

/* ---- calling --------------------------------------------------------------------------------- */

/* I1 */
static int take_result(struct native_call *call, struct run_outcome *outcome)
{
    if (!call->result) {
        run_outcome_fail(outcome, "the handler gave no result");
        return -EPROTO;
    }
    outcome->result = json_dumps(call->result, JSON_COMPACT | JSON_ENCODE_ANY);
    if (outcome->result)
        return 0;
    run_outcome_fail(outcome, "the result cannot be written as JSON");
    return -ENOMEM;
}

static void take_error(struct native_call *call, int rc, struct run_outcome *outcome)
{
    if (!call->error) {
        run_outcome_fail(outcome, "%s", strerrordesc_np(-rc) ?: "failed");
        return;
    }
    free(outcome->error);
    outcome->error = call->error;
    call->error = NULL;
}

int native_run(const struct run_request *request, struct run_outcome *ret_outcome)
{
    const struct native_handler *handler = native_find(request->spec->call);
    struct native_call call = {.id = request->id, .attempt = request->attempt};
    if (!handler) { /* one that an earlier version had */
        run_outcome_fail(ret_outcome, "there is no handler \"%s\"", request->spec->call);
        return -ENOENT;
    }
    int rc = handler->run(&call, request->spec->args);
    if (rc == 0)
        rc = take_result(&call, ret_outcome);
    else
        take_error(&call, rc, ret_outcome);
    json_decref(call.result);
    free(call.error);
    return rc;
}
