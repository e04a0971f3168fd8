/* SPDX-License-Identifier: MIT */
/*
 * session: see session.h.
 *
 *   reader (the caller's fiber): first byte -> HTTP, or
 *                                bytes -> framer -> line -> a fiber per request of it
 *   request fiber: rpc_call_run -> its place in the line; the last one of a line makes the reply
 *   session_output: replies -> socket
 *
 * I6  A slot (one of max_in_flight) is taken by the reader for each request, and for each bad line,
 *     and given back when the reply is written; so what waits to be written is bounded too.
 * I7  in_flight counts the slots taken, and one for the reader while it may take more; whoever
 *     brings it to 0 sets `quiet`.
 * I8  A request starts when the one before it has had its turn: a submit once its jobs have ids,
 *     anything else at once.  So pipelined submits get ids in the order they were sent, although
 *     their fibers run on several workers and their commits overlap.
 * I9  A connection has one follow-up at most, on the fiber of its request, which has given its slot
 *     back.  It counts in in_flight, though, so that a half-closed connection stays for its sake;
 *     and it is cancelled when the client is seen to be gone.
 * I10  The first byte decides what the connection speaks, and stays in the socket for who does.
 */
#include "daemon/session.h"

#include "daemon/engine.h"
#include "daemon/failpoint.h"
#include "daemon/methods.h"
#include "daemon/rpc.h"
#include "daemon/session_output.h"
#include "daemon/session_pass.h"
#include "protocol/framer.h"
#include "protocol/jsonrpc.h"
#include "protocol/units.h"
#include "weft/weft.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_SIZE 16384

struct session {
    struct weft_stream *stream;
    struct peer peer;
    struct session_limits limits;
    struct session_totals *totals;
    struct daemon_context *context;
    struct framer framer;        /* reader only */
    uint64_t partial_since;      /* reader only: when the line that is not complete began */
    struct weft_group group;     /* of the request fibers; open as long as the reader runs */
    struct weft_semaphore slots; /* I6 */
    struct weft_semaphore turn;  /* I8; one permit */
    struct weft_event quiet;     /* I7 */
    atomic_uint in_flight;       /* I7; acq_rel: the last one sees what the others did */
    struct session_output output;

    struct weft_mutex follow_lock; /* leaf; guards what follows */
    bool following;                /* I9 */
    bool follow_is_open;           /* follow_scope is entered */
    bool follow_is_over;           /* none may begin */
    struct weft_scope follow_scope;
};

/* One request of a line. */
struct item {
    struct line *line;
    bool turn_over; /* it has given back session.turn (I8) */
    bool borrowed;  /* it runs on the reader's fiber, and must leave it soon */
    struct request_follow_up follow_up;
    struct session_pass pass;
    struct rpc_call call;
};

/* One line under way. */
struct line {
    struct session *session;
    struct jsonrpc_message message;
    atomic_size_t remaining; /* acq_rel: who brings it to 0 sees all items */
    struct item items[];     /* message.count */
};

/* ---- replies ------------------------------------------------------------------------------- */

/* session_output's `sent`. */
static void give_back(void *owner, unsigned slots)
{
    struct session *session = owner;
    if (!slots)
        return;
    for (unsigned i = 0; i < slots; i++)
        weft_semaphore_release(&session->slots);
    atomic_fetch_sub_explicit(&session->totals->in_flight, slots, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&session->in_flight, slots, memory_order_acq_rel) == slots)
        weft_event_set(&session->quiet);
}

static bool has_hung_up(int err)
{
    return err == -EPIPE || err == -ECONNRESET;
}

/* I4: who hung up has not taken back what it sent; who does not read is to be cut off. */
static void put(struct session *session, const struct jsonrpc_text *text, int fd)
{
    failpoint(FAILPOINT_REPLY);
    int err = session_output_put(&session->output, text, 1, fd);
    failpoint(FAILPOINT_REPLIED);
    if (err && !has_hung_up(err))
        weft_group_cancel(&session->group);
}

static int append_line(struct line *line, struct jsonrpc_text *text)
{
    int err = line->message.is_batch ? jsonrpc_batch_open(text) : 0;
    for (size_t i = 0; !err && i < line->message.count; i++)
        err = rpc_call_append(&line->items[i].call, text, line->session->totals);
    return !err && line->message.is_batch ? jsonrpc_batch_close(text) : err;
}

static void line_free(struct line *line)
{
    for (size_t i = 0; i < line->message.count; i++)
        rpc_call_destroy(&line->items[i].call);
    jsonrpc_message_destroy(&line->message);
    free(line);
}

/* One item is done; the last one sends the reply and frees the line.  Gives back one slot. */
static void line_done(struct line *line)
{
    struct session *session = line->session;
    if (atomic_fetch_sub_explicit(&line->remaining, 1, memory_order_acq_rel) != 1) {
        give_back(session, 1);
        return;
    }
    struct jsonrpc_text text = {0};
    if (append_line(line, &text))
        weft_group_cancel(&session->group); /* out of memory: better gone than mute */
    int fd = session_pass_take(&line->items[0].pass, line->items[0].call.wanted && text.size > 0);
    line_free(line);
    put(session, &text, fd);
    jsonrpc_text_destroy(&text);
}

/* ---- follow-ups ---------------------------------------------------------------------------- */

static int append_records(const char *name, const json_t *records, struct jsonrpc_text *text)
{
    size_t i;
    json_t *record;
    int err = 0;
    json_array_foreach(records, i, record)
    {
        if (!err)
            err = jsonrpc_append_notification(text, name, record);
    }
    return err;
}

/* Ask for what is next, and wait until it is written.  Errors: -EPIPE and others of `next`, those
 * of the connection. */
static int follow_some(struct session *session, const struct request_follow_up *follow_up,
                       struct jsonrpc_text *text)
{
    json_t *records;
    int err = follow_up->next(follow_up->arg, WEFT_NO_DEADLINE, &records);
    if (err)
        return err;
    text->size = 0;
    err = append_records(follow_up->name, records, text);
    json_decref(records);
    if (!err && text->size > 0)
        err = session_output_put(&session->output, text, 0, -1);
    return !err && text->size > 0 ? session_output_flush(&session->output) : err;
}

static int follow_all(struct session *session, const struct request_follow_up *follow_up)
{
    struct jsonrpc_text text = {0};
    int err = 0;
    while (!err)
        err = follow_some(session, follow_up, &text);
    jsonrpc_text_destroy(&text);
    return err;
}

static bool follow_open(struct session *session)
{
    weft_mutex_lock_shielded(&session->follow_lock);
    bool open = !session->follow_is_over;
    if (open)
        weft_scope_enter(&session->follow_scope, WEFT_NO_DEADLINE);
    session->follow_is_open = open;
    weft_mutex_unlock(&session->follow_lock);
    return open;
}

static void follow_close(struct session *session)
{
    weft_mutex_lock_shielded(&session->follow_lock);
    if (session->follow_is_open)
        weft_scope_leave(&session->follow_scope);
    session->follow_is_open = false;
    session->following = false;
    weft_mutex_unlock(&session->follow_lock);
}

static void follow_cancel(struct session *session)
{
    weft_mutex_lock_shielded(&session->follow_lock);
    session->follow_is_over = true;
    if (session->follow_is_open)
        weft_scope_cancel(&session->follow_scope);
    weft_mutex_unlock(&session->follow_lock);
}

/* Better gone than mute: a client that is told nothing more must not believe that there is nothing
 * to tell. */
static bool is_its_end(int err)
{
    return err == -ECANCELED || has_hung_up(err); /* -EPIPE: weftd stops, too */
}

static void follow(struct session *session, const struct request_follow_up *follow_up)
{
    int err = follow_open(session) ? follow_all(session, follow_up) : -ECANCELED;
    follow_close(session);
    follow_up->free(follow_up->arg);
    if (!is_its_end(err))
        weft_group_cancel(&session->group);
    if (atomic_fetch_sub_explicit(&session->in_flight, 1, memory_order_acq_rel) == 1)
        weft_event_set(&session->quiet);
}

/* I9: take the follow-up on, before the reply is written, or refuse the request after all. */
static void admit_follow_up(struct session *session, struct item *item)
{
    weft_mutex_lock_shielded(&session->follow_lock);
    bool first = !session->following;
    bool admitted = first && !item->borrowed;
    session->following = !first || admitted;
    weft_mutex_unlock(&session->follow_lock);
    if (admitted) {
        atomic_fetch_add_explicit(&session->in_flight, 1, memory_order_relaxed);
        return;
    }
    item->follow_up.free(item->follow_up.arg);
    item->follow_up.next = NULL;
    if (first)
        rpc_error_set(&item->call.error, RPC_INTERNAL_ERROR, "out of memory");
    else
        rpc_error_set(&item->call.error, RPC_CONFLICT,
                      "this connection has a subscription already: open another for a second one");
}

/* ---- requests ------------------------------------------------------------------------------ */

/* engine_turn's `done`.  Once per item, however often it is called. */
static void end_turn(void *arg)
{
    struct item *item = arg;
    if (!item->turn_over)
        weft_semaphore_release(&item->line->session->turn);
    item->turn_over = true;
}

static void call_item(struct line *line, struct item *item)
{
    struct session *session = line->session;
    struct rpc_caller caller = {
        .context = session->context, .peer = &session->peer, .totals = session->totals};
    struct engine_turn turn = {.done = end_turn, .arg = item};
    item->call.follow_up = line->message.is_batch ? NULL : &item->follow_up;
    item->call.pass = line->message.is_batch ? NULL : &item->pass.request;
    rpc_call_run(&item->call, &line->message, (size_t)(item - line->items), &caller, &turn);
    if (item->follow_up.next)
        admit_follow_up(session, item);
}

static int request_main(void *arg)
{
    struct item *item = arg;
    struct session *session = item->line->session;
    call_item(item->line, item);
    end_turn(item);
    struct request_follow_up follow_up = item->follow_up;
    line_done(item->line);
    if (follow_up.next)
        follow(session, &follow_up);
    return 0;
}

/* Noinline: errno's address must not be kept over a suspension. */
__attribute__((noinline)) static bool peer_is_gone(struct session *session)
{
    struct pollfd state = {.fd = weft_stream_fd(session->stream)};
    return poll(&state, 1, 0) > 0 && state.revents & (POLLHUP | POLLERR);
}

/* Errors: -EPIPE the client is gone; the scope's. */
static int take_slot(struct session *session)
{
    int err;
    while ((err = weft_semaphore_acquire(&session->slots, weft_deadline_after(SESSION_GONE_NS))) ==
           -ETIMEDOUT) {
        if (weft_check_cancel())
            return weft_check_cancel();
        if (peer_is_gone(session))
            return -EPIPE;
    }
    if (err)
        return err;
    atomic_fetch_add_explicit(&session->in_flight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&session->totals->in_flight, 1, memory_order_relaxed);
    return 0;
}

/* Errors: take_slot()'s. */
static int take_turn_and_slot(struct session *session)
{
    int err = weft_semaphore_acquire(&session->turn, WEFT_NO_DEADLINE); /* I8 */
    if (err)
        return err;
    err = take_slot(session);
    if (err)
        weft_semaphore_release(&session->turn);
    return err;
}

static int line_new(struct session *session, struct jsonrpc_message *message,
                    struct line **ret_line)
{
    struct line *line = calloc(1, sizeof *line + message->count * sizeof line->items[0]);
    if (!line)
        return -ENOMEM;
    line->session = session;
    line->message = *message;
    atomic_init(&line->remaining, message->count);
    for (size_t i = 0; i < message->count; i++) {
        line->items[i].line = line;
        session_pass_init(&line->items[i].pass, &session->output);
    }
    *ret_line = line;
    return 0;
}

/* The items from `first` on will not run: nobody is there to be told. */
static void line_abandon(struct line *line, size_t first)
{
    size_t left = line->message.count - first;
    if (atomic_fetch_sub_explicit(&line->remaining, left, memory_order_acq_rel) == left)
        line_free(line);
}

/* No stack is left: on the reader's, then, one after another. */
static void run_here(struct item *item)
{
    item->borrowed = true;
    request_main(item);
}

/* Takes over the message. */
static int start_requests(struct session *session, struct jsonrpc_message *message)
{
    struct line *line;
    int err = line_new(session, message, &line);
    if (err) {
        jsonrpc_message_destroy(message);
        return err;
    }
    size_t count = message->count; /* the line may be gone once its last item runs */
    atomic_fetch_add_explicit(&session->totals->requests, count, memory_order_relaxed);
    for (size_t i = 0; i < count; i++) {
        err = take_turn_and_slot(session);
        if (err) {
            line_abandon(line, i);
            return err;
        }
        if (weft_group_spawn(&session->group, "request", request_main, &line->items[i]))
            run_here(&line->items[i]);
    }
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Answer something that is no request.  Errors: take_slot()'s. */
static int refuse(struct session *session, const struct rpc_error *error)
{
    int err = take_slot(session);
    if (err)
        return err;
    struct jsonrpc_text text = {0};
    if (rpc_append_error(&text, NULL, error, session->totals))
        weft_group_cancel(&session->group);
    put(session, &text, -1);
    jsonrpc_text_destroy(&text);
    return 0;
}

static int take_line(struct session *session, const char *text, size_t size)
{
    struct jsonrpc_message message;
    struct rpc_error error;
    if (jsonrpc_parse(text, size, &message, &error))
        return refuse(session, &error);
    return start_requests(session, &message);
}

static int refuse_long_line(struct session *session)
{
    struct rpc_error error;
    char most[UNITS_TEXT_MAX];
    rpc_error_set(&error, RPC_LINE_TOO_LONG, "the line is over %s (daemon.line_max)",
                  units_format_size(session->limits.line_max, most));
    return refuse(session, &error);
}

/* All whole lines that have come.  Errors: the session cannot go on. */
static int take_lines(struct session *session)
{
    bool any = false;
    for (;;) {
        char *text;
        size_t size;
        int result = framer_next(&session->framer, &text, &size);
        if (result == 0)
            break;
        any = true;
        result = result == 1 ? take_line(session, text, size) : refuse_long_line(session);
        if (result)
            return result;
    }
    if (any || !session->partial_since)
        session->partial_since = weft_now_ns();
    if (!framer_is_partial(&session->framer))
        session->partial_since = 0;
    return 0;
}

static uint64_t read_deadline(const struct session *session)
{
    uint64_t partial = session->limits.partial_line_timeout;
    if (session->partial_since)
        return partial ? session->partial_since + partial : WEFT_NO_DEADLINE;
    uint64_t idle = session->limits.idle_timeout;
    return idle ? weft_deadline_after(idle) : WEFT_NO_DEADLINE;
}

/* As weft_read(); -ETIME when our own deadline has passed. */
static ssize_t read_until(struct session *session, char *buffer, uint64_t deadline)
{
    if (deadline == WEFT_NO_DEADLINE)
        return weft_read(session->stream, buffer, READ_SIZE);
    struct weft_scope scope;
    weft_scope_enter(&scope, deadline);
    ssize_t got = weft_read(session->stream, buffer, READ_SIZE);
    int expired = weft_scope_leave(&scope);
    return got == -ETIMEDOUT && expired == -ETIMEDOUT && !weft_check_cancel() ? -ETIME : got;
}

/* Noinline: errno's address must not be kept over a suspension.  Returns 1 and the byte, 0 at the
 * end of input, or recv(2)'s -errno. */
__attribute__((noinline)) static ssize_t peek(struct session *session, char *ret_first)
{
    ssize_t got = recv(weft_stream_fd(session->stream), ret_first, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

static bool is_working(const struct session *session)
{
    return atomic_load_explicit(&session->in_flight, memory_order_relaxed) > 1; /* I7 */
}

/* Its request came while we did not run, or its end did. */
static bool has_input(struct session *session)
{
    char first;
    return peek(session, &first) != -EAGAIN;
}

/* Our own deadline has passed: say so and end, unless the silence is ours. */
static int on_silence(struct session *session)
{
    struct rpc_error error;
    char limit[UNITS_TEXT_MAX];
    if (!session->partial_since && (is_working(session) || has_input(session)))
        return 0;
    if (session->partial_since)
        rpc_error_set(&error, RPC_TIMEOUT,
                      "the line that was begun is not complete after %s; the connection is closed",
                      units_format_duration(session->limits.partial_line_timeout, limit));
    else
        rpc_error_set(&error, RPC_TIMEOUT, "no request for %s; the connection is closed",
                      units_format_duration(session->limits.idle_timeout, limit));
    int err = refuse(session, &error);
    return err ? err : -ETIME;
}

/* A method of HTTP begins with a capital letter, a JSON text never does (I10).
 * Returns 0, SESSION_IS_HTTP, -ETIME after silence, or the error that ends the session. */
static int look_at_first_byte(struct session *session)
{
    for (;;) {
        char first;
        int err = weft_stream_wait_readable(session->stream, read_deadline(session));
        bool timed_out = err == -ETIMEDOUT && !weft_check_cancel();
        if (timed_out && !has_input(session))
            return on_silence(session);
        if (err && !timed_out)
            return err;
        ssize_t got = peek(session, &first);
        if (got != -EAGAIN)
            return got == 1 && first >= 'A' && first <= 'Z' ? SESSION_IS_HTTP : 0;
    }
}

/* Returns 0 at the end of input, -ETIME after silence, or the error that ends the session. */
static int read_lines(struct session *session)
{
    char buffer[READ_SIZE];
    for (;;) {
        ssize_t got = read_until(session, buffer, read_deadline(session));
        int err = 0;
        if (got == 0)
            return 0;
        if (got == -ETIME)
            err = on_silence(session);
        else if (got < 0)
            err = (int)got;
        else
            err = framer_feed(&session->framer, buffer, (size_t)got);
        if (!err)
            err = take_lines(session);
        if (err)
            return err;
    }
}

/* The reader takes no more; wait until every reply is out, or nobody is left to read it (I4). */
static void finish(struct session *session)
{
    if (atomic_fetch_sub_explicit(&session->in_flight, 1, memory_order_acq_rel) == 1)
        return;
    if (peer_is_gone(session))
        follow_cancel(session);
    while (weft_event_wait(&session->quiet, weft_deadline_after(SESSION_GONE_NS)) == -ETIMEDOUT) {
        if (weft_check_cancel())
            return;
        if (peer_is_gone(session)) {
            weft_group_cancel(&session->group);
            return;
        }
    }
}

static int serve(struct session *session)
{
    int err = look_at_first_byte(session);
    if (err == SESSION_IS_HTTP)
        return err;
    if (!err)
        err = read_lines(session);
    char *text;
    size_t size;
    if (err == -ECONNRESET) /* an end of input, too: of a client that left replies unread */
        err = 0;
    if (!err && framer_finish(&session->framer, &text, &size) == 1)
        err = take_line(session, text, size);
    if (err && err != -ETIME)
        weft_group_cancel(&session->group);
    else
        finish(session);
    return err == -ETIME ? 0 : err;
}

int session_serve(struct weft_stream *stream, const struct peer *peer,
                  const struct session_limits *limits, struct session_totals *totals,
                  struct daemon_context *context)
{
    struct session session = {
        .stream = stream, .peer = *peer, .limits = *limits, .totals = totals, .context = context};
    framer_init(&session.framer, limits->line_max);
    weft_semaphore_init(&session.slots, limits->max_in_flight, 0);
    weft_semaphore_init(&session.turn, 1, 1);
    weft_event_init(&session.quiet);
    weft_mutex_init(&session.follow_lock);
    atomic_init(&session.in_flight, 1);
    session_output_init(&session.output, stream, limits->write_timeout, give_back, &session);
    weft_group_init(&session.group);
    int err = serve(&session);
    weft_group_join(&session.group);
    session_output_destroy(&session.output);
    framer_destroy(&session.framer);
    return err;
}
