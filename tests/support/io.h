/* SPDX-License-Identifier: MIT */
/* For tests of descriptors and what is built on them; goes with support/fibers.h. */
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/fibers.h"
#include "support/leftovers.h"

/* Long enough that only a lost wake-up reaches it. */
static inline uint64_t soon(void)
{
    return weft_deadline_after(30 * WEFT_SECOND);
}

/** As on_fibers, and everything that was opened inside is closed afterwards. */
static inline void on_fibers_counting_fds(unsigned workers, int (*fn)(void *), void *arg)
{
    int before = open_fds();
    on_fibers(workers, fn, arg);
    await_fds(before);
}

static inline void raw_pair(int fds[2])
{
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void raw_pipe(int fds[2])
{
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
}

/** A pair of connected streams. */
static inline void stream_pair(struct weft_stream *streams[2])
{
    int fds[2];
    raw_pair(fds);
    EXPECT_EQ(weft_stream_new(fds[0], &streams[0]), 0);
    EXPECT_EQ(weft_stream_new(fds[1], &streams[1]), 0);
}

/** A pipe: streams[0] to read, streams[1] to write. */
static inline void stream_pipe(struct weft_stream *streams[2])
{
    int fds[2];
    raw_pipe(fds);
    EXPECT_EQ(weft_stream_new(fds[0], &streams[0]), 0);
    EXPECT_EQ(weft_stream_new(fds[1], &streams[1]), 0);
}

static inline void free_pair(struct weft_stream *streams[2])
{
    weft_stream_free(streams[0]);
    weft_stream_free(streams[1]);
}

/** Read exactly `size` bytes. */
static inline void read_exactly(struct weft_stream *stream, void *buffer, size_t size)
{
    char *next = buffer;
    while (size > 0) {
        ssize_t n = weft_read(stream, next, size);
        EXPECT(n > 0);
        next += n;
        size -= (size_t)n;
    }
}

/** A path for a socket of this test, which does not exist. */
static inline const char *socket_path(char buffer[108], const char *name)
{
    snprintf(buffer, 108, "/tmp/weft-%ld-%s.sock", (long)getpid(), name);
    unlink(buffer);
    return buffer;
}

/** An abstract name for a socket of this test. */
static inline const char *abstract_name(char buffer[108], const char *name)
{
    snprintf(buffer, 108, "@weft-%ld-%s", (long)getpid(), name);
    return buffer;
}
