/* SPDX-License-Identifier: MIT */
/* A function that blocks its thread, run on the thread pool while the fiber waits. */
#include <stdio.h>
#include <unistd.h>
#include <weft/weft.h>

struct sleeper {
    unsigned seconds;
    char answer[64];
};

static int blocking_function(void *arg)
{
    struct sleeper *sleeper = arg;
    sleep(sleeper->seconds);
    snprintf(sleeper->answer, sizeof sleeper->answer, "Slept for %u seconds", sleeper->seconds);
    return 0;
}

static int run(void *unused)
{
    struct sleeper sleeper = {.seconds = 3};

    (void)unused;
    int r = weft_offload(blocking_function, &sleeper, NULL);
    if (r < 0)
        return r;
    puts(sleeper.answer);
    return 0;
}

int main(void)
{
    return weft_run(NULL, run, NULL) < 0;
}
