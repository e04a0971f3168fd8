/* SPDX-License-Identifier: MIT */
/* A ring whose descriptor the kernel does not let epoll watch at first (core/ring.c, I7). */
#include "support/test.h"

#include <liburing.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "core/ring.h"
#include "support/files.h"

static atomic_int refusals; /* still to come */
static atomic_int asked;    /* for the ring to be watched */

static bool is_ring(int fd)
{
    char path[64], what[128] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, what, sizeof what - 1) > 0 && strstr(what, "io_uring");
}

/* In place of libc's, for libev. */
int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    if (operation != EPOLL_CTL_DEL && is_ring(fd)) {
        atomic_fetch_add(&asked, 1);
        if (atomic_load(&refusals) > 0) {
            atomic_fetch_sub(&refusals, 1);
            errno = ENOMEM;
            return -1;
        }
    }
    return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

struct pipe {
    int refused; /* so often */
    int ends[2];
    atomic_bool is_read;
};

static int read_by_the_ring(void *arg)
{
    struct pipe *pipe = arg;
    char byte;
    int32_t result = 0;
    struct io_uring_sqe request = {0};

    io_uring_prep_read(&request, pipe->ends[0], &byte, 1, -1);
    EXPECT_EQ(ring_run(&request, &result), 0);
    EXPECT_EQ(result, 1);
    atomic_store(&pipe->is_read, true);
    return 0;
}

/* On the thread that has submitted the read, and keeps away from the loop: the kernel completes it
 * here, and only the watch tells the thread that drives the loop. */
static int write_from_outside(void *arg)
{
    struct pipe *pipe = arg;
    uint64_t end_ns = soon();

    while (atomic_load(&asked) <= pipe->refused && weft_now_ns() < end_ns)
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    EXPECT(atomic_load(&asked) > pipe->refused); /* while the read is in flight */
    EXPECT_EQ(weft_blocking_begin(), 0);
    EXPECT_EQ(write(pipe->ends[1], "x", 1), 1);
    while (!atomic_load(&pipe->is_read) && weft_now_ns() < end_ns)
        poll(NULL, 0, 1);
    EXPECT(atomic_load(&pipe->is_read));
    weft_blocking_end();
    return 0;
}

static int play(void *arg)
{
    struct pipe pipe = {.refused = *(int *)arg};
    struct weft_group group;

    atomic_store(&refusals, pipe.refused);
    raw_pipe(pipe.ends);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_by_the_ring, &pipe), 0);
    EXPECT_EQ(weft_group_spawn(&group, "writer", write_from_outside, &pipe), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(atomic_load(&refusals), 0);
    close(pipe.ends[0]);
    close(pipe.ends[1]);
    return 0;
}

static void refused(int times)
{
    int r = ring_probe();

    if (r < 0) {
        fprintf(stderr, "io_uring is refused here: %s\n", strerror(-r));
        return;
    }
    on_fibers_counting_fds(1, play, &times);
}

Test(ring_refused, once_refused_it_is_asked_for_again_and_nobody_waits)
{
    refused(1);
}

Test(ring_refused, it_is_asked_for_until_it_is_had)
{
    refused(20);
}
