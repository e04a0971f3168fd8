/* SPDX-License-Identifier: MIT */
/*
 * server: see server.h.
 *
 * I5  A connection is in the list from accept until just before its stream is closed, so whoever
 *     finds it there under the lock may use its descriptor.
 * I7  A connection over TCP is one of http.max_connections instead of its user's, so that who has no
 *     token cannot take away from who connects to the Unix socket.
 * I6  Stopping is shutdown(SHUT_RD): each reader finds the end of its input, answers what is under
 *     way, and ends, as if the client had half-closed.
 * The lock is held for list work only, never over a suspending call.
 */
#include "daemon/server.h"

#include "daemon/config.h"
#include "daemon/http.h"
#include "daemon/http_access.h"
#include "daemon/log.h"
#include "daemon/methods.h"
#include "daemon/problem.h"
#include "daemon/server_identify.h"
#include "daemon/server_refuse.h"
#include "daemon/server_socket.h"
#include "daemon/session.h"
#include "weft/weft.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHORTAGE_PAUSE (100 * WEFT_MILLISECOND)
#define REFUSALS_MAX   64                 /* at once, with that patience */
#define TCP_IDLE       (60 * WEFT_SECOND) /* without a request, where nothing else is set */
#define TCP_PROBE      30                 /* seconds: whether a silent client is still there */

struct connection {
    struct server *server;
    struct connection *next, *previous; /* guarded by the server's lock */
    struct weft_stream *stream;
    struct peer peer;
    struct session_limits limits;
    struct http_access access; /* of one over TCP */
    bool is_tcp;
    bool is_counted; /* guarded by the server's lock: of server.count */
};

/* A socket that is accepted from. */
struct door {
    struct server *server;
    struct weft_listener *listener; /* server_run() only, after server_new(); NULL: there is none */
    bool is_tcp;
    struct weft_scope accepting; /* guarded by the server's lock: entered while is_open */
    bool is_open;                /* guarded by the server's lock */
};

/* How many connections a user has. */
struct user {
    uid_t uid;
    uint32_t count; /* 0: the place is free */
};

struct server {
    struct daemon_context *context;
    struct door local, tcp;
    struct server_socket socket;
    struct session_totals totals;
    atomic_uint refusals; /* under way; the first of them with patience.  A count only: relaxed */
    struct weft_group group; /* of the connections; opened by server_run() */

    struct weft_mutex lock;       /* leaf; guards all that follows */
    struct session_limits limits; /* of new connections */
    uint32_t max_connections, max_connections_user, max_connections_tcp;
    char admin_group[SERVER_GROUP_MAX];
    struct config_door token; /* of TCP: what it is, for whom it speaks */
    struct connection *connections;
    uint32_t listed;    /* in that list */
    uint32_t count;     /* of these: to be served, or served */
    uint32_t count_tcp; /* of these; I7 */
    struct user *users;
    size_t users_count;
    uint64_t accepted, refused;
    bool closing;
    uint64_t deadline; /* of server_stop(); WEFT_NO_DEADLINE before */

    struct weft_event changed; /* `deadline` or `listed` is another: server_run() looks */
};

/* ---- settings ------------------------------------------------------------------------------ */

static void set_limits(struct server *server, const struct config *all)
{
    const struct config_daemon *config = &all->daemon;
    server->limits = (struct session_limits){
        .max_in_flight = config->max_in_flight,
        .line_max = config->line_max,
        .partial_line_timeout = config->partial_line_timeout,
        .idle_timeout = config->idle_timeout,
        .write_timeout = config->write_timeout,
        .keep_alive = all->http.keep_alive,
    };
    server->max_connections = config->max_connections;
    server->max_connections_user = config->max_connections_user;
    server->max_connections_tcp = all->http.max_connections;
}

/* Another token, or another user: who came with the one before is cut off.  Under the lock. */
static void set_token(struct server *server, const struct config_door *fresh)
{
    struct config_door *token = &server->token;
    if (!fresh->is_open)
        return; /* http.listen is gone, which waits for the restart */
    bool is_same =
        memcmp(token->digest, fresh->digest, sizeof fresh->digest) == 0 && token->uid == fresh->uid;
    *token = *fresh;
    for (struct connection *each = server->connections; each && !is_same; each = each->next) {
        if (each->is_tcp && each->is_counted) /* the others are to be refused: is_stale() */
            shutdown(weft_stream_fd(each->stream), SHUT_RDWR); /* I5 */
    }
}

/* Under the lock. */
static void set_admin_group(struct server *server, const struct config *config)
{
    snprintf(server->admin_group, sizeof server->admin_group, "%s", config->access.admin_group);
}

void server_apply_config(struct server *server, const struct config *config)
{
    weft_mutex_lock_shielded(&server->lock);
    set_limits(server, config);
    set_token(server, &config->door);
    set_admin_group(server, config);
    weft_mutex_unlock(&server->lock);
}

void server_limits(struct server *server, struct session_limits *ret_limits)
{
    weft_mutex_lock_shielded(&server->lock);
    *ret_limits = server->limits;
    weft_mutex_unlock(&server->lock);
}

void server_stats(struct server *server, struct server_stats *ret_stats)
{
    weft_mutex_lock_shielded(&server->lock);
    ret_stats->accepted = server->accepted;
    ret_stats->refused = server->refused;
    ret_stats->connections = server->count;
    weft_mutex_unlock(&server->lock);
    ret_stats->requests = atomic_load_explicit(&server->totals.requests, memory_order_relaxed);
    ret_stats->errors = atomic_load_explicit(&server->totals.errors, memory_order_relaxed);
    ret_stats->in_flight = atomic_load_explicit(&server->totals.in_flight, memory_order_relaxed);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int open_socket(struct server *server, const struct config *config, int inherited_fd,
                       struct problem *problem)
{
    int fd = inherited_fd;
    int err = 0;
    if (fd < 0)
        err = server_socket_open(&config->daemon, problem, &fd, &server->socket);
    if (err)
        return err;
    err = weft_listener_new(fd, &server->local.listener);
    if (!err)
        return 0;
    if (inherited_fd < 0)
        close(fd);
    return problem_set(problem, err, "the socket %s cannot be watched: %s", config->daemon.socket,
                       strerrordesc_np(-err));
}

static int open_tcp(struct server *server, const struct config_door *door, struct problem *problem)
{
    struct weft_address address;
    char text[WEFT_ADDRESS_TEXT] = "";
    if (!door->is_open)
        return 0;
    server->token = *door;
    int err = weft_listen_tcp(door->host, door->port, &server->tcp.listener);
    if (err)
        return problem_set(problem, err, "http.listen: cannot listen on %s, port %u: %s",
                           door->host, (unsigned)door->port, strerrordesc_np(-err));
    if (weft_listener_address(server->tcp.listener, &address) == 0)
        weft_address_text(&address, text, sizeof text);
    log_notice("HTTP on http://%s/", text);
    return 0;
}

int server_new(const struct config *config, int inherited_fd, struct daemon_context *context,
               struct problem *problem, struct server **ret_server)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return problem_set(problem, -ENOMEM, "server: out of memory");
    server->context = context;
    server->local = (struct door){.server = server};
    server->tcp = (struct door){.server = server, .is_tcp = true};
    server->deadline = WEFT_NO_DEADLINE;
    set_admin_group(server, config);
    weft_mutex_init(&server->lock);
    weft_event_init(&server->changed);
    set_limits(server, config);
    int err = open_socket(server, config, inherited_fd, problem);
    if (!err)
        err = open_tcp(server, &config->door, problem);
    if (err) {
        server_free(server);
        return err;
    }
    *ret_server = server;
    return 0;
}

static void close_door(struct door *door)
{
    if (door->listener)
        weft_listener_free(door->listener);
    door->listener = NULL;
}

void server_free(struct server *server)
{
    if (!server)
        return;
    close_door(&server->local);
    close_door(&server->tcp);
    server_socket_remove(&server->socket);
    free(server->users);
    free(server);
}

/* ---- connections --------------------------------------------------------------------------- */

/* The user's place, made if there is none.  Under the lock.  NULL: out of memory. */
static struct user *user_of(struct server *server, uid_t uid)
{
    struct user *free_place = NULL;
    for (size_t i = 0; i < server->users_count; i++) {
        struct user *user = &server->users[i];
        if (user->count > 0 && user->uid == uid)
            return user;
        if (user->count == 0)
            free_place = user;
    }
    if (!free_place) {
        struct user *users = realloc(server->users, (server->users_count + 1) * sizeof *users);
        if (!users)
            return NULL;
        server->users = users;
        free_place = &users[server->users_count++];
    }
    *free_place = (struct user){.uid = uid};
    return free_place;
}

/* Why there is no room for one more, or NULL.  Under the lock. */
static const char *limit_hit(const struct server *server, const struct user *user, bool is_tcp)
{
    if (server->count >= server->max_connections)
        return "too many connections (daemon.max_connections)";
    if (is_tcp)
        return server->count_tcp < server->max_connections_tcp
                   ? NULL
                   : "too many connections over TCP (http.max_connections)";
    if (!user)
        return "out of memory";
    if (user->count >= server->max_connections_user)
        return "too many connections of one user (daemon.max_connections_user)";
    return NULL;
}

/* Another token or user came while we looked who it is.  Under the lock. */
static bool is_stale(const struct connection *connection)
{
    const struct config_door *token = &connection->server->token;
    const unsigned char *digest = connection->access.digest;
    return connection->is_tcp && (connection->peer.uid != token->uid ||
                                  memcmp(digest, token->digest, sizeof token->digest) != 0);
}

/* Under the lock, as the next.  What came too late for server_stop() to see is as what it saw: a
 * request that was sent is answered. */
static void list_add(struct server *server, struct connection *connection)
{
    if (server->deadline != WEFT_NO_DEADLINE)
        shutdown(weft_stream_fd(connection->stream), SHUT_RD); /* I6 */
    connection->next = server->connections;
    if (connection->next)
        connection->next->previous = connection;
    server->connections = connection;
    server->listed++;
}

static void list_remove(struct server *server, struct connection *connection)
{
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    server->listed--;
}

/* Count it in, or say why not. */
static const char *connection_register(struct connection *connection)
{
    struct server *server = connection->server;
    weft_mutex_lock_shielded(&server->lock);
    struct user *user = connection->is_tcp ? NULL : user_of(server, connection->peer.uid);
    const char *refusal = limit_hit(server, user, connection->is_tcp);
    if (is_stale(connection))
        refusal = "the token has just changed";
    if (refusal) {
        server->refused++;
    } else {
        server->accepted++;
        server->count++;
        connection->is_counted = true;
        if (user)
            user->count++;
        else
            server->count_tcp++;
        connection->limits = server->limits;
        if (connection->is_tcp && !connection->limits.idle_timeout)
            connection->limits.idle_timeout = TCP_IDLE;
    }
    weft_mutex_unlock(&server->lock);
    return refusal;
}

static void connection_unregister(struct connection *connection)
{
    struct server *server = connection->server;
    weft_mutex_lock_shielded(&server->lock);
    server->count--;
    connection->is_counted = false;
    if (connection->is_tcp)
        server->count_tcp--;
    else
        user_of(server, connection->peer.uid)->count--; /* it is there: we are counted in it */
    weft_mutex_unlock(&server->lock);
}

/* ---- refusing ------------------------------------------------------------------------------ */

/* Only so many are refused with patience at once: a flood must not make us wait for each of it. */
static void refuse(struct connection *connection, const char *why)
{
    atomic_uint *refusals = &connection->server->refusals;
    bool patience = atomic_fetch_add_explicit(refusals, 1, memory_order_relaxed) < REFUSALS_MAX;
    server_refuse(connection->stream, connection->is_tcp, patience, why);
    atomic_fetch_sub_explicit(refusals, 1, memory_order_relaxed);
}

/* ---- serving ------------------------------------------------------------------------------- */

/* Who is at the other end; and by which token, if it must show one. */
static int identify(struct connection *connection)
{
    struct server *server = connection->server;
    struct server_question question = {.fd = weft_stream_fd(connection->stream),
                                       .is_tcp = connection->is_tcp};
    weft_mutex_lock_shielded(&server->lock);
    memcpy(question.admin_group, server->admin_group, sizeof question.admin_group);
    question.uid = server->token.uid;
    question.gid = server->token.gid;
    memcpy(connection->access.digest, server->token.digest, sizeof server->token.digest);
    weft_mutex_unlock(&server->lock);
    return server_identify(&question, &connection->peer);
}

static void serve(struct connection *connection)
{
    struct server *server = connection->server;
    const struct http_client client = {.stream = connection->stream,
                                       .peer = &connection->peer,
                                       .access = connection->is_tcp ? &connection->access : NULL,
                                       .limits = &connection->limits,
                                       .totals = &server->totals,
                                       .context = server->context};
    int what = SESSION_IS_HTTP;
    if (!connection->is_tcp)
        what = session_serve(connection->stream, &connection->peer, &connection->limits,
                             &server->totals, server->context);
    if (what == SESSION_IS_HTTP)
        http_serve(&client);
}

static void connection_free(struct connection *connection)
{
    struct server *server = connection->server;
    weft_mutex_lock_shielded(&server->lock);
    list_remove(server, connection);
    weft_mutex_unlock(&server->lock);
    weft_event_set(&server->changed);
    weft_stream_free(connection->stream);
    free(connection);
}

static int connection_main(void *arg)
{
    struct connection *connection = arg;
    int err = identify(connection);
    const char *refusal = err ? NULL : connection_register(connection);
    if (err) {
        if (err != -ECANCELED)
            log_warning("a connection is refused: who it is cannot be told: %s", strerror(-err));
        refuse(connection, "weftd cannot tell now who you are; try again");
    } else if (refusal) {
        log_info("connection of uid %d, pid %d refused: %s", (int)connection->peer.uid,
                 (int)connection->peer.pid, refusal);
        refuse(connection, refusal);
    } else {
        serve(connection);
        connection_unregister(connection);
    }
    connection_free(connection);
    return 0;
}

/* Whoever waits for a reply says nothing for as long as it takes, and the end of a client over TCP
 * looks like its half-close: the kernel asks now and then whether it is still there. */
static void keep_watch(const struct weft_stream *stream)
{
    int on = 1, seconds = TCP_PROBE, fd = weft_stream_fd(stream);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
}

static void start_connection(const struct door *door, struct weft_stream *stream)
{
    struct server *server = door->server;
    struct connection *connection = calloc(1, sizeof *connection);
    if (door->is_tcp)
        keep_watch(stream);
    if (!connection) {
        log_warning("a connection was dropped: out of memory");
        weft_stream_free(stream);
        return;
    }
    *connection = (struct connection){.server = server, .stream = stream, .is_tcp = door->is_tcp};
    weft_mutex_lock_shielded(&server->lock);
    list_add(server, connection);
    weft_mutex_unlock(&server->lock);
    if (weft_group_spawn(&server->group, "connection", connection_main, connection) < 0) {
        log_warning("a connection was dropped: out of memory");
        connection_free(connection);
    }
}

/* ---- accepting ----------------------------------------------------------------------------- */

static bool accept_open(struct door *door)
{
    struct server *server = door->server;
    weft_mutex_lock_shielded(&server->lock);
    door->is_open = !server->closing;
    if (door->is_open)
        weft_scope_enter(&door->accepting, WEFT_NO_DEADLINE);
    weft_mutex_unlock(&server->lock);
    return door->is_open;
}

static void accept_close(struct door *door)
{
    struct server *server = door->server;
    weft_mutex_lock_shielded(&server->lock);
    door->is_open = false;
    server->closing = true;
    weft_mutex_unlock(&server->lock);
    weft_scope_leave(&door->accepting);
}

/* A shortage (descriptors, memory) passes; until then connections wait in the kernel's queue. */
static void on_shortage(int err, bool *logged)
{
    if (!*logged)
        log_error("cannot accept connections: %s; waiting", strerrordesc_np(-err));
    *logged = true;
    weft_sleep(SHORTAGE_PAUSE);
}

static void accept_loop(struct door *door)
{
    bool logged = false;
    if (!door->listener || !accept_open(door))
        return;
    while (weft_check_cancel() == 0) {
        struct weft_stream *stream;
        int err = weft_accept(door->listener, &stream);
        if (err == -ECANCELED || err == -ETIMEDOUT)
            break;
        if (err) {
            on_shortage(err, &logged);
            continue;
        }
        logged = false;
        start_connection(door, stream);
    }
    accept_close(door);
}

static uint32_t connections_left(struct server *server, uint64_t *ret_deadline)
{
    weft_mutex_lock_shielded(&server->lock);
    uint32_t count = server->listed;
    *ret_deadline = server->deadline;
    weft_mutex_unlock(&server->lock);
    return count;
}

/* Until the last connection has ended by itself, or server_stop()'s deadline has come. */
static void wait_for_connections(struct server *server)
{
    for (;;) {
        uint64_t deadline;
        weft_event_clear(&server->changed);
        if (connections_left(server, &deadline) == 0)
            return;
        if (weft_event_wait(&server->changed, deadline))
            return;
    }
}

static int tcp_main(void *arg)
{
    accept_loop(arg);
    return 0;
}

int server_run(struct server *server)
{
    struct weft_group doors;
    weft_group_init(&server->group);
    weft_group_init(&doors);
    int err =
        server->tcp.listener ? weft_group_spawn(&doors, "accept http", tcp_main, &server->tcp) : 0;
    if (err) /* not half of what was asked for */
        log_error("HTTP over TCP cannot be served: %s", strerror(-err));
    else
        accept_loop(&server->local);
    weft_group_join(&doors);
    close_door(&server->local);
    close_door(&server->tcp);
    server_socket_remove(&server->socket);
    wait_for_connections(server);
    weft_group_cancel(&server->group);
    weft_group_join(&server->group);
    return err;
}

void server_close_listener(struct server *server)
{
    weft_mutex_lock_shielded(&server->lock);
    server->closing = true;
    if (server->local.is_open)
        weft_scope_cancel(&server->local.accepting);
    if (server->tcp.is_open)
        weft_scope_cancel(&server->tcp.accepting);
    weft_mutex_unlock(&server->lock);
}

void server_stop(struct server *server, uint64_t deadline_ns)
{
    server_close_listener(server);
    weft_mutex_lock_shielded(&server->lock);
    server->deadline = deadline_ns;
    for (struct connection *each = server->connections; each; each = each->next)
        shutdown(weft_stream_fd(each->stream), SHUT_RD); /* I5, I6 */
    weft_mutex_unlock(&server->lock);
    weft_event_set(&server->changed);
}
