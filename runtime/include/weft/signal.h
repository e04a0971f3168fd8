/* SPDX-License-Identifier: MIT */
/* Unix signals as something a fiber waits for.  Defaults of weft/weft.h apply. */
#ifndef WEFT_SIGNAL_H
#define WEFT_SIGNAL_H

#include <signal.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_signals;

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
