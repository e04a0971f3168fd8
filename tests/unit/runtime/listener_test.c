/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "support/io.h"

static mode_t mode_of(const char *path)
{
    struct stat status;
    EXPECT_EQ(stat(path, &status), 0);
    EXPECT(S_ISSOCK(status.st_mode));
    return status.st_mode & 07777;
}

/* ---- listening ------------------------------------------------------------------------------ */

static int listen_with_modes(void *arg)
{
    static const mode_t masks[] = {0, 022, 0777}, modes[] = {0600, 0660, 0666};
    struct weft_listener *listener;
    char path[108];
    (void)arg;
    for (int i = 0; i < 3; i++) {
        mode_t before = umask(masks[i]);
        int r = weft_listen_unix(socket_path(path, "mode"), modes[i], &listener);
        umask(before);
        EXPECT_EQ(r, 0);
        EXPECT_EQ(mode_of(path), modes[i]);
        EXPECT_EQ(weft_listener_port(listener), 0);
        weft_listener_free(listener);
        EXPECT_EQ(access(path, F_OK), 0); /* the file stays */
        unlink(path);
    }
    return 0;
}

Test(listener, a_unix_socket_has_its_mode_whatever_the_umask)
{
    on_fibers_counting_fds(1, listen_with_modes, NULL);
}

static int listen_nowhere(void *arg)
{
    struct weft_listener *listener = NULL, *first;
    char path[108], endless[200];
    (void)arg;
    memset(endless, 'x', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    EXPECT_EQ(weft_listen_unix(endless, 0600, &listener), -ENAMETOOLONG);
    EXPECT_EQ(weft_listen_unix("", 0600, &listener), -EINVAL);
    EXPECT_EQ(weft_listen_unix("/nowhere/at/all.sock", 0600, &listener), -ENOENT);
    EXPECT_EQ(weft_listen_tcp("localhost", 0, &listener), -EINVAL);
    EXPECT_EQ(weft_listen_tcp("192.0.2.1", 0, &listener), -EADDRNOTAVAIL);
    EXPECT_EQ(weft_listen_unix(socket_path(path, "twice"), 0600, &first), 0);
    EXPECT_EQ(weft_listen_unix(path, 0600, &listener), -EADDRINUSE);
    EXPECT_EQ(access(path, F_OK), 0); /* another's socket file is left alone */
    weft_listener_free(first);
    EXPECT_EQ(weft_listen_unix(path, 0600, &listener), -EADDRINUSE); /* a stale one too */
    unlink(path);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &first), 0);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", weft_listener_port(first), &listener), -EADDRINUSE);
    weft_listener_free(first);
    weft_listener_free(NULL);
    EXPECT(listener == NULL);
    return 0;
}

Test(listener, listen_tells_why_not)
{
    on_fibers_counting_fds(1, listen_nowhere, NULL);
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static int share_a_port(void *arg)
{
    struct weft_listen_options shared = {.reuse_port = true, .receive_buffer = 40000};
    struct weft_listener *first, *second, *third = NULL;
    struct weft_stream *streams[2];
    struct weft_address address;
    (void)arg;
    EXPECT_EQ(weft_address_inet("127.0.0.1", 0, &address), 0);
    EXPECT_EQ(weft_listen(&address, &shared, &first), 0);
    EXPECT_EQ(weft_listener_address(first, &address), 0);
    EXPECT_EQ(weft_address_port(&address), weft_listener_port(first));
    EXPECT_EQ(weft_listen(&address, &shared, &second), 0);
    EXPECT_EQ(weft_listen(&address, NULL, &third), -EADDRINUSE);
    weft_listener_free(second);
    EXPECT_EQ(weft_stream_connect(&address, NULL, soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(first, &streams[1]), 0);
    EXPECT_EQ(option_of(weft_stream_fd(streams[1]), SOL_SOCKET, SO_RCVBUF), 80000);
    EXPECT(option_of(weft_stream_fd(streams[1]), IPPROTO_TCP, TCP_NODELAY) != 0);
    free_pair(streams);
    weft_listener_free(first);
    return 0;
}

Test(listener, several_may_share_a_port_if_all_want_to)
{
    on_fibers_counting_fds(1, share_a_port, NULL);
}

static int set_options(void *arg)
{
    struct weft_listen_options options = {.exclusive_address = true, .delay = true, .backlog = -1};
    struct weft_listener *listener = NULL;
    struct weft_address address, none = {0};
    (void)arg;
    EXPECT_EQ(weft_address_inet("127.0.0.1", 0, &address), 0);
    EXPECT_EQ(weft_listen(&none, NULL, &listener), -EAFNOSUPPORT);
    EXPECT_EQ(weft_listen(&address, &options, &listener), -EINVAL);
    EXPECT(listener == NULL);
    options.backlog = 1;
    EXPECT_EQ(weft_listen(&address, &options, &listener), 0);
    int fd = weft_listener_fd(listener);
    EXPECT_EQ(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 0);
    EXPECT_EQ(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    weft_listener_free(listener);
    EXPECT_EQ(weft_listen(&address, NULL, &listener), 0);
    EXPECT_EQ(option_of(weft_listener_fd(listener), SOL_SOCKET, SO_REUSEADDR), 1);
    weft_listener_free(listener);
    return 0;
}

Test(listener, options_reach_the_socket)
{
    on_fibers_counting_fds(1, set_options, NULL);
}

/* Whether an IPv4 client reaches a listener on "::". */
static int reach_by_v4(bool v6_only)
{
    struct weft_listen_options options = {.v6_only = v6_only};
    struct weft_listener *listener;
    struct weft_stream *stream;
    struct weft_address address;
    EXPECT_EQ(weft_address_inet("::", 0, &address), 0);
    if (weft_listen(&address, &options, &listener) < 0)
        return v6_only ? -ECONNREFUSED : 0; /* a host may be without IPv6 */
    int r = weft_stream_connect_tcp("127.0.0.1", weft_listener_port(listener), soon(), &stream);
    if (r == 0)
        weft_stream_free(stream);
    weft_listener_free(listener);
    return r;
}

static int listen_on_v6(void *arg)
{
    (void)arg;
    EXPECT_EQ(reach_by_v4(false), 0);
    EXPECT_EQ(reach_by_v4(true), -ECONNREFUSED);
    return 0;
}

Test(listener, v6_takes_v4_too_unless_told_not_to)
{
    on_fibers_counting_fds(1, listen_on_v6, NULL);
}

static int replace_stale_files(void *arg)
{
    struct weft_listen_options options = {.replace_stale = true};
    struct weft_listener *first, *second = NULL;
    struct weft_address address;
    char path[108];
    (void)arg;
    EXPECT_EQ(weft_address_unix(socket_path(path, "stale"), &address), 0);
    EXPECT_EQ(weft_listen(&address, &options, &first), 0);
    EXPECT_EQ(mode_of(path), 0600);
    EXPECT_EQ(weft_listen(&address, &options, &second), -EADDRINUSE); /* it is alive */
    weft_listener_free(first);
    EXPECT_EQ(weft_listen(&address, NULL, &second), -EADDRINUSE);
    EXPECT_EQ(weft_listen(&address, &options, &first), 0);
    weft_listener_free(first);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* not a socket: not ours to remove */
    EXPECT_EQ(weft_listen(&address, &options, &second), -EADDRINUSE);
    EXPECT_EQ(access(path, F_OK), 0);
    EXPECT(second == NULL);
    unlink(path);
    return 0;
}

Test(listener, a_stale_socket_file_is_replaced_if_asked_for)
{
    on_fibers_counting_fds(1, replace_stale_files, NULL);
}

static int take_over(void *arg)
{
    struct weft_listener *listener = NULL;
    struct weft_stream *streams[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[108];
    int fds[2];
    (void)arg;
    raw_pipe(fds);
    EXPECT_EQ(weft_listener_new(fds[0], &listener), -ENOTSOCK);
    close(fds[0]);
    close(fds[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(weft_listener_new(fd, &listener), -EINVAL);
    strcpy(address.sun_path, socket_path(path, "over"));
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    EXPECT_EQ(listen(fd, 5), 0);
    EXPECT_EQ(weft_listener_new(fd, &listener), 0);
    EXPECT_EQ(weft_listener_fd(listener), fd);
    EXPECT_EQ(weft_stream_connect_unix(path, soon(), &streams[0]), 0);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    free_pair(streams);
    weft_listener_free(listener);
    unlink(path);
    return 0;
}

Test(listener, a_passed_socket_must_listen)
{
    on_fibers_counting_fds(1, take_over, NULL);
}

/* ---- accepting ------------------------------------------------------------------------------ */

enum { CLIENTS = 100 };

struct server {
    struct weft_listener *listener;
    const char *address;
    uint16_t port;
    atomic_int arrivals;
    int result;
};

static int answer(void *arg)
{
    struct weft_stream *stream = arg;
    int number;
    read_exactly(stream, &number, sizeof(number));
    number *= 2;
    EXPECT_EQ(weft_write(stream, &number, sizeof(number), NULL), 0);
    weft_stream_free(stream);
    return 0;
}

static int serve(void *arg)
{
    struct server *server = arg;
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < CLIENTS; i++) {
        struct weft_stream *stream;
        EXPECT_EQ(weft_accept(server->listener, &stream), 0);
        EXPECT_EQ(weft_group_spawn(&group, "session", answer, stream), 0);
    }
    return weft_group_join(&group);
}

static int ask(void *arg)
{
    struct server *server = arg;
    struct weft_stream *stream;
    int number = atomic_fetch_add(&server->arrivals, 1), twice = 0;
    if (server->port)
        EXPECT_EQ(weft_stream_connect_tcp(server->address, server->port, soon(), &stream), 0);
    else
        EXPECT_EQ(weft_stream_connect_unix(server->address, soon(), &stream), 0);
    EXPECT_EQ(weft_write(stream, &number, sizeof(number), NULL), 0);
    read_exactly(stream, &twice, sizeof(twice));
    EXPECT_EQ(twice, 2 * number);
    EXPECT_EQ(weft_read(stream, &twice, sizeof(twice)), 0);
    weft_stream_free(stream);
    return 0;
}

static void serve_clients(struct server *server)
{
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "server", serve, server), 0);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "client", ask, server), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    weft_listener_free(server->listener);
}

static int serve_everywhere(void *arg)
{
    char path[108];
    (void)arg;
    struct server local = {.address = socket_path(path, "serve")};
    EXPECT_EQ(weft_listen_unix(path, 0600, &local.listener), 0);
    serve_clients(&local);
    unlink(path);
    struct server abstract = {.address = abstract_name(path, "serve")};
    EXPECT_EQ(weft_listen_unix(abstract.address, 0600, &abstract.listener), 0);
    serve_clients(&abstract);
    struct server v4 = {.address = "127.0.0.1"};
    EXPECT_EQ(weft_listen_tcp(v4.address, 0, &v4.listener), 0);
    v4.port = weft_listener_port(v4.listener);
    EXPECT(v4.port != 0);
    serve_clients(&v4);
    struct server v6 = {.address = "::1"};
    if (weft_listen_tcp(v6.address, 0, &v6.listener) == 0) { /* a host may be without IPv6 */
        v6.port = weft_listener_port(v6.listener);
        serve_clients(&v6);
    }
    return 0;
}

Test(listener, a_hundred_clients_on_each_kind_of_address)
{
    on_fibers_counting_fds(1, serve_everywhere, NULL);
    on_fibers_counting_fds(2, serve_everywhere, NULL);
}

static int accept_once(void *arg)
{
    struct server *server = arg;
    struct weft_stream *stream = NULL;
    arrive(&server->arrivals);
    server->result = weft_accept(server->listener, &stream);
    EXPECT(stream == NULL);
    return 0;
}

static int cancel_an_accept(void *arg)
{
    struct server server = {0};
    struct weft_group group;
    struct weft_scope scope;
    struct weft_stream *streams[2];
    char name[108];
    (void)arg;
    EXPECT_EQ(weft_listen_unix(abstract_name(name, "cancel"), 0600, &server.listener), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "accept", accept_once, &server), 0);
    await_arrivals(&server.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(server.result, -ECANCELED);

    EXPECT_EQ(weft_stream_connect_unix(name, soon(), &streams[0]), 0);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_accept(server.listener, &streams[1]), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_accept(server.listener, &streams[1]), 0); /* it stayed in the queue */
    free_pair(streams);
    weft_listener_free(server.listener);
    return 0;
}

Test(listener, a_cancelled_accept_leaves_the_connection_queued)
{
    on_fibers_counting_fds(1, cancel_an_accept, NULL);
}

static int free_under_accept(void *arg)
{
    struct server server = {0};
    struct weft_group group;
    struct weft_stream *stream = NULL;
    (void)arg;
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &server.listener), 0);
    uint16_t port = weft_listener_port(server.listener);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "accept", accept_once, &server), 0);
    await_arrivals(&server.arrivals, 1);
    EXPECT_EQ(weft_accept(server.listener, &stream), -EBUSY);
    weft_listener_free(server.listener);
    /* The port is free at once, before the other fiber has run. */
    EXPECT_EQ(weft_stream_connect_tcp("127.0.0.1", port, soon(), &stream), -ECONNREFUSED);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(server.result, -EBADF);
    return 0;
}

Test(listener, free_ends_the_accept)
{
    on_fibers_counting_fds(1, free_under_accept, NULL);
}

static void set_fd_limit(rlim_t limit)
{
    struct rlimit now;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &now), 0);
    now.rlim_cur = limit;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
}

static int accept_without_fds(void *arg)
{
    struct weft_listener *listener;
    struct weft_stream *streams[2];
    struct rlimit before;
    char name[108];
    (void)arg;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(weft_listen_unix(abstract_name(name, "fds"), 0600, &listener), 0);
    EXPECT_EQ(weft_stream_connect_unix(name, soon(), &streams[0]), 0);
    set_fd_limit(3);
    EXPECT_EQ(weft_accept(listener, &streams[1]), -EMFILE);
    EXPECT_EQ(weft_accept(listener, &streams[1]), -EMFILE);
    set_fd_limit(before.rlim_cur);
    EXPECT_EQ(weft_accept(listener, &streams[1]), 0);
    free_pair(streams);
    weft_listener_free(listener);
    return 0;
}

Test(listener, without_descriptors_the_connection_stays_queued)
{
    on_fibers_counting_fds(1, accept_without_fds, NULL);
}
