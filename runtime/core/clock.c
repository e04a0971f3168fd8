/* SPDX-License-Identifier: MIT */
/* The clock that timers and deadlines go by. */
#include <time.h>

#include "weft/time.h"

uint64_t weft_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * WEFT_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t weft_deadline_after(uint64_t timeout_ns)
{
    uint64_t now = weft_now_ns();

    return timeout_ns > UINT64_MAX - now ? WEFT_NO_DEADLINE : now + timeout_ns;
}
