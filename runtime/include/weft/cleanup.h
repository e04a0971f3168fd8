/* SPDX-License-Identifier: MIT */
/*
 * What is undone when a block is left, on whichever way (GCC and Clang; not by longjmp).
 *
 *     WEFT_CLEANUP(stream) struct weft_stream *stream = NULL;
 *     WEFT_CLEANUP(mutex) struct weft_mutex *held = NULL;
 *
 *     r = weft_stream_connect_unix(path, deadline_ns, &stream);
 *     if (r < 0)
 *         return r;
 *     r = weft_mutex_lock(&mutex);
 *     if (r < 0)
 *         return r;
 *     held = &mutex;
 *     ...                      // the mutex is unlocked first, then the stream is freed
 *
 * Each is a variable that points to what is to be undone; NULL, which it must be to begin with,
 * does nothing, so that setting it to NULL gives the thing away.  WEFT_CLEANUP(KIND) names a
 * function weft_cleanup_KIND(TYPE **variable); other libraries may have their own.
 */
#ifndef WEFT_CLEANUP_H
#define WEFT_CLEANUP_H

#include "weft/broadcast.h"
#include "weft/channel.h"
#include "weft/datagram.h"
#include "weft/descriptor.h"
#include "weft/file.h"
#include "weft/future.h"
#include "weft/gather.h"
#include "weft/generator.h"
#include "weft/group.h"
#include "weft/listener.h"
#include "weft/mutex.h"
#include "weft/offload.h"
#include "weft/path.h"
#include "weft/process.h"
#include "weft/queue.h"
#include "weft/reader.h"
#include "weft/rwlock.h"
#include "weft/scope.h"
#include "weft/semaphore.h"
#include "weft/signal.h"
#include "weft/stream.h"
#include "weft/task.h"
#include "weft/watch.h"
#include "weft/writer.h"

#define WEFT_CLEANUP(kind) __attribute__((__cleanup__(weft_cleanup_##kind), __unused__))

/* What belongs to the heap is freed. */
#define WEFT_CLEANUP_FREES(kind, type, free_function)                                              \
    static inline void weft_cleanup_##kind(type **variable)                                        \
    {                                                                                              \
        free_function(*variable);                                                                  \
    }

/* The rest is undone only if there is something. */
#define WEFT_CLEANUP_UNDOES(kind, type, undo_function)                                             \
    static inline void weft_cleanup_##kind(type **variable)                                        \
    {                                                                                              \
        if (*variable)                                                                             \
            undo_function(*variable);                                                              \
    }

#ifdef __cplusplus
extern "C" {
#endif

/* The group's fibers are cancelled and joined: for a block that is left before its own join. */
static inline void weft_cleanup_end_group(struct weft_group *group)
{
    weft_group_cancel(group);
    (void)weft_group_join(group);
}

static inline void weft_cleanup_end_scope(struct weft_scope *scope)
{
    (void)weft_scope_leave(scope);
}

static inline void weft_cleanup_end_permit(struct weft_semaphore *semaphore)
{
    (void)weft_semaphore_release(semaphore);
}

WEFT_CLEANUP_FREES(broadcast, struct weft_broadcast, weft_broadcast_free)
WEFT_CLEANUP_FREES(channel, struct weft_channel, weft_channel_free)
WEFT_CLEANUP_FREES(datagram, struct weft_datagram, weft_datagram_free)
WEFT_CLEANUP_FREES(descriptor, struct weft_descriptor, weft_descriptor_free)
WEFT_CLEANUP_FREES(dir, struct weft_dir, weft_dir_free)
WEFT_CLEANUP_FREES(executor, struct weft_executor, weft_executor_free)
WEFT_CLEANUP_FREES(file, struct weft_file, weft_file_free)
WEFT_CLEANUP_FREES(future, struct weft_future, weft_future_unref)
WEFT_CLEANUP_FREES(generator, struct weft_generator, weft_generator_free)
WEFT_CLEANUP_FREES(process, struct weft_process, weft_process_free)
WEFT_CLEANUP_FREES(queue, struct weft_queue, weft_queue_free)
WEFT_CLEANUP_FREES(signals, struct weft_signals, weft_signals_free)
WEFT_CLEANUP_FREES(stream, struct weft_stream, weft_stream_free)
WEFT_CLEANUP_FREES(task, struct weft_task, weft_task_free)
WEFT_CLEANUP_FREES(watch, struct weft_watch, weft_watch_free)
WEFT_CLEANUP_UNDOES(completions, struct weft_completions, weft_completions_destroy)
WEFT_CLEANUP_UNDOES(group, struct weft_group, weft_cleanup_end_group)
WEFT_CLEANUP_UNDOES(listener, struct weft_listener, weft_listener_free)
WEFT_CLEANUP_UNDOES(mutex, struct weft_mutex, weft_mutex_unlock)
WEFT_CLEANUP_UNDOES(permit, struct weft_semaphore, weft_cleanup_end_permit)
WEFT_CLEANUP_UNDOES(reader, struct weft_reader, weft_reader_destroy)
WEFT_CLEANUP_UNDOES(rwlock, struct weft_rwlock, weft_rwlock_unlock)
WEFT_CLEANUP_UNDOES(scope, struct weft_scope, weft_cleanup_end_scope)
WEFT_CLEANUP_UNDOES(writer, struct weft_writer, weft_writer_destroy)

#ifdef __cplusplus
}
#endif
#endif
