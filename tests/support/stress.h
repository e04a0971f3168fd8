/* SPDX-License-Identifier: MIT */
/*
 * What the stress programs share: a seeded source of chance, rounds within a time budget on 1, 2,
 * 4 and 8 workers, and chaos, which ends the scopes of fibers at random.
 *
 * A program runs as `SUBJECT_stress [SEED]`; the seed is printed first, for the next time.  The
 * schedule shaker (runtime/core/shake.h), where it is asked for, follows from it too.
 * WEFT_STRESS multiplies the budget (1: about two seconds).
 */
#pragma once
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "support/fibers.h"
#include "support/leftovers.h"

#if defined(__SANITIZE_THREAD__)
#define STRESS_SLOW 10 /* divide the work of a round by this */
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define STRESS_SLOW 10
#endif
#endif
#ifndef STRESS_SLOW
#define STRESS_SLOW 1
#endif

enum { CHAOS_SLOTS = 64 };

struct dice {
    uint64_t state;
};

/** Dice that differ for each `stream` of one seed. */
static inline struct dice dice_of(uint64_t seed, uint64_t stream)
{
    uint64_t z = seed + (stream + 1) * UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (struct dice){z ? z : 1};
}

/** 0 to sides-1. */
static inline unsigned dice_roll(struct dice *dice, unsigned sides)
{
    dice->state ^= dice->state >> 12; /* xorshift64* */
    dice->state ^= dice->state << 25;
    dice->state ^= dice->state >> 27;
    return (unsigned)((dice->state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % sides;
}

/*
 * Scopes that may be cancelled by somebody else.  Every third round is quiet: nothing but the
 * subject wakes anybody, so that a lost wake-up is not made good by a timer, and hangs.
 */
struct chaos {
    uint64_t seed;
    atomic_bool stop;
    _Atomic(struct weft_scope *) targets[CHAOS_SLOTS]; /* NULL, a scope, or CHAOS_BUSY */
};

/* A target whose scope is being cancelled now: it must not be left meanwhile. */
#define CHAOS_BUSY ((struct weft_scope *)(uintptr_t)1)

static inline bool chaos_quiet(const struct chaos *chaos)
{
    return chaos->seed % 3 == 0;
}

/** A deadline for one call: mostly none, else near. */
static inline uint64_t chaos_deadline(const struct chaos *chaos, struct dice *dice)
{
    if (chaos_quiet(chaos) || dice_roll(dice, 4))
        return WEFT_NO_DEADLINE;
    return weft_deadline_after(dice_roll(dice, 300) * WEFT_MICROSECOND);
}

/* Enter a scope that may end at any time: by a near deadline, by chaos_run, or not at all. */
static inline void chaos_enter(struct chaos *chaos, unsigned slot, struct dice *dice,
                               struct weft_scope *scope)
{
    weft_scope_enter(scope, chaos_deadline(chaos, dice));
    if (!chaos_quiet(chaos) && dice_roll(dice, 2) == 0)
        atomic_store(&chaos->targets[slot % CHAOS_SLOTS], scope);
}

static inline void chaos_leave(struct chaos *chaos, unsigned slot, struct weft_scope *scope)
{
    struct weft_scope *expected = scope;

    if (!atomic_compare_exchange_strong(&chaos->targets[slot % CHAOS_SLOTS], &expected, NULL))
        while (atomic_load(&chaos->targets[slot % CHAOS_SLOTS]) == CHAOS_BUSY)
            sched_yield(); /* the canceller does not suspend */
    weft_scope_leave(scope);
}

/* The body of a fiber: cancels random targets until it is told to stop. */
static inline int chaos_run(void *arg)
{
    struct chaos *chaos = arg;
    struct dice dice = dice_of(chaos->seed, 1000);

    while (!chaos_quiet(chaos) && !atomic_load(&chaos->stop)) {
        _Atomic(struct weft_scope *) *target = &chaos->targets[dice_roll(&dice, CHAOS_SLOTS)];
        struct weft_scope *scope = atomic_load(target);

        if (scope && scope != CHAOS_BUSY &&
            atomic_compare_exchange_strong(target, &scope, CHAOS_BUSY)) {
            weft_scope_cancel(scope);
            atomic_store(target, NULL);
        }
        if (dice_roll(&dice, 4))
            EXPECT_EQ(weft_yield(), 0);
        else
            EXPECT_EQ(weft_sleep(dice_roll(&dice, 50) * WEFT_MICROSECOND), 0);
    }
    return 0;
}

/** One of the errors that a cancelled or expired wait may return. */
static inline bool stress_ended(int r)
{
    return r == -ECANCELED || r == -ETIMEDOUT;
}

/* A round of a stress program: its own world each time, checked at its end. */
struct stress_round {
    uint64_t seed;
    unsigned workers;
};

static inline uint64_t stress_budget_ns(void)
{
    const char *factor = getenv("WEFT_STRESS");
    unsigned long times = factor ? strtoul(factor, NULL, 10) : 1;

    return (times ? times : 1) * 500 * WEFT_MILLISECOND;
}

/*
 * Rounds leave nothing behind: as many descriptors and threads as before the first, and no more heap
 * in the later half of the time than in the earlier.  The longer it runs, the less of a leak shows.
 */
struct stress_level {
    uint64_t half_ns, end_ns;
    int fds, threads;
    size_t heap[2]; /* the most of each half; 0 under a sanitizer, which counts by itself */
};

enum { STRESS_HEAP_SPARE = 64 * 1024 };

static inline void *stress_nothing(void *arg)
{
    return arg;
}

static inline struct stress_level stress_level_now(uint64_t budget_ns)
{
    pthread_t thread; /* with the first one ThreadSanitizer starts one of its own */

    EXPECT_EQ(pthread_create(&thread, NULL, stress_nothing, NULL), 0);
    pthread_join(thread, NULL);
    return (struct stress_level){
        .half_ns = weft_deadline_after(budget_ns / 2),
        .end_ns = weft_deadline_after(budget_ns),
        .fds = open_fds(),
        .threads = count_entries("/proc/self/task"),
    };
}

/** After a round.  Returns: whether there is time for another. */
static inline bool stress_level_holds(struct stress_level *level)
{
    uint64_t now_ns = weft_now_ns();
    size_t heap = mallinfo2().uordblks, *most = &level->heap[now_ns > level->half_ns];

    await_fds(level->fds);
    await_threads(level->threads);
    *most = heap > *most ? heap : *most;
    if (level->heap[0])
        EXPECT(level->heap[1] <= level->heap[0] + STRESS_HEAP_SPARE);
    return now_ns < level->end_ns;
}

static inline unsigned stress_on(unsigned workers, uint64_t seed, int (*fn)(void *))
{
    struct stress_level level = stress_level_now(stress_budget_ns());
    unsigned rounds = 0;

    do {
        struct stress_round round = {.seed = seed + rounds, .workers = workers};

        on_fibers(workers, fn, &round);
        rounds++;
    } while (stress_level_holds(&level));
    return rounds;
}

/* Before there are threads. */
static inline void shake_from(uint64_t seed)
{
    const char *setting = getenv("WEFT_SHAKE");
    char seeded[64];

    if (!setting || strchr(setting, ':'))
        return;
    snprintf(seeded, sizeof(seeded), "%.20s:%" PRIu64, setting, seed);
    setenv("WEFT_SHAKE", seeded, 1);
}

/* The seed of this run, printed for the next one. */
static inline uint64_t stress_seed(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);

    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %" PRIu64 "\n", seed);
    shake_from(seed);
    return seed;
}

/** The main of a stress program: `fn` is the main fiber of each round, given a stress_round. */
static inline int stress_main(int argc, char **argv, int (*fn)(void *))
{
    static const unsigned workers[] = {1, 2, 4, 8};
    uint64_t seed = stress_seed(argc, argv);

    for (size_t i = 0; i < sizeof(workers) / sizeof(*workers); i++) {
        unsigned rounds = stress_on(workers[i], seed, fn);

        printf("%u workers: %u rounds\n", workers[i], rounds);
    }
    return 0;
}

/** The main of one whose rounds make their own threads: `fn` is a round, given its seed. */
static inline int stress_threads(int argc, char **argv, void (*fn)(uint64_t seed))
{
    uint64_t seed = stress_seed(argc, argv);
    struct stress_level level = stress_level_now(4 * stress_budget_ns());
    unsigned rounds = 0;

    do
        fn(seed + rounds++);
    while (stress_level_holds(&level));
    printf("%u rounds\n", rounds);
    return 0;
}
