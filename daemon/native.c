/* SPDX-License-Identifier: MIT */
/*
 * native: checking the arguments of handlers, and calling them.
 *
 * I1  A call succeeds only with a result that could be said whole (native_call.c); a handler that
 *     returned 0 and said nothing gave an empty object.
 * I2  A failed call has no result, and an error in words.
 * I3  Arguments are checked at submit and again before the call: between the two lie restarts, and
 *     modules that changed.  A handler's own check is asked at submit too, unless its module has a
 *     process of its own: there is no code of that in weftd.
 *
 * native_check() is pure, and so is a handler's check: any thread.  No limits on memory or time here: a handler that is called
 * in this process is trusted code.
 */
#include "daemon/native.h"

#include "daemon/job.h"
#include "daemon/native_call.h"
#include "daemon/run_impl.h"
#include "protocol/error.h"
#include "protocol/json_memory.h"
#include "protocol/nearest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* What the table of a handler says beyond protocol/params.h. */
static int check_paths(const struct native_handler *handler, const json_t *args,
                       struct rpc_error *error)
{
    for (size_t i = 0; i < handler->params_count; i++) {
        const char *name = handler->params[i].name;
        if (handler->paths[i] && params_string(args, name, "/")[0] != '/')
            return rpc_error_set_param(error, RPC_INVALID_PARAMS, name, NULL,
                                       "parameter \"%s\" must be an absolute path", name);
    }
    return 0;
}

/* The handler's own word, on arguments that suit its table.  Errors: -EINVAL; -ENOMEM: it had no
 * memory to say, and error says that. */
static int ask_handler(const struct native_handler *handler, const json_t *args,
                       struct rpc_error *error)
{
    struct weft_attempt call = {.args = args};
    int rc = handler->check ? handler->check(&call) : 0;
    if (rc == -ENOMEM)
        rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
    else if (rc < 0)
        rc = rpc_error_set_param(error, RPC_INVALID_PARAMS, call.param ? call.param : "", NULL,
                                 "%s", call.error ? call.error : "the arguments are wrong");
    native_call_destroy(&call);
    return rc < 0 ? rc : 0;
}

static int check_args(const struct native_handler *handler, const json_t *args,
                      struct rpc_error *error)
{
    int rc = 0;
    if (handler->params)
        rc = params_check(args, handler->params, handler->params_count, error);
    else if (args && !json_is_object(args))
        rc = rpc_error_set(error, RPC_INVALID_PARAMS, "the arguments must be an object");
    if (rc == 0)
        rc = check_paths(handler, args, error);
    if (rc == 0)
        rc = ask_handler(handler, args, error);
    return rc < 0 && rc != -ENOMEM ? bad_args(handler, error) : rc;
}

int native_check(const char *name, const json_t *args, struct rpc_error *error)
{
    const struct native_handler *handler = native_find(name);
    return handler ? check_args(handler, args, error) : no_such_handler(name, error);
}

/* ---- calling --------------------------------------------------------------------------------- */

/* I1 */
static int take_result(struct weft_attempt *call, struct run_outcome *outcome)
{
    if (call->err < 0) {
        run_outcome_fail(outcome, "the handler's result cannot be written as JSON: %s",
                         strerrordesc_np(-call->err));
        return call->err;
    }
    if (call->result)
        outcome->result = json_memory_dumps(call->result, JSON_COMPACT | JSON_ENCODE_ANY);
    else
        outcome->result = strdup("{}");
    if (outcome->result)
        return 0;
    run_outcome_fail(outcome, "out of memory for the result");
    return -ENOMEM;
}

static void take_error(struct weft_attempt *call, int rc, struct run_outcome *outcome)
{
    outcome->refused = call->refused;
    if (!call->error) {
        run_outcome_fail(outcome, "%s", strerrordesc_np(-rc) ?: "failed");
        return;
    }
    free(outcome->error);
    outcome->error = call->error;
    call->error = NULL;
}

/* Errors: -ENOENT, -EINVAL: no attempt of this job can be another; -ENOMEM: one can. */
static int find_handler(const struct run_request *request, struct run_outcome *outcome,
                        const struct native_handler **ret_handler)
{
    struct rpc_error error = {0};
    const struct native_handler *handler = native_find(request->spec->call);
    if (!handler) { /* one that an earlier version had */
        run_outcome_fail(outcome, "there is no handler \"%s\"", request->spec->call);
        return -ENOENT;
    }
    int rc = check_args(handler, request->spec->args, &error); /* I3 */
    if (rc < 0)
        run_outcome_fail(outcome, "%s", error.message);
    *ret_handler = handler;
    return rc;
}

int native_run(const struct run_request *request, struct run_outcome *ret_outcome)
{
    struct weft_attempt call = {
        .request = request,
        .id = request->id,
        .attempt = request->attempt,
        .args = request->spec->args,
    };
    const struct native_handler *handler = NULL;
    int rc = find_handler(request, ret_outcome, &handler);
    if (rc < 0) {
        ret_outcome->refused = rc != -ENOMEM;
        return rc;
    }
    rc = handler->run(&call);
    if (rc > 0) /* a handler that returns what read(2) gave it */
        rc = 0;
    if (rc == 0)
        rc = take_result(&call, ret_outcome);
    else
        take_error(&call, rc, ret_outcome);
    native_call_destroy(&call);
    return rc;
}
