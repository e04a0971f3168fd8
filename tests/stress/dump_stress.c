/* SPDX-License-Identifier: MIT */
/*
 * All fibers are looked at, again and again, by a plain thread and by a fiber, while others spawn,
 * wait, yield, compute, are stolen and end.  Names live on the heap and are freed as soon as their
 * fiber was joined.  Every enumeration must find each of the fibers that wait all the while, once,
 * with what it waits for and the function in which it waits, and no id twice; and nobody may miss
 * a wake-up for having been looked at.
 */
#include "support/stress.h"

#include <pthread.h>

enum { FIXED = 12, CHURN = 6, CHILDREN = 8, IDS_MAX = 4096, FN_SIZE = 512, LONG_TURN = 20000 };

struct world {
    uint64_t seed;
    unsigned flags;
    atomic_bool stop;
    atomic_int arrivals;
    atomic_uint_fast64_t looks, seen, named;
    struct weft_runtime *runtime;
    struct weft_semaphore tokens;
};

/* --- who looks */

struct census {
    struct world *world;
    unsigned fixed;
    size_t count;
    uint64_t id[IDS_MAX];
};

__attribute__((noinline)) static int wait_for_ever(void *arg)
{
    struct world *world = arg;
    int r;

    arrive(&world->arrivals);
    r = weft_sleep_until(UINT64_MAX - 1);
    __asm__ volatile("" ::: "memory"); /* no tail call: the frame stays */
    return r == -ECANCELED ? 0 : r;
}

static bool stands_in(const struct weft_fiber_info *info, int (*fn)(void *))
{
    for (unsigned i = 0; i < info->frame_count; i++) {
        uintptr_t offset = (uintptr_t)info->frames[i] - (uintptr_t)fn;

        if (offset > 0 && offset < FN_SIZE)
            return true;
    }
    return false;
}

static void count_fixed(struct census *census, const struct weft_fiber_info *info)
{
    census->fixed++;
    EXPECT_EQ(info->state, WEFT_FIBER_WAITING);
    EXPECT_EQ(strcmp(info->wait_kind, "sleep"), 0);
    EXPECT(!(census->world->flags & WEFT_DUMP_BACKTRACE) || stands_in(info, wait_for_ever));
}

static int note(const struct weft_fiber_info *info, void *arg)
{
    struct census *census = arg;

    EXPECT(info->id != 0);
    if (census->count < IDS_MAX)
        census->id[census->count++] = info->id;
    EXPECT(info->name != NULL);
    if (strcmp(info->name, "fixed") == 0)
        count_fixed(census, info);
    else if (strncmp(info->name, "child of ", 9) == 0)
        atomic_fetch_add(&census->world->named, 1);
    else
        EXPECT(strcmp(info->name, "main") == 0 || strcmp(info->name, "churn") == 0 ||
               strcmp(info->name, "looker") == 0);
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return one < other ? -1 : one > other;
}

static void look_once(struct world *world, struct census *census)
{
    census->world = world;
    census->fixed = 0;
    census->count = 0;
    EXPECT_EQ(weft_fibers_each(world->runtime, world->flags, note, census), 0);
    EXPECT_EQ(census->fixed, FIXED);
    qsort(census->id, census->count, sizeof(*census->id), by_value);
    for (size_t i = 1; i < census->count; i++)
        EXPECT(census->id[i - 1] != census->id[i]);
    atomic_fetch_add(&world->looks, 1);
    atomic_fetch_add(&world->seen, census->count);
}

static void *look_from_outside(void *arg)
{
    struct world *world = arg;
    struct census *census = malloc(sizeof(*census));

    while (!atomic_load(&world->stop))
        look_once(world, census);
    free(census);
    return NULL;
}

static int look_from_inside(void *arg)
{
    struct world *world = arg;
    struct census *census = malloc(sizeof(*census));

    while (!atomic_load(&world->stop)) {
        look_once(world, census);
        EXPECT_EQ(weft_yield(), 0);
    }
    free(census);
    return 0;
}

/* --- who is looked at */

struct child {
    struct world *world;
    uint64_t seed;
    char *name;
};

static void compute(struct dice *dice)
{
    volatile unsigned sink = 0;

    for (unsigned i = dice_roll(dice, LONG_TURN); i > 0; i--)
        sink += i;
    (void)sink;
}

static int live_shortly(void *arg)
{
    struct child *child = arg;
    struct dice dice = dice_of(child->seed, 7);

    for (unsigned i = dice_roll(&dice, 4); i > 0; i--) {
        switch (dice_roll(&dice, 4)) {
        case 0:
            EXPECT_EQ(weft_yield(), 0);
            break;
        case 1:
            EXPECT_EQ(weft_sleep(dice_roll(&dice, 40) * WEFT_MICROSECOND), 0);
            break;
        case 2: /* hand a token on: a lost wake-up would hang */
            EXPECT_EQ(weft_semaphore_release(&child->world->tokens), 0);
            EXPECT_EQ(weft_semaphore_acquire(&child->world->tokens, WEFT_NO_DEADLINE), 0);
            break;
        default:
            compute(&dice);
        }
    }
    return 0;
}

static void family(struct world *world, struct dice *dice)
{
    unsigned count = dice_roll(dice, CHILDREN) + 1;
    struct child children[CHILDREN];
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = 0; i < count; i++) {
        children[i] = (struct child){.world = world, .seed = world->seed + dice_roll(dice, 1000)};
        EXPECT(asprintf(&children[i].name, "child of %u", i) > 0);
        EXPECT_EQ(weft_group_spawn(&group, children[i].name, live_shortly, &children[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (unsigned i = 0; i < count; i++) {
        memset(children[i].name, '!', strlen(children[i].name));
        free(children[i].name);
    }
}

static int churn(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->seed, (uint64_t)atomic_fetch_add(&world->arrivals, 1));

    for (unsigned i = 0; i < 60 / STRESS_SLOW + 2; i++)
        family(world, &dice);
    return 0;
}

static void crowd(struct world *world)
{
    struct weft_group busy, looking;

    weft_group_init(&looking);
    EXPECT_EQ(weft_group_spawn(&looking, "looker", look_from_inside, world), 0);
    weft_group_init(&busy);
    for (int i = 0; i < CHURN; i++)
        EXPECT_EQ(weft_group_spawn(&busy, "churn", churn, world), 0);
    EXPECT_EQ(weft_group_join(&busy), 0);
    while (atomic_load(&world->looks) < 4)
        EXPECT_EQ(weft_yield(), 0);
    atomic_store(&world->stop, true);
    EXPECT_EQ(weft_group_join(&looking), 0);
}

static int count_asleep(const struct weft_fiber_info *info, void *arg)
{
    int *asleep = arg;

    *asleep += info->state == WEFT_FIBER_WAITING && strcmp(info->wait_kind, "sleep") == 0;
    return 0;
}

/* Those that arrived may still be on their way into their sleep. */
static void await_asleep(struct world *world)
{
    int asleep;

    await_arrivals(&world->arrivals, FIXED);
    do {
        asleep = 0;
        EXPECT_EQ(weft_fibers_each(world->runtime, 0, count_asleep, &asleep), 0);
    } while (asleep < FIXED);
}

static int round_main(void *arg)
{
    const struct stress_round *round = arg;
    struct world world = {.seed = round->seed, .runtime = weft_runtime_self()};
    struct weft_group fixed;
    pthread_t thread;

    world.flags = round->seed % 2 ? WEFT_DUMP_BACKTRACE : 0;
    if (round->seed % 8 == 7)
        world.flags |= WEFT_DUMP_INTERRUPT;
    weft_semaphore_init(&world.tokens, 1, 0);
    weft_group_init(&fixed);
    for (int i = 0; i < FIXED; i++)
        EXPECT_EQ(weft_group_spawn(&fixed, "fixed", wait_for_ever, &world), 0);
    await_asleep(&world);
    EXPECT_EQ(pthread_create(&thread, NULL, look_from_outside, &world), 0);
    crowd(&world);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_group_cancel(&fixed);
    EXPECT_EQ(weft_group_join(&fixed), -ECANCELED);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, round_main);
}
