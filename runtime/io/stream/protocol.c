/* SPDX-License-Identifier: MIT */
/*
 * Transports and protocols: callbacks over a stream.
 *
 * Two fibers serve a connection: the caller of weft_protocol_run, which reads and calls back, and
 * the writer, its child, which sends.
 *
 *   P1  Data that waits to be sent is a list of chunks.  Anybody appends; only the writer takes off
 *       and frees, so it may use the chunks that it saw without the lock.
 *   P2  Callbacks run under `calls`, which only these two fibers take.  The writer only tries to:
 *       it must go on sending while a callback waits.  Whoever has it therefore tells of the marks
 *       what is to be told before it gives it back, and looks once more afterwards.
 *   P3  What pause_writing or resume_writing said last is `paused`, and it is to be said again when
 *       the marks and `buffered` say otherwise.  A write from inside a callback tells at once.
 *   P4  A connection ends once (transport_end): the first cause is connection_lost's error.  To end
 *       it is to cancel the group of both fibers, which is open while `group` is set.
 *   P5  connection_lost is called by the reader when the writer has ended.  From then on nobody but
 *       holders of references has the transport, and `lost` makes each call of theirs fail.
 *
 * Running is for fibers; the rest for any thread, and never suspends.
 */
#include "weft/protocol.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/group.h"
#include "core/stack.h"
#include "core/wait.h"
#include "weft/event.h"
#include "weft/group.h"
#include "weft/mutex.h"
#include "weft/time.h"

enum { READ_SIZE = 16 * 1024, DEFAULT_LOW = 16 * 1024, DEFAULT_HIGH = 64 * 1024 };

/* One errand of the writer: short enough that the marks learn of it in time. */
enum { BATCH_PIECES = 64, BATCH_SIZE = 64 * 1024 };

/* Data that waits to be sent. */
struct chunk {
    struct chunk *next;
    size_t size;
    char data[];
};

struct weft_transport {
    const struct weft_protocol *protocol; /* constant */
    void *self;                           /* constant once connection_made is called */
    atomic_uint references;               /* atomic: release in unref pairs with its acquire */
    struct weft_event work;               /* the writer should look */
    struct weft_event resumed;            /* the reader should look, if it is paused */
    struct weft_event sent;               /* the writer has ended */
    struct weft_mutex calls;              /* P2 */
    size_t offset;                        /* sent of the first chunk; the writer's */
    bool eof_sent;                        /* the writer's */

    struct spin lock; /* guards the rest */
    struct weft_stream *stream;
    struct weft_group *group; /* P4 */
    struct fiber *caller;     /* is inside a callback, or NULL; compared only */
    struct chunk *first, **last;
    size_t buffered, low, high;
    int error;
    bool ended; /* P4: `error` holds */
    bool closing, eof_wanted, reading_paused, lost;
    bool paused; /* P3; changed under `calls` too */
};

/* ---- a transport's life --------------------------------------------------------------------- */

static int transport_new(struct weft_stream *stream, const struct weft_protocol *protocol,
                         struct weft_transport **ret_transport)
{
    struct weft_transport *transport = calloc(1, sizeof(*transport));
    if (!transport)
        return -ENOMEM;
    transport->protocol = protocol;
    transport->stream = stream;
    transport->last = &transport->first;
    transport->low = DEFAULT_LOW;
    transport->high = DEFAULT_HIGH;
    atomic_init(&transport->references, 1);
    *ret_transport = transport;
    return 0;
}

struct weft_transport *weft_transport_ref(struct weft_transport *transport)
{
    atomic_fetch_add_explicit(&transport->references, 1, memory_order_relaxed);
    return transport;
}

void weft_transport_unref(struct weft_transport *transport)
{
    if (atomic_fetch_sub_explicit(&transport->references, 1, memory_order_acq_rel) == 1)
        free(transport);
}

/* End the connection, unless it has ended (P4). */
static void transport_end(struct weft_transport *transport, int error)
{
    struct wait_batch batch = {0};
    spin_lock(&transport->lock);
    if (!transport->ended)
        transport->error = error;
    transport->ended = true;
    transport->closing = true;
    if (transport->group)
        scope_cancel(&((struct group *)transport->group)->scope, -ECANCELED, false, &batch);
    spin_unlock(&transport->lock);
    wait_batch_wake(&batch);
}

/* ---- callbacks ------------------------------------------------------------------------------ */

/* Whether the marks want something told, and what (P3).  Under the lock. */
static bool marks_changed(const struct weft_transport *transport)
{
    if (transport->paused)
        return transport->buffered <= transport->low;
    return transport->buffered > transport->high;
}

/* Tell it.  By the holder of `calls`. */
static void tell_marks(struct weft_transport *transport)
{
    for (;;) {
        spin_lock(&transport->lock);
        bool changed = marks_changed(transport);
        bool paused = transport->paused != changed;
        transport->paused = paused;
        spin_unlock(&transport->lock);
        if (!changed)
            return;
        void (*tell)(void *) =
            paused ? transport->protocol->pause_writing : transport->protocol->resume_writing;
        if (tell)
            tell(transport->self);
    }
}

static void calls_hold(struct weft_transport *transport, struct fiber *caller)
{
    spin_lock(&transport->lock);
    transport->caller = caller;
    spin_unlock(&transport->lock);
}

static bool marks_to_tell(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    bool changed = marks_changed(transport);
    spin_unlock(&transport->lock);
    return changed;
}

/* By the holder of `calls`, which it gives back. */
static void calls_leave(struct weft_transport *transport)
{
    tell_marks(transport);
    calls_hold(transport, NULL);
    weft_mutex_unlock(&transport->calls);
}

/* Tell of the marks, unless somebody is calling, who does it then (P2). */
static void try_tell_marks(struct weft_transport *transport)
{
    while (marks_to_tell(transport) && weft_mutex_trylock(&transport->calls) == 0) {
        calls_hold(transport, fiber_self());
        calls_leave(transport);
    }
}

static void calls_begin(struct weft_transport *transport)
{
    CHECK(weft_mutex_lock_shielded(&transport->calls) == 0);
    calls_hold(transport, fiber_self());
}

static void calls_end(struct weft_transport *transport)
{
    calls_leave(transport);
    try_tell_marks(transport);
}

static int call_made(struct weft_transport *transport)
{
    if (!transport->protocol->connection_made)
        return 0;
    calls_begin(transport);
    int r = transport->protocol->connection_made(transport->self, transport);
    calls_end(transport);
    return r < 0 ? r : 0;
}

static int call_data(struct weft_transport *transport, const void *data, size_t size)
{
    if (!transport->protocol->data_received)
        return 0;
    calls_begin(transport);
    int r = transport->protocol->data_received(transport->self, data, size);
    calls_end(transport);
    return r < 0 ? r : 0;
}

static int call_eof(struct weft_transport *transport)
{
    if (!transport->protocol->eof_received)
        return 0;
    calls_begin(transport);
    int r = transport->protocol->eof_received(transport->self);
    calls_end(transport);
    return r;
}

/* ---- what others do with it ----------------------------------------------------------------- */

/* Whether it takes no more data.  Under the lock. */
static bool transport_shut(const struct weft_transport *transport)
{
    return transport->closing || transport->eof_wanted || transport->lost;
}

/* Returns: whether it was taken.  *ret_inside: by a fiber that is inside a callback. */
static bool chunk_append(struct weft_transport *transport, struct chunk *chunk, bool *ret_inside)
{
    struct fiber *self = fiber_self();
    spin_lock(&transport->lock);
    bool taken = !transport_shut(transport);
    *ret_inside = taken && self && transport->caller == self;
    if (taken) {
        *transport->last = chunk;
        transport->last = &chunk->next;
        transport->buffered += chunk->size;
    }
    spin_unlock(&transport->lock);
    return taken;
}

int weft_transport_write(struct weft_transport *transport, const void *data, size_t size)
{
    bool inside;
    struct chunk *chunk = size < SIZE_MAX / 2 ? malloc(sizeof(*chunk) + size) : NULL;
    if (!chunk)
        return -ENOMEM;
    chunk->next = NULL;
    chunk->size = size;
    if (size > 0)
        memcpy(chunk->data, data, size);
    if (!chunk_append(transport, chunk, &inside)) {
        free(chunk);
        return -EPIPE;
    }
    weft_event_set(&transport->work);
    if (inside)
        tell_marks(transport);
    return 0;
}

int weft_transport_write_eof(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    int r = transport->closing || transport->lost ? -EPIPE : 0;
    transport->eof_wanted = true;
    spin_unlock(&transport->lock);
    weft_event_set(&transport->work);
    return r;
}

void weft_transport_close(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    transport->closing = true;
    spin_unlock(&transport->lock);
    weft_event_set(&transport->work);
    weft_event_set(&transport->resumed);
}

void weft_transport_abort(struct weft_transport *transport)
{
    transport_end(transport, -ECONNABORTED);
}

bool weft_transport_is_closing(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    bool closing = transport->closing || transport->lost;
    spin_unlock(&transport->lock);
    return closing;
}

void weft_transport_pause_reading(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    transport->reading_paused = true;
    spin_unlock(&transport->lock);
}

void weft_transport_resume_reading(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    transport->reading_paused = false;
    spin_unlock(&transport->lock);
    weft_event_set(&transport->resumed);
}

void weft_transport_set_write_limits(struct weft_transport *transport, size_t low, size_t high)
{
    spin_lock(&transport->lock);
    transport->low = low < high ? low : high;
    transport->high = high;
    spin_unlock(&transport->lock);
    weft_event_set(&transport->work);
}

size_t weft_transport_buffered(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    size_t buffered = transport->buffered;
    spin_unlock(&transport->lock);
    return buffered;
}

struct weft_stream *weft_transport_stream(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    struct weft_stream *stream = transport->stream;
    spin_unlock(&transport->lock);
    return stream;
}

/* ---- the writer ----------------------------------------------------------------------------- */

/* What the writer has to do next. */
struct errand {
    struct iovec pieces[BATCH_PIECES];
    int count;
    bool eof, close;
};

/* Fill the pieces from the chunks.  Under the lock. */
static void errand_fill(const struct weft_transport *transport, struct errand *errand)
{
    size_t offset = transport->offset, room = BATCH_SIZE;
    const struct chunk *chunk = transport->first;
    errand->count = 0;
    while (chunk && errand->count < BATCH_PIECES && room > 0) {
        size_t size = chunk->size - offset < room ? chunk->size - offset : room;
        errand->pieces[errand->count++] =
            (struct iovec){.iov_base = (char *)chunk->data + offset, .iov_len = size};
        offset = 0;
        room -= size;
        chunk = chunk->next;
    }
}

static void errand_take(struct weft_transport *transport, struct errand *errand)
{
    spin_lock(&transport->lock);
    errand_fill(transport, errand);
    errand->eof = transport->eof_wanted && !transport->eof_sent;
    errand->close = transport->closing;
    spin_unlock(&transport->lock);
}

/* `size` bytes have gone out. */
static void chunks_sent(struct weft_transport *transport, size_t size)
{
    struct chunk *done = NULL;
    spin_lock(&transport->lock);
    transport->buffered -= size;
    transport->offset += size;
    while (transport->first && transport->offset >= transport->first->size) {
        struct chunk *chunk = transport->first;
        transport->offset -= chunk->size;
        transport->first = chunk->next;
        chunk->next = done;
        done = chunk;
    }
    if (!transport->first)
        transport->last = &transport->first;
    spin_unlock(&transport->lock);
    while (done) {
        struct chunk *next = done->next;
        free(done);
        done = next;
    }
}

/* Returns: 0, or why the writer must end. */
static int send_batch(struct weft_transport *transport, struct errand *errand)
{
    size_t sent;
    int r = weft_writev(transport->stream, errand->pieces, errand->count, &sent);
    chunks_sent(transport, sent);
    return r;
}

static int send_eof(struct weft_transport *transport)
{
    transport->eof_sent = true;
    return weft_stream_shutdown_write(transport->stream);
}

/* Returns: 0 to go on; 1 all is sent and the connection is closed; or an error. */
static int writer_step(struct weft_transport *transport)
{
    struct errand errand;
    weft_event_clear(&transport->work);
    try_tell_marks(transport);
    errand_take(transport, &errand);
    if (errand.count > 0)
        return send_batch(transport, &errand);
    if (errand.eof)
        return send_eof(transport);
    if (errand.close)
        return 1;
    return weft_event_wait(&transport->work, WEFT_NO_DEADLINE);
}

static int writer_run(void *arg)
{
    struct weft_transport *transport = arg;
    int r;
    do
        r = writer_step(transport);
    while (r == 0);
    transport_end(transport, r < 0 ? r : 0);
    weft_event_set(&transport->sent);
    return 0;
}

/* ---- the reader ----------------------------------------------------------------------------- */

static bool reading_is_paused(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    bool paused = transport->reading_paused && !transport->closing;
    spin_unlock(&transport->lock);
    return paused;
}

/* Wait until reading is not paused.  Returns: 1 go on; 0 closed meanwhile; or the scope's error. */
static int await_reading(struct weft_transport *transport)
{
    int r = 0;
    weft_event_clear(&transport->resumed);
    while (r == 0 && reading_is_paused(transport)) {
        r = weft_event_wait(&transport->resumed, WEFT_NO_DEADLINE);
        weft_event_clear(&transport->resumed);
    }
    return r < 0 ? r : !weft_transport_is_closing(transport);
}

/* Returns: above 0 to go on; 0 nothing more is to be read; or why the connection ends. */
static int reader_step(struct weft_transport *transport, char *buffer)
{
    int r = await_reading(transport);
    if (r <= 0)
        return r;
    ssize_t n = weft_read(transport->stream, buffer, READ_SIZE);
    if (n < 0)
        return (int)n;
    r = await_reading(transport);
    if (r <= 0)
        return r;
    if (n > 0) {
        r = call_data(transport, buffer, (size_t)n);
        return r < 0 ? r : 1;
    }
    r = call_eof(transport);
    if (r == 0)
        weft_transport_close(transport);
    return r < 0 ? r : 0;
}

static int read_all(struct weft_transport *transport)
{
    char *buffer = malloc(READ_SIZE);
    if (!buffer)
        return -ENOMEM;
    int r;
    do
        r = reader_step(transport, buffer);
    while (r > 0);
    free(buffer);
    return r;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Nobody sends any more. */
static void transport_lose(struct weft_transport *transport)
{
    spin_lock(&transport->lock);
    struct chunk *chunk = transport->first;
    transport->first = NULL;
    transport->last = &transport->first;
    transport->buffered = 0;
    transport->lost = true;
    spin_unlock(&transport->lock);
    while (chunk) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
}

static void call_lost(struct weft_transport *transport)
{
    transport_lose(transport);
    if (transport->protocol->connection_lost)
        transport->protocol->connection_lost(transport->self, transport->error);
    spin_lock(&transport->lock);
    transport->stream = NULL;
    spin_unlock(&transport->lock);
}

/* Join the writer.  Until it has ended, or is cancelled, others may cancel the group (P4); when it
 * is left they may not, so this waits first and leaves then. */
static void transport_join(struct weft_transport *transport, struct weft_group *group)
{
    weft_event_wait(&transport->sent, WEFT_NO_DEADLINE);
    spin_lock(&transport->lock);
    transport->group = NULL;
    spin_unlock(&transport->lock);
    weft_group_join(group);
}

/* With the writer running.  Returns: whether connection_made was called. */
static bool serve(struct weft_transport *transport, const struct weft_protocol_factory *factory)
{
    int r = factory ? factory->create(factory->arg, &transport->self) : 0;
    bool created = r >= 0;
    if (created)
        r = call_made(transport);
    if (created && r == 0)
        r = read_all(transport);
    if (r < 0)
        transport_end(transport, r);
    return created;
}

static int protocol_run(struct weft_stream *stream, const struct weft_protocol *protocol,
                        void *self, const struct weft_protocol_factory *factory)
{
    struct weft_transport *transport;
    struct weft_group group;
    bool made = false;
    int r = transport_new(stream, protocol, &transport);
    if (r < 0)
        return r;
    transport->self = self;
    weft_group_init(&group);
    transport->group = &group;
    r = weft_group_spawn(&group, "transport", writer_run, transport);
    if (r < 0)
        transport_end(transport, r);
    else
        made = serve(transport, factory);
    transport_join(transport, &group);
    if (made)
        call_lost(transport);
    r = transport->error;
    weft_transport_unref(transport);
    return r;
}

int weft_protocol_run(struct weft_stream *stream, const struct weft_protocol *protocol, void *self)
{
    return protocol_run(stream, protocol, self, NULL);
}

int weft_protocol_handler(struct weft_stream *stream, void *arg)
{
    const struct weft_protocol_factory *factory = arg;
    return protocol_run(stream, factory->protocol, NULL, factory);
}
