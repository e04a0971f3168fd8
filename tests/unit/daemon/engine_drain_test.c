/* SPDX-License-Identifier: MIT */
/* An admin's drain: what goes on, what does not, and who waits for it. */
#include "engine_support.h"

#include "support/test.h"

struct drainer {
    struct world *world;
    int result;
    atomic_bool done;
};

static int wait_on_fiber(void *arg)
{
    struct drainer *drainer = arg;
    drainer->result = engine_wait_drained(drainer->world->engine, WEFT_NO_DEADLINE);
    atomic_store(&drainer->done, true);
    return 0;
}

static void drain_and_undo(struct world *world)
{
    struct weft_group group;
    struct drainer drainer = {.world = world};
    uint64_t first = submit(world, "gate", ""), second = submit(world, "gate", "");
    await_attempts(2);
    EXPECT_EQ(engine_set_drained(world->engine, &admin, true), 2);
    uint64_t later = submit(world, "ok", ""); /* accepted all the same */
    uint64_t delayed = submit(world, "ok", ",\"delay\":0.001");
    EXPECT_EQ(why_of(world, later), ENGINE_WHY_DRAINED);
    while (state_of(world, delayed) != JOB_QUEUED) /* delays come due */
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(engine_wait_drained(world->engine, weft_now_ns()), -ETIMEDOUT);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "drainer", wait_on_fiber, &drainer), 0);
    EXPECT_EQ(cancel(world, first), JOB_CANCELLED);
    EXPECT(!atomic_load(&drainer.done));
    EXPECT_EQ(cancel(world, second), JOB_CANCELLED);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(drainer.result, 0);
    EXPECT_EQ(atomic_load(&trace_count), 2);
    EXPECT_EQ(engine_set_drained(world->engine, &admin, false), 0);
    EXPECT_EQ(end_of(world, later), JOB_SUCCEEDED);
    EXPECT_EQ(end_of(world, delayed), JOB_SUCCEEDED);
}

Test(engine_drain, starts_nothing_until_it_is_undone)
{
    in_a_world(2, drain_and_undo);
}

static void undo_while_somebody_waits(struct world *world)
{
    struct weft_group group;
    struct drainer drainer = {.world = world};
    uint64_t running = submit(world, "gate", "");
    await_attempts(1);
    EXPECT_EQ(engine_set_drained(world->engine, &admin, true), 1);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "drainer", wait_on_fiber, &drainer), 0);
    EXPECT_EQ(engine_set_drained(world->engine, &admin, false), 1);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(drainer.result, -EAGAIN);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, running), JOB_SUCCEEDED);
}

Test(engine_drain, an_undo_is_told_to_who_waits)
{
    in_a_world(2, undo_while_somebody_waits);
}

static void stop_while_somebody_waits(struct world *world)
{
    struct weft_group group;
    struct drainer drainer = {.world = world};
    uint64_t running = submit(world, "hang", "");
    await_attempts(1);
    EXPECT_EQ(engine_set_drained(world->engine, &admin, true), 1);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "drainer", wait_on_fiber, &drainer), 0);
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(drainer.result, 0);
    EXPECT_EQ(state_of(world, running), JOB_QUEUED);
}

Test(engine_drain, a_stop_ends_the_wait)
{
    in_a_world(2, stop_while_somebody_waits);
}
