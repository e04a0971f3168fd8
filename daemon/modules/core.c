/* SPDX-License-Identifier: MIT */
/*
 * The module of handlers that need nothing: for trying out, and for measuring.
 *   echo {…}           -> its arguments
 *   sleep {seconds}    -> {"seconds": …}, after so long
 */
#include "daemon/modules/modules.h"

#include <errno.h>
#include <weft/weft.h>

static int echo_run(struct weft_attempt *attempt)
{
    size_t size;
    const char *arguments = weft_args_json(attempt, &size);
    return arguments ? weft_result_json(attempt, arguments, size) : -ENOMEM;
}

static const struct weft_param sleep_params[] = {
    {"seconds", WEFT_PARAM_DURATION, .required = true},
};

static int sleep_run(struct weft_attempt *attempt)
{
    uint64_t duration_ns = weft_arg_duration_ns(attempt, "seconds", 0);
    int rc = weft_sleep(duration_ns);
    return rc < 0 ? rc : weft_result_number(attempt, "seconds", (double)duration_ns / 1e9);
}

static const struct weft_handler handlers[] = {
    {"echo", "give its arguments back", .run = echo_run},
    {"sleep", "wait for so many seconds", sleep_params, MODULE_COUNT(sleep_params), sleep_run},
};

const struct weft_module module_core = WEFT_MODULE_INIT("core", WEFT_VERSION, handlers);
