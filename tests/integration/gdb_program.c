/* SPDX-License-Identifier: MIT */
/* What gdb_test.sh looks at: fibers in all states, on two workers.  Prints "ready" when they are,
 * and stays so until it is killed.
 * usage: gdb_program [taken]: what blocks keeps its worker, or has lost it to another thread */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weft/weft.h"

static struct weft_mutex mutex;
static struct weft_event never;
static bool taken; /* constant when fibers run */

__attribute__((noinline)) static int wait_for_the_mutex(void *arg)
{
    int r = weft_mutex_lock(&mutex);

    (void)arg;
    __asm__ volatile("" ::: "memory"); /* no tail call: the frame stays */
    return r;
}

__attribute__((noinline)) static int sleep_for_long(void *arg)
{
    int r = weft_sleep(3600 * WEFT_SECOND);

    (void)arg;
    __asm__ volatile("" ::: "memory");
    return r;
}

static int count_waiting(const struct weft_fiber_info *info, void *arg)
{
    *(int *)arg += info->state == WEFT_FIBER_WAITING;
    return 0;
}

/* Keep this worker's thread from going back to the scheduler, at no cost. */
__attribute__((noinline)) static int block_the_thread(void *arg)
{
    int waiting;

    (void)arg;
    do {
        waiting = 0;
        if (weft_fibers_each(weft_runtime_self(), 0, count_waiting, &waiting) < 0)
            abort();
    } while (waiting < 4);
    if (taken && weft_blocking_begin() < 0)
        abort();
    puts("ready");
    fflush(stdout);
    for (;;)
        poll(NULL, 0, -1);
}

__attribute__((noinline)) static int join_a_group(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    if (weft_group_spawn(&group, "sleeper", sleep_for_long, NULL) < 0)
        abort();
    return weft_group_join(&group);
}

static int main_fiber(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_mutex_init(&mutex);
    weft_event_init(&never);
    if (weft_mutex_lock(&mutex) < 0)
        return 1;
    weft_group_init(&group);
    if (weft_group_spawn(&group, "locker", wait_for_the_mutex, NULL) < 0 ||
        weft_group_spawn(&group, "joiner", join_a_group, NULL) < 0 ||
        weft_group_spawn(&group, "blocker", block_the_thread, NULL) < 0)
        return 1;
    return weft_event_wait(&never, WEFT_NO_DEADLINE);
}

int main(int argc, char **argv)
{
    struct weft_options options;

    taken = argc > 1 && strcmp(argv[1], "taken") == 0;
    weft_options_init(&options);
    options.workers = 2;
    options.handoff_ns = WEFT_HANDOFF_NEVER; /* by nobody but weft_blocking_begin */
    return weft_run(&options, main_fiber, NULL);
}
