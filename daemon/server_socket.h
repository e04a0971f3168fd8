/* SPDX-License-Identifier: MIT */
/*
 * server_socket: the socket file.  Private to server.c.
 *
 * I1  Between looking at the path and listening on it, the folder is locked (flock), so that two
 *     daemons that start at once cannot both find the path free, or each take the other's away.
 * I2  Only a socket on which connect(2) is refused is replaced: a live one, another kind of file,
 *     and one that we may not ask, stay.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/problem.h"

#include <sys/types.h>

/* The file that bind(2) made: to be removed only if it is still this one. */
struct server_socket {
    char *path; /* NULL: none is ours (inherited, or not bound) */
    dev_t device;
    ino_t inode;
};

/**
 * Make the folder if it is missing (its parent must be there), bind and listen.
 * Context: any thread, blocks shortly.
 * Errors:  -EADDRINUSE a live server, or a file that is no stale socket; bind(2)'s; with problem.
 */
int server_socket_open(const struct config_daemon *config, struct problem *problem, int *ret_fd,
                       struct server_socket *ret_socket);

/* Remove the file if it is ours. */
void server_socket_remove(struct server_socket *socket);
