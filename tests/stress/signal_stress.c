/* SPDX-License-Identifier: MIT */
/*
 * Plain threads send signals all the time, some of them blocking what they send, while fibers
 * handle, replace and end the handling, and runtimes come and go.  Realtime signals that are
 * handled all the while are counted: none is lost and none is told twice.  Descriptors are counted
 * too.
 */
#include <pthread.h>
#include <signal.h>

#include "core/watch.h"
#include "support/io.h"
#include "support/stress.h"

enum { SENDERS = 3, FIBERS = 4, OPERATIONS = 40 / STRESS_SLOW, SENDS = 100 / STRESS_SLOW };

struct world {
    struct chaos chaos;
    atomic_uint sent, told, calls;
    atomic_bool stop;
};

struct actor {
    struct world *world;
    struct dice dice;
    bool blocks;
};

static int tell(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
    return 0;
}

/* SIGRTMIN is counted; SIGUSR1 is ignored where nobody handles it. */
static void *send_signals(void *arg)
{
    struct actor *actor = arg;
    sigset_t set;
    sigfillset(&set);
    if (actor->blocks)
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < SENDS; i++) {
        if (dice_roll(&actor->dice, 2)) {
            EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
        } else if (kill(getpid(), SIGRTMIN) == 0) { /* else the kernel's queue is full */
            atomic_fetch_add(&actor->world->sent, 1);
        }
        if (dice_roll(&actor->dice, 4) == 0)
            sched_yield();
    }
    return NULL;
}

static int act(void *arg)
{
    struct actor *actor = arg;
    for (int i = 0; i < OPERATIONS; i++) {
        int r = weft_signal_handle(SIGUSR1, tell, &actor->world->calls);
        EXPECT(r == 0 || r == -EBUSY);
        for (unsigned turns = dice_roll(&actor->dice, 4); turns > 0; turns--)
            EXPECT_EQ(weft_yield(), 0);
        if (dice_roll(&actor->dice, 2) == 0)
            continue;
        r = weft_signal_unhandle(SIGUSR1);
        EXPECT(r == 0 || r == -ENOENT);
    }
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {0};
    struct actor actors[FIBERS + SENDERS];
    pthread_t senders[SENDERS];
    struct weft_group group;
    int fds = open_fds();
    for (unsigned i = 0; i < FIBERS + SENDERS; i++)
        actors[i] = (struct actor){&world, dice_of(round->seed, i), i % 2};
    EXPECT_EQ(weft_signal_handle(SIGRTMIN, tell, &world.told), 0);
    for (int i = 0; i < SENDERS; i++)
        EXPECT_EQ(pthread_create(&senders[i], NULL, send_signals, &actors[FIBERS + i]), 0);
    weft_group_init(&group);
    for (int i = 0; i < FIBERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "actor", act, &actors[i]), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    uint64_t deadline_ns = soon();
    while (atomic_load(&world.told) < atomic_load(&world.sent)) {
        EXPECT(weft_now_ns() < deadline_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND / 10), 0);
    }
    EXPECT_EQ(atomic_load(&world.told), atomic_load(&world.sent));
    int r = weft_signal_unhandle(SIGUSR1);
    EXPECT(r == 0 || r == -ENOENT);
    EXPECT_EQ(weft_signal_unhandle(SIGRTMIN), 0);
    EXPECT_EQ(open_fds(), fds);
    EXPECT_EQ(watch_count(), 0);
    return 0;
}

int main(int argc, char **argv)
{
    signal(SIGUSR1, SIG_IGN);
#ifdef WITH_TSAN /* it merges those that it holds back for a handler */
    sigset_t counted;
    sigemptyset(&counted);
    sigaddset(&counted, SIGRTMIN);
    pthread_sigmask(SIG_BLOCK, &counted, NULL);
#endif
    return stress_main(argc, argv, play);
}
