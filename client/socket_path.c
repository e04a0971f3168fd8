/* SPDX-License-Identifier: MIT */
/*
 * socket_path: see socket_path.h.
 *
 * I1  A path that somebody named is the only one tried: a job never goes to another weftd than the
 *     one that was meant.
 * Pure but for the environment and connect(2).
 */
#include "client/socket_path.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/weft/weft.sock"

static void add(struct socket_paths *paths, const char *folder, const char *path)
{
    snprintf(paths->path[paths->count], PATH_MAX, "%s%s", folder, path);
    paths->err[paths->count++] = 0;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Where weftd goes if XDG_RUNTIME_DIR is not set. */
static void add_without_runtime_folder(struct socket_paths *paths)
{
    const char *state = variable("XDG_STATE_HOME");
    const char *home = variable("HOME");
    char folder[32];

    snprintf(folder, sizeof folder, "/run/user/%u", (unsigned)geteuid());
    add(paths, folder, "/weft/weft.sock");
    if (state)
        add(paths, state, "/weft/weft.sock");
    else if (home)
        add(paths, home, "/.local/state/weft/weft.sock");
}

void socket_paths_find(const char *named, struct socket_paths *ret_paths)
{
    ret_paths->count = 0;
    const char *path = named ? named : variable("WEFT_SOCKET");
    const char *runtime = variable("XDG_RUNTIME_DIR");
    if (path) {
        add(ret_paths, "", path);
        return;
    }
    if (runtime)
        add(ret_paths, runtime, "/weft/weft.sock");
    else
        add_without_runtime_folder(ret_paths);
    add(ret_paths, "", SYSTEM_SOCKET);
}

/* A file that is no socket refuses connections as well. */
static bool is_other_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISSOCK(status.st_mode);
}

static int open_path(const char *path, struct weft_client **ret_client)
{
    int err = weft_client_open(path, ret_client);
    return err == -ECONNREFUSED && is_other_file(path) ? -ENOTSOCK : err;
}

int socket_paths_open(struct socket_paths *paths, struct weft_client **ret_client)
{
    int err = -ENOENT;
    for (size_t i = 0; i < paths->count; i++) {
        err = paths->err[i] = open_path(paths->path[i], ret_client);
        if (!err)
            return 0;
    }
    return err;
}

const char *socket_path_advice(int err)
{
    switch (err) {
    case -ENOENT:
        return "weftd is not running there: start it (systemctl start weftd, or weftd --socket "
               "PATH), or name its socket with --socket or WEFT_SOCKET";
    case -ECONNREFUSED:
        return "the socket is left over and nobody listens: start weftd again (systemctl start "
               "weftd)";
    case -EACCES:
    case -EPERM:
        return "you may not use this socket: ask to be added to its group (ls -l shows it)";
    case -ENAMETOOLONG:
        return "a socket's path may have 107 bytes: use a shorter one";
    case -ENOTSOCK:
        return "this is not a socket: name weftd's with --socket or WEFT_SOCKET";
    case -EPROTOTYPE:
        return "this is not weftd's socket: name it with --socket or WEFT_SOCKET";
    default:
        return "check that weftd runs and name its socket with --socket or WEFT_SOCKET";
    }
}
