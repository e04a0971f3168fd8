/* SPDX-License-Identifier: MIT */
/* socket_path: where weftd may be listening, and what to do if it is not. */
#pragma once

#include <limits.h>
#include <stddef.h>
#include <weft/client.h>

#define SOCKET_PATHS_MAX 4

struct socket_paths {
    char path[SOCKET_PATHS_MAX][PATH_MAX]; /* in the order in which they are tried */
    int err[SOCKET_PATHS_MAX];             /* -errno of the attempt; 0: not tried */
    size_t count;
};

/* named (an option) alone if it is given, else $WEFT_SOCKET alone, else those of the user's and the
 * system's weftd. */
void socket_paths_find(const char *named, struct socket_paths *ret_paths);

/* Connect to the first that answers.
 * Errors: of the last one tried; paths->err has each. */
int socket_paths_open(struct socket_paths *paths, struct weft_client **ret_client);

/* What a user can do about err, one sentence.  Static. */
const char *socket_path_advice(int err);
