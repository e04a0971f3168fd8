/* SPDX-License-Identifier: MIT */
/*
 * engine_clock: the wall clock is set while weftd sleeps.
 *
 * What waits for a point of wall time (a start_at, a delay, the end of a timeout_total or of
 * [jobs] retain) sleeps so long as it took by the clock of that moment, in monotonic time.  If the
 * clock is set, it would wake late by that step.  A timerfd of CLOCK_REALTIME with
 * TFD_TIMER_CANCEL_ON_SET can be read when that happens (after a suspend too, which monotonic time
 * leaves out); one fiber does, and has them all look at the clock again.  No timer of its own: it is
 * set to the end of time.
 *
 * I52  Who is woken for nothing sleeps on: each of them computes its sleep anew from the clock and
 *      what it waits for, and begins that after it cleared the event which is set here.  So a clock
 *      that is set between its look and its sleep ends the sleep.
 *
 * Not seen: a clock that is slewed (adjtime(3)), which is off by 500 ppm at most.
 *
 * Who may call: the fiber that is made for it; engine_clock_set() also tests.
 */
#include "daemon/engine_impl.h"

#include "daemon/log.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define END_OF_TIME (INT64_C(1) << 33) /* seconds since 1970: in 2242; each kernel takes that */

void engine_clock_set(struct engine *engine)
{
    weft_event_set(&engine->kick);   /* delays, and what rates show */
    weft_event_set(&engine->expiry); /* timeout_total */
    weft_event_set(&engine->full);   /* retain */
}

int engine_clock_open(void)
{
    const struct itimerspec at_the_end = {.it_value = {.tv_sec = END_OF_TIME}};
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at_the_end, NULL) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

/* Returns: 1 it was set (or that time has come), 0 not yet.  Not inlined: errno is this thread's. */
static __attribute__((noinline)) int read_clock(int fd)
{
    uint64_t times;
    if (read(fd, &times, sizeof(times)) == sizeof(times) || errno == ECANCELED)
        return 1;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int engine_clock_follow(struct engine *engine, struct weft_descriptor *clock)
{
    for (;;) {
        int rc = read_clock(weft_descriptor_fd(clock));
        if (rc > 0)
            engine_clock_set(engine);
        else if (rc == 0)
            rc = weft_descriptor_wait_readable(clock, WEFT_NO_DEADLINE);
        if (rc < 0)
            return rc;
    }
}

int engine_clock(struct engine *engine)
{
    struct weft_descriptor *clock = NULL;
    int fd = engine_clock_open();
    int rc = fd < 0 ? fd : weft_descriptor_new(fd, &clock);
    if (rc < 0 && fd >= 0)
        close(fd);
    if (rc == 0)
        rc = engine_clock_follow(engine, clock);
    if (rc != -ECANCELED)
        log_warning("a clock that is set will not be noticed: %s", strerrordesc_np(-rc));
    weft_descriptor_free(clock);
    return rc;
}
