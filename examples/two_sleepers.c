/* SPDX-License-Identifier: MIT */
/* Two fibers that sleep at the same time: the whole takes as long as the longer one. */
#include <stdio.h>
#include <weft/weft.h>

static int task1(void *unused)
{
    (void)unused;
    puts("Task 1 started");
    int r = weft_sleep(200 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    puts("Task 1 completed");
    return 0;
}

static int task2(void *unused)
{
    (void)unused;
    puts("Task 2 started");
    int r = weft_sleep(300 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    puts("Task 2 completed");
    return 0;
}

static int run(void *unused)
{
    struct weft_group group;

    (void)unused;
    weft_group_init(&group);
    int r = weft_group_spawn(&group, "task1", task1, NULL);
    if (r == 0)
        r = weft_group_spawn(&group, "task2", task2, NULL);
    int joined = weft_group_join(&group);
    return r < 0 ? r : joined;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
