/* SPDX-License-Identifier: MIT */
/* server_socket: see server_socket.h.  Nothing here suspends, so errno is read where it is set. */
#include "daemon/server_socket.h"

#include "daemon/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES 200 /* of 10 ms */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define OWNED_FD __attribute__((cleanup(close_fd))) int

static int set_address(const char *path, struct sockaddr_un *address, struct problem *problem)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path)
        return problem_set(problem, -ENAMETOOLONG,
                           "the socket's path is %zu bytes long, %zu are possible: %.120s…",
                           strlen(path), sizeof address->sun_path - 1, path);
    strcpy(address->sun_path, path);
    return 0;
}

/* ---- the folder ---- */

static int make_folder(const char *folder, struct problem *problem)
{
    mode_t mode = geteuid() == 0 ? 0755 : 0700; /* root's socket is for others too */
    if (mkdir(folder, mode) && errno != EEXIST)
        return problem_set(problem, -errno, "cannot make the socket's folder %s: %s", folder,
                           strerror(errno));
    return 0;
}

/* Two daemons hold this lock for a few system calls each; whoever holds it for seconds is neither
 * of them. */
static int lock_folder(const char *folder, struct problem *problem, int *ret_fd)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return problem_set(problem, -errno, "cannot open the socket's folder %s: %s", folder,
                           strerror(errno));
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
        if (errno != EWOULDBLOCK || i == LOCK_TRIES) {
            int err = -errno;
            close(fd);
            return problem_set(problem, err, "cannot lock the socket's folder %s: %s", folder,
                               strerror(-err));
        }
        nanosleep(&pause, NULL);
    }
    *ret_fd = fd;
    return 0;
}

/* ---- what is there already ---- */

static int refuse_live(int fd, const char *path, struct problem *problem)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
        return problem_set(problem, -EADDRINUSE,
                           "a server answers on %s already: process %d; stop it, or choose another "
                           "socket",
                           path, (int)peer.pid);
    return problem_set(problem, -EADDRINUSE, "a server answers on %s already", path);
}

/* Remove what is at the path if it is a socket that nobody listens on. */
static int clear_path(const struct sockaddr_un *address, struct problem *problem)
{
    const char *path = address->sun_path;
    struct stat status;
    if (lstat(path, &status))
        return errno == ENOENT
                   ? 0
                   : problem_set(problem, -errno, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return problem_set(problem, -EADDRINUSE,
                           "%s is there already and is not a socket: it is left alone", path);
    OWNED_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return problem_set(problem, -errno, "socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
        return refuse_live(fd, path, problem);
    if (errno == EAGAIN) /* its queue is full: somebody listens */
        return problem_set(problem, -EADDRINUSE, "a server listens on %s already", path);
    if (errno != ECONNREFUSED)
        return problem_set(problem, -EADDRINUSE, "%s is there already, and asking it fails: %s",
                           path, strerror(errno));
    if (unlink(path) && errno != ENOENT)
        return problem_set(problem, -errno, "cannot remove the stale socket %s: %s", path,
                           strerror(errno));
    return 0;
}

/* ---- our own ---- */

static int set_group(const char *path, const char *name, struct problem *problem)
{
    if (!name[0])
        return 0;
    gid_t gid;
    int rc = accounts_group(name, &gid);
    if (rc == -ENOENT)
        return problem_set(problem, -EINVAL, "daemon.socket_group: there is no group '%s'", name);
    if (rc < 0)
        return problem_set(problem, rc, "daemon.socket_group: cannot look for group '%s': %s", name,
                           strerror(-rc));
    if (chown(path, (uid_t)-1, gid))
        return problem_set(problem, -errno, "cannot give %s to the group '%s': %s", path, name,
                           strerror(errno));
    return 0;
}

/* Nobody can connect before listen(2), so there is no moment with a wrong mode. */
static int dress(int fd, const struct config_daemon *config, struct server_socket *socket,
                 struct problem *problem)
{
    const char *path = config->socket;
    struct stat status;
    if (lstat(path, &status))
        return problem_set(problem, -errno, "%s: %s", path, strerror(errno));
    socket->device = status.st_dev;
    socket->inode = status.st_ino;
    int err = set_group(path, config->socket_group, problem);
    if (err)
        return err;
    if (chmod(path, config->socket_mode))
        return problem_set(problem, -errno, "cannot set the mode of %s: %s", path, strerror(errno));
    if (listen(fd, 4096))
        return problem_set(problem, -errno, "cannot listen on %s: %s", path, strerror(errno));
    return 0;
}

static int bind_and_dress(int fd, const struct config_daemon *config,
                          const struct sockaddr_un *address, struct problem *problem,
                          struct server_socket *ret_socket)
{
    if (bind(fd, (const struct sockaddr *)address, sizeof *address))
        return problem_set(problem, -errno, "cannot make the socket %s: %s", address->sun_path,
                           strerror(errno));
    struct server_socket socket = {.path = strdup(config->socket)};
    int err = socket.path ? dress(fd, config, &socket, problem) : -ENOMEM;
    if (err) {
        unlink(address->sun_path);
        free(socket.path);
        return err;
    }
    *ret_socket = socket;
    return 0;
}

static int bind_locked(const struct config_daemon *config, const struct sockaddr_un *address,
                       struct problem *problem, int *ret_fd, struct server_socket *ret_socket)
{
    int err = clear_path(address, problem);
    if (err)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return problem_set(problem, -errno, "socket: %s", strerror(errno));
    err = bind_and_dress(fd, config, address, problem, ret_socket);
    if (err) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

int server_socket_open(const struct config_daemon *config, struct problem *problem, int *ret_fd,
                       struct server_socket *ret_socket)
{
    struct sockaddr_un address;
    int err = set_address(config->socket, &address, problem);
    if (err)
        return err;
    char copy[sizeof address.sun_path];
    const char *folder = dirname(strcpy(copy, config->socket));
    err = make_folder(folder, problem);
    if (err)
        return err;
    OWNED_FD lock = -1;
    err = lock_folder(folder, problem, &lock);
    return err ? err : bind_locked(config, &address, problem, ret_fd, ret_socket);
}

void server_socket_remove(struct server_socket *socket)
{
    struct stat status;
    if (socket->path && lstat(socket->path, &status) == 0 && status.st_dev == socket->device &&
        status.st_ino == socket->inode)
        unlink(socket->path);
    free(socket->path);
    socket->path = NULL;
}
