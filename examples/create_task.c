/* SPDX-License-Identifier: MIT */
/* Two tasks, started first and awaited later: they run at the same time. */
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

/* Whatever happens on the way, both tasks have ended when their handles are freed. */
static int run(void *unused)
{
    struct weft_task *first = NULL, *second = NULL;
    int result;

    (void)unused;
    int r = weft_task_new("task1", task1, NULL, &first);
    if (r == 0)
        r = weft_task_new("task2", task2, NULL, &second);
    if (r == 0)
        r = weft_task_join(first, WEFT_NO_DEADLINE, &result);
    if (r == 0)
        r = weft_task_join(second, WEFT_NO_DEADLINE, &result);
    weft_task_free(first);
    weft_task_free(second);
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
