/* SPDX-License-Identifier: MIT */
/* The inside of weft/stream.h.  A stream is its descriptor, which knows whether it is a socket:
 * struct weft_stream is never defined. */
#ifndef RUNTIME_IO_STREAM_STREAM_H
#define RUNTIME_IO_STREAM_STREAM_H

#include "io/descriptor.h"
#include "io/sys.h"
#include "weft/stream.h"

/*
 * What stands between the calls on a stream and its descriptor, in place of the plain system calls:
 * TLS.  The descriptor's `layer` points to it; it is set by a fiber that is inside both sides.
 *
 * A call is made with its side entered (descriptor_enter), and leaves it whatever it returns.  The
 * layer is gone once the caller is outside: a fiber whose descriptor_await failed does not touch
 * it, unless it is inside the other side too.
 */
struct stream_layer {
    const struct stream_class *class; /* constant */
};

struct stream_class {
    /** As weft_read.  Inside WATCH_READ. */
    ssize_t (*read)(struct weft_descriptor *descriptor, void *buffer, size_t size);

    /** As weft_write, `*written` being 0 at first.  Inside WATCH_WRITE. */
    int (*write)(struct weft_descriptor *descriptor, const void *data, size_t size,
                 size_t *written);

    /** As weft_stream_wait_readable.  Inside WATCH_READ. */
    int (*wait_readable)(struct weft_descriptor *descriptor, uint64_t deadline_ns);

    /** As weft_stream_shutdown_write, but it may suspend.  Inside WATCH_WRITE. */
    int (*shutdown_write)(struct weft_descriptor *descriptor);

    /** The stream is closed and nobody is inside, but its fd is still open: say goodbye if that
     * does not wait, and free the layer.  Any thread.  Must not suspend. */
    void (*finish)(struct stream_layer *layer);
};

static inline struct weft_descriptor *stream_descriptor(struct weft_stream *stream)
{
    return (struct weft_descriptor *)(void *)stream;
}

static inline struct weft_stream *stream_of(struct weft_descriptor *descriptor)
{
    return (struct weft_stream *)(void *)descriptor;
}

/** The scope, then descriptor_enter: what every call on a stream begins with. */
int stream_enter(struct weft_descriptor *descriptor, enum watch_side side);

/** The plain system calls, for a layer: recv or read, send or write.  Errors: -EAGAIN, ... */
ssize_t stream_try_read(const struct weft_descriptor *descriptor, void *buffer, size_t size);
ssize_t stream_try_write(const struct weft_descriptor *descriptor, const void *data, size_t size);

/** Where a socket is bound, or to whom it is connected.  Any thread. */
int socket_address(int fd, enum sys_end end, struct weft_address *ret_address);

/** A stream of a socket that is non-blocking already, WATCH_TCP or WATCH_SOCKET.  Owns `fd`, and
 * closes it on failure. */
int stream_adopt_socket(int fd, enum watch_kind kind, struct weft_stream **ret_stream);

#endif
