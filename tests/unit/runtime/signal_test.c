/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <signal.h>

#include "support/io.h"

static void block(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Signals that are sent to the process, before and during the wait. */
static int send_and_wait(void *arg)
{
    struct weft_signals *signals;
    EXPECT_EQ(weft_signals_new(arg, &signals), 0);
    EXPECT_EQ(weft_signals_wait(signals, weft_now_ns() + WEFT_MILLISECOND), -ETIMEDOUT);
    EXPECT_EQ(kill(getpid(), SIGHUP), 0);
    EXPECT_EQ(weft_signals_wait(signals, soon()), SIGHUP);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0); /* one: they do not queue */
    EXPECT_EQ(weft_signals_wait(signals, soon()), SIGUSR1);
    EXPECT_EQ(weft_signals_wait(signals, weft_now_ns() + WEFT_MILLISECOND), -ETIMEDOUT);
    weft_signals_free(signals);
    weft_signals_free(NULL);
    return 0;
}

Test(signal, what_is_sent_to_the_process_arrives)
{
    sigset_t set;
    block(&set);
    on_fibers_counting_fds(1, send_and_wait, &set);
    on_fibers_counting_fds(2, send_and_wait, &set);
}

struct listening {
    struct weft_signals *signals;
    atomic_int arrivals;
    int result;
};

static int listen_once(void *arg)
{
    struct listening *listening = arg;
    arrive(&listening->arrivals);
    listening->result = weft_signals_wait(listening->signals, WEFT_NO_DEADLINE);
    return 0;
}

static void start(struct weft_group *group, struct listening *listening)
{
    atomic_store(&listening->arrivals, 0);
    weft_group_init(group);
    EXPECT_EQ(weft_group_spawn(group, "listener", listen_once, listening), 0);
    await_arrivals(&listening->arrivals, 1);
}

static int wake_and_cancel(void *arg)
{
    struct listening listening = {0};
    struct weft_group group;
    EXPECT_EQ(weft_signals_new(arg, &listening.signals), 0);
    start(&group, &listening);
    EXPECT_EQ(weft_signals_wait(listening.signals, soon()), -EBUSY);
    EXPECT_EQ(kill(getpid(), SIGUSR1), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(listening.result, SIGUSR1);

    start(&group, &listening);
    weft_group_cancel(&group);
    EXPECT_EQ(kill(getpid(), SIGHUP), 0);
    EXPECT_EQ(weft_signals_wait(listening.signals, soon()), -ECANCELED);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(listening.result, -ECANCELED);
    EXPECT_EQ(weft_signals_wait(listening.signals, soon()), SIGHUP); /* it was not lost */
    weft_signals_free(listening.signals);
    return 0;
}

Test(signal, a_waiting_fiber_is_woken_or_cancelled)
{
    sigset_t set;
    block(&set);
    on_fibers_counting_fds(1, wake_and_cancel, &set);
}

static int refuse(void *arg)
{
    struct weft_signals *signals = NULL;
    sigset_t set;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV); /* workers do not block what is fatal */
    EXPECT_EQ(weft_signals_new(&set, &signals), -EINVAL);
    EXPECT(signals == NULL);
    return 0;
}

Test(signal, a_signal_that_is_not_blocked_is_refused)
{
    on_fibers_counting_fds(1, refuse, NULL);
}
