/* SPDX-License-Identifier: MIT */
/* The schedule shaker of shake.h.  Its chance is the thread's own, and is never read across a
 * suspension: the function is not inlined, and does not suspend. */
#include "core/shake.h"

#ifdef WITH_SHAKER
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

enum { SHORT_PAUSE_NS = 100000, LONG_PAUSE_NS = 3000000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static unsigned long one_in; /* constant once read; 0: do not shake */

static void read_setting(void)
{
    const char *setting = getenv("WEFT_SHAKE");

    one_in = setting ? strtoul(setting, NULL, 10) : 0;
}

static uint64_t roll(void)
{
    static _Thread_local uint64_t state;
    struct timespec now;

    if (!state) {
        clock_gettime(CLOCK_MONOTONIC, &now); /* threads that follow each other differ */
        state = ((uintptr_t)&state ^ (uint64_t)now.tv_nsec) * UINT64_C(0x9E3779B97F4A7C15) | 1;
    }
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 8;
}

/* Mostly a moment; sometimes as long as a runtime takes to end. */
static void pause_for(uint64_t chance)
{
    uint64_t longest = chance % 16 ? SHORT_PAUSE_NS : LONG_PAUSE_NS;

    if (chance % 4)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = (long)(chance / 16 % longest)}, NULL);
}

__attribute__((noinline)) void shake(void)
{
    uint64_t chance;

    pthread_once(&once, read_setting);
    if (!one_in)
        return;
    chance = roll();
    if (chance % one_in)
        return;
    pause_for(chance / one_in);
}
#else
/* An empty translation unit is not C. */
typedef int shake_is_off;
#endif
