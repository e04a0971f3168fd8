/* SPDX-License-Identifier: MIT */
/* The hello server on epoll, edge-triggered, without a library. */
#include "hello.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

static void watch(int epoll, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = what};

    peer_check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(epoll, fd, hello_connection_new(fd));
}

static void serve(struct hello_connection *connection)
{
    ssize_t n;

    while ((n = read(connection->fd, connection->request + connection->have,
                     sizeof(connection->request) - connection->have)) > 0)
        if (hello_add(connection, (size_t)n) &&
            write(connection->fd, HELLO_ANSWER, HELLO_ANSWER_SIZE) < 0)
            break;
    if (n < 0 && errno == EAGAIN)
        return;
    close(connection->fd);
    free(connection);
}

int main(void)
{
    int listener = hello_listen(SOCK_NONBLOCK), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[256];

    watch(epoll, listener, NULL);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr);
            else
                accept_all(epoll, listener);
        }
    }
}
