/* SPDX-License-Identifier: MIT */
/*
 * store_files: see store_files.h.
 *
 * I1  A folder that was made is on disk, with its parent's entry, before anything is put into it.
 * I2  The lock is flock(2) on an open file: it ends with the process, however that ends, so a
 *     stale lock cannot exist.  The lock file is never unlinked: that would let two in.
 * I3  A weftd that is killed while it starts a program leaves the lock with that child, for as long
 *     as that takes to call exec.  So one whose holder is gone is waited for, PATIENCE_MS at most.
 */
#include "daemon/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 2000, NAP_MS = 5 };

char *store_folder_path(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

int store_folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return err;
}

/* Cut `path` before its last component; false: there is nothing above it that we could make. */
static bool cut_to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return false;
    *slash = '\0';
    return true;
}

static int sync_parent(const char *folder)
{
    char parent[PATH_MAX];
    if (strlen(folder) >= sizeof parent)
        return -ENAMETOOLONG;
    strcpy(parent, folder);
    return store_folder_sync(cut_to_parent(parent) ? parent : folder[0] == '/' ? "/" : ".");
}

/* mkdir -p.  Recursion ends at the first folder that is there: depth is the path's. */
static int make_with_parents(const char *folder)
{
    if (mkdir(folder, 0700) == 0)
        return sync_parent(folder);
    if (errno != ENOENT)
        return errno == EEXIST ? 0 : -errno;
    char parent[PATH_MAX];
    if (strlen(folder) >= sizeof parent)
        return -ENAMETOOLONG;
    strcpy(parent, folder);
    if (!cut_to_parent(parent))
        return -ENOENT;
    int err = make_with_parents(parent);
    if (err)
        return err;
    return mkdir(folder, 0700) == 0 || errno == EEXIST ? sync_parent(folder) : -errno;
}

int store_folder_make(const char *folder, struct problem *problem)
{
    int err = make_with_parents(folder);
    struct stat status;
    if (!err && stat(folder, &status) < 0)
        err = -errno;
    if (!err && !S_ISDIR(status.st_mode))
        err = -ENOTDIR;
    if (err)
        return problem_set(problem, err, "cannot make the state folder %s: %s", folder,
                           strerror(-err));
    return 0;
}

/* The holder's pid as it wrote it, or "?". */
static void read_holder(int fd, char *ret_holder, size_t size)
{
    ssize_t got = pread(fd, ret_holder, size - 1, 0);
    size_t length = got > 0 ? (size_t)got : 0;
    ret_holder[length] = '\0';
    ret_holder[strspn(ret_holder, "0123456789")] = '\0';
    if (!ret_holder[0])
        strcpy(ret_holder, "?");
}

/* A zombie is gone, too: its descriptors are closed. */
static bool is_gone(const char *holder)
{
    char path[64], text[512];
    long pid = strtol(holder, NULL, 10);
    if (pid <= 0 || pid > INT_MAX)
        return false;
    if (kill((pid_t)pid, 0) < 0)
        return errno == ESRCH;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && strncmp(name_end, ") Z", 3) == 0;
}

/* I3.  kind: LOCK_EX or LOCK_SH.  Errors: -EWOULDBLOCK somebody holds it. */
static int take(int fd, int kind)
{
    const struct timespec nap = {.tv_nsec = NAP_MS * 1000000L};
    char holder[24];
    for (int waited = 0;; waited += NAP_MS) {
        if (flock(fd, kind | LOCK_NB) == 0)
            return 0;
        int err = -errno;
        read_holder(fd, holder, sizeof holder);
        if (err != -EWOULDBLOCK || waited >= PATIENCE_MS || !is_gone(holder))
            return err;
        nanosleep(&nap, NULL);
    }
}

static int lock_fd(int fd, const char *folder, struct problem *problem)
{
    char holder[24];
    int err = take(fd, LOCK_EX);
    if (err == 0) {
        int length = snprintf(holder, sizeof holder, "%d\n", (int)getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, holder, (size_t)length, 0) != length)
            return 0; /* the pid is a courtesy; a full disk is the database's to report */
        return 0;
    }
    if (err != -EWOULDBLOCK)
        return problem_set(problem, err, "cannot lock %s/lock: %s", folder, strerror(-err));
    read_holder(fd, holder, sizeof holder);
    return problem_set(problem, -EBUSY,
                       "the state folder %s is in use by another weftd (process %s)", folder,
                       holder);
}

int store_folder_lock(const char *folder, struct problem *problem, int *ret_fd)
{
    char *path = store_folder_path(folder, "lock");
    if (!path)
        return problem_set(problem, -ENOMEM, "no memory");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int err = fd < 0 ? -errno : 0;
    free(path);
    if (err)
        return problem_set(problem, err, "the state folder %s is not writable: %s", folder,
                           strerror(-err));
    err = lock_fd(fd, folder, problem);
    if (err) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

int store_folder_share(const char *folder, struct problem *problem, int *ret_fd)
{
    char *path = store_folder_path(folder, "lock");
    if (!path)
        return problem_set(problem, -ENOMEM, "no memory");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int err = fd < 0 ? -errno : 0;
    free(path);
    if (err == -ENOENT)
        return err;
    if (!err)
        err = take(fd, LOCK_SH);
    if (!err) {
        *ret_fd = fd;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    if (err == -EWOULDBLOCK)
        return problem_set(
            problem, -EBUSY,
            "a weftd uses %s: stop it, or make a backup (weft backup) and verify that", folder);
    return problem_set(problem, err, "cannot lock %s/lock: %s", folder, strerror(-err));
}
