/* SPDX-License-Identifier: MIT */
/* fairness_test: nobody who is ready, or whose event has come, waits for ever (core/worker.c, L2
 * and L5; core/sched.c, Q2) */
#include "support/test.h"

#include "support/io.h"

/* --- many who take turns */

enum { CROWD = TEST_COUNT(600, 300), TURNS = 10 };

static int take_turns(void *arg)
{
    atomic_int *through = arg;

    for (int i = 0; i < TURNS; i++)
        EXPECT_EQ(weft_yield(), 0);
    atomic_fetch_add(through, 1);
    while (atomic_load(through) < CROWD) /* goes on, so that the others must get past it */
        EXPECT_EQ(weft_yield(), 0);
    return 0;
}

static int crowd(void *arg)
{
    struct weft_group group;
    atomic_int through = 0;

    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < CROWD; i++) /* more than the ring holds, and this one among them */
        EXPECT_EQ(weft_group_spawn(&group, "yielder", take_turns, &through), 0);
    return weft_group_join(&group);
}

Test(fairness, of_more_yielding_fibers_than_the_ring_holds_each_gets_its_turns)
{
    on_fibers(1, crowd, NULL);
    on_fibers(2, crowd, NULL);
}

/* --- events, while somebody is always ready */

struct events {
    atomic_int came; /* timers, bytes and turns */
    struct weft_stream *streams[2];
    atomic_bool stop;
};

enum { EVENTS = 3, TIMES = 5 };

static int sleep_times(void *arg)
{
    struct events *events = arg;

    for (int i = 0; i < TIMES; i++)
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    arrive(&events->came);
    return 0;
}

static int read_times(void *arg)
{
    struct events *events = arg;
    char byte = 0;

    for (int i = 0; i < TIMES; i++) {
        EXPECT_EQ(weft_read(events->streams[0], &byte, 1), 1);
        EXPECT_EQ(weft_write(events->streams[0], &byte, 1, NULL), 0);
    }
    arrive(&events->came);
    return 0;
}

static int write_times(void *arg)
{
    struct events *events = arg;
    char byte = 'x';

    for (int i = 0; i < TIMES; i++) {
        EXPECT_EQ(weft_write(events->streams[1], &byte, 1, NULL), 0);
        EXPECT_EQ(weft_read(events->streams[1], &byte, 1), 1);
    }
    arrive(&events->came);
    return 0;
}

static int yield_till_they_came(void *arg)
{
    struct events *events = arg;

    while (atomic_load(&events->came) < EVENTS)
        EXPECT_EQ(weft_yield(), 0);
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int storm_till_they_came(void *arg)
{
    struct events *events = arg;
    struct weft_group group;

    while (atomic_load(&events->came) < EVENTS) {
        weft_group_init(&group);
        for (int i = 0; i < 64; i++)
            EXPECT_EQ(weft_group_spawn(&group, "drop", nothing, NULL), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

/* Two that wake each other: they could pass the slot to and fro for ever. */
struct pair {
    struct events *events;
    struct weft_semaphore turns[2];
    atomic_int next;
};

static int play(void *arg)
{
    struct pair *pair = arg;
    int me = atomic_fetch_add(&pair->next, 1);

    while (atomic_load(&pair->events->came) < EVENTS) {
        EXPECT_EQ(weft_semaphore_release(&pair->turns[!me]), 0);
        EXPECT_EQ(weft_semaphore_acquire(&pair->turns[me], WEFT_NO_DEADLINE), 0);
    }
    return weft_semaphore_release(&pair->turns[!me]);
}

static int play_till_they_came(void *arg)
{
    struct pair pair = {.events = arg};
    struct weft_group group;

    weft_semaphore_init(&pair.turns[0], 0, 0);
    weft_semaphore_init(&pair.turns[1], 0, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "one", play, &pair), 0);
    EXPECT_EQ(weft_group_spawn(&group, "other", play, &pair), 0);
    return weft_group_join(&group);
}

static int amid(void *arg)
{
    int (*const busy)(void *) = *(int (**)(void *))arg;
    struct events events = {0};
    struct weft_group group;

    stream_pair(events.streams);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "busy", busy, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "sleeper", sleep_times, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_times, &events), 0);
    EXPECT_EQ(weft_group_spawn(&group, "writer", write_times, &events), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(events.streams);
    return 0;
}

static void come_amid(int (*busy)(void *))
{
    on_fibers(1, amid, (void *)&busy);
    on_fibers(2, amid, (void *)&busy);
}

Test(fairness, who_yields_all_the_time_starves_neither_timers_nor_descriptors)
{
    come_amid(yield_till_they_came);
}

Test(fairness, a_storm_of_spawns_starves_nobody)
{
    come_amid(storm_till_they_came);
}

Test(fairness, two_that_wake_each_other_starve_nobody)
{
    come_amid(play_till_they_came);
}

/* --- an echo, while every worker computes in slices */

enum { SLICES = 3, ROUNDS = 20 };

struct slices {
    atomic_int rounds; /* of the echo */
    atomic_int left;   /* fibers that still compute */
    struct weft_stream *streams[2];
};

/* Each slice lasts until the echo got on within it. */
static int compute_in_slices(void *arg)
{
    struct slices *slices = arg;

    for (int i = 0; i < SLICES; i++) {
        int before = atomic_load(&slices->rounds);

        while (atomic_load(&slices->rounds) < before + ROUNDS)
            ;
        EXPECT_EQ(weft_yield(), 0);
    }
    atomic_fetch_sub(&slices->left, 1);
    return 0;
}

static int echo(void *arg)
{
    struct slices *slices = arg;
    char byte;

    while (weft_read(slices->streams[0], &byte, 1) == 1)
        EXPECT_EQ(weft_write(slices->streams[0], &byte, 1, NULL), 0);
    return 0;
}

static int ask(void *arg)
{
    struct slices *slices = arg;
    char byte = 'x';

    while (atomic_load(&slices->left) > 0) {
        EXPECT_EQ(weft_write(slices->streams[1], &byte, 1, NULL), 0);
        EXPECT_EQ(weft_read(slices->streams[1], &byte, 1), 1);
        atomic_fetch_add(&slices->rounds, 1);
    }
    return weft_stream_shutdown_write(slices->streams[1]);
}

static int echo_amid_slices(void *arg)
{
    int workers = *(int *)arg;
    struct slices slices = {.left = workers};
    struct weft_group group;

    stream_pair(slices.streams);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "echo", echo, &slices), 0);
    EXPECT_EQ(weft_group_spawn(&group, "client", ask, &slices), 0);
    for (int i = 0; i < workers; i++)
        EXPECT_EQ(weft_group_spawn(&group, "computes", compute_in_slices, &slices), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(slices.streams);
    return 0;
}

Test(fairness, an_echo_gets_on_within_a_slice_of_whoever_computes_on_each_worker)
{
    for (int workers = 1; workers <= 2; workers++) {
        struct weft_options options;

        weft_options_init(&options);
        options.workers = (unsigned)workers;
        options.handle_signals = false;
        cr_assert_eq(weft_run(&options, echo_amid_slices, &workers), 0);
    }
}
