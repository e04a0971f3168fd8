/* SPDX-License-Identifier: MIT */
/* owner_test: observe/owner.c, and what each primitive tells it: sync/owners.h.  The mutex is
 * looked at in dump_test. */
#include "support/test.h"

#include <pthread.h>
#include <semaphore.h>

#include "support/fibers.h"

struct world {
    struct weft_rwlock rwlock;
    struct weft_once once;
    struct weft_event gate;
    struct weft_task *task;
};

/* ---- what a dump says of who waits for that ---- */

struct sight {
    const char *kind;
    int count;
    uint64_t owner_id;
    const void *object;
};

static int look_for_kind(const struct weft_fiber_info *info, void *arg)
{
    struct sight *sight = arg;
    if (!info->wait_kind || strcmp(info->wait_kind, sight->kind) != 0)
        return 0;
    sight->count++;
    sight->owner_id = info->wait_owner_id;
    sight->object = info->wait_object;
    return 0;
}

struct named {
    const char *name;
    uint64_t id;
};

static int look_for_name(const struct weft_fiber_info *info, void *arg)
{
    struct named *named = arg;
    if (strcmp(info->name, named->name) == 0)
        named->id = info->id;
    return 0;
}

static uint64_t id_of(const char *name)
{
    struct named named = {.name = name};
    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, look_for_name, &named), 0);
    EXPECT(named.id != 0);
    return named.id;
}

/* Of the only fiber that waits so: for what, and who has it. */
static void expect_owner(const char *kind, const void *object, uint64_t owner_id)
{
    struct sight sight = {.kind = kind};
    await_waits(kind, 1);
    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, look_for_kind, &sight), 0);
    EXPECT_EQ(sight.count, 1);
    EXPECT(sight.object == object);
    EXPECT_EQ(sight.owner_id, owner_id);
}

static int collect(const char *text, size_t size, void *arg)
{
    char *all = arg;
    EXPECT(strlen(all) + size < 16384);
    strncat(all, text, size);
    return 0;
}

/* ---- read-write lock ---- */

static int read_lock(void *arg)
{
    struct world *world = arg;
    int r = weft_rwlock_rdlock(&world->rwlock, WEFT_NO_DEADLINE);
    if (r == 0)
        weft_rwlock_unlock(&world->rwlock);
    return r;
}

static int write_lock(void *arg)
{
    struct world *world = arg;
    int r = weft_rwlock_wrlock(&world->rwlock, WEFT_NO_DEADLINE);
    if (r == 0)
        weft_rwlock_unlock(&world->rwlock);
    return r;
}

static int a_writer_is_inside(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;
    weft_rwlock_init(&world.rwlock);
    weft_group_init(&group);
    EXPECT_EQ(weft_rwlock_wrlock(&world.rwlock, WEFT_NO_DEADLINE), 0);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_lock, &world), 0);
    EXPECT_EQ(weft_group_spawn(&group, "writer", write_lock, &world), 0);
    expect_owner("rwlock read", &world.rwlock, id_of("main"));
    expect_owner("rwlock write", &world.rwlock, id_of("main"));
    weft_rwlock_unlock(&world.rwlock);
    return weft_group_join(&group);
}

Test(owner, who_waits_for_a_rwlock_is_seen_with_the_writer_that_holds_it)
{
    on_fibers(1, a_writer_is_inside, NULL);
}

static int nobody_is_known(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;
    weft_rwlock_init(&world.rwlock);
    weft_group_init(&group);
    EXPECT_EQ(weft_rwlock_rdlock(&world.rwlock, WEFT_NO_DEADLINE),
              0); /* readers are only counted */
    EXPECT_EQ(weft_group_spawn(&group, "writer", write_lock, &world), 0);
    expect_owner("rwlock write", &world.rwlock, 0);
    weft_rwlock_unlock(&world.rwlock);
    return weft_group_join(&group);
}

struct holder {
    struct weft_rwlock rwlock;
    sem_t locked, leave;
};

static void *hold(void *arg)
{
    struct holder *holder = arg;
    EXPECT_EQ(weft_rwlock_trywrlock(&holder->rwlock), 0);
    sem_post(&holder->locked);
    while (sem_wait(&holder->leave) < 0)
        ;
    weft_rwlock_unlock(&holder->rwlock);
    return NULL;
}

static int read_held(void *arg)
{
    EXPECT_EQ(weft_rwlock_rdlock(arg, WEFT_NO_DEADLINE), 0);
    weft_rwlock_unlock(arg);
    return 0;
}

static int a_thread_is_inside(void *arg)
{
    struct holder *holder = arg;
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_held, &holder->rwlock), 0);
    expect_owner("rwlock read", &holder->rwlock, 0);
    sem_post(&holder->leave);
    return weft_group_join(&group);
}

Test(owner, readers_and_plain_threads_that_hold_a_rwlock_are_no_fiber_to_name)
{
    struct holder holder;
    pthread_t thread;
    on_fibers(1, nobody_is_known, NULL);
    weft_rwlock_init(&holder.rwlock);
    sem_init(&holder.locked, 0, 0);
    sem_init(&holder.leave, 0, 0);
    cr_assert_eq(pthread_create(&thread, NULL, hold, &holder), 0);
    while (sem_wait(&holder.locked) < 0)
        ;
    on_fibers(1, a_thread_is_inside, &holder);
    pthread_join(thread, NULL);
    sem_destroy(&holder.locked);
    sem_destroy(&holder.leave);
}

/* ---- once ---- */

static int wait_at_gate(void *arg)
{
    struct world *world = arg;
    return weft_event_wait(&world->gate, WEFT_NO_DEADLINE);
}

static int run_once(void *arg)
{
    struct world *world = arg;
    return weft_once_run(&world->once, wait_at_gate, world, WEFT_NO_DEADLINE);
}

static int a_runner_runs(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    (void)arg;
    weft_once_init(&world.once);
    weft_event_init(&world.gate);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "runner", run_once, &world), 0);
    EXPECT_EQ(weft_group_spawn(&group, "follower", run_once, &world), 0);
    expect_owner("once", &world.once, id_of("runner"));
    weft_event_set(&world.gate);
    return weft_group_join(&group);
}

Test(owner, who_waits_for_a_once_is_seen_with_who_runs_it)
{
    on_fibers(1, a_runner_runs, NULL);
}

/* ---- task ---- */

static int join_it(void *arg)
{
    struct world *world = arg;
    int result = -1;
    EXPECT_EQ(weft_task_join(world->task, WEFT_NO_DEADLINE, &result), 0);
    return result;
}

static int a_task_is_joined(void *arg)
{
    struct world world = {0};
    struct weft_group group;
    char text[16384] = "", part[128], id[WEFT_FIBER_ID_TEXT];
    (void)arg;
    weft_event_init(&world.gate);
    weft_group_init(&group);
    EXPECT_EQ(weft_task_new("worker", wait_at_gate, &world, &world.task), 0);
    EXPECT_EQ(weft_group_spawn(&group, "joiner", join_it, &world), 0);
    expect_owner("task", world.task, id_of("worker"));
    EXPECT_EQ(weft_dump(weft_runtime_self(), 0, collect, text), 0);
    snprintf(part, sizeof(part), ", which is %s", weft_fiber_id_text(id_of("worker"), id));
    EXPECT(strstr(text, part) != NULL);
    weft_event_set(&world.gate);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_task_free(world.task);
    return 0;
}

Test(owner, who_joins_a_task_is_seen_with_the_fiber_that_it_is)
{
    on_fibers(1, a_task_is_joined, NULL);
}
