/* SPDX-License-Identifier: MIT */
/* Several calls at once, and their results in the order of the calls. */
#include <stdio.h>
#include <weft/weft.h>

struct work {
    uint64_t duration_ns;
    const char *answer;
    const char *result; /* set when it is done */
};

static int do_work(void *arg)
{
    struct work *work = arg;
    int r = weft_sleep(work->duration_ns);
    if (r < 0)
        return r;
    work->result = work->answer;
    return 0;
}

static int gather_and_print(struct work *work)
{
    struct weft_call calls[] = {
        {.name = "first", .fn = do_work, .arg = &work[0]},
        {.name = "second", .fn = do_work, .arg = &work[1]},
    };
    int r = weft_gather(calls, 2);
    if (r < 0)
        return r;
    printf("['%s', '%s']\n", work[0].result, work[1].result);
    return 0;
}

static int run(void *unused)
{
    struct work tasks[] = {
        {100 * WEFT_MILLISECOND, "Task 1 completed", NULL},
        {200 * WEFT_MILLISECOND, "Task 2 completed", NULL},
    };
    struct work foo_and_bar[] = {
        {100 * WEFT_MILLISECOND, "Foo", NULL},
        {200 * WEFT_MILLISECOND, "Bar", NULL},
    };

    (void)unused;
    int r = gather_and_print(tasks);
    return r < 0 ? r : gather_and_print(foo_and_bar);
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
