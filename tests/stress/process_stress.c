/* SPDX-License-Identifier: MIT */
/*
 * Spawn storms: many fibers start programs, talk with them, wait for them and end them, while they
 * are cancelled and timed out at random.  A call that says that there is no child has none, a
 * conversation that went through is whole, and in the end no process and no descriptor is left.
 */
#include "core/watch.h"
#include "support/process.h"
#include "support/stress.h"

enum { FIBERS = 8, OPERATIONS = STRESS_SLOW == 1 ? 8 : 2, TALK = 20000 };

struct world {
    struct chaos chaos;
    char input[TALK];
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
};

/* ---- one operation each, in a scope that may end at any time -------------------------------- */

static void start_and_wait(struct actor *actor)
{
    const char *argv[] = {"true", NULL};
    struct weft_process_options options;
    struct weft_process_status status;
    struct weft_process *process;
    weft_process_options_init(&options);
    options.argv = argv;
    int r = weft_process_spawn(&options, &process);
    if (r < 0) {
        EXPECT(stress_ended(r));
        return;
    }
    r = weft_process_wait(process, chaos_deadline(&actor->world->chaos, &actor->dice), &status);
    EXPECT(r == 0 || stress_ended(r));
    if (r < 0)
        EXPECT_EQ(
            weft_process_terminate(process, dice_roll(&actor->dice, 2) * WEFT_SECOND, &status), 0);
    EXPECT(status.exit_code == 0 || status.signal == SIGTERM || status.signal == SIGKILL);
    weft_process_free(process);
}

static void converse(struct actor *actor)
{
    const char *argv[] = {"sh", "-c", "cat; echo err >&2; exit 4", NULL};
    const struct chaos *chaos = &actor->world->chaos;
    struct weft_process_options options;
    struct weft_process_output out, err;
    struct weft_process_status status;
    weft_process_options_init(&options);
    options.argv = argv;
    int r = weft_process_run(&options, actor->world->input, TALK, TALK,
                             chaos_deadline(chaos, &actor->dice), &out, &err, &status);
    EXPECT(r == 0 || stress_ended(r));
    if (r < 0)
        return;
    EXPECT(out.size == TALK && memcmp(out.data, actor->world->input, TALK) == 0);
    EXPECT(strcmp(err.data, "err\n") == 0);
    EXPECT_EQ(status.exit_code, 4);
    free(out.data);
    free(err.data);
}

static int wait_too(void *arg)
{
    struct weft_process_status status;
    int r = weft_process_wait(arg, WEFT_NO_DEADLINE, &status);
    EXPECT(r == 0 || stress_ended(r));
    return 0;
}

static void terminate(struct actor *actor)
{
    struct weft_process *process;
    struct weft_group group;
    int r = weft_process_shell("sleep 1000 & wait", NULL, &process);
    if (r < 0) {
        EXPECT(stress_ended(r));
        return;
    }
    weft_group_init(&group);
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_too, process), 0);
    EXPECT_EQ(weft_process_terminate(process, dice_roll(&actor->dice, 2) * WEFT_SECOND, NULL), 0);
    r = weft_group_join(&group);
    EXPECT(r == 0 || stress_ended(r));
    weft_process_free(process);
}

static void be_refused(struct actor *actor)
{
    const char *argv[] = {"/no/such", NULL};
    struct weft_process_options options;
    struct weft_process *process;
    (void)actor;
    weft_process_options_init(&options);
    options.argv = argv;
    options.stdin_fd = WEFT_PROCESS_PIPE;
    if (geteuid() == 0)
        options.uid = 61235; /* the way with a copy and a report */
    int r = weft_process_spawn(&options, &process);
    EXPECT(r == -ENOENT || stress_ended(r));
}

static int act(void *arg)
{
    static void (*const operations[])(struct actor *) = {start_and_wait, converse, terminate,
                                                         be_refused};
    struct actor *actor = arg;
    struct chaos *chaos = &actor->world->chaos;
    for (int i = 0; i < OPERATIONS && weft_check_cancel() == 0; i++) {
        struct weft_scope scope;
        chaos_enter(chaos, actor->number, &actor->dice, &scope);
        operations[dice_roll(&actor->dice, 4)](actor);
        chaos_leave(chaos, actor->number, &scope);
    }
    return 0;
}

static int play(void *arg)
{
    static struct world world;
    struct stress_round *round = arg;
    struct actor actors[FIBERS];
    struct weft_group trouble, group;
    int fds = open_fds();
    world = (struct world){.chaos.seed = round->seed};
    for (int i = 0; i < TALK; i++)
        world.input[i] = (char)((unsigned)i % 251);
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
    expect_no_child();
    EXPECT_EQ(open_fds(), fds);
    EXPECT_EQ(watch_count(), 0);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
