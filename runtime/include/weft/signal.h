/* SPDX-License-Identifier: MIT */
/*
 * Unix signals as something a fiber waits for, or is started for.  Defaults of weft/weft.h apply.
 *
 * A signal is sent to the process (kill, a terminal, systemd, a timer) or to one thread (raise,
 * pthread_kill, a fault).  Workers block all signals but those of faults and SIGPROF, so:
 *  - one that is sent to the process is taken by a plain thread that does not block it, or stays
 *    pending until it is read here;
 *  - one that is sent to a worker's thread (raise on a fiber) stays pending on that thread and may
 *    never be seen: use kill(getpid(), ...).
 * The ordinary signals do not queue: one that comes while the same is pending merges with it.
 */
#ifndef WEFT_SIGNAL_H
#define WEFT_SIGNAL_H

#include <signal.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_signals;

/**
 * From now on run fn(arg) for each `signal` that the process gets, on a fiber of its own that the
 * runtime owns and cancels when it stops.  One signal's calls come one after the other, in order;
 * those of different signals run beside each other.  What fn returns is dropped.  It need not be
 * blocked anywhere: this installs a sigaction(2) handler, which only wakes the fiber, and also
 * reads what is pending because every thread blocks it.
 * SIGINT and SIGTERM do not stop a weft_run any more while they are handled.
 * A second call for the same signal replaces fn and arg; the former may be running still.
 * Errors: -EINVAL no such signal, or one that cannot be handled so (SIGKILL, SIGSTOP, faults);
 *         -EBUSY another runtime of the process handles it, or another fiber begins to just now;
 *         -EMFILE, -ENOMEM; -EAGAIN, -ESHUTDOWN no further fiber.
 */
int weft_signal_handle(int signal, int (*fn)(void *arg), void *arg);

/**
 * End the handling: the disposition is again what it was before, and what has come but was not
 * told to fn yet is dropped.  Waits, without regard to cancellation, until a call that runs has
 * returned, unless it is made by that call itself.  The stop of the runtime does the same.
 * Errors: -ENOENT it is not handled by this runtime.
 */
int weft_signal_unhandle(int signal);

/**
 * Receive the signals of `set` here (signalfd).  They must be blocked in every thread of the
 * process: block them in main before weft_run or weft_runtime_new; workers block all signals but
 * the fatal ones.  What is sent to the process (kill, a terminal, systemd) arrives here; what is
 * sent to one thread (raise, pthread_kill) may not.  Never suspends.
 * Errors: -EINVAL a signal of the set is not blocked in the calling thread, -EMFILE, -ENOMEM.
 */
int weft_signals_new(const sigset_t *set, struct weft_signals **ret_signals);

/** Wait for the next signal.  Returns: its number.  Errors: -ECANCELED, -ETIMEDOUT, -EBUSY. */
int weft_signals_wait(struct weft_signals *signals, uint64_t deadline_ns);

/** Never suspends.  NULL does nothing. */
void weft_signals_free(struct weft_signals *signals);

#ifdef __cplusplus
}
#endif
#endif
