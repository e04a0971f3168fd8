/* SPDX-License-Identifier: MIT */
/*
 * Streams of open files that others share.  O_NONBLOCK belongs to the open file, so it is never
 * set on one; each stream gets a descriptor of its own, by the first of these that works:
 *
 *   T1  A socket: a duplicate.  Every call on it says MSG_DONTWAIT.
 *   T2  A terminal, pipe or FIFO: the same thing opened anew, by /proc/self/fd, with O_NONBLOCK.
 *       Not the master's side of a pseudo-terminal, which would be another one.
 *   T3  What epoll takes: a duplicate with a layer, which waits for readiness and then makes the
 *       call in the offload pool.  The call does not wait, unless somebody else was quicker to take
 *       what there was; then a thread of the pool waits, and no worker.
 *   T4  Anything else (regular files, /dev/null): as T3, and it is always ready.
 *
 * For fibers.  It never closes the caller's descriptor, and changes no terminal's settings.
 */
#include "weft/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/offload.h"
#include "weft/time.h"

enum { PIECE = 1024 * 1024 }; /* most that one call writes where nothing waits */

/* The layer of T3 and T4. */
struct shared {
    struct stream_layer layer;
    bool pollable; /* T3; constant */
};

/* A system call for the pool. */
struct call {
    int fd;
    void *buffer;
    const void *data;
    size_t size;
    ssize_t result;
};

static struct shared *shared_of(const struct weft_descriptor *descriptor)
{
    return container_of(descriptor->layer, struct shared, layer);
}

/* ---- calls of the layer --------------------------------------------------------------------- */

static int call_read(void *arg)
{
    struct call *call = arg;
    call->result = sys_read(call->fd, call->buffer, call->size);
    return 0;
}

static int call_write(void *arg)
{
    struct call *call = arg;
    call->result = sys_write(call->fd, call->data, call->size);
    return 0;
}

/* Returns: the call's result.  Errors: also -ECANCELED, -ETIMEDOUT; it was not made then. */
static ssize_t make_call(struct call *call, int (*fn)(void *))
{
    int r = weft_offload(fn, call, NULL);
    if (r == -EAGAIN) /* no thread can be had: late is better than not at all */
        r = fn(call);
    return r < 0 ? r : call->result;
}

/* Wait until it is ready.  On an error the side has been left, unless poll(2) itself failed, which
 * the call that follows will tell of. */
static int await_ready(struct weft_descriptor *descriptor, enum watch_side side,
                       uint64_t deadline_ns)
{
    short events = side == WATCH_READ ? POLLIN : POLLOUT;
    if (!shared_of(descriptor)->pollable)
        return 0;
    while (sys_poll_now(descriptor->fd, events) == 0) {
        int r = descriptor_await(descriptor, side, deadline_ns);
        if (r < 0)
            return r;
    }
    return 0;
}

/* -EAGAIN: somebody made the open file non-blocking, and somebody was quicker. */
static ssize_t shared_read(struct weft_descriptor *descriptor, void *buffer, size_t size)
{
    struct call call = {.fd = descriptor->fd, .buffer = buffer, .size = size};
    ssize_t n;
    do {
        int r = await_ready(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
        n = make_call(&call, call_read);
    } while (n == -EAGAIN && shared_of(descriptor)->pollable);
    descriptor_leave(descriptor, WATCH_READ);
    return n;
}

/* A pipe that is ready takes PIPE_BUF bytes without waiting.  A terminal may take less, and then a
 * thread of the pool waits (a user may have stopped the output). */
static int shared_write(struct weft_descriptor *descriptor, const void *data, size_t size,
                        size_t *written)
{
    bool pollable = shared_of(descriptor)->pollable;
    size_t most = pollable ? PIPE_BUF : PIECE;
    ssize_t n = 0;
    while (*written < size && (n >= 0 || (n == -EAGAIN && pollable))) {
        struct call call = {.fd = descriptor->fd, .data = (const char *)data + *written};
        call.size = size - *written < most ? size - *written : most;
        int r = await_ready(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
        n = make_call(&call, call_write);
        *written += n > 0 ? (size_t)n : 0;
    }
    descriptor_leave(descriptor, WATCH_WRITE);
    return n < 0 ? (int)n : 0;
}

static int shared_wait_readable(struct weft_descriptor *descriptor, uint64_t deadline_ns)
{
    int r = await_ready(descriptor, WATCH_READ, deadline_ns);
    if (r == 0)
        descriptor_leave(descriptor, WATCH_READ);
    return r;
}

static int shared_shutdown_write(struct weft_descriptor *descriptor)
{
    descriptor_leave(descriptor, WATCH_WRITE);
    return -ENOTSOCK;
}

static void shared_finish(struct stream_layer *layer)
{
    free(container_of(layer, struct shared, layer));
}

static const struct stream_class shared_class = {
    .read = shared_read,
    .write = shared_write,
    .wait_readable = shared_wait_readable,
    .shutdown_write = shared_shutdown_write,
    .finish = shared_finish,
};

/* ---- making --------------------------------------------------------------------------------- */

/* T3 and T4.  Takes over the fd. */
static int stream_share(int fd, struct weft_stream **ret_stream)
{
    struct weft_descriptor *descriptor;
    struct shared *shared = malloc(sizeof(*shared));
    if (!shared)
        return -ENOMEM;
    *shared = (struct shared){.layer.class = &shared_class, .pollable = true};
    int r = descriptor_adopt(fd, WATCH_PLAIN, &descriptor);
    if (r == -EPERM) {
        shared->pollable = false;
        r = descriptor_adopt_unwatched(fd, &descriptor);
    }
    if (r < 0) {
        free(shared);
        return r;
    }
    descriptor->layer = &shared->layer;
    *ret_stream = stream_of(descriptor);
    return 0;
}

static int duplicate_stream(int fd, bool is_socket, struct weft_stream **ret_stream)
{
    int own = sys_duplicate(fd);
    if (own < 0)
        return own;
    if (is_socket)
        return stream_adopt_socket(own, WATCH_SOCKET, ret_stream);
    int r = stream_share(own, ret_stream);
    if (r < 0)
        close(own);
    return r;
}

static int reopened_stream(int own, struct weft_stream **ret_stream)
{
    int r = weft_stream_new(own, ret_stream);
    if (r < 0)
        close(own);
    return r;
}

int weft_terminal_stream(int fd, struct weft_stream **ret_stream)
{
    int is_socket = sys_is_socket(fd);
    if (is_socket < 0)
        return is_socket;
    int own = is_socket ? -EINVAL : sys_reopen(fd);
    if (own >= 0)
        return reopened_stream(own, ret_stream);
    return duplicate_stream(fd, is_socket, ret_stream);
}

int weft_terminal_stdin(struct weft_stream **ret_stream)
{
    return weft_terminal_stream(STDIN_FILENO, ret_stream);
}

int weft_terminal_stdout(struct weft_stream **ret_stream)
{
    return weft_terminal_stream(STDOUT_FILENO, ret_stream);
}

int weft_terminal_stderr(struct weft_stream **ret_stream)
{
    return weft_terminal_stream(STDERR_FILENO, ret_stream);
}
