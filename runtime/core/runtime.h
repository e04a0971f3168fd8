/* SPDX-License-Identifier: MIT */
/*
 * A runtime: its workers, its root group, and how it stops.
 *
 * The stop, in order: (1) new fibers of the root are refused; (2) the root scope is cancelled;
 * (3) when the grace is over, or at a second stop, shields are broken; (4) when the last fiber has
 * ended, `ended` is set and every loop is woken; (5) the threads are joined, then the pools;
 * (6) threads that woke a fiber from outside leave; what is left is freed by one thread.
 */
#ifndef RUNTIME_CORE_RUNTIME_H
#define RUNTIME_CORE_RUNTIME_H

#include <pthread.h>

#include "core/group.h"
#include "core/idle.h"
#include "core/inject.h"
#include "core/stack.h"
#include "core/thread.h"
#include "core/unjoined.h"
#include "core/worker.h"
#include "observe/report.h"
#include "weft/runtime.h"

struct weft_runtime {
    unsigned workers;      /* constant */
    struct worker *worker; /* that many, and the stray worker (handoff.h, S2); constant */
    unsigned workers_made; /* as far as the start came */
    struct threads threads;
    enum stack_class stack_class;        /* constant */
    size_t max_fibers;                   /* alive at once, 0: no limit of ours; constant */
    atomic_size_t alive;                 /* atomic: a counter; kept only if there is a limit */
    uint64_t grace_ns;                   /* constant */
    bool handle_signals;                 /* in weft_runtime_wait; constant */
    enum weft_file_backend file_backend; /* constant */
    struct inject inject;
    struct idle idle;
    struct group root;
    struct offload_pool *offload;
    struct offload_pool *files;           /* for what may block on a disk */
    atomic_uint_fast64_t spawned_outside; /* atomic: fibers spawned by plain threads */
    atomic_uint_fast64_t unjoined;        /* atomic: a counter (unjoined.h) */
    unjoined_hook *on_unjoined;           /* or NULL; constant once a fiber was spawned */
    atomic_uint visitors; /* atomic: who is in sched_inject; its release pairs with the acquire of
                             runtime_destroy, which waits for them */
    struct reporter reporter;
    _Atomic(struct monitor *) monitor; /* NULL: nobody asked for one; seq_cst: monitor.h, N1 */
    _Atomic(struct trace *) trace;     /* NULL until the first one; freed with the runtime */
    atomic_bool stopping;              /* atomic: relaxed; a late spawn is cancelled anyway */
    atomic_bool ended; /* atomic: release by the last fiber, acquire by the workers */

    int event_fd;         /* readable when something changed for whoever waits */
    pthread_mutex_t lock; /* guards what follows */
    unsigned stops;       /* how often a stop was asked for; 2: shields are broken */
    uint64_t stop_ns;     /* when the first stop was */
    bool drained;         /* the root group is empty */
};

/* Takes a signal that would stop a runtime; false: nobody handles it. */
typedef bool signal_hook(int signal);

/** What handles signals, once something does (io/process/signal_handle.c); for the whole process.
 * Atomic: release by its setter, acquire by who reads a signal. */
extern _Atomic(signal_hook *) runtime_signal_hook;

/** The root group's last fiber has ended after a stop. */
void runtime_drained(struct weft_runtime *runtime);

#endif
