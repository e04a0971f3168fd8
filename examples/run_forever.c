/* SPDX-License-Identifier: MIT */
/* A runtime that runs until somebody stops it, as loop.run_forever does: a plain thread makes it,
 * starts fibers in it and waits; then it closes it.
 * Try: build/release/examples/run_forever 3 (a fiber stops it), or without the 3: Ctrl-C does. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/weft.h>

/* Runs as long as the runtime does; what it has to clean up, it does when it is cancelled. */
static int serve(void *unused)
{
    int r = 0;

    (void)unused;
    puts("serving");
    fflush(stdout);
    while (r == 0)
        r = weft_sleep(WEFT_SECOND);
    printf("no longer serving: %s\n", strerror(-r));
    return r;
}

static int count_down(void *ticks)
{
    for (long left = *(long *)ticks; left > 0; left--) {
        printf("%ld\n", left);
        int r = weft_sleep(10 * WEFT_MILLISECOND);
        if (r < 0)
            return r;
    }
    weft_runtime_stop(weft_runtime_self()); /* cancels all fibers, this one too */
    return 0;
}

/* Until the wait begins, SIGINT and SIGTERM would end the process in the middle: hold them back. */
static void hold_stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int run_until_stopped(struct weft_runtime *runtime, long ticks)
{
    int r = weft_runtime_spawn(runtime, "serve", serve, NULL);

    if (r == 0 && ticks > 0)
        r = weft_runtime_spawn(runtime, "count down", count_down, &ticks);
    if (r == 0)
        r = weft_runtime_wait(runtime);      /* run_forever; SIGINT and SIGTERM stop it as well */
    int closed = weft_runtime_free(runtime); /* stops it, if nobody has */
    return r < 0 ? r : closed;
}

int main(int argc, char **argv)
{
    long ticks = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    struct weft_runtime *runtime;

    hold_stop_signals();
    int r = weft_runtime_new(NULL, &runtime);
    if (r == 0)
        r = run_until_stopped(runtime, ticks);
    if (r < 0)
        fprintf(stderr, "run_forever: %s\n", strerror(-r));
    else
        puts("closed");
    return r < 0;
}
