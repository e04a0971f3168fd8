/* SPDX-License-Identifier: MIT */
/* What every worker did when: a ring of the latest events per worker, written as JSON that
 * ui.perfetto.dev and chrome://tracing show.  Defaults of weft/weft.h apply, but for this: nothing
 * here suspends. */
#ifndef WEFT_TRACE_H
#define WEFT_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_runtime;

/**
 * Begin to record: the latest `events` of each worker are kept (0: 65,536; 64 bytes each; rounded
 * up to a power of two).  What an earlier trace recorded is forgotten.
 * Context: any thread, while the runtime is not freed.
 * Errors:  -EALREADY it records; -EINVAL more than 16 M events; -ENOMEM.
 */
int weft_trace_start(struct weft_runtime *runtime, size_t events);

/** Record no more; what was recorded stays.  Context: any thread; again does nothing. */
void weft_trace_stop(struct weft_runtime *runtime);

/**
 * Note something of your own: an instant with that name on the worker's track, and a counter of
 * that name.  31 bytes of the name are kept.  Does nothing while no trace records.
 * Context: any thread, but on a plain thread it does nothing: it has no track.
 */
void weft_trace_mark(const char *name, int64_t value);

/**
 * Write what was recorded: a track per worker, a slice per turn of a fiber, arrows from whoever
 * woke a fiber to its next turn, instants for spawns, steals and marks.
 * write(text, size, arg) is called with pieces; a negative result ends it and is returned.
 * May be called while it records.  Context: any thread, while the runtime is not freed.
 * Errors: -ENODATA no trace was started; -ENOMEM; or write()'s.
 */
int weft_trace_export(struct weft_runtime *runtime,
                      int (*write)(const char *text, size_t size, void *arg), void *arg);

/** weft_trace_export to a file descriptor; blocks as write(2) does.  Errors: also write(2)'s. */
int weft_trace_export_fd(struct weft_runtime *runtime, int fd);

#ifdef __cplusplus
}
#endif
#endif
