/* SPDX-License-Identifier: MIT */
/* A future whose maker fails: whoever waits for it gets the error instead of a result. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft/weft.h>

static int set_error_later(void *arg)
{
    struct weft_future *future = arg;
    int r = weft_sleep(50 * WEFT_MILLISECOND);
    return r < 0 ? r : weft_future_set_error(future, -ECONNREFUSED);
}

static int await_and_handle(struct weft_future *future)
{
    void *result;
    int r = weft_future_wait(future, WEFT_NO_DEADLINE, &result);
    if (r < 0)
        printf("the future failed: %s\n", strerror(-r));
    else
        printf("the future has the result %s\n", (char *)result);
    return weft_future_done(future) ? 0 : r;
}

static int run(void *unused)
{
    WEFT_CLEANUP(future) struct weft_future *future = NULL;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;

    (void)unused;
    int r = weft_future_new(&future);
    if (r == 0)
        r = weft_task_new("maker", set_error_later, future, &task);
    if (r == 0)
        r = await_and_handle(future);
    return r < 0 ? r : weft_task_join(task, WEFT_NO_DEADLINE, NULL);
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
