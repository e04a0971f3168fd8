/* SPDX-License-Identifier: MIT */
/* Events as one-shot completions, each set once by another fiber or by a plain thread while its
 * waiter is cancelled and timed out: the waiter always learns of the set, sees what was written
 * before it, and frees the event at once.  And one event that all wait for, and all get. */
#include <pthread.h>

#include "support/stress.h"

enum { FIBERS = 32, OPERATIONS = 100 / STRESS_SLOW, INBOX = 1024 };

struct completion {
    struct weft_event event;
    uint64_t payload; /* written before the set, read after the wait: the event orders them */
};

struct world {
    struct chaos chaos;
    struct weft_event start; /* all wait for it first */
    atomic_uint started;
    struct weft_channel *inbox; /* completions for the plain thread to set */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static void complete(struct completion *completion)
{
    completion->payload = 1;
    weft_event_set(&completion->event); /* it may be freed from here on */
}

static int complete_on_fiber(void *arg)
{
    struct completion *completion = arg;

    if ((uintptr_t)completion >> 6 & 1)
        weft_yield(); /* refused in a cancelled scope, which is no matter here */
    complete(completion);
    return 0;
}

static void *complete_on_thread(void *arg)
{
    struct world *world = arg;
    struct completion *completion;

    for (;;) {
        int r = weft_channel_try_recv(world->inbox, &completion);
        if (r == -EPIPE)
            return NULL;
        if (r == 0)
            complete(completion);
        else
            sched_yield();
    }
}

static int await(struct actor *actor, struct completion *completion)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    int r = 0;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        weft_event_wait_shielded(&completion->event);
    else
        r = weft_event_wait(&completion->event, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static void request(struct actor *actor, struct weft_group *group, struct completion *completion)
{
    if (dice_roll(&actor->dice, 2))
        EXPECT_EQ(weft_group_spawn(group, "setter", complete_on_fiber, completion), 0);
    else
        EXPECT_EQ(weft_channel_send(actor->world->inbox, &completion, WEFT_NO_DEADLINE), 0);
}

static void order_and_await(struct actor *actor)
{
    struct completion *completion = calloc(1, sizeof(*completion));
    struct weft_group group;
    int r;

    EXPECT(completion);
    weft_group_init(&group);
    request(actor, &group, completion);
    while ((r = await(actor, completion)) != 0)
        EXPECT(stress_ended(r));
    EXPECT_EQ(completion->payload, 1);
    free(completion);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static int act(void *arg)
{
    struct actor *actor = arg;

    EXPECT_EQ(weft_event_wait(&actor->world->start, WEFT_NO_DEADLINE), 0);
    atomic_fetch_add(&actor->world->started, 1);
    for (int i = 0; i < OPERATIONS; i++)
        order_and_await(actor);
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group trouble, group;
    pthread_t thread;

    EXPECT_EQ(weft_channel_new(sizeof(struct completion *), INBOX, &world.inbox), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, complete_on_thread, &world), 0);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    EXPECT_EQ(atomic_load(&world.started), 0);
    weft_event_set(&world.start);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&world.started), FIBERS);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    weft_channel_close(world.inbox);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    weft_channel_free(world.inbox);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
