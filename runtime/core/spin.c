/* SPDX-License-Identifier: MIT */
/* The contended half of the spin lock.  The word is only read while somebody else holds it, so that
 * the holder's unlock does not have to fetch the line back.  And not read at once: a waiter stays
 * away for longer and longer, so that a holder who comes again and again finds the lock and what it
 * guards in its own cache, for some tens of sections, before they move to another processor. */
#include "core/spin.h"

#include <time.h>

enum { SPINS_BEFORE_SLEEP = 2000, SLEEP_NS = 50000, BACKOFF_MAX = 64 };

void spin_lock_slow(struct spin *spin)
{
    unsigned spins = 0, backoff = 1;

    do {
        do {
            if (spins >= SPINS_BEFORE_SLEEP)
                nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
            for (unsigned i = 0; i < backoff; i++)
                spin_pause();
            spins += backoff;
            backoff = backoff < BACKOFF_MAX ? 2 * backoff : BACKOFF_MAX;
        } while (atomic_load_explicit(&spin->locked, memory_order_relaxed));
    } while (!spin_trylock(spin));
}
