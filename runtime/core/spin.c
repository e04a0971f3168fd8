/* SPDX-License-Identifier: MIT */
/* The contended half of the spin lock.  The word is only read while somebody else holds it, so that
 * the holder's unlock does not have to fetch the line back. */
#include "core/spin.h"

#include <time.h>

enum { SPINS_BEFORE_SLEEP = 2000, SLEEP_NS = 50000 };

void spin_lock_slow(struct spin *spin)
{
    unsigned spins = 0;

    do {
        while (atomic_load_explicit(&spin->locked, memory_order_relaxed)) {
            if (++spins < SPINS_BEFORE_SLEEP) {
                spin_pause();
                continue;
            }
            nanosleep(&(struct timespec){.tv_nsec = SLEEP_NS}, NULL);
        }
    } while (!spin_trylock(spin));
}
