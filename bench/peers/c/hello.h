/* SPDX-License-Identifier: MIT */
/*
 * What the hello servers in C share.  They do the least that a server of the row http_hello may do:
 * read, look for an empty line at the end, write one fixed answer.  Each has one thread, prints
 * `port<TAB>N<TAB>http_hello` when it listens, and runs until SIGTERM ends it.
 */
#ifndef WEFT_BENCH_HELLO_H
#define WEFT_BENCH_HELLO_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "peer.h"

#define HELLO_ANSWER                                                                               \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n"
#define HELLO_ANSWER_SIZE (sizeof(HELLO_ANSWER) - 1)

struct hello_connection {
    int fd;
    size_t have;
    char request[4096];
};

/* Whether what was read, n bytes more, is a whole request; then the next one starts. */
static inline int hello_add(struct hello_connection *connection, size_t n)
{
    connection->have += n;
    if (connection->have < 4 ||
        memcmp(connection->request + connection->have - 4, "\r\n\r\n", 4) != 0)
        return 0;
    connection->have = 0;
    return 1;
}

static inline struct hello_connection *hello_connection_new(int fd)
{
    struct hello_connection *connection = calloc(1, sizeof(*connection));

    peer_check(connection != NULL, "memory");
    connection->fd = fd;
    return connection;
}

static inline void hello_print_port(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);

    peer_check(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
    printf("port\t%d\thttp_hello\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* Listens on a port of loopback that the kernel picks.  Accepted sockets inherit TCP_NODELAY. */
static inline int hello_listen(int flags)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), on = 1;

    peer_check(fd >= 0, "socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    peer_check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "bind");
    peer_check(listen(fd, SOMAXCONN) == 0, "listen");
    hello_print_port(fd);
    return fd;
}

#endif
