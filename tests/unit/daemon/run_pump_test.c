/* SPDX-License-Identifier: MIT */
/* A program's pipe into a file that keeps it waiting. */
#include "daemon/run_impl.h"

#include "support/io.h"
#include "support/test.h"

#include <stdatomic.h>
#include <stdlib.h>

static struct file {
    struct weft_event gate; /* the first write waits for it */
    atomic_int writes;      /* begun */
    size_t size;            /* written */
    int refill_fd;          /* -1, or a pipe that is filled again at each write but the first */
} file;

/* As full as it goes. */
static size_t fill(int fd)
{
    static const char text[4096];
    size_t size = 0;
    ssize_t n;
    while ((n = write(fd, text, sizeof(text))) > 0)
        size += (size_t)n;
    return size;
}

void output_write(struct output *output, const void *data, size_t size)
{
    (void)output, (void)data;
    if (atomic_fetch_add(&file.writes, 1) == 0)
        weft_event_wait_shielded(&file.gate);
    else if (file.refill_fd >= 0)
        fill(file.refill_fd);
    file.size += size;
}

/* Its file takes the first byte, and then waits until the pump is aborted. */
static void abort_at_a_slow_file(bool refill, size_t *ret_there)
{
    struct run_pump pump;
    struct weft_group group;
    int fd;
    EXPECT_EQ(run_pump_init(&pump, &fd), 0);
    EXPECT_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    file = (struct file){.refill_fd = refill ? fd : -1};
    weft_event_init(&file.gate);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "pump", run_pump_main, &pump), 0);
    EXPECT_EQ(write(fd, "a", 1), 1);
    await_arrivals(&file.writes, 1);
    *ret_there = 1 + fill(fd);
    run_pump_abort(&pump);
    weft_event_set(&file.gate);
    EXPECT_EQ(weft_event_wait(&pump.end, soon()), 0); /* though the pipe is open */
    EXPECT_EQ(weft_group_join(&group), 0);
    run_pump_destroy(&pump);
    close(fd);
}

static int keep_the_rest(void *arg)
{
    size_t there;
    (void)arg;
    abort_at_a_slow_file(false, &there);
    EXPECT(there > 60000);
    EXPECT_EQ(file.size, there);
    return 0;
}

Test(run_pump, keeps_what_was_in_the_pipe_at_an_abort)
{
    on_fibers_counting_fds(1, keep_the_rest, NULL);
}

static int leave_a_stranger(void *arg)
{
    size_t there;
    (void)arg;
    abort_at_a_slow_file(true, &there);
    EXPECT_EQ(file.size, there);
    return 0;
}

Test(run_pump, does_not_stay_with_who_writes_for_ever)
{
    on_fibers_counting_fds(1, leave_a_stranger, NULL);
}
