/* SPDX-License-Identifier: MIT */
/* The schedule shaker of shake.h.  The dice are the thread's own, and never read across a
 * suspension: the functions are not inlined, and do not suspend. */
#include "core/shake.h"

#ifdef WITH_SHAKER
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/base.h"

enum { SHORT_PAUSE_NS = 100000, LONG_PAUSE_NS = 3000000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Constant once read. */
static unsigned long one_in; /* 0: do not shake */
static uint64_t seed;

static void read_setting(void)
{
    const char *setting = getenv("WEFT_SHAKE");
    struct timespec now;
    char *rest;

    one_in = setting ? strtoul(setting, &rest, 10) : 0;
    if (!one_in)
        return;
    if (*rest == ':') {
        seed = strtoull(rest + 1, NULL, 10);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    seed = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    fprintf(stderr, "weft: shaking, as with WEFT_SHAKE=%lu:%" PRIu64 "\n", one_in, seed);
}

/* Different for threads that follow each other (splitmix64), and never 0. */
static uint64_t first_state(void)
{
    static atomic_uint threads; /* that have come by */
    uint64_t z = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;

    z = seed + z * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) | 1;
}

static uint64_t roll(void)
{
    static _Thread_local uint64_t state;

    if (!state)
        state = first_state();
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 8;
}

/* *ret_chance: what is left of the roll, if it is one in so many. */
static bool rolls_one_in(unsigned long sides, uint64_t *ret_chance)
{
    uint64_t chance = roll();

    *ret_chance = chance / sides;
    return chance % sides == 0;
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

NOINLINE void shake(void)
{
    uint64_t chance;

    pthread_once(&once, read_setting);
    if (one_in && rolls_one_in(one_in, &chance))
        pause_for(chance);
}

/* More often than a pause: it costs no time, and there are fewer places. */
NOINLINE bool shake_due(void)
{
    uint64_t chance;

    pthread_once(&once, read_setting);
    return one_in && rolls_one_in(1 + one_in / 32, &chance);
}
#else
/* An empty translation unit is not C. */
typedef int shake_is_off;
#endif
