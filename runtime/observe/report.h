/* SPDX-License-Identifier: MIT */
/* Telling the program what was found out: weft/report.h. */
#ifndef RUNTIME_OBSERVE_REPORT_H
#define RUNTIME_OBSERVE_REPORT_H

#include <pthread.h>
#include <stdbool.h>

struct weft_options;
struct weft_report;
struct weft_runtime;

/* Of one runtime. */
struct reporter {
    pthread_mutex_t lock; /* held during a call, so that there is one at a time; recursive */
    void (*report)(const struct weft_report *report, void *arg); /* NULL: to standard error */
    void *arg;
    bool debug; /* asked for by the options or the environment; constant */
};

/** Take over what the options say.  Also sees to what needs no monitor: unjoined tasks. */
void reporter_init(struct weft_runtime *runtime, const struct weft_options *options);
void reporter_destroy(struct weft_runtime *runtime);

/** Any thread, outside all locks.  `report` is filled but for its runtime. */
void report_emit(struct weft_runtime *runtime, struct weft_report *report);

#endif
