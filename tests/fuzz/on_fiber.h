/* SPDX-License-Identifier: MIT */
/* A runtime for fuzz targets whose subject runs on fibers: one worker, made for the first input and
 * kept for all, because starting one costs more than most inputs.  With one worker that is never
 * handed over, the same input takes the same way.  Header only. */
#pragma once

#include "fuzz.h"
#include "weft/weft.h"

static struct weft_runtime *fuzz_runtime;

static void fuzz_runtime_end(void)
{
    HOLDS(weft_runtime_free(fuzz_runtime) == 0);
}

static struct weft_runtime *fuzz_runtime_get(void)
{
    struct weft_options options;
    if (fuzz_runtime)
        return fuzz_runtime;
    weft_options_init(&options);
    options.workers = 1;
    options.handoff_ns = WEFT_HANDOFF_NEVER;
    options.handle_signals = false;
    HOLDS(weft_runtime_new(&options, &fuzz_runtime) == 0);
    atexit(fuzz_runtime_end);
    return fuzz_runtime;
}

/* Run fn(arg) on a fiber, to its end. */
static void on_fiber(int (*fn)(void *), void *arg)
{
    int result = -1;
    HOLDS(weft_runtime_call(fuzz_runtime_get(), "fuzz", fn, arg, &result) == 0);
    HOLDS(result == 0);
}
