/* SPDX-License-Identifier: MIT */
/*
 * Fibers and a plain thread select over sends and receives on the same few channels of capacities
 * 0, 1 and 7, and are cancelled and timed out: an item whose case fired is received exactly once,
 * any other never; each receiver sees the items of one sender on one channel in their order; and
 * nobody is left behind when the channels close.
 *
 * Half of the fibers always stand on both sides of all channels, so that nobody waits in vain.
 */
#include <pthread.h>

#include "support/stress.h"

enum { ACTORS = 24, CHANNELS = 4, OPERATIONS = 200 / STRESS_SLOW, CASES = 2 * CHANNELS + 2 };

struct item {
    uint32_t sender, number;
};

struct world {
    struct weft_channel *channels[CHANNELS];
    struct chaos chaos;
    bool sent[ACTORS][OPERATIONS]; /* written by the sender, read when it has ended */
    atomic_uchar received[ACTORS][OPERATIONS];
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    struct item item;                /* to be sent: at most one is, each time */
    struct item in[CASES];           /* where each receive goes */
    uint32_t next[CHANNELS][ACTORS]; /* what came last from each sender, plus one */
    struct weft_select_case cases[CASES];
    size_t case_count;
};

static const struct item untouched = {UINT32_MAX, UINT32_MAX};

static void add_case(struct actor *actor, unsigned channel, bool send)
{
    size_t i = actor->case_count++;
    struct weft_channel *chosen = actor->world->channels[channel];

    actor->in[i] = untouched;
    actor->cases[i] =
        send ? weft_case_send(chosen, &actor->item) : weft_case_recv(chosen, &actor->in[i]);
}

/* Both sides of all channels for every second one; else one to four at random, some twice. */
static void choose_cases(struct actor *actor)
{
    actor->case_count = 0;
    if (actor->number % 2 == 0) {
        for (unsigned i = 0; i < CHANNELS; i++) {
            add_case(actor, i, true);
            add_case(actor, i, false);
        }
        return;
    }
    for (unsigned i = dice_roll(&actor->dice, 4); i < 4; i++)
        add_case(actor, dice_roll(&actor->dice, CHANNELS), dice_roll(&actor->dice, 2));
}

static void note_received(struct actor *actor, unsigned channel, struct item item)
{
    EXPECT(item.sender < ACTORS && item.number < OPERATIONS);
    EXPECT(item.number >= actor->next[channel][item.sender]);
    actor->next[channel][item.sender] = item.number + 1;
    EXPECT_EQ(atomic_fetch_add(&actor->world->received[item.sender][item.number], 1), 0);
}

static unsigned channel_of(struct actor *actor, size_t fired)
{
    unsigned channel = 0;

    while (actor->world->channels[channel] != actor->cases[fired].channel)
        channel++;
    return channel;
}

/* Returns: whether the channels are still open. */
static bool note_fired(struct actor *actor, int fired)
{
    bool open = true;

    for (int i = 0; i < (int)actor->case_count; i++) {
        struct weft_select_case *one = &actor->cases[i];

        if (i == fired && one->result < 0) {
            EXPECT_EQ(one->result, -EPIPE);
            open = false;
        } else if (i == fired && one->kind == WEFT_SELECT_SEND) {
            actor->world->sent[actor->item.sender][actor->item.number] = true;
        } else if (i == fired) {
            note_received(actor, channel_of(actor, (size_t)i), actor->in[i]);
            continue;
        }
        EXPECT(memcmp(&actor->in[i], &untouched, sizeof(untouched)) == 0);
    }
    return open;
}

static int select_somehow(struct actor *actor)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    int r;

    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    if (dice_roll(&actor->dice, 8) == 0)
        r = weft_try_select(actor->cases, actor->case_count);
    else
        r = weft_select(actor->cases, actor->case_count, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static void close_all(struct world *world)
{
    for (int i = 0; i < CHANNELS; i++)
        weft_channel_close(world->channels[i]);
}

static int act(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        actor->item = (struct item){actor->number, i};
        choose_cases(actor);
        int r = select_somehow(actor);
        EXPECT(r >= 0 || r == -EAGAIN || stress_ended(r));
        if (!note_fired(actor, r))
            break;
    }
    close_all(actor->world); /* the others may be too few now to meet */
    return 0;
}

static void *act_in_thread(void *arg)
{
    struct actor *actor = arg;

    for (unsigned i = 0; i < OPERATIONS; i++) {
        actor->item = (struct item){actor->number, i};
        choose_cases(actor);
        int r = weft_try_select(actor->cases, actor->case_count);
        EXPECT(r >= 0 || r == -EAGAIN);
        if (!note_fired(actor, r))
            break;
        sched_yield();
    }
    return NULL;
}

static void check(struct world *world)
{
    for (int i = 0; i < CHANNELS; i++) {
        struct item item;

        while (weft_channel_try_recv(world->channels[i], &item) == 0)
            EXPECT_EQ(atomic_fetch_add(&world->received[item.sender][item.number], 1), 0);
    }
    for (int i = 0; i < ACTORS; i++)
        for (int j = 0; j < OPERATIONS; j++)
            EXPECT_EQ(atomic_load(&world->received[i][j]), world->sent[i][j]);
}

static void play_in(struct world *world, struct actor *actors, bool cancel)
{
    struct weft_group trouble, group;
    pthread_t thread;

    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, act_in_thread, &actors[ACTORS - 1]), 0);
    weft_group_init(&group);
    for (int i = 0; i < ACTORS - 1; i++)
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    if (cancel)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    static const size_t capacities[CHANNELS] = {0, 0, 1, 7};
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct actor *actors = calloc(ACTORS, sizeof(*actors));

    EXPECT(world && actors);
    world->chaos.seed = round->seed;
    for (int i = 0; i < CHANNELS; i++) {
        size_t capacity = round->seed % 2 ? capacities[i] : 0;

        EXPECT_EQ(weft_channel_new(sizeof(struct item), capacity, &world->channels[i]), 0);
    }
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i].world = world;
        actors[i].number = i;
        actors[i].dice = dice_of(round->seed, i);
    }
    play_in(world, actors, round->seed % 5 == 0);
    check(world);
    for (int i = 0; i < CHANNELS; i++)
        weft_channel_free(world->channels[i]);
    free(actors);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
