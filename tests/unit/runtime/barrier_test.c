/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "support/fibers.h"

enum { PARTIES = 4 };

struct world {
    struct weft_barrier barrier;
    atomic_int arrivals;
    uint64_t deadline_ns;
};

struct party {
    struct world *world;
    int result;
};

static void world_init(struct world *world)
{
    *world = (struct world){.deadline_ns = WEFT_NO_DEADLINE};
    EXPECT_EQ(weft_barrier_init(&world->barrier, PARTIES), 0);
}

static int wait_once(void *arg)
{
    struct party *party = arg;

    arrive(&party->world->arrivals);
    party->result = weft_barrier_wait(&party->world->barrier, party->world->deadline_ns);
    return 0;
}

static void spawn_parties(struct weft_group *group, struct world *world, struct party *parties,
                          int count)
{
    for (int i = 0; i < count; i++) {
        int before = atomic_load(&world->arrivals);

        parties[i] = (struct party){world, INT_MAX};
        EXPECT_EQ(weft_group_spawn(group, "party", wait_once, &parties[i]), 0);
        await_arrivals(&world->arrivals, before + 1);
    }
}

Test(barrier, init_refuses_what_cannot_be)
{
    struct weft_barrier barrier;

    memset(&barrier, 0xff, sizeof(barrier));
    cr_assert_eq(weft_barrier_init(&barrier, 0), -EINVAL);
    cr_assert_eq(weft_barrier_init(&barrier, (unsigned)INT_MAX + 1), -EINVAL);
    cr_assert_eq(weft_barrier_init(&barrier, INT_MAX), 0);
    cr_assert_eq(weft_barrier_waiting(&barrier), 0);
    cr_assert_not(weft_barrier_broken(&barrier));
}

static int pass_body(void *arg)
{
    struct world world;
    struct party parties[PARTIES];
    struct weft_group group;
    (void)arg;

    world_init(&world);
    for (int round = 0; round < 3; round++) { /* it can be used again at once */
        weft_group_init(&group);
        spawn_parties(&group, &world, parties, PARTIES - 1);
        EXPECT_EQ(weft_barrier_waiting(&world.barrier), PARTIES - 1);
        for (int i = 0; i < PARTIES - 1; i++)
            EXPECT_EQ(parties[i].result, INT_MAX);
        EXPECT_EQ(weft_barrier_wait(&world.barrier, WEFT_NO_DEADLINE), PARTIES - 1);
        EXPECT_EQ(weft_barrier_waiting(&world.barrier), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
        for (int i = 0; i < PARTIES - 1; i++)
            EXPECT_EQ(parties[i].result, i);
    }
    return 0;
}

Test(barrier, all_pass_when_the_last_has_come_each_with_its_number)
{
    on_fibers(1, pass_body, NULL);
}

static int alone_body(void *arg)
{
    struct weft_barrier barrier;
    (void)arg;

    EXPECT_EQ(weft_barrier_init(&barrier, 1), 0);
    EXPECT_EQ(weft_barrier_wait(&barrier, 0), 0);
    EXPECT_EQ(weft_barrier_wait(&barrier, WEFT_NO_DEADLINE), 0);
    return 0;
}

Test(barrier, a_single_party_never_waits)
{
    on_fibers(1, alone_body, NULL);
}

static int leave_body(void *arg)
{
    struct world world;
    struct party parties[PARTIES];
    struct weft_group leaving, group;
    (void)arg;

    world_init(&world);
    weft_group_init(&leaving);
    spawn_parties(&leaving, &world, parties, 2);
    weft_group_cancel(&leaving);
    EXPECT_EQ(weft_group_join(&leaving), -ECANCELED);
    EXPECT_EQ(parties[0].result, -ECANCELED);
    EXPECT_EQ(weft_barrier_waiting(&world.barrier), 0);
    EXPECT_EQ(weft_barrier_wait(&world.barrier, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    EXPECT_EQ(weft_barrier_waiting(&world.barrier), 0);
    EXPECT(!weft_barrier_broken(&world.barrier));
    weft_group_init(&group);
    spawn_parties(&group, &world, parties, PARTIES - 1);
    EXPECT_EQ(weft_barrier_wait(&world.barrier, 0), PARTIES - 1);
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

Test(barrier, who_is_cancelled_or_timed_out_leaves_and_does_not_break_it)
{
    on_fibers(1, leave_body, NULL);
}

static int tie_body(void *arg)
{
    struct world world;
    struct party parties[PARTIES];
    struct weft_group group;
    (void)arg;

    world_init(&world);
    weft_group_init(&group);
    spawn_parties(&group, &world, parties, PARTIES - 1);
    weft_group_cancel(&group); /* they are cancelled, but stand there until they run */
    struct weft_scope shield;
    weft_shield_enter(&shield);
    EXPECT_EQ(weft_barrier_wait(&world.barrier, WEFT_NO_DEADLINE), PARTIES - 1);
    weft_scope_leave(&shield);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < PARTIES - 1; i++)
        EXPECT_EQ(parties[i].result, i); /* all of them or none */
    return 0;
}

Test(barrier, who_is_cancelled_in_the_moment_of_passing_passes)
{
    on_fibers(1, tie_body, NULL);
}

static int abort_body(void *arg)
{
    struct world world;
    struct party parties[PARTIES];
    struct weft_group group;
    (void)arg;

    world_init(&world);
    weft_group_init(&group);
    spawn_parties(&group, &world, parties, 2);
    weft_barrier_abort(&world.barrier);
    weft_barrier_abort(&world.barrier);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(parties[0].result, -EPIPE);
    EXPECT_EQ(parties[1].result, -EPIPE);
    EXPECT(weft_barrier_broken(&world.barrier));
    EXPECT_EQ(weft_barrier_wait(&world.barrier, WEFT_NO_DEADLINE), -EPIPE);
    weft_barrier_reset(&world.barrier);
    EXPECT(!weft_barrier_broken(&world.barrier));
    EXPECT_EQ(weft_barrier_wait(&world.barrier, 0), -ETIMEDOUT);
    return 0;
}

Test(barrier, abort_breaks_it_for_all_until_it_is_reset)
{
    on_fibers(1, abort_body, NULL);
}

static int reset_body(void *arg)
{
    struct world world;
    struct party parties[PARTIES];
    struct weft_group group;
    (void)arg;

    world_init(&world);
    weft_group_init(&group);
    spawn_parties(&group, &world, parties, 2);
    weft_barrier_reset(&world.barrier);
    EXPECT_EQ(weft_barrier_waiting(&world.barrier), 0);
    EXPECT(!weft_barrier_broken(&world.barrier));
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(parties[0].result, -EPIPE);
    EXPECT_EQ(parties[1].result, -EPIPE);
    return 0;
}

Test(barrier, reset_sends_away_those_who_wait_and_leaves_it_whole)
{
    on_fibers(1, reset_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_barrier barrier;
    struct weft_scope scope;
    (void)arg;

    EXPECT_EQ(weft_barrier_init(&barrier, 1), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_barrier_wait(&barrier, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    return 0;
}

Test(barrier, waiting_in_a_cancelled_scope_is_refused)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static void *abort_from_thread(void *arg)
{
    struct world *world = arg;

    while (weft_barrier_waiting(&world->barrier) == 0)
        sched_yield();
    weft_barrier_abort(&world->barrier);
    return NULL;
}

static int thread_body(void *arg)
{
    struct world world;
    pthread_t thread;
    (void)arg;

    world_init(&world);
    EXPECT_EQ(pthread_create(&thread, NULL, abort_from_thread, &world), 0);
    EXPECT_EQ(weft_barrier_wait(&world.barrier, WEFT_NO_DEADLINE), -EPIPE);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    return 0;
}

Test(barrier, a_plain_thread_may_abort_it)
{
    on_fibers(1, thread_body, NULL);
}
