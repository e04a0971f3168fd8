/* SPDX-License-Identifier: MIT */
/*
 * server: see server.h.
 *
 * I5  A connection is in the list from accept until just before its stream is closed, so whoever
 *     finds it there under the lock may use its descriptor.
 * I6  Stopping is shutdown(SHUT_RD): each reader finds the end of its input, answers what is under
 *     way, and ends, as if the client had half-closed.
 * The lock is held for list work only, never over a suspending call.
 */
#include "daemon/server.h"

#include "daemon/config.h"
#include "daemon/http.h"
#include "daemon/log.h"
#include "daemon/methods.h"
#include "daemon/problem.h"
#include "daemon/server_socket.h"
#include "daemon/session.h"
#include "protocol/jsonrpc.h"
#include "weft/weft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SHORTAGE_PAUSE (100 * WEFT_MILLISECOND)

struct connection {
    struct server *server;
    struct connection *next, *previous; /* guarded by the server's lock */
    struct weft_stream *stream;
    struct peer peer;
    struct session_limits limits;
};

/* How many connections a user has. */
struct user {
    uid_t uid;
    uint32_t count; /* 0: the place is free */
};

struct server {
    struct daemon_context *context;
    struct weft_listener *listener; /* server_run() only, after server_new() */
    struct server_socket socket;
    struct session_totals totals;
    struct weft_group group; /* of the connections; opened by server_run() */

    struct weft_mutex lock;       /* leaf; guards all that follows */
    struct session_limits limits; /* of new connections */
    uint32_t max_connections, max_connections_user;
    char *admin_group;
    struct connection *connections;
    uint32_t count;
    struct user *users;
    size_t users_count;
    uint64_t accepted, refused;
    struct weft_scope accepting; /* entered while accept_is_open */
    bool accept_is_open, closing;
    uint64_t deadline; /* of server_stop(); WEFT_NO_DEADLINE before */

    struct weft_event changed; /* `deadline` or `count` is another: server_run() looks */
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
}

void server_apply_config(struct server *server, const struct config *config)
{
    char *group = strdup(config->access.admin_group);
    weft_mutex_lock_shielded(&server->lock);
    set_limits(server, config);
    if (group) {
        free(server->admin_group);
        server->admin_group = group;
    }
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
    err = weft_listener_new(fd, &server->listener);
    if (!err)
        return 0;
    if (inherited_fd < 0)
        close(fd);
    return problem_set(problem, err, "the socket %s cannot be watched: %s", config->daemon.socket,
                       strerrordesc_np(-err));
}

int server_new(const struct config *config, int inherited_fd, struct daemon_context *context,
               struct problem *problem, struct server **ret_server)
{
    struct server *server = calloc(1, sizeof *server);
    if (!server)
        return problem_set(problem, -ENOMEM, "server: out of memory");
    server->context = context;
    server->deadline = WEFT_NO_DEADLINE;
    server->admin_group = strdup(config->access.admin_group);
    weft_mutex_init(&server->lock);
    weft_event_init(&server->changed);
    set_limits(server, config);
    int err = server->admin_group ? open_socket(server, config, inherited_fd, problem) : -ENOMEM;
    if (err) {
        server_free(server);
        return err;
    }
    *ret_server = server;
    return 0;
}

void server_free(struct server *server)
{
    if (!server)
        return;
    if (server->listener)
        weft_listener_free(server->listener);
    server_socket_remove(&server->socket);
    free(server->admin_group);
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
static const char *limit_hit(const struct server *server, const struct user *user)
{
    if (server->closing)
        return "weftd is stopping";
    if (!user)
        return "out of memory";
    if (server->count >= server->max_connections)
        return "too many connections (daemon.max_connections)";
    if (user->count >= server->max_connections_user)
        return "too many connections of one user (daemon.max_connections_user)";
    return NULL;
}

static void list_add(struct server *server, struct connection *connection)
{
    connection->next = server->connections;
    if (connection->next)
        connection->next->previous = connection;
    server->connections = connection;
    server->count++;
}

static void list_remove(struct server *server, struct connection *connection)
{
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    server->count--;
}

/* Enter it into the list, or say why not. */
static const char *connection_register(struct connection *connection)
{
    struct server *server = connection->server;
    weft_mutex_lock_shielded(&server->lock);
    struct user *user = user_of(server, connection->peer.uid);
    const char *refusal = limit_hit(server, user);
    if (refusal) {
        server->refused++;
    } else {
        server->accepted++;
        user->count++;
        connection->limits = server->limits;
        list_add(server, connection);
    }
    weft_mutex_unlock(&server->lock);
    return refusal;
}

static void connection_unregister(struct connection *connection)
{
    struct server *server = connection->server;
    weft_mutex_lock_shielded(&server->lock);
    list_remove(server, connection);
    user_of(server, connection->peer.uid)->count--; /* it is there: we are counted in it */
    weft_mutex_unlock(&server->lock);
    weft_event_set(&server->changed);
}

/* One line, one try: somebody who is refused is not waited for. */
static void refuse(struct connection *connection, const char *why)
{
    struct rpc_error error;
    struct jsonrpc_text text = {0};
    struct weft_scope scope;
    rpc_error_set(&error, RPC_BUSY, "%s; the connection is closed", why);
    if (jsonrpc_append_error(&text, NULL, &error) == 0) {
        weft_scope_enter(&scope, weft_deadline_after(WEFT_SECOND));
        weft_write(connection->stream, text.data, text.size, NULL);
        weft_scope_leave(&scope);
    }
    jsonrpc_text_destroy(&text);
}

struct identify {
    int fd;
    char admin_group[256];
    struct peer *peer;
};

static int identify_main(void *arg)
{
    struct identify *identify = arg;
    return session_peer(identify->fd, identify->admin_group, identify->peer);
}

/* The group database may block (LDAP, …): it is asked on another thread, if at all. */
static int identify(struct connection *connection)
{
    struct server *server = connection->server;
    struct identify question = {.fd = weft_stream_fd(connection->stream),
                                .peer = &connection->peer};
    weft_mutex_lock_shielded(&server->lock);
    strncpy(question.admin_group, server->admin_group, sizeof question.admin_group - 1);
    weft_mutex_unlock(&server->lock);
    if (!question.admin_group[0])
        return identify_main(&question);
    int result;
    int err = weft_offload(identify_main, &question, &result);
    return err ? err : result;
}

static void serve(struct connection *connection)
{
    struct server *server = connection->server;
    int what = session_serve(connection->stream, &connection->peer, &connection->limits,
                             &server->totals, server->context);
    if (what == SESSION_IS_HTTP)
        http_serve(connection->stream, &connection->peer, &connection->limits, &server->totals,
                   server->context);
}

static int connection_main(void *arg)
{
    struct connection *connection = arg;
    if (identify(connection) == 0) {
        const char *refusal = connection_register(connection);
        if (refusal) {
            log_info("connection of uid %d, pid %d refused: %s", (int)connection->peer.uid,
                     (int)connection->peer.pid, refusal);
            refuse(connection, refusal);
        } else {
            serve(connection);
            connection_unregister(connection);
        }
    }
    weft_stream_free(connection->stream);
    free(connection);
    return 0;
}

static void start_connection(struct server *server, struct weft_stream *stream)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection) {
        connection->server = server;
        connection->stream = stream;
        if (weft_group_spawn(&server->group, "connection", connection_main, connection) == 0)
            return;
    }
    log_warning("a connection was dropped: out of memory");
    free(connection);
    weft_stream_free(stream);
}

/* ---- accepting ----------------------------------------------------------------------------- */

static bool accept_open(struct server *server)
{
    weft_mutex_lock_shielded(&server->lock);
    bool open = !server->closing;
    if (open) {
        weft_scope_enter(&server->accepting, WEFT_NO_DEADLINE);
        server->accept_is_open = true;
    }
    weft_mutex_unlock(&server->lock);
    return open;
}

static void accept_close(struct server *server)
{
    weft_mutex_lock_shielded(&server->lock);
    server->accept_is_open = false;
    server->closing = true;
    weft_mutex_unlock(&server->lock);
    weft_scope_leave(&server->accepting);
}

/* A shortage (descriptors, memory) passes; until then connections wait in the kernel's queue. */
static void on_shortage(int err, bool *logged)
{
    if (!*logged)
        log_error("cannot accept connections: %s; waiting", strerrordesc_np(-err));
    *logged = true;
    weft_sleep(SHORTAGE_PAUSE);
}

static void accept_loop(struct server *server)
{
    bool logged = false;
    if (!accept_open(server))
        return;
    while (weft_check_cancel() == 0) {
        struct weft_stream *stream;
        int err = weft_accept(server->listener, &stream);
        if (err == -ECANCELED || err == -ETIMEDOUT)
            break;
        if (err) {
            on_shortage(err, &logged);
            continue;
        }
        logged = false;
        start_connection(server, stream);
    }
    accept_close(server);
}

static uint32_t connections_left(struct server *server, uint64_t *ret_deadline)
{
    weft_mutex_lock_shielded(&server->lock);
    uint32_t count = server->count;
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

int server_run(struct server *server)
{
    weft_group_init(&server->group);
    accept_loop(server);
    weft_listener_free(server->listener);
    server->listener = NULL;
    server_socket_remove(&server->socket);
    wait_for_connections(server);
    weft_group_cancel(&server->group);
    weft_group_join(&server->group);
    return 0;
}

void server_close_listener(struct server *server)
{
    weft_mutex_lock_shielded(&server->lock);
    server->closing = true;
    if (server->accept_is_open)
        weft_scope_cancel(&server->accepting);
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
