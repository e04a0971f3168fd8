/* SPDX-License-Identifier: MIT */
/* One fiber that sleeps: it reads like blocking code, and the worker is free meanwhile. */
#include <stdio.h>
#include <weft/weft.h>

static int run(void *unused)
{
    (void)unused;
    puts("Started");
    int r = weft_sleep(200 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    puts("Completed");
    return 0;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
