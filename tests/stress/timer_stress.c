/* SPDX-License-Identifier: MIT */
/* Heaps of timers: their owners add and expire, everybody removes; each timer strikes at most once,
 * never after its removal, never early, and none is lost. */
#include "core/timer.h"

#include <pthread.h>

#include "core/scope.h"
#include "support/stress.h"

enum { OWNERS = 3, TIMERS = 512, STEPS = 20000 / STRESS_SLOW };

/* A timer with the scope that it expires: its flag tells whether it struck. */
struct alarm_clock {
    struct timer timer;
    struct scope scope;
    uint64_t deadline_ns;
    pthread_mutex_t lock; /* held by whoever adds, removes or looks */
    bool set;             /* guarded by lock */
};

struct arena;

struct owner {
    struct arena *arena;
    struct timers timers;
    struct dice dice;
    atomic_uint_fast64_t now_ns; /* its own clock, moved by itself */
    uint64_t added, expired;
};

struct arena {
    struct owner owner[OWNERS];
    struct alarm_clock clocks[TIMERS];
    atomic_uint_fast64_t struck, removed; /* found when a clock was reset */
    pthread_barrier_t end;
};

/* Take the timer out of its heap, wherever that is, and see whether it struck. */
static void reset(struct arena *arena, struct alarm_clock *clock)
{
    struct owner *home = container_of(clock->timer.home, struct owner, timers);

    timer_remove(&clock->timer);
    EXPECT_EQ(clock->timer.index, TIMER_IDLE);
    if (atomic_load(&clock->scope.cancelled)) {
        EXPECT(clock->deadline_ns <= atomic_load(&home->now_ns));
        atomic_fetch_add(&arena->struck, 1);
    } else {
        atomic_fetch_add(&arena->removed, 1);
    }
    clock->set = false;
}

static void set(struct owner *owner, struct alarm_clock *clock)
{
    scope_init(&clock->scope, NULL, NULL, UINT64_MAX, false);
    clock->timer = (struct timer){.index = TIMER_IDLE, .scope = &clock->scope};
    clock->deadline_ns = owner->now_ns + dice_roll(&owner->dice, 1000);
    timer_add(&owner->timers, &clock->timer, clock->deadline_ns);
    clock->set = true;
    owner->added++;
}

static void touch_one(struct owner *owner)
{
    struct alarm_clock *clock = &owner->arena->clocks[dice_roll(&owner->dice, TIMERS)];

    if (pthread_mutex_trylock(&clock->lock) != 0)
        return;
    if (clock->set)
        reset(owner->arena, clock);
    else
        set(owner, clock);
    pthread_mutex_unlock(&clock->lock);
}

static void expire(struct owner *owner)
{
    struct wait_batch batch = {0};

    owner->now_ns += dice_roll(&owner->dice, 50);
    owner->expired += timers_expire(&owner->timers, owner->now_ns, &batch);
    EXPECT(!batch.head); /* nobody waits in these scopes */
    EXPECT(timers_next(&owner->timers) > owner->now_ns);
}

static void *own(void *arg)
{
    struct owner *owner = arg;

    for (int i = 0; i < STEPS; i++) {
        touch_one(owner);
        if (dice_roll(&owner->dice, 4) == 0)
            expire(owner);
    }
    pthread_barrier_wait(&owner->arena->end);
    while (timers_next(&owner->timers) != UINT64_MAX) /* nobody removes any more */
        expire(owner);
    return NULL;
}

static void play(uint64_t seed)
{
    static struct arena arena;
    pthread_t threads[OWNERS];
    uint64_t added = 0, expired = 0;

    memset(&arena, 0, sizeof(arena));
    pthread_barrier_init(&arena.end, NULL, OWNERS);
    for (int i = 0; i < TIMERS; i++)
        pthread_mutex_init(&arena.clocks[i].lock, NULL);
    for (unsigned i = 0; i < OWNERS; i++) {
        arena.owner[i].arena = &arena;
        arena.owner[i].dice = dice_of(seed, i);
        timers_init(&arena.owner[i].timers);
        EXPECT_EQ(pthread_create(&threads[i], NULL, own, &arena.owner[i]), 0);
    }
    for (unsigned i = 0; i < OWNERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < TIMERS; i++)
        if (arena.clocks[i].set)
            reset(&arena, &arena.clocks[i]);
    for (unsigned i = 0; i < OWNERS; i++) {
        added += arena.owner[i].added;
        expired += arena.owner[i].expired;
        EXPECT_EQ(arena.owner[i].timers.count, 0);
        timers_destroy(&arena.owner[i].timers);
    }
    EXPECT_EQ(expired, atomic_load(&arena.struck));
    EXPECT_EQ(added, expired + atomic_load(&arena.removed));
    pthread_barrier_destroy(&arena.end);
}

int main(int argc, char **argv)
{
    return stress_threads(argc, argv, play);
}
