/* SPDX-License-Identifier: MIT */
/*
 * Fibers call into a few worker processes, which echo, crash, exit, hang and babble, while the
 * calls are cancelled and timed out at random.  Every answer is the answer to its call; every death
 * costs the call that it happened in; in the end there is no process and no descriptor left.
 */
#include "core/watch.h"
#include "support/pool.h"
#include "support/stress.h"

enum { FIBERS = 8, OPERATIONS = STRESS_SLOW == 1 ? 12 : 3, PROCESSES = 3, LARGE = 100000 };

struct world {
    struct chaos chaos;
    struct weft_pool *pool;
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

static void echo(struct actor *actor, uint64_t deadline_ns)
{
    static char input[LARGE + 256];
    struct weft_pool_reply reply;
    size_t size = dice_roll(&actor->dice, 4) ? dice_roll(&actor->dice, 100) : LARGE;
    const char *begin = input + dice_roll(&actor->dice, 256);
    int r = weft_pool_call(actor->world->pool, pool_echo, begin, size, deadline_ns, &reply, NULL);
    EXPECT(r == 0 || stress_ended(r));
    if (r < 0)
        return;
    EXPECT_EQ(reply.result, size);
    EXPECT(reply.size == size && memcmp(reply.data, begin, size) == 0);
    free(reply.data);
}

static void must_die(struct actor *actor, WEFT_POOL_FUNCTION((*fn)), int error, int signal)
{
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply;
    int r = weft_pool_call(actor->world->pool, fn, "", 0, WEFT_NO_DEADLINE, &reply, &death);
    EXPECT(r == error || stress_ended(r));
    if (r == error)
        EXPECT_EQ(death.signal, signal);
    else
        EXPECT(death.exit_code == 77 || death.signal == SIGKILL || death.signal == signal);
}

static void hang(struct actor *actor)
{
    struct weft_pool_reply reply;
    uint64_t deadline_ns = weft_deadline_after(dice_roll(&actor->dice, 2000) * WEFT_MICROSECOND);
    int r = weft_pool_call(actor->world->pool, pool_hang, "", 0, deadline_ns, &reply, NULL);
    EXPECT(stress_ended(r));
}

static void operate(struct actor *actor)
{
    switch (dice_roll(&actor->dice, 12)) {
    case 0:
        must_die(actor, pool_crash, -ECHILD, SIGSEGV);
        return;
    case 1:
        must_die(actor, pool_leave_child, -ECHILD, 0);
        return;
    case 2:
        must_die(actor, pool_babble, -EPROTO, SIGKILL);
        return;
    case 3:
        hang(actor);
        return;
    default:
        echo(actor, chaos_deadline(&actor->world->chaos, &actor->dice));
    }
}

static int act(void *arg)
{
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;
        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        operate(actor);
        chaos_leave(chaos, actor->number, &scope);
    }
    return 0;
}

static void open_pool(struct world *world, uint64_t seed)
{
    struct weft_pool_options options;
    weft_pool_options_init(&options);
    options.processes = PROCESSES;
    options.calls = seed % 2 ? 5 : 0;
    EXPECT_EQ(weft_pool_new(&options, &world->pool), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group trouble, group;
    int fds = open_fds();
    open_pool(&world, round->seed);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i, dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    }
    if (round->seed % 5 == 0)
        weft_group_cancel(&group);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    weft_pool_free(world.pool);
    expect_no_child();
    EXPECT_EQ(open_fds(), fds);
    EXPECT_EQ(watch_count(), 0);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
