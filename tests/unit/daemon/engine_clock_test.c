/* SPDX-License-Identifier: MIT */
/* A clock that is set: what was to be due in an hour is, and who sleeps until then wakes.  Instead of
 * the machine's clock the jobs' times are set, behind the engine's back; and a timerfd that can be read
 * stands for one whose clock was set. */
#include "engine_retry_support.h"

#include "support/test.h"

#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void make_due(struct world *world, uint64_t delayed, uint64_t mortal)
{
    weft_mutex_lock(&world->engine->lock);
    job_table_find(&world->engine->table, delayed)->record.due_at = 1;
    job_table_find(&world->engine->table, mortal)->record.expires_at = 1;
    weft_mutex_unlock(&world->engine->lock);
}

static int open_timer(void)
{
    const struct itimerspec soon = {.it_value = {.tv_nsec = 1}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    EXPECT(fd >= 0);
    EXPECT_EQ(timerfd_settime(fd, 0, &soon, NULL), 0);
    return fd;
}

struct follower {
    struct world *world;
    struct weft_descriptor *clock;
    int rc;
};

static int follow(void *arg)
{
    struct follower *follower = arg;
    follower->rc = engine_clock_follow(follower->world->engine, follower->clock);
    return 0;
}

static void set_clock(struct world *world)
{
    struct weft_group group;
    struct follower follower = {.world = world};
    uint64_t delayed = submit(world, "ok", ",\"delay\":\"1h\"");
    uint64_t mortal = submit(world, "ok", ",\"timeout_total\":\"1h\",\"queue\":\"paused\"");
    yield_often(); /* both fibers sleep for an hour */
    make_due(world, delayed, mortal);
    EXPECT_EQ(weft_descriptor_new(open_timer(), &follower.clock), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "clock", follow, &follower), 0);
    EXPECT_EQ(end_of(world, delayed), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, mortal), JOB_TIMED_OUT);
    weft_group_cancel(&group);
    (void)weft_group_join(&group);
    EXPECT_EQ(follower.rc, -ECANCELED);
    weft_descriptor_free(follower.clock);
}

Test(engine_clock, what_is_due_by_a_clock_that_was_set_is_not_late)
{
    in_a_world(2, set_clock);
}

Test(engine_clock, a_clock_that_nobody_sets_cannot_be_read)
{
    int fd = engine_clock_open();
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    struct itimerspec left;
    cr_assert_geq(fd, 0);
    cr_assert_eq(poll(&ready, 1, 0), 0);
    cr_assert_eq(timerfd_gettime(fd, &left), 0);
    cr_assert_gt(left.it_value.tv_sec, 3600L * 24 * 365); /* nothing wakes weftd for it */
    close(fd);
}

static int run_clock(void *arg)
{
    struct follower *follower = arg;
    follower->rc = engine_clock(follower->world->engine);
    return 0;
}

static void stop_clock(struct world *world)
{
    struct weft_group group;
    struct follower follower = {.world = world};
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "clock", run_clock, &follower), 0);
    yield_often();
    weft_group_cancel(&group);
    (void)weft_group_join(&group);
    EXPECT_EQ(follower.rc, -ECANCELED);
}

Test(engine_clock, ends_when_it_is_cancelled)
{
    in_a_world(1, stop_clock);
}
