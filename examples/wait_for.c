/* SPDX-License-Identifier: MIT */
/* A call that gets 300 ms and would need 500: it is cancelled, and we are told. */
#include <errno.h>
#include <stdio.h>
#include <weft/weft.h>

static int some_function(void *unused)
{
    (void)unused;
    return weft_sleep(500 * WEFT_MILLISECOND);
}

static int run(void *unused)
{
    (void)unused;
    int r = weft_timeout(weft_deadline_after(300 * WEFT_MILLISECOND), some_function, NULL, NULL);
    if (r == -ETIMEDOUT) {
        puts("Task took too long.");
        return 0;
    }
    return r;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
