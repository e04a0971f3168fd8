/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <string.h>

#include "support/fibers.h"

enum { MOST = 8 };

struct world {
    struct weft_rwlock rwlock;
    atomic_int arrivals;
    char entered[MOST + 1]; /* who came in, in this order: r or w */
    int count;
    int inside, most_inside;
};

static void enter(struct world *world, char who)
{
    world->entered[world->count++] = who;
    world->inside++;
    if (world->inside > world->most_inside)
        world->most_inside = world->inside;
    EXPECT_EQ(weft_yield(), 0);
    world->inside--;
    weft_rwlock_unlock(&world->rwlock);
}

static int read_once(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    int r = weft_rwlock_rdlock(&world->rwlock, WEFT_NO_DEADLINE);
    if (r < 0)
        return r;
    enter(world, 'r');
    return 0;
}

static int write_once(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    int r = weft_rwlock_wrlock(&world->rwlock, WEFT_NO_DEADLINE);
    if (r < 0)
        return r;
    EXPECT_EQ(world->inside, 0);
    enter(world, 'w');
    return 0;
}

/* One fiber for each letter, in that order, each standing in its queue before the next comes. */
static void spawn_queue(struct weft_group *group, struct world *world, const char *letters)
{
    for (int i = 0; letters[i]; i++) {
        int before = atomic_load(&world->arrivals);

        EXPECT_EQ(
            weft_group_spawn(group, "user", letters[i] == 'r' ? read_once : write_once, world), 0);
        await_arrivals(&world->arrivals, before + 1);
    }
}

Test(rwlock, try_calls_work_from_a_plain_thread)
{
    struct weft_rwlock rwlock;

    memset(&rwlock, 0xff, sizeof(rwlock));
    weft_rwlock_init(&rwlock);
    cr_assert_eq(weft_rwlock_tryrdlock(&rwlock), 0);
    cr_assert_eq(weft_rwlock_tryrdlock(&rwlock), 0);
    cr_assert_eq(weft_rwlock_trywrlock(&rwlock), -EBUSY);
    weft_rwlock_unlock(&rwlock);
    cr_assert_eq(weft_rwlock_trywrlock(&rwlock), -EBUSY);
    weft_rwlock_unlock(&rwlock);
    cr_assert_eq(weft_rwlock_trywrlock(&rwlock), 0);
    cr_assert_eq(weft_rwlock_tryrdlock(&rwlock), -EBUSY);
    cr_assert_eq(weft_rwlock_trywrlock(&rwlock), -EBUSY);
    weft_rwlock_unlock(&rwlock);
    cr_assert_eq(weft_rwlock_tryrdlock(&rwlock), 0);
    weft_rwlock_unlock(&rwlock);
}

static int deadline_body(void *arg)
{
    struct weft_rwlock rwlock = {0};
    uint64_t soon;
    (void)arg;

    EXPECT_EQ(weft_rwlock_rdlock(&rwlock, 0), 0); /* over already, but no wait is needed */
    soon = weft_deadline_after(WEFT_MILLISECOND);
    EXPECT_EQ(weft_rwlock_wrlock(&rwlock, soon), -ETIMEDOUT);
    EXPECT_EQ(weft_rwlock_rdlock(&rwlock, 0), 0); /* the writer has gone */
    weft_rwlock_unlock(&rwlock);
    weft_rwlock_unlock(&rwlock);
    EXPECT_EQ(weft_rwlock_wrlock(&rwlock, 0), 0);
    weft_rwlock_unlock(&rwlock);
    return 0;
}

Test(rwlock, a_deadline_ends_a_wait_and_nothing_is_locked)
{
    on_fibers(1, deadline_body, NULL);
}

static int read_until_timeout(void *arg)
{
    struct world *world = arg;

    EXPECT_EQ(weft_rwlock_rdlock(&world->rwlock, weft_deadline_after(WEFT_MILLISECOND)),
              -ETIMEDOUT);
    EXPECT_EQ(weft_rwlock_tryrdlock(&world->rwlock), -EBUSY);
    return 0;
}

static int reader_deadline_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_rwlock_wrlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_until_timeout, &world), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_rwlock_trywrlock(&world.rwlock), 0); /* no reader was counted */
    weft_rwlock_unlock(&world.rwlock);
    return 0;
}

Test(rwlock, a_reader_that_timed_out_is_not_inside)
{
    on_fibers(1, reader_deadline_body, NULL);
}

static int deadlock_body(void *arg)
{
    struct weft_rwlock rwlock = {0};
    (void)arg;

    EXPECT_EQ(weft_rwlock_wrlock(&rwlock, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_rwlock_wrlock(&rwlock, WEFT_NO_DEADLINE), -EDEADLK);
    EXPECT_EQ(weft_rwlock_rdlock(&rwlock, WEFT_NO_DEADLINE), -EDEADLK);
    weft_rwlock_unlock(&rwlock);
    EXPECT_EQ(weft_rwlock_wrlock(&rwlock, WEFT_NO_DEADLINE), 0);
    weft_rwlock_unlock(&rwlock);
    return 0;
}

Test(rwlock, a_writer_that_locks_again_is_told)
{
    on_fibers(1, deadlock_body, NULL);
}

static int together_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_rwlock_wrlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    spawn_queue(&group, &world, "rrr");
    EXPECT_EQ(world.count, 0);
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.most_inside, 3);
    return 0;
}

Test(rwlock, readers_are_inside_together)
{
    on_fibers(1, together_body, NULL);
}

static int phases_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_rwlock_wrlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    spawn_queue(&group, &world, "wrwrw");
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_group_join(&group), 0);
    /* All readers that waited, then a writer; no reader is left, so writer after writer. */
    EXPECT(strcmp(world.entered, "rrwww") == 0);
    return 0;
}

Test(rwlock, a_leaving_writer_lets_the_waiting_readers_in_before_the_next_writer)
{
    on_fibers(1, phases_body, NULL);
}

static int no_overtaking_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    weft_group_init(&group);
    EXPECT_EQ(weft_rwlock_rdlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    spawn_queue(&group, &world, "wrr");
    EXPECT_EQ(world.count, 0); /* a writer waits, so readers do */
    EXPECT_EQ(weft_rwlock_tryrdlock(&world.rwlock), -EBUSY);
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT(strcmp(world.entered, "wrr") == 0);
    EXPECT_EQ(world.most_inside, 2);
    return 0;
}

Test(rwlock, readers_that_come_later_do_not_overtake_a_waiting_writer)
{
    on_fibers(1, no_overtaking_body, NULL);
}

static int writer_gives_up_body(void *arg)
{
    struct world world = {0};
    struct weft_group writing, reading;
    (void)arg;

    weft_group_init(&reading);
    EXPECT_EQ(weft_rwlock_rdlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    weft_group_init(&writing);
    spawn_queue(&writing, &world, "w");
    spawn_queue(&reading, &world, "rr");
    EXPECT_EQ(world.count, 0);
    weft_group_cancel(&writing);
    EXPECT_EQ(weft_group_join(&writing), -ECANCELED);
    EXPECT_EQ(weft_group_join(&reading), 0); /* while we are inside, still */
    EXPECT(strcmp(world.entered, "rr") == 0);
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_rwlock_trywrlock(&world.rwlock), 0);
    weft_rwlock_unlock(&world.rwlock);
    return 0;
}

Test(rwlock, a_writer_that_gives_up_lets_in_the_readers_that_it_held_back)
{
    on_fibers(1, writer_gives_up_body, NULL);
}

static int unlock_past_cancelled_body(void *arg)
{
    struct world world = {0};
    struct weft_group writing, reading;
    (void)arg;

    weft_group_init(&reading);
    EXPECT_EQ(weft_rwlock_rdlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    weft_group_init(&writing);
    spawn_queue(&writing, &world, "w");
    spawn_queue(&reading, &world, "rr");
    weft_group_cancel(&writing);
    weft_rwlock_unlock(&world.rwlock); /* the writer still stands in line, and is passed over */
    EXPECT_EQ(weft_group_join(&writing), -ECANCELED);
    EXPECT_EQ(weft_group_join(&reading), 0);
    EXPECT(strcmp(world.entered, "rr") == 0);
    EXPECT_EQ(weft_rwlock_trywrlock(&world.rwlock), 0);
    weft_rwlock_unlock(&world.rwlock);
    return 0;
}

Test(rwlock, a_lock_is_not_lost_to_a_cancelled_writer)
{
    on_fibers(1, unlock_past_cancelled_body, NULL);
}

static int cancelled_reader_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_rwlock_wrlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    weft_group_init(&group);
    spawn_queue(&group, &world, "rr");
    weft_group_cancel(&group);
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(world.count, 0);
    EXPECT_EQ(weft_rwlock_trywrlock(&world.rwlock), 0); /* none of them is inside */
    weft_rwlock_unlock(&world.rwlock);
    return 0;
}

Test(rwlock, a_cancelled_reader_is_not_inside)
{
    on_fibers(1, cancelled_reader_body, NULL);
}

static int granted_then_cancelled_body(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;

    EXPECT_EQ(weft_rwlock_rdlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "writer", write_once, &world), 0);
    await_arrivals(&world.arrivals, 1);
    weft_rwlock_unlock(&world.rwlock);
    EXPECT_EQ(weft_rwlock_tryrdlock(&world.rwlock), -EBUSY); /* it was given, not freed */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world.count, 1);
    return 0;
}

Test(rwlock, unlock_gives_the_lock_to_the_waiter)
{
    on_fibers(1, granted_then_cancelled_body, NULL);
}

static int cancelled_scope_body(void *arg)
{
    struct weft_rwlock rwlock = {0};
    struct weft_scope scope;
    (void)arg;

    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_rwlock_rdlock(&rwlock, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_rwlock_wrlock(&rwlock, WEFT_NO_DEADLINE), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_rwlock_trywrlock(&rwlock), 0);
    weft_rwlock_unlock(&rwlock);
    return 0;
}

Test(rwlock, locking_in_a_cancelled_scope_is_refused)
{
    on_fibers(1, cancelled_scope_body, NULL);
}

static void *write_in_thread(void *arg)
{
    struct world *world = arg;

    for (int i = 0; i < 100;) {
        if (weft_rwlock_trywrlock(&world->rwlock) < 0)
            continue;
        world->count++;
        weft_rwlock_unlock(&world->rwlock);
        i++;
    }
    return NULL;
}

static int thread_body(void *arg)
{
    struct world world = {0};
    pthread_t thread;
    (void)arg;

    EXPECT_EQ(pthread_create(&thread, NULL, write_in_thread, &world), 0);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(weft_rwlock_wrlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
        world.count++;
        weft_rwlock_unlock(&world.rwlock);
        EXPECT_EQ(weft_rwlock_rdlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
        EXPECT(world.count > i);
        weft_rwlock_unlock(&world.rwlock);
    }
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(world.count, 200);
    return 0;
}

Test(rwlock, fibers_and_a_plain_thread_exclude_each_other)
{
    on_fibers(1, thread_body, NULL);
}
