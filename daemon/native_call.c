/* SPDX-License-Identifier: MIT */
/*
 * native_call: what <weft/module.h> offers a handler.
 *
 * I1  The result is always one that can be written as JSON text: what cannot be is refused when it
 *     is said, and sticks (call.err), so that a handler need not look.
 * I2  Arguments were checked against the handler's table, so reading them cannot fail.
 * I3  A result nests no deeper than a request may: reading and writing JSON recurses, on a fiber's
 *     stack.
 *
 * Called by a handler's fiber, or for it by one thread at a time: no locks.
 */
#include "daemon/native_call.h"

#include "daemon/job.h"
#include "daemon/run.h"
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"
#include "protocol/params.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void native_call_destroy(struct weft_attempt *call)
{
    json_decref(call->result);
    free(call->args_text);
    free(call->error);
}

uint64_t weft_attempt_job(const struct weft_attempt *call)
{
    return call->id;
}

uint32_t weft_attempt_number(const struct weft_attempt *call)
{
    return call->attempt;
}

static int failed(struct weft_attempt *call, int err)
{
    if (call->err == 0)
        call->err = err;
    return err;
}

/* ---- arguments ------------------------------------------------------------------------------- */

const char *weft_args_json(struct weft_attempt *call, size_t *ret_size)
{
    if (!call->args_text)
        call->args_text = call->args ? json_memory_dumps(call->args, JSON_COMPACT) : strdup("{}");
    if (!call->args_text)
        failed(call, -ENOMEM);
    else if (ret_size)
        *ret_size = strlen(call->args_text);
    return call->args_text;
}

bool weft_arg_has(const struct weft_attempt *call, const char *name)
{
    return params_has(call->args, name);
}

const char *weft_arg_text(const struct weft_attempt *call, const char *name, const char *fallback)
{
    return params_string(call->args, name, fallback);
}

int64_t weft_arg_integer(const struct weft_attempt *call, const char *name, int64_t fallback)
{
    return params_int(call->args, name, fallback);
}

double weft_arg_number(const struct weft_attempt *call, const char *name, double fallback)
{
    return params_number(call->args, name, fallback);
}

bool weft_arg_boolean(const struct weft_attempt *call, const char *name, bool fallback)
{
    return params_bool(call->args, name, fallback);
}

uint64_t weft_arg_duration_ns(const struct weft_attempt *call, const char *name, uint64_t fallback)
{
    return params_duration_ns(call->args, name, fallback);
}

uint64_t weft_arg_bytes(const struct weft_attempt *call, const char *name, uint64_t fallback)
{
    return params_size(call->args, name, fallback);
}

bool weft_arg_text_at(const struct weft_attempt *call, const char *name, size_t index,
                      const char **ret_key, const char **ret_value)
{
    json_t *map = params_get(call->args, name);
    void *at = json_object_iter(map);
    while (at && index-- > 0)
        at = json_object_iter_next(map, at);
    const char *value = at ? json_string_value(json_object_iter_value(at)) : NULL;
    if (!value)
        return false;
    *ret_key = json_object_iter_key(at);
    *ret_value = value;
    return true;
}

/* ---- progress -------------------------------------------------------------------------------- */

/* Cut in front of a character that is not whole. */
static void cut_text(char *text, size_t size)
{
    while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80)
        size--;
    text[size] = '\0';
}

void weft_attempt_progress(struct weft_attempt *call, double fraction, const char *format, ...)
{
    const struct run_request *request = call->request;
    char text[RUN_PROGRESS_TEXT + 1] = "";
    struct run_progress said = {.fraction = isnan(fraction) ? -1 : fmin(fraction, 1)};
    va_list arguments;
    if (!request || !request->report)
        return;
    va_start(arguments, format);
    if (format)
        vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (strlen(text) >= sizeof(said.text))
        cut_text(text, sizeof(said.text) - 1);
    memcpy(said.text, text, sizeof(said.text));
    request->report(request->report_arg, &said);
}

/* ---- results --------------------------------------------------------------------------------- */

/* The object that has the result's members, in place of what was said as a whole before. */
static json_t *members(struct weft_attempt *call)
{
    if (!json_is_object(call->result)) {
        json_decref(call->result);
        call->result = json_object();
    }
    return call->result;
}

/* Takes value over; NULL: it could not be made, for lack of memory or for what it was made of. */
static int set(struct weft_attempt *call, const char *name, json_t *value)
{
    if (json_object_set_new(members(call), name, value) == 0)
        return 0;
    return failed(call, -ENOMEM);
}

int weft_result_text(struct weft_attempt *call, const char *name, const char *text)
{
    json_t *value = text ? json_string(text) : NULL;
    if (value)
        return set(call, name, value);
    return failed(call, text ? json_memory_refusal(text) : -EILSEQ);
}

int weft_result_integer(struct weft_attempt *call, const char *name, int64_t value)
{
    return set(call, name, json_integer(value));
}

int weft_result_number(struct weft_attempt *call, const char *name, double value)
{
    if (!isfinite(value))
        return failed(call, -EDOM);
    return set(call, name, json_real(value));
}

int weft_result_boolean(struct weft_attempt *call, const char *name, bool value)
{
    return set(call, name, json_boolean(value));
}

int weft_result_bytes(struct weft_attempt *call, const char *name, const void *data, size_t size)
{
    json_t *text =
        size == 0 || !memchr(data, '\0', size) ? json_stringn(data ? data : "", size) : NULL;
    const char *encoding = text ? "utf-8" : "base64";
    int rc = set(call, name, text ? text : job_base64_to_json(data, size));
    return rc < 0 ? rc : set(call, "encoding", json_string(encoding));
}

int weft_result_data(struct weft_attempt *call, const void *data, size_t size)
{
    return weft_result_bytes(call, "data", data, size);
}

/* The member of that name and type, made if it is not there.  NULL: call->err says why not. */
static json_t *member(struct weft_attempt *call, const char *name, json_type type,
                      json_t *(*make)(void))
{
    json_t *found = json_object_get(members(call), name);
    if (!found && set(call, name, make()) == 0)
        found = json_object_get(call->result, name);
    if (!found || json_typeof(found) == type)
        return found;
    failed(call, -EINVAL);
    return NULL;
}

int weft_result_append(struct weft_attempt *call, const char *name, const char *text)
{
    json_t *list = member(call, name, JSON_ARRAY, json_array);
    if (!list)
        return call->err;
    if (!text)
        return 0;
    return json_array_append_new(list, job_text_to_json(text)) < 0 ? failed(call, -ENOMEM) : 0;
}

int weft_result_text_in(struct weft_attempt *call, const char *name, const char *key,
                        const char *text)
{
    json_t *map = member(call, name, JSON_OBJECT, json_object);
    if (!map)
        return call->err;
    return json_object_set_new(map, key, job_text_to_json(text)) < 0 ? failed(call, -ENOMEM) : 0;
}

int weft_result_json(struct weft_attempt *call, const char *json, size_t size)
{
    json_t *whole = NULL;
    int rc = -EINVAL;
    if (call->args && json == call->args_text && size == strlen(json)) /* echo: it is JSON */
        whole = json_incref((json_t *)call->args);
    else if (jsonrpc_depth(json, size, JSONRPC_DEPTH_MAX) <= JSONRPC_DEPTH_MAX) /* I3 */
        rc = json_memory_load(json, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL, &whole);
    if (!whole)
        return failed(call, rc);
    json_decref(call->result);
    call->result = whole;
    return 0;
}

/* ---- failures -------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static void say_why(struct weft_attempt *call, int err,
                                                          const char *format, va_list args)
{
    char *text, *whole;
    if (vasprintf(&text, format, args) < 0)
        return;
    if (asprintf(&whole, "%s: %s", text, strerrordesc_np(-err) ?: "unknown error") >= 0) {
        free(call->error);
        call->error = whole;
    }
    free(text);
}

int weft_attempt_fail(struct weft_attempt *call, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_why(call, err, format, args);
    va_end(args);
    call->refused = false;
    return err;
}

int weft_attempt_refuse(struct weft_attempt *call, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_why(call, err, format, args);
    va_end(args);
    call->refused = true;
    return err;
}

int weft_arg_refuse(struct weft_attempt *call, const char *name, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    free(call->error);
    if (asprintf(&call->error, "parameter \"%s\" %s", name, text ? text : "is wrong") < 0)
        call->error = NULL;
    free(text);
    call->param = name;
    call->refused = true;
    return -EINVAL;
}
