/* SPDX-License-Identifier: MIT */
/*
 * What the calls on an upgraded stream do: encrypt and decrypt under the mutex, wait outside it.
 *
 *   I1  A byte that weft_write counts as written is in a record that was sent or is kept in the
 *       output; no cancel takes it back.  Whoever writes next, or closes, sends the rest first.
 *   I2  A reader may find that it must answer (KeyUpdate, an alert): that goes to the output too,
 *       and is sent if the socket takes it, else with the next write.  A reader never waits for
 *       room.
 *   I3  A writer may find the peer in the middle of a message that must be read first.  Input is
 *       the reader's side, so the writer asks again, less and less often.  It takes a peer that
 *       cuts such a message in two, which none does without need.
 *   I4  When descriptor_await has failed, the session may be gone: nothing of it is touched.
 *
 * For fibers, but for finish.
 */
#include <errno.h>

#include "io/tls/session.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { ASK_AGAIN_MIN_NS = 100 * 1000, ASK_AGAIN_MAX_NS = 50 * 1000 * 1000 };

static struct tls *tls_of(struct weft_descriptor *descriptor)
{
    return container_of(descriptor->layer, struct tls, layer);
}

struct tls *tls_of_stream(const struct weft_stream *stream)
{
    struct weft_descriptor *descriptor = (struct weft_descriptor *)(void *)stream;
    return descriptor->layer && descriptor->layer->class == &tls_class ? tls_of(descriptor) : NULL;
}

/* ---- reading ---------------------------------------------------------------------------- */

static ssize_t read_locked(struct tls *tls, void *buffer, size_t size)
{
    weft_mutex_lock_shielded(&tls->mutex);
    ssize_t n = session_read(tls, buffer, size);
    if (unlikely(tls_output_left(tls)))
        tls_output_flush(tls); /* I2 */
    weft_mutex_unlock(&tls->mutex);
    return n;
}

static ssize_t tls_read(struct weft_descriptor *descriptor, void *buffer, size_t size)
{
    struct tls *tls = tls_of(descriptor);
    ssize_t n;
    while ((n = read_locked(tls, buffer, size)) == -EAGAIN) {
        int r = descriptor_await(descriptor, WATCH_READ, WEFT_NO_DEADLINE);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return n;
}

static bool readable_locked(struct tls *tls)
{
    weft_mutex_lock_shielded(&tls->mutex);
    bool readable = session_readable(tls);
    if (unlikely(tls_output_left(tls)))
        tls_output_flush(tls);
    weft_mutex_unlock(&tls->mutex);
    return readable;
}

static int tls_wait_readable(struct weft_descriptor *descriptor, uint64_t deadline_ns)
{
    struct tls *tls = tls_of(descriptor);
    while (!readable_locked(tls)) {
        int r = descriptor_await(descriptor, WATCH_READ, deadline_ns);
        if (r < 0)
            return r;
    }
    descriptor_leave(descriptor, WATCH_READ);
    return 0;
}

/* ---- writing ---------------------------------------------------------------------------- */

/* A piece of output: some of `data`, or close_notify, or KeyUpdate. */
struct piece {
    const char *data;
    size_t size, written;
    int (*make)(struct tls *tls); /* NULL: encrypt data */
    bool made;
};

static int make_some(struct tls *tls, struct piece *piece)
{
    if (piece->make) {
        int r = piece->made ? 0 : piece->make(tls);
        piece->made = r == 0;
        return r;
    }
    if (piece->written == piece->size)
        return 0;
    ssize_t n = session_write(tls, piece->data + piece->written, piece->size - piece->written);
    if (n < 0)
        return (int)n;
    piece->written += (size_t)n;
    return 0;
}

static bool piece_done(const struct piece *piece)
{
    return piece->make ? piece->made : piece->written == piece->size;
}

/* Send what is left, then make a piece and send that.  Returns: 0 go on, 1 all is done. */
static int write_locked(struct tls *tls, struct piece *piece)
{
    weft_mutex_lock_shielded(&tls->mutex);
    int r = tls_output_flush(tls);
    if (r == 0)
        r = make_some(tls, piece);
    if (r == 0)
        r = tls_output_flush(tls);
    if (r < 0 && r != -EAGAIN && r != -EINPROGRESS && tls->failed)
        r = tls->failed;
    if (r == 0 && piece_done(piece))
        r = 1;
    weft_mutex_unlock(&tls->mutex);
    return r;
}

static bool descriptor_is_closed(struct weft_descriptor *descriptor)
{
    spin_lock(&descriptor->lock);
    bool closed = descriptor->closed;
    spin_unlock(&descriptor->lock);
    return closed;
}

/* I3 */
static int ask_again(struct weft_descriptor *descriptor, uint64_t *pause_ns)
{
    int r = weft_sleep(*pause_ns);
    if (*pause_ns < ASK_AGAIN_MAX_NS)
        *pause_ns *= 2;
    if (r == 0 && descriptor_is_closed(descriptor))
        r = -EBADF;
    return r;
}

/* Inside WATCH_WRITE, and leaves it. */
static int write_piece(struct weft_descriptor *descriptor, struct piece *piece)
{
    struct tls *tls = tls_of(descriptor);
    uint64_t pause_ns = ASK_AGAIN_MIN_NS;
    int r;
    while ((r = write_locked(tls, piece)) != 1) {
        if (r == -EAGAIN) {
            r = descriptor_await(descriptor, WATCH_WRITE, WEFT_NO_DEADLINE);
            if (r < 0)
                return r; /* I4 */
        } else if (r == -EINPROGRESS) {
            r = ask_again(descriptor, &pause_ns);
        }
        if (r < 0)
            break;
    }
    descriptor_leave(descriptor, WATCH_WRITE);
    return r < 0 ? r : 0;
}

static int tls_write(struct weft_descriptor *descriptor, const void *data, size_t size,
                     size_t *written)
{
    struct piece piece = {.data = data, .size = size};
    int r = write_piece(descriptor, &piece);
    *written = piece.written;
    return r;
}

static int tls_shutdown_write(struct weft_descriptor *descriptor)
{
    struct piece piece = {.make = session_close};
    return write_piece(descriptor, &piece);
}

int weft_tls_update_keys(struct weft_stream *stream)
{
    struct weft_descriptor *descriptor = (struct weft_descriptor *)(void *)stream;
    struct piece piece = {.make = session_update_keys};
    const struct tls *tls = tls_of_stream(stream);
    if (!tls || !tls->established)
        return -ENOTCONN;
    int r = weft_check_cancel();
    if (r == 0)
        r = descriptor_enter(descriptor, WATCH_WRITE);
    return r < 0 ? r : write_piece(descriptor, &piece);
}

/* ---- the end ---------------------------------------------------------------------------- */

/* A close with unread input resets the connection, and what we sent last may be lost: so the
 * session tickets that a server sends unasked are read away. */
static void discard_input(const struct tls *tls)
{
    enum { ROUNDS = 8 };
    char buffer[2048];
    for (int i = 0; i < ROUNDS; i++)
        if (stream_try_read(tls->descriptor, buffer, sizeof(buffer)) <= 0)
            return;
}

static void tls_finish(struct stream_layer *layer)
{
    struct tls *tls = container_of(layer, struct tls, layer);
    if (tls->established && !tls->failed)
        session_close(tls);
    tls_output_flush(tls);
    if (tls->role == WEFT_TLS_CLIENT && tls->established)
        discard_input(tls);
    session_free(tls);
}

const struct stream_class tls_class = {
    .read = tls_read,
    .write = tls_write,
    .wait_readable = tls_wait_readable,
    .shutdown_write = tls_shutdown_write,
    .finish = tls_finish,
};
