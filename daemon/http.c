/* SPDX-License-Identifier: MIT */
/*
 * http: see http.h.
 *
 * libmicrohttpd gets a duplicate of the socket, which it closes itself; ours stays, for looking at
 * the connection and for server_stop().  Its epoll set is the one descriptor that the fiber waits
 * for.  MHD_run() never blocks.
 *
 *   MHD_run() -> a request is complete? -> work it off on a fiber of its own, resume -> MHD_run()
 *             -> wait for the epoll set, as long as the limits allow
 *
 * I6  `begun` is when the first byte of the request that is coming in was seen, and 0 when none is.
 *     libmicrohttpd may take that byte right after we looked for it, so what it takes is counted:
 *     the kernel moves a socket's peek offset back by what is read (socket(7), SO_PEEK_OFF), and
 *     nobody peeks here.  What it had taken before the end of the last request is in its buffer,
 *     where we cannot see it: a part of a request there counts from the next byte on.
 */
#include "daemon/http.h"

#include "daemon/http_impl.h"
#include "daemon/log.h"
#include "daemon/methods.h"
#include "daemon/session.h"
#include "protocol/units.h"
#include "weft/descriptor.h"
#include "weft/weft.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define HEADERS_MAX  ((size_t)32 << 10) /* a request line with all headers */
#define LINGER_NS    (1 * WEFT_SECOND)
#define LINGER_BYTES (UINT64_C(4) << 20)

/* All of it is the connection's fiber's; `done` is set by the fiber of the request. */
struct http_connection {
    const struct http_client *client;
    struct MHD_Daemon *mhd;
    struct weft_descriptor *ready; /* its epoll set */
    struct http_request *request;  /* under way, or NULL */
    uint64_t begun;                /* I6 */
    bool open;                     /* libmicrohttpd has not closed it */
    struct weft_event done;
};

const struct session_limits *http_limits(const struct http_request *request)
{
    return request->connection->client->limits;
}

const struct peer *http_peer(const struct http_request *request)
{
    return request->connection->client->peer;
}

struct daemon_context *http_context(const struct http_request *request)
{
    return request->connection->client->context;
}

struct session_totals *http_totals(const struct http_request *request)
{
    return request->connection->client->totals;
}

const struct http_access *http_access(const struct http_request *request)
{
    return request->connection->client->access;
}

/* I6: from now on.  TCP has the option since Linux 6.9; without it a byte can be missed. */
__attribute__((noinline)) static void count_input(struct http_connection *connection)
{
    const int none = INT_MAX;
    (void)setsockopt(weft_stream_fd(connection->client->stream), SOL_SOCKET, SO_PEEK_OFF, &none,
                     sizeof none);
}

void http_set_current(struct http_connection *connection, struct http_request *request)
{
    connection->request = request;
    if (request)
        return;
    connection->begun = 0;
    count_input(connection);
}

/* ---- libmicrohttpd's daemon ---------------------------------------------------------------- */

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_connection *connection = cls;
    (void)mhd;
    (void)context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED)
        connection->open = false;
}

/* What it has to say is about the client's doing. */
static void on_message(void *cls, const char *format, va_list arguments)
{
    char line[256];
    (void)cls;
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

static struct MHD_Daemon *mhd_new(struct http_connection *connection)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                                MHD_USE_ERROR_LOG,
                            0, NULL, NULL, http_on_request, connection, MHD_OPTION_EXTERNAL_LOGGER,
                            on_message, NULL, MHD_OPTION_NOTIFY_COMPLETED, http_on_completed,
                            connection, MHD_OPTION_NOTIFY_CONNECTION, on_connection, connection,
                            MHD_OPTION_CONNECTION_LIMIT, 1U, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            HEADERS_MAX, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

/* Noinline, as all here that reads errno: its address must not be kept over a suspension. */
__attribute__((noinline)) static int give_socket(struct http_connection *connection)
{
    struct sockaddr_un nobody = {.sun_family = AF_UNIX};
    int fd = fcntl(weft_stream_fd(connection->client->stream), F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    connection->open = true;
    count_input(connection);
    if (MHD_add_connection(connection->mhd, fd, (struct sockaddr *)&nobody,
                           sizeof nobody.sun_family) != MHD_YES) /* has closed fd */
        return -ENOMEM;
    return 0;
}

static int mhd_start(struct http_connection *connection)
{
    connection->mhd = mhd_new(connection);
    if (!connection->mhd)
        return -ENOMEM;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(connection->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    int err = info ? weft_descriptor_new(info->epoll_fd, &connection->ready) : -EOPNOTSUPP;
    return err ? err : give_socket(connection);
}

/* Frees the request under way, too: http_on_completed(). */
static void mhd_stop(struct http_connection *connection)
{
    if (connection->ready)
        weft_descriptor_release(connection->ready); /* the epoll set is libmicrohttpd's */
    if (connection->mhd)
        MHD_stop_daemon(connection->mhd);
}

/* It has more to do at once: a pipelined request, say. */
static bool mhd_is_busy(struct http_connection *connection)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    return MHD_get_timeout(connection->mhd, &wait_ms) == MHD_YES && wait_ms == 0;
}

/* ---- working ------------------------------------------------------------------------------- */

__attribute__((noinline)) static bool peer_is_gone(struct http_connection *connection)
{
    struct pollfd state = {.fd = weft_stream_fd(connection->client->stream)};
    return poll(&state, 1, 0) > 0 && state.revents & (POLLHUP | POLLERR);
}

static int work_main(void *arg)
{
    struct http_connection *connection = arg;
    http_work(connection->request);
    weft_event_set(&connection->done);
    return 0;
}

/* The request's own fiber does the work; ours looks whether the client is still there (I5). */
static int work(struct http_connection *connection)
{
    struct weft_group group;
    int err;
    weft_event_clear(&connection->done);
    weft_group_init(&group);
    if (weft_group_spawn(&group, "http request", work_main, connection))
        work_main(connection); /* no stack is left: here, then */
    while ((err = weft_event_wait(&connection->done, weft_deadline_after(SESSION_GONE_NS))) ==
           -ETIMEDOUT) {
        if (weft_check_cancel())
            break;
        if (!peer_is_gone(connection))
            continue;
        weft_group_cancel(&group);
        break;
    }
    weft_group_join(&group);
    return err;
}

/* Errors: the scope's, and -EPIPE: nobody is there to be answered. */
static int work_off(struct http_connection *connection)
{
    atomic_uint *in_flight = &connection->client->totals->in_flight;
    atomic_fetch_add_explicit(in_flight, 1, memory_order_relaxed);
    int err = work(connection);
    atomic_fetch_sub_explicit(in_flight, 1, memory_order_relaxed);
    connection->request->state = HTTP_REPLYING;
    MHD_resume_connection(connection->request->mhd);
    return err == -ETIMEDOUT && !weft_check_cancel() ? -EPIPE : err;
}

/* ---- waiting ------------------------------------------------------------------------------- */

static uint64_t after(uint64_t timeout)
{
    return timeout ? weft_deadline_after(timeout) : WEFT_NO_DEADLINE;
}

static bool is_replying(const struct http_connection *connection)
{
    return connection->request && connection->request->state == HTTP_REPLYING;
}

static uint64_t wait_deadline(const struct http_connection *connection)
{
    const struct session_limits *limits = connection->client->limits;
    if (is_replying(connection))
        return after(limits->write_timeout);
    if (!connection->begun)
        return after(limits->idle_timeout);
    uint64_t partial = limits->partial_line_timeout;
    return partial ? connection->begun + partial : WEFT_NO_DEADLINE;
}

/* Something is there to be read, or libmicrohttpd has read something (I6). */
__attribute__((noinline)) static bool has_input(struct http_connection *connection)
{
    int fd = weft_stream_fd(connection->client->stream), unread = 0, offset = -1;
    socklen_t size = sizeof offset;
    if (ioctl(fd, FIONREAD, &unread) == 0 && unread > 0)
        return true;
    return getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &size) == 0 && offset >= 0 &&
           offset < INT_MAX;
}

static void look_for_input(struct http_connection *connection)
{
    if (!connection->request && !connection->begun && has_input(connection))
        connection->begun = weft_now_ns();
}

/* A reply that does not come by libmicrohttpd, and is the connection's last. */
static void write_error(struct weft_stream *stream, const char *status,
                        const struct rpc_error *error)
{
    char text[1024], body[512];
    struct weft_scope scope;
    snprintf(body, sizeof body,
             "{\"error\":{\"code\":%d,\"message\":\"%s\",\"data\":{\"name\":\"%s\"}}}\n",
             error->code, error->message, rpc_code_info(error->code)->name);
    int size = snprintf(text, sizeof text,
                        "HTTP/1.1 %s\r\nConnection: close\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                        status, strlen(body), body);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_SECOND));
    weft_write(stream, text, (size_t)size, NULL);
    weft_scope_leave(&scope);
}

/* Nothing of a reply is under way, so ours cannot come between: libmicrohttpd writes only then. */
static void say_too_late(struct http_connection *connection)
{
    char limit[UNITS_TEXT_MAX];
    struct rpc_error error;
    uint64_t timeout = connection->client->limits->partial_line_timeout;
    rpc_error_set(&error, RPC_TIMEOUT,
                  "the request that was begun is not complete after %s; the connection is closed",
                  units_format_duration(timeout, limit));
    atomic_fetch_add_explicit(&connection->client->totals->errors, 1, memory_order_relaxed);
    write_error(connection->client->stream, "408 Request Timeout", &error);
}

/* The client will send no more, and has no reply to come.  libmicrohttpd (0.9.75) takes the end and
 * the last bytes for one event, reads the bytes, and would wait for another one. */
__attribute__((noinline)) static bool is_over(struct http_connection *connection)
{
    struct pollfd state = {.fd = weft_stream_fd(connection->client->stream), .events = POLLRDHUP};
    int unread = 0;
    return !is_replying(connection) && poll(&state, 1, 0) > 0 && state.revents & POLLRDHUP &&
           ioctl(state.fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Errors: -EPIPE the client has left; -ETIME a limit has passed (and was told, where there is
 * somebody to tell); the scope's. */
static int await(struct http_connection *connection)
{
    if (is_over(connection))
        return -EPIPE;
    int err = weft_descriptor_wait_readable(connection->ready, wait_deadline(connection));
    if (err != -ETIMEDOUT || weft_check_cancel())
        return err;
    if (!connection->request && !connection->begun && has_input(connection))
        return 0; /* it came while we did not run */
    if (connection->begun && !is_replying(connection))
        say_too_late(connection);
    return -ETIME;
}

/* ---- the connection ------------------------------------------------------------------------ */

static int serve(struct http_connection *connection)
{
    int err = 0;
    while (!err) {
        look_for_input(connection);
        MHD_run(connection->mhd);
        if (!connection->open)
            return 0;
        look_for_input(connection);
        if (connection->request && connection->request->state == HTTP_WORK)
            err = work_off(connection);
        else if (!mhd_is_busy(connection))
            err = await(connection);
    }
    if (err != -ETIME && err != -EPIPE)
        MHD_run(connection->mhd); /* a stop: what the socket takes of the reply */
    return err == -ETIME || err == -EPIPE ? 0 : err;
}

/* Who was refused early may still be sending.  A close with bytes unread would reset the connection
 * and could take the reply away: read on for a moment, until the client has seen our end. */
static void linger(struct weft_stream *stream)
{
    char buffer[4096];
    uint64_t total = 0;
    struct weft_scope scope;
    if (weft_stream_shutdown_write(stream))
        return; /* it is gone */
    weft_scope_enter(&scope, weft_deadline_after(LINGER_NS));
    while (total < LINGER_BYTES) {
        ssize_t got = weft_read(stream, buffer, sizeof buffer);
        if (got <= 0)
            break;
        total += (uint64_t)got;
    }
    weft_scope_leave(&scope);
}

int http_serve(const struct http_client *client)
{
    struct http_connection connection = {.client = client};
    weft_event_init(&connection.done);
    int err = mhd_start(&connection);
    if (!err)
        err = serve(&connection);
    else
        log_warning("an HTTP connection was dropped: %s", strerrordesc_np(-err));
    bool cut_off = is_replying(&connection);
    mhd_stop(&connection);
    if (!err && !cut_off)
        linger(client->stream);
    return err;
}

void http_refuse(struct weft_stream *stream, const struct rpc_error *error, bool patient)
{
    write_error(stream, "503 Service Unavailable\r\nRetry-After: 1", error);
    if (patient)
        linger(stream);
}
