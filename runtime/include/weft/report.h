/* SPDX-License-Identifier: MIT */
/* What a runtime finds out about itself and tells: see `debug`, `slow_fiber_ns` and `report` of
 * struct weft_options. */
#ifndef WEFT_REPORT_H
#define WEFT_REPORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_runtime;

enum weft_report_kind {
    WEFT_REPORT_SLOW_FIBER, /* it has run for slow_fiber_ns and did not return to the scheduler */
    WEFT_REPORT_DEADLOCK,   /* nothing is runnable, nothing is awaited from outside, fibers wait */
    WEFT_REPORT_UNJOINED    /* a task was freed or forgotten, and nobody asked for its result */
};

/* Valid during the call. */
struct weft_report {
    enum weft_report_kind kind;
    struct weft_runtime *runtime;
    const char *text;       /* lines for a human, the last one ended by a newline */
    uint64_t fiber_id;      /* whom it is about; 0: more than one, or none */
    const char *fiber_name; /* or NULL */
    uint64_t elapsed_ns;    /* WEFT_REPORT_SLOW_FIBER: how long it has run at least */
};

#ifdef __cplusplus
}
#endif
#endif
