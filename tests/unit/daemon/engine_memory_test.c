/* SPDX-License-Identifier: MIT */
/*
 * The engine without memory: each allocation in turn fails, and then all of them for a while.
 * Whatever fails is refused with an error, what was accepted is run, nothing leaks into the state.
 *
 * The C library's allocator is put in front of; the sanitizers' cannot be, so there this is
 * skipped.
 */
#include "engine_support.h"

#include "protocol/json_memory.h"
#include "support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

Test(engine_memory, cannot_be_tested_with_a_sanitizer_s_allocator) {}

#else

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static atomic_bool armed;     /* allocations on fibers count */
static atomic_long left = -1; /* until one fails; at 0: this one */
static atomic_long wanted;    /* that fail one after the other then */
static atomic_long failed;

static bool fails(void)
{
    if (!atomic_load(&armed) || !weft_on_fiber())
        return false;
    if (atomic_fetch_sub(&left, 1) > 0)
        return false;
    if (atomic_fetch_sub(&wanted, 1) <= 0)
        return false;
    atomic_fetch_add(&failed, 1);
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return fails() ? NULL : __libc_realloc(memory, size);
}

static void arm(long nth, long count)
{
    atomic_store(&left, nth);
    atomic_store(&wanted, count);
    atomic_store(&failed, 0);
    atomic_store(&armed, true);
}

/* Whether one has failed. */
static bool disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&failed) > 0;
}

static void check_refusal(int rc, const struct rpc_error *error)
{
    EXPECT_EQ(rc, -ENOMEM);
    EXPECT_EQ(error->code, RPC_INTERNAL_ERROR);
    EXPECT(error->message[0] != '\0');
}

/* Do it with the first, second, … allocation failing, until none is left to fail. */
static void try_all(struct world *world, void (*once)(struct world *world))
{
    long nth = 0;
    do {
        EXPECT(nth < 1000);
        arm(nth++, 1);
        once(world);
    } while (disarm());
    EXPECT(nth > 1); /* it does allocate */
}

static void submit_once(struct world *world)
{
    struct rpc_error error = {0};
    uint64_t id = 0;
    bool was_armed = atomic_exchange(&armed, false);
    struct job_spec *spec = spec_of("ok", "");
    atomic_store(&armed, was_armed);
    int rc = submit_for(world->engine, &me, spec, NULL, &id, &error);
    atomic_store(&armed, false);
    if (rc < 0)
        check_refusal(rc, &error);
    else
        EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    EXPECT_EQ(rc < 0, id == 0);
    EXPECT_EQ(world->engine->live, 0);
}

static void submit_all(struct world *world)
{
    try_all(world, submit_once);
}

Test(engine_memory, submit)
{
    in_a_world(1, submit_all);
}

static void submit_many_once(struct world *world)
{
    struct rpc_error errors[3] = {0}, error = {0};
    struct engine_item items[3];
    bool was_armed = atomic_exchange(&armed, false);
    for (size_t i = 0; i < 3; i++)
        items[i] = (struct engine_item){.spec = spec_of("ok", ""), .error = &errors[i]};
    atomic_store(&armed, was_armed);
    int rc = engine_submit_many(world->engine, &me, items, 3, false, NULL, &error);
    atomic_store(&armed, false);
    if (rc < 0)
        check_refusal(rc, &error);
    for (size_t i = 0; i < 3; i++) {
        EXPECT(items[i].spec == NULL);
        EXPECT(rc < 0 || (items[i].id == 0) == (errors[i].code != RPC_OK));
        if (rc == 0 && items[i].id)
            EXPECT_EQ(end_of(world, items[i].id), JOB_SUCCEEDED);
    }
    EXPECT_EQ(world->engine->live, 0);
}

static void submit_many_all(struct world *world)
{
    try_all(world, submit_many_once);
}

Test(engine_memory, submit_many)
{
    in_a_world(1, submit_many_all);
}

static void read_once(struct world *world)
{
    uint64_t ids[2] = {1, 2};
    struct engine_filter filter = {.limit = 10};
    struct engine_page page;
    struct job_record *record;
    struct rpc_error error = {0};
    int rc = engine_get(world->engine, &me, 1, &record, &error);
    if (rc < 0)
        check_refusal(rc, &error);
    else
        job_record_free(record);
    rc = engine_list(world->engine, &me, &filter, &page, &error);
    if (rc < 0)
        check_refusal(rc, &error);
    else
        engine_page_destroy(&page);
    rc = engine_wait(world->engine, &me, ids, 2, WEFT_NO_DEADLINE, &page, &error);
    if (rc < 0)
        check_refusal(rc, &error);
    else
        engine_page_destroy(&page);
    EXPECT(world->engine->waiters == NULL);
}

static void read_all(struct world *world)
{
    for (size_t i = 0; i < 2; i++)
        EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    submit(world, "ok", ",\"queue\":\"paused\"");
    try_all(world, read_once);
}

Test(engine_memory, get_list_and_wait_from_memory)
{
    in_a_world(1, read_all);
}

Test(engine_memory, get_list_and_wait_from_the_store)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.workers = 1;
    world.config.daemon.recent = 0;
    world_live(&world, read_all);
    base_free(base);
}

struct waiting {
    struct world *world;
    uint64_t id;
};

static int wait_main(void *arg)
{
    struct waiting *waiting = arg;
    struct engine_page page;
    struct rpc_error error = {0};
    int rc =
        engine_wait(waiting->world->engine, &me, &waiting->id, 1, WEFT_NO_DEADLINE, &page, &error);
    atomic_store(&armed, false);
    if (rc < 0) {
        check_refusal(rc, &error);
        return 0;
    }
    EXPECT_EQ(page.records[0]->state, JOB_SUCCEEDED);
    engine_page_destroy(&page);
    return 0;
}

/* Its record goes with its end: only who waits for it has a copy. */
static void wait_once(struct world *world)
{
    bool was_armed = atomic_exchange(&armed, false);
    struct waiting waiting = {.world = world};
    struct weft_group group;
    weft_event_clear(&attempts_gate);
    waiting.id = submit(world, "gate", ",\"durable\":false");
    await_state(world, waiting.id, JOB_RUNNING);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "wait", wait_main, &waiting), 0);
    while (!world->engine->waiters)
        EXPECT_EQ(weft_yield(), 0);
    atomic_store(&armed, was_armed);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void wait_all(struct world *world)
{
    try_all(world, wait_once);
}

Test(engine_memory, wait_for_what_is_in_memory_only)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.workers = 1;
    world.config.daemon.recent = 0;
    world_live(&world, wait_all);
    base_free(base);
}

static void cancel_once(struct world *world)
{
    bool was_armed = atomic_exchange(&armed, false);
    uint64_t ids[2] = {submit(world, "ok", ",\"queue\":\"paused\""), submit(world, "hang", "")};
    enum job_state states[2] = {0};
    struct rpc_error errors[2] = {0};
    await_state(world, ids[1], JOB_RUNNING);
    atomic_store(&armed, was_armed);
    int rc = engine_cancel(world->engine, &me, ids, 2, states, errors);
    atomic_store(&armed, false);
    EXPECT(rc == 0 || rc == -ENOMEM);
    EXPECT(world->engine->waiters == NULL);
    if (rc < 0)
        EXPECT_EQ(engine_cancel(world->engine, &me, ids, 2, states, errors), 0);
    EXPECT_EQ(states[0], JOB_CANCELLED);
    EXPECT_EQ(states[1], JOB_CANCELLED);
}

static void cancel_all(struct world *world)
{
    try_all(world, cancel_once);
}

Test(engine_memory, cancel)
{
    in_a_world(1, cancel_all);
}

/* Cancelled and brought back, again and again; what is refused leaves it as it was. */
static void retry_once(struct world *world)
{
    uint64_t ids[2] = {1, 999};
    enum job_state states[2] = {0};
    struct rpc_error errors[2] = {0}, error = {0};
    bool was_armed = atomic_exchange(&armed, false);
    EXPECT_EQ(cancel(world, 1), JOB_CANCELLED);
    EXPECT_EQ(world->engine->live, 0);
    atomic_store(&armed, was_armed);
    int rc = engine_retry(world->engine, &me, ids, 2, states, errors, &error);
    atomic_store(&armed, false);
    if (rc < 0)
        check_refusal(rc, &error);
    else
        EXPECT_EQ(errors[1].code, RPC_NO_SUCH_JOB);
    EXPECT_EQ(states[0] == JOB_NONE, rc < 0 || errors[0].code == RPC_INTERNAL_ERROR);
    EXPECT_EQ(states[1], JOB_NONE);
    EXPECT_EQ(base_state(world->base, 1), states[0] == JOB_NONE ? JOB_CANCELLED : JOB_QUEUED);
    EXPECT_EQ(state_of(world, 1), base_state(world->base, 1));
}

static void retry_all(struct world *world)
{
    EXPECT_EQ(submit(world, "ok", ",\"queue\":\"paused\""), 1);
    try_all(world, retry_once);
}

Test(engine_memory, retry_from_memory)
{
    in_a_world(1, retry_all);
}

Test(engine_memory, retry_from_the_store)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    world.workers = 1;
    world.config.daemon.recent = 0;
    world_live(&world, retry_all);
    base_free(base);
}

static void explain_once(struct world *world)
{
    for (uint64_t id = 1; id <= 2; id++) {
        struct engine_explanation facts;
        struct rpc_error error = {0};
        int rc = engine_explain(world->engine, &me, id, &facts, &error);
        if (rc < 0)
            check_refusal(rc, &error);
        else
            job_record_free(facts.record);
    }
}

static void explain_all(struct world *world)
{
    submit(world, "ok", ",\"queue\":\"paused\"");
    EXPECT_EQ(end_of(world, submit(world, "ok", "")), JOB_SUCCEEDED);
    try_all(world, explain_once);
}

Test(engine_memory, explain)
{
    in_a_world(1, explain_all);
}

/* From the paused queue's opening to the end of its job. */
static void run_once(struct world *world)
{
    bool was_armed = atomic_exchange(&armed, false);
    uint64_t id = submit(world, "ok", ",\"queue\":\"paused\"");
    world->queues[2].concurrency = 1;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
    atomic_store(&armed, was_armed);
    while (!job_state_is_end(base_state(world->base, id)))
        EXPECT_EQ(weft_yield(), 0);
    atomic_store(&armed, false);
    enum job_state state = end_of(world, id);
    EXPECT(state == JOB_SUCCEEDED || state == JOB_FAILED);
    world->queues[2].concurrency = 0;
    EXPECT_EQ(engine_apply_config(world->engine, &world->config), 0);
}

static void run_all(struct world *world)
{
    try_all(world, run_once);
}

Test(engine_memory, a_run)
{
    in_a_world(1, run_all);
}

static void apply_once(struct world *world)
{
    int rc = engine_apply_config(world->engine, &world->config);
    atomic_store(&armed, false);
    EXPECT(rc == 0 || rc == -ENOMEM);
    struct queue *added = queue_set_find(world->engine->queues, world->queues[3].name);
    EXPECT_EQ(added != NULL, rc == 0);
    EXPECT(queue_set_find(world->engine->queues, "one")->configured);
}

static void apply_all(struct world *world)
{
    world->queues[3].name = "added";
    try_all(world, apply_once);
}

Test(engine_memory, apply_config_is_all_or_nothing)
{
    in_a_world(1, apply_all);
}

/* All allocations fail for a while, in the midst of work. */
static void starve(struct world *world)
{
    enum { COUNT = 200 };
    size_t accepted = 0;
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t id = 0;
        struct rpc_error error = {0};
        struct job_spec *spec = spec_of("ok", "");
        arm((long)(i % 7), (long)(i % 23));
        int rc = submit_for(world->engine, &me, spec, NULL, &id, &error);
        disarm();
        EXPECT(rc == 0 || rc == -ENOMEM);
        accepted += rc == 0;
    }
    EXPECT(accepted > 0);
    for (uint64_t id = 1; id < world->base->next_id; id++)
        if (base_state(world->base, id) != JOB_NONE)
            EXPECT(job_state_is_end(end_of(world, id)));
    EXPECT_EQ(world->engine->live, 0);
}

Test(engine_memory, starvation)
{
    in_a_world(2, starve);
}

/* A life that ends while a job runs that must not run twice. */
static void die_in_a_careful_job(struct world *world)
{
    uint64_t id;
    struct rpc_error error = {0};
    submit(world, "hang", ",\"on_crash\":\"fail\"");
    await_attempts(1);
    atomic_store(&world->base->fail_in, 1);
    EXPECT_EQ(submit_for(world->engine, &me, spec_of("ok", ""), NULL, &id, &error), -EIO);
}

/* Of the recovery, number `nth` fails. */
static long nth;

static int recover_main(void *arg)
{
    struct world *world = arg;
    struct problem problem = {0};
    arm(nth, 1);
    int rc = engine_recover(world->engine, &problem, &world->recovery);
    bool lacked = disarm();
    EXPECT(rc == 0 || (rc == -ENOMEM && lacked && problem.text[0]));
    EXPECT_EQ(base_state(world->base, 1), rc == 0 ? JOB_FAILED : JOB_RUNNING);
    nth = rc == 0 ? -1 : nth + 1;
    EXPECT_EQ(weft_offload(world_stop_store, world, NULL), 0);
    return 0;
}

Test(engine_memory, a_recovery_runs_nothing_again_that_may_not_run_again)
{
    struct world world;
    struct base *base = base_new();
    long tries = 0;
    json_memory_watch(malloc);
    world_init(&world, base);
    world_live(&world, die_in_a_careful_job);
    for (nth = 0; nth >= 0; tries++) {
        world_init(&world, base);
        attempts_reset();
        world_make(&world);
        on_fibers(1, recover_main, &world);
        store_free(world.store);
        engine_free(world.engine);
    }
    cr_assert_gt(tries, 3);
    base_free(base);
}

#endif
