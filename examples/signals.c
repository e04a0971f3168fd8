/* SPDX-License-Identifier: MIT */
/* Signals as fibers: SIGUSR1 is counted, SIGINT and SIGTERM cancel the work, which then ends in its
 * own way.  Try: build/release/examples/signals & kill -USR1 $!; kill $! */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static struct weft_event stop;
static int stopped_by;

static int on_user_signal(void *arg)
{
    printf("SIGUSR1 number %d\n", ++*(int *)arg);
    fflush(stdout);
    return 0;
}

static int on_stop_signal(void *arg)
{
    stopped_by = *(int *)arg;
    weft_event_set(&stop);
    return 0;
}

static int work(void *unused)
{
    int r = 0;

    (void)unused;
    while (r == 0)
        r = weft_sleep(100 * WEFT_MILLISECOND);
    return r; /* cancelled */
}

static int handle_signals(void)
{
    static int interrupt = SIGINT, terminate = SIGTERM, user_signals;
    int r = weft_signal_handle(SIGUSR1, on_user_signal, &user_signals);

    if (r == 0)
        r = weft_signal_handle(SIGINT, on_stop_signal, &interrupt);
    if (r == 0)
        r = weft_signal_handle(SIGTERM, on_stop_signal, &terminate);
    return r;
}

static int run(void *unused)
{
    struct weft_group workers;

    (void)unused;
    weft_event_init(&stop);
    int r = handle_signals();
    if (r < 0)
        return r;
    puts("waiting for SIGINT or SIGTERM; SIGUSR1 is counted");
    fflush(stdout);
    weft_group_init(&workers);
    for (int i = 0; i < 3 && r == 0; i++)
        r = weft_group_spawn(&workers, "worker", work, NULL);
    if (r == 0)
        r = weft_event_wait(&stop, WEFT_NO_DEADLINE);
    if (r == 0)
        printf("got SIG%s: stopping\n", sigabbrev_np(stopped_by));
    weft_group_cancel(&workers);
    int joined = weft_group_join(&workers);
    if (joined == -ECANCELED)
        puts("all fibers have ended");
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
