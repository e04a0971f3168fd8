/* SPDX-License-Identifier: MIT */
/* The hello server on libev, with callbacks: what a program that uses the library directly does. */
#include "hello.h"

#include <errno.h>
#include <ev.h>
#include <stddef.h>
#include <unistd.h>

struct client {
    ev_io watcher;
    struct hello_connection connection;
};

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct client *client = (struct client *)((char *)watcher - offsetof(struct client, watcher));
    struct hello_connection *connection = &client->connection;
    ssize_t n = read(connection->fd, connection->request + connection->have,
                     sizeof(connection->request) - connection->have);

    (void)events;
    if (n > 0 && (!hello_add(connection, (size_t)n) ||
                  write(connection->fd, HELLO_ANSWER, HELLO_ANSWER_SIZE) > 0))
        return;
    if (n < 0 && errno == EAGAIN)
        return;
    ev_io_stop(loop, watcher);
    close(connection->fd);
    free(client);
}

static void on_connection(struct ev_loop *loop, ev_io *watcher, int events)
{
    int fd;

    (void)events;
    while ((fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = calloc(1, sizeof(*client));

        peer_check(client != NULL, "memory");
        client->connection.fd = fd;
        ev_io_init(&client->watcher, on_readable, fd, EV_READ);
        ev_io_start(loop, &client->watcher);
    }
}

int main(void)
{
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    ev_io listening;

    ev_io_init(&listening, on_connection, hello_listen(SOCK_NONBLOCK), EV_READ);
    ev_io_start(loop, &listening);
    ev_run(loop, 0);
    return 0;
}
