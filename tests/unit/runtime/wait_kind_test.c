/* SPDX-License-Identifier: MIT */
/* What a fiber says that it waits for, in each primitive: a dump shows it. */
#include "support/test.h"

#include <string.h>

#include "core/fiber.h"
#include "core/stack.h"
#include "support/fibers.h"

/* One of each, set up so that whoever comes has to wait. */
struct world {
    struct weft_mutex mutex, outer;
    struct weft_cond cond;
    struct weft_semaphore semaphore;
    struct weft_event event;
    struct weft_rwlock rwlock;
    struct weft_barrier barrier;
    struct weft_once once;
    struct weft_waitgroup waitgroup;
    struct weft_channel *empty, *full;
    struct weft_broadcast *broadcast;
    struct weft_watch *watch;
    struct weft_queue *none, *filled;
    atomic_int arrivals;
};

struct wait {
    const char *kind;
    int (*fn)(struct world *world);
    size_t object; /* where in the world it is, or a pointer to it */
    bool pointer;
    struct world *world;
    struct fiber *fiber;
};

static int wait_mutex(struct world *world)
{
    return weft_mutex_lock(&world->mutex);
}

static int wait_cond(struct world *world)
{
    int r = weft_mutex_lock(&world->outer);

    EXPECT_EQ(r, 0);
    r = weft_cond_wait(&world->cond, &world->outer, WEFT_NO_DEADLINE);
    weft_mutex_unlock(&world->outer);
    return r;
}

static int wait_semaphore(struct world *world)
{
    return weft_semaphore_acquire(&world->semaphore, WEFT_NO_DEADLINE);
}

static int wait_event(struct world *world)
{
    return weft_event_wait(&world->event, WEFT_NO_DEADLINE);
}

static int wait_read(struct world *world)
{
    return weft_rwlock_rdlock(&world->rwlock, WEFT_NO_DEADLINE);
}

static int wait_write(struct world *world)
{
    return weft_rwlock_wrlock(&world->rwlock, WEFT_NO_DEADLINE);
}

static int wait_barrier(struct world *world)
{
    return weft_barrier_wait(&world->barrier, WEFT_NO_DEADLINE);
}

static int wait_long(void *event)
{
    return weft_event_wait(event, WEFT_NO_DEADLINE);
}

static int wait_once(struct world *world)
{
    return weft_once_run(&world->once, wait_long, &world->event, WEFT_NO_DEADLINE);
}

static int wait_waitgroup(struct world *world)
{
    return weft_waitgroup_wait(&world->waitgroup, WEFT_NO_DEADLINE);
}

static int wait_send(struct world *world)
{
    int item = 1;

    return weft_channel_send(world->full, &item, WEFT_NO_DEADLINE);
}

static int wait_recv(struct world *world)
{
    int item;

    return weft_channel_recv(world->empty, &item, WEFT_NO_DEADLINE);
}

static int wait_select(struct world *world)
{
    int item;
    struct weft_select_case cases[] = {weft_case_recv(world->empty, &item)};

    return weft_select(cases, 1, WEFT_NO_DEADLINE);
}

static int wait_broadcast(struct world *world)
{
    struct weft_broadcast_receiver receiver;
    int item;

    weft_broadcast_subscribe(world->broadcast, &receiver);
    int r = weft_broadcast_recv(&receiver, &item, WEFT_NO_DEADLINE);
    weft_broadcast_unsubscribe(&receiver);
    return r;
}

static int wait_watch(struct world *world)
{
    uint64_t version = 1;
    int value;

    return weft_watch_changed(world->watch, &version, &value, WEFT_NO_DEADLINE);
}

static int wait_put(struct world *world)
{
    int item = 1;

    return weft_queue_put(world->filled, &item, WEFT_NO_DEADLINE);
}

static int wait_get(struct world *world)
{
    int item;

    return weft_queue_get(world->none, &item, WEFT_NO_DEADLINE);
}

static int wait_join(struct world *world)
{
    return weft_queue_join(world->filled, WEFT_NO_DEADLINE);
}

#define AT(member) offsetof(struct world, member)

static const struct wait waits[] = {
    {"mutex", wait_mutex, AT(mutex)},
    {"condition", wait_cond, AT(cond)},
    {"semaphore", wait_semaphore, AT(semaphore)},
    {"event", wait_event, AT(event)},
    {"rwlock read", wait_read, AT(rwlock)},
    {"rwlock write", wait_write, AT(rwlock)},
    {"barrier", wait_barrier, AT(barrier)},
    {"event", wait_once, AT(event)}, /* it runs the once */
    {"once", wait_once, AT(once)},
    {"wait group", wait_waitgroup, AT(waitgroup)},
    {"channel send", wait_send, AT(full), true},
    {"channel recv", wait_recv, AT(empty), true},
    {"select", wait_select, AT(empty), true},
    {"broadcast", wait_broadcast, AT(broadcast), true},
    {"watch", wait_watch, AT(watch), true},
    {"queue put", wait_put, AT(filled), true},
    {"queue get", wait_get, AT(none), true},
    {"queue join", wait_join, AT(filled), true},
};

enum { WAITS = sizeof(waits) / sizeof(*waits) };

static void world_init(struct world *world)
{
    int item = 1;

    memset(world, 0, sizeof(*world));
    EXPECT_EQ(weft_mutex_trylock(&world->mutex), 0);
    weft_semaphore_init(&world->semaphore, 0, 0);
    EXPECT_EQ(weft_rwlock_trywrlock(&world->rwlock), 0);
    EXPECT_EQ(weft_barrier_init(&world->barrier, 2), 0);
    EXPECT_EQ(weft_waitgroup_add(&world->waitgroup, 1), 0);
    EXPECT_EQ(weft_channel_new(sizeof(item), 0, &world->empty), 0);
    EXPECT_EQ(weft_channel_new(sizeof(item), 0, &world->full), 0);
    EXPECT_EQ(weft_broadcast_new(sizeof(item), 1, &world->broadcast), 0);
    EXPECT_EQ(weft_watch_new(sizeof(item), &item, &world->watch), 0);
    EXPECT_EQ(weft_queue_new(sizeof(item), 1, WEFT_QUEUE_FIFO, &world->none), 0);
    EXPECT_EQ(weft_queue_new(sizeof(item), 1, WEFT_QUEUE_FIFO, &world->filled), 0);
    EXPECT_EQ(weft_queue_try_put(world->filled, &item), 0);
}

static void world_destroy(struct world *world)
{
    weft_mutex_unlock(&world->mutex);
    weft_rwlock_unlock(&world->rwlock);
    weft_channel_free(world->empty);
    weft_channel_free(world->full);
    weft_broadcast_free(world->broadcast);
    weft_watch_free(world->watch);
    weft_queue_free(world->none);
    weft_queue_free(world->filled);
}

static int wait_for_it(void *arg)
{
    struct wait *wait = arg;

    wait->fiber = fiber_self();
    arrive(&wait->world->arrivals);
    return wait->fn(wait->world);
}

static const void *object_of(const struct wait *wait)
{
    char *place = (char *)wait->world + wait->object;

    return wait->pointer ? *(void **)(void *)place : place;
}

static int body(void *arg)
{
    struct wait all[WAITS];
    struct world world;
    struct weft_group group;
    (void)arg;

    world_init(&world);
    weft_group_init(&group);
    for (int i = 0; i < WAITS; i++) {
        all[i] = waits[i];
        all[i].world = &world;
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_for_it, &all[i]), 0);
        await_arrivals(&world.arrivals, i + 1);
    }
    for (int i = 0; i < WAITS; i++) {
        EXPECT(strcmp(atomic_load(&all[i].fiber->wait_kind), all[i].kind) == 0);
        EXPECT(atomic_load(&all[i].fiber->wait_object) == object_of(&all[i]));
    }
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    world_destroy(&world);
    return 0;
}

Test(wait_kind, each_wait_says_what_it_is_for)
{
    on_fibers(1, body, NULL);
}
