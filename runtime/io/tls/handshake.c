/* SPDX-License-Identifier: MIT */
/*
 * Upgrading a stream: the handshake, made by one fiber that is inside both sides meanwhile.
 *
 *   I1  The session belongs to the stream from before the first byte, so that whatever ends the
 *       handshake, the stream can say why and its free() frees everything.
 *   I2  A handshake that ended otherwise than well leaves a session that has failed: no call on the
 *       stream ever falls back to plain text.
 *   I3  While it waits on one side the fiber is inside the other, so the session outlives a free()
 *       that comes meanwhile, until the handshake has returned.
 *   I4  OpenSSL is given a stack that it cannot overrun, or is not called.
 *
 * For fibers.
 */
#include <errno.h>

#include "core/stack.h"
#include "io/tls/context.h"
#include "io/tls/session.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { STACK_NEEDED = 32 * 1024 };

/* I4 */
static bool stack_suffices(void)
{
    return stack_left() >= STACK_NEEDED;
}

static int enter_both(struct weft_descriptor *descriptor)
{
    int r = descriptor_enter(descriptor, WATCH_READ);
    if (r < 0)
        return r;
    r = descriptor_enter(descriptor, WATCH_WRITE);
    if (r < 0)
        descriptor_leave(descriptor, WATCH_READ);
    return r;
}

/* One step as far as it goes without the peer; then, which side to wait for. */
static int handshake_step(struct tls *tls, enum watch_side *ret_side)
{
    int r = session_handshake(tls);
    int flushed = tls_output_flush(tls);
    if (r == 0 && flushed != -EAGAIN)
        return 0; /* tickets that could not be sent: the next write says so */
    if (r < 0 && r != -EAGAIN)
        return r;
    *ret_side = flushed == -EAGAIN ? WATCH_WRITE : WATCH_READ;
    return -EAGAIN;
}

/* Inside both sides, and leaves both. */
static int handshake(struct weft_descriptor *descriptor, struct tls *tls, uint64_t deadline_ns)
{
    enum watch_side side = WATCH_READ;
    int r;
    while ((r = handshake_step(tls, &side)) == -EAGAIN) {
        r = descriptor_await(descriptor, side, deadline_ns);
        if (r < 0) {
            tls->hostname = NULL;
            tls_fail_as(tls, -EPROTO, "the handshake was given up"); /* I2, I3 */
            descriptor_leave(descriptor, side == WATCH_READ ? WATCH_WRITE : WATCH_READ);
            return r;
        }
    }
    tls->hostname = NULL;
    descriptor_leave(descriptor, WATCH_READ);
    descriptor_leave(descriptor, WATCH_WRITE);
    return r;
}

static int session_begin(struct weft_descriptor *descriptor, struct weft_tls_context *context,
                         const char *hostname)
{
    struct tls_bundle *bundle = context_bundle(context);
    struct tls *tls;
    int r = session_new(descriptor, bundle, context->settings, &tls);
    bundle_unref(bundle);
    if (r < 0)
        return r;
    if (hostname)
        r = session_expect(tls, hostname);
    if (r < 0) {
        session_free(tls);
        return r;
    }
    tls->hostname = hostname;
    descriptor->layer = &tls->layer; /* I1 */
    return 0;
}

static int upgrade(struct weft_stream *stream, struct weft_tls_context *context,
                   const char *hostname, uint64_t deadline_ns)
{
    struct weft_descriptor *descriptor = (struct weft_descriptor *)(void *)stream;
    int r = weft_check_cancel();
    if (r == 0 && !stack_suffices())
        r = -ENOMEM;
    if (r == 0)
        r = enter_both(descriptor);
    if (r < 0)
        return r;
    r = descriptor->layer ? -EISCONN : session_begin(descriptor, context, hostname);
    if (r == 0)
        return handshake(descriptor, tls_of_stream(stream), deadline_ns);
    descriptor_leave(descriptor, WATCH_READ);
    descriptor_leave(descriptor, WATCH_WRITE);
    return r;
}

int weft_tls_client(struct weft_stream *stream, struct weft_tls_context *context,
                    const char *hostname, uint64_t deadline_ns)
{
    const struct settings *settings = context->settings;
    if (settings->role != WEFT_TLS_CLIENT)
        return -EINVAL;
    if (!hostname && !settings->options.insecure_believe_any_server)
        return -EINVAL;
    return upgrade(stream, context, hostname, deadline_ns);
}

int weft_tls_server(struct weft_stream *stream, struct weft_tls_context *context,
                    uint64_t deadline_ns)
{
    if (context->settings->role != WEFT_TLS_SERVER)
        return -EINVAL;
    return upgrade(stream, context, NULL, deadline_ns);
}
