/* SPDX-License-Identifier: MIT */
/* Calls that build on each other's results: plain function calls, since a call may wait. */
#include <stdio.h>
#include <weft/weft.h>

static int coroutine1(const char **ret_result)
{
    puts("starting coroutine1");
    int r = weft_sleep(100 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    puts("finishing coroutine1");
    *ret_result = "Coroutine 1 result";
    return 0;
}

static int coroutine2(const char *result, const char **ret_result)
{
    printf("starting coroutine2 %s\n", result);
    int r = weft_sleep(200 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    puts("finishing coroutine2");
    *ret_result = "Coroutine 2 result";
    return 0;
}

static int coroutine3(const char *result)
{
    printf("starting coroutine3 %s\n", result);
    int r = weft_sleep(300 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    puts("ending coroutine3");
    return 0;
}

static int run(void *unused)
{
    const char *first, *second;

    (void)unused;
    int r = coroutine1(&first);
    if (r == 0)
        r = coroutine2(first, &second);
    if (r == 0)
        r = coroutine3(second);
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
