/* SPDX-License-Identifier: MIT */
/* methods_daemon: hello, ping, daemon.drain, daemon.reload, daemon.backup. */
#include "daemon/engine.h"
#include "daemon/methods_impl.h"
#include "daemon/native.h"
#include "daemon/problem.h"
#include "daemon/server.h"
#include "daemon/session.h"
#include "daemon/store.h"
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"
#include "protocol/params.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int method_ping(struct request *request, json_t **ret_result)
{
    (void)request;
    *ret_result = json_string("pong");
    return 0;
}

static json_t *method_names(void)
{
    json_t *names = json_array();
    for (size_t i = 0; names && i < methods_count; i++)
        names = json_memory_append(names, json_string(methods[i].name));
    return names;
}

static json_t *handler_names(void)
{
    json_t *names = json_array();
    const struct native_handler *handler;
    for (size_t i = 0; names && (handler = native_at(i)); i++)
        names = json_memory_append(names, json_string(handler->name));
    return names;
}

/* Of the handlers from *at on; *at goes behind them: those of one module stand together. */
static json_t *module_json(size_t *at)
{
    const struct native_handler *handler = native_at(*at);
    const struct native_module *module = handler->module;
    json_t *names = json_array();
    for (; handler && handler->module == module; handler = native_at(++*at))
        names = json_memory_append(names, json_string(handler->name));
    json_t *json = json_pack("{s:s}", "name", module->name);
    if (module->version)
        json = json_memory_set(json, "version", json_string(module->version));
    json = json_memory_set(json, "apart", json_boolean(module->apart));
    return json_memory_set(json, "handlers", names);
}

static json_t *modules_json(void)
{
    json_t *list = json_array();
    for (size_t i = 0; list && native_at(i);)
        list = json_memory_append(list, module_json(&i));
    return list;
}

static json_t *limits_json(const struct daemon_context *context)
{
    struct session_limits limits;
    server_limits(context->server, &limits);
    return json_pack("{s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i}", "line_max",
                     (json_int_t)limits.line_max, "in_flight", (json_int_t)limits.max_in_flight,
                     "batch", JSONRPC_BATCH_MAX, "depth", JSONRPC_DEPTH_MAX, "ids", METHODS_IDS_MAX,
                     "jobs", METHODS_JOBS_MAX, "list", ENGINE_LIST_MAX, "logs", METHODS_LOGS_MAX);
}

int method_hello(struct request *request, json_t **ret_result)
{
    const struct daemon_context *context = request->context;
    struct store_life life;
    store_life(context->store, &life);
    *ret_result =
        json_pack("{s:s, s:s, s:i, s:i, s:s, s:{s:I, s:b}, s:o, s:o, s:o, s:o}", "name", "weftd",
                  "version", context->version, "protocol", METHODS_PROTOCOL, "pid", (int)getpid(),
                  "instance", life.instance, "you", "uid", (json_int_t)request->peer->uid, "admin",
                  (int)request->peer->admin, "methods", method_names(), "handlers", handler_names(),
                  "modules", modules_json(), "limits", limits_json(context));
    return 0;
}

int request_needs_admin(struct request *request, const char *what)
{
    if (request->peer->admin)
        return 0;
    rpc_error_set(&request->error, RPC_PERMISSION_DENIED,
                  "only root, weftd's own user and access.admin_group may %s", what);
    return -EPERM;
}

/* "weft-20261129-071500.db", UTC. */
static void default_name(char name[static ENGINE_BACKUP_NAME_MAX + 1])
{
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(name, ENGINE_BACKUP_NAME_MAX + 1, "weft-%Y%m%d-%H%M%S.db", &utc);
}

int method_daemon_backup(struct request *request, json_t **ret_result)
{
    char name[ENGINE_BACKUP_NAME_MAX + 1], *path;
    uint64_t bytes;
    int err = request_needs_admin(request, "make backups");
    if (err)
        return err;
    default_name(name);
    err = engine_backup(request->context->engine, params_string(request->params, "name", name),
                        &path, &bytes, &request->error);
    if (err)
        return err;
    *ret_result = json_pack("{s:s, s:I}", "path", path, "bytes", (json_int_t)bytes);
    free(path);
    return 0;
}

int method_daemon_reload(struct request *request, json_t **ret_result)
{
    struct problem problem = {0};
    int err = request_needs_admin(request, "reload");
    if (err)
        return err;
    err = request->context->reload(request->context, &problem, ret_result);
    if (err && problem.err)
        rpc_error_set(&request->error, err == -EINVAL ? RPC_BAD_CONFIG : RPC_INTERNAL_ERROR,
                      "%s; the settings in force stay as they are", problem.text);
    return err;
}

static int wait_drained(struct request *request)
{
    int err = engine_wait_drained(request->context->engine, request_deadline(request));
    if (err == -ETIMEDOUT)
        rpc_error_set(&request->error, RPC_TIMEOUT,
                      "jobs still run; weftd stays drained, and starts no others");
    else if (err == -EAGAIN)
        rpc_error_set(&request->error, RPC_CONFLICT, "the drain was undone meanwhile");
    return err;
}

int method_daemon_drain(struct request *request, json_t **ret_result)
{
    bool undo = params_bool(request->params, "undo", false);
    bool wait = params_bool(request->params, "wait", false);
    int err = request_needs_admin(request, "drain");
    if (err)
        return err;
    if (undo && (wait || params_has(request->params, "timeout")))
        return rpc_error_set_param(&request->error, RPC_INVALID_PARAMS, "undo", NULL,
                                   "there is nothing to wait for when a drain is undone");
    size_t running = engine_set_drained(request->context->engine, request->peer, !undo);
    if (wait) {
        err = wait_drained(request);
        running = 0;
    }
    if (!err)
        *ret_result =
            json_pack("{s:b, s:I}", "drained", (int)!undo, "running", (json_int_t)running);
    return err;
}
