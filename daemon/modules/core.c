/* SPDX-License-Identifier: MIT */
/*
 * The module of handlers that need nothing: for trying out, and for measuring.
 *   echo {…}           -> its arguments
 *   sleep {seconds}    -> {"seconds": …}, after so long
 */
#include "daemon/native.h"
#include "protocol/params.h"

#include <weft/weft.h>

static int echo_run(struct native_call *call, const json_t *args)
{
    return native_result(call, args ? json_incref((json_t *)args) : json_object());
}

static const struct param_spec sleep_params[] = {
    {"seconds", PARAM_DURATION, .required = true},
};

static int sleep_run(struct native_call *call, const json_t *args)
{
    uint64_t duration_ns = params_duration_ns(args, "seconds", 0);
    int rc = weft_sleep(duration_ns);
    if (rc < 0)
        return rc;
    return native_result(call, json_pack("{s:f}", "seconds", (double)duration_ns / 1e9));
}

static const struct native_handler handlers[] = {
    {.name = "echo", .run = echo_run},
    {.name = "sleep",
     .params = sleep_params,
     .params_count = PARAMS_COUNT(sleep_params),
     .run = sleep_run},
};

const struct native_module native_core = {
    .abi = NATIVE_ABI,
    .name = "core",
    .handlers = handlers,
    .handlers_count = sizeof(handlers) / sizeof(handlers[0]),
};
