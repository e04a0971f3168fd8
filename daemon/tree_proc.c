/* SPDX-License-Identifier: MIT */
/*
 * tree_proc: reading /proc.
 *
 * I1  A pid is a guess until it was checked: whoever signals opens a pidfd and compares the start
 *     time behind it (tree_pidfd_open), so that a recycled pid is never hit.
 * I2  No text of a process is trusted: its name may hold spaces, brackets and newlines, and its
 *     environment anything.
 * I3  An environment that reads as empty proves nothing while execve(2) replaces the memory that it
 *     is in, which is as long as the processor is another's.
 *
 * Blocking, any thread; nothing here suspends.
 */
#include "daemon/tree_proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum { ENVIRON_MAX = 8 * 1024 * 1024, STAT_SIZE = 1024, PATH_SIZE = 96, NAME_SIZE = 48 };

enum { EXITING = 0x4 }; /* PF_EXITING of the kernel's sched.h, part of what /proc promises */

/* ---- lists ----------------------------------------------------------------------------------- */

int tree_pids_add(struct tree_pids *list, pid_t pid)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        pid_t *pids = realloc(list->pids, capacity * sizeof(*pids));
        if (!pids)
            return -ENOMEM;
        list->pids = pids;
        list->capacity = capacity;
    }
    list->pids[list->count++] = pid;
    return 0;
}

void tree_pids_destroy(struct tree_pids *list)
{
    free(list->pids);
    *list = (struct tree_pids){0};
}

/* ---- one process ----------------------------------------------------------------------------- */

/* The number that the name is, or 0. */
static pid_t pid_of(const char *name)
{
    char *end;
    long pid = strtol(name, &end, 10);
    return *end == '\0' && pid > 0 ? (pid_t)pid : 0;
}

static int open_of(pid_t pid, const char *what)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static ssize_t read_retrying(int fd, char *buffer, size_t size)
{
    ssize_t n;
    do
        n = read(fd, buffer, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Behind the name, which is in brackets and may hold any. */
static int parse_stat(const char *text, struct tree_stat *stat)
{
    const char *rest = strrchr(text, ')');
    unsigned long long started;
    unsigned flags;
    long threads;
    if (!rest)
        return -ESRCH;
    /* The kernel's own numbers fit.  NOLINTNEXTLINE(cert-err34-c) */
    int n = sscanf(
        rest + 1, " %c %d %d %d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
        &stat->state, &stat->parent, &stat->group, &stat->session, &flags, &threads, &started);
    if (n != 7)
        return -ESRCH;
    stat->threads = (unsigned)threads;
    stat->exiting = flags & EXITING;
    stat->started = started;
    return 0;
}

/* Returns: the length, at least 1.  Errors: -ESRCH. */
static ssize_t read_stat(pid_t pid, char *text, size_t size)
{
    int fd = open_of(pid, "stat");
    if (fd < 0)
        return -ESRCH;
    ssize_t n = read_retrying(fd, text, size - 1);
    close(fd);
    if (n <= 0)
        return -ESRCH;
    text[n] = '\0';
    return n;
}

int tree_stat_read(pid_t pid, struct tree_stat *ret_stat)
{
    char text[STAT_SIZE];
    struct tree_stat stat = {.pid = pid};
    int rc = read_stat(pid, text, sizeof(text)) < 0 ? -ESRCH : parse_stat(text, &stat);
    if (rc == 0)
        *ret_stat = stat;
    return rc;
}

bool tree_stat_is_dead(const struct tree_stat *stat)
{
    return stat->state == 'X' || (stat->state == 'Z' && stat->threads <= 1);
}

bool tree_stat_is_still(const struct tree_stat *stat)
{
    return stat->state == 'T' || stat->state == 't' || stat->state == 'D' ||
           tree_stat_is_dead(stat);
}

int tree_pidfd_open(const struct tree_stat *stat)
{
    struct tree_stat now;
    int fd = pidfd_open(stat->pid, 0);
    if (fd < 0)
        return errno == EINVAL ? -ESRCH : -errno; /* EINVAL: a thread's number by now */
    if (tree_stat_read(stat->pid, &now) == 0 && now.started == stat->started)
        return fd; /* I1 */
    close(fd);
    return -ESRCH;
}

/* ---- the environment ------------------------------------------------------------------------- */

/* Errors: those of read(2), -E2BIG, -ENOMEM. */
static int read_whole(int fd, char **ret_text, size_t *ret_size)
{
    size_t size = 0, capacity = 16 * 1024;
    char *text = malloc(capacity);
    ssize_t n = text ? 0 : -ENOMEM;
    while (text && (n = read_retrying(fd, text + size, capacity - size)) > 0) {
        size += (size_t)n;
        if (size < capacity)
            continue;
        char *more = capacity < ENVIRON_MAX ? realloc(text, capacity *= 2) : NULL;
        if (!more) {
            n = capacity < ENVIRON_MAX ? -ENOMEM : -E2BIG;
            break;
        }
        text = more;
    }
    if (n < 0) {
        free(text);
        return (int)n;
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}

static bool holds(const char *text, size_t size, const char *mark)
{
    size_t length = strlen(mark);
    for (const char *end = text + size; text < end;) {
        size_t entry = strnlen(text, (size_t)(end - text));
        if (entry == length && memcmp(text, mark, length) == 0)
            return true;
        text += entry + 1;
    }
    return false;
}

/* execve sets the environment's place in the new memory to an empty one first, then fills it, and
 * sets the place of the code after that.  Whoever has no memory, being dead or the kernel's, is in
 * no execve. */
static bool is_in_exec(pid_t pid)
{
    char text[STAT_SIZE];
    unsigned long memory, code, start, end;
    if (read_stat(pid, text, sizeof(text)) < 0)
        return false;
    const char *rest = strrchr(text, ')');
    /* proc(5): vsize is 23, startcode 26, env_start and env_end are 50 and 51. */
    int n = rest ? sscanf(rest + 1, /* NOLINT(cert-err34-c) */
                          " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                          " %*s %*s %*s %lu %*s %*s %lu %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                          " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu",
                          &memory, &code, &start, &end)
                 : 0;
    return n == 4 && memory > 0 && (code == 0 || start != end);
}

/* Whether it says more of us than of the process. */
static bool is_shortage(int err)
{
    return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

int tree_environ_has(pid_t pid, const char *const *marks, size_t count)
{
    char *text = NULL;
    size_t size = 0, found = 0;
    int fd = open_of(pid, "environ");
    if (fd < 0)
        return is_shortage(fd) ? -EAGAIN : 0;
    int rc = read_whole(fd, &text, &size);
    close(fd);
    if (rc < 0)
        return is_shortage(rc) ? -EAGAIN : 0;
    while (found < count && holds(text, size, marks[found]))
        found++;
    free(text);
    if (size == 0 && is_in_exec(pid))
        return -EAGAIN; /* I3 */
    return found == count;
}

/* ---- who is whose child ---------------------------------------------------------------------- */

int tree_everybody(struct tree_pids *list)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    int rc = 0;
    if (!folder)
        return -errno;
    while (rc == 0 && (entry = readdir(folder)))
        if (pid_of(entry->d_name))
            rc = tree_pids_add(list, pid_of(entry->d_name));
    closedir(folder);
    return rc;
}

/* Kernels without /proc/PID/task/TID/children: ask everybody. */
static int children_by_asking(pid_t pid, struct tree_pids *list)
{
    struct tree_pids all = {0};
    struct tree_stat stat;
    int rc = tree_everybody(&all);
    for (size_t i = 0; rc == 0 && i < all.count; i++)
        if (tree_stat_read(all.pids[i], &stat) == 0 && stat.parent == pid)
            rc = tree_pids_add(list, stat.pid);
    tree_pids_destroy(&all);
    return rc;
}

static bool kernel_lists_children;

static void look_for_lists(void)
{
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    kernel_lists_children = fd >= 0;
    if (fd >= 0)
        close(fd);
}

static bool has_lists(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look_for_lists);
    return kernel_lists_children;
}

/* Numbers with spaces between.  A number may be cut at the end of the buffer. */
static int parse_children(int fd, struct tree_pids *list)
{
    char text[4096];
    pid_t pid = 0;
    ssize_t n;
    while ((n = read_retrying(fd, text, sizeof(text))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
                continue;
            }
            int rc = pid ? tree_pids_add(list, pid) : 0;
            if (rc < 0)
                return rc;
            pid = 0;
        }
    }
    return 0; /* an error: the thread is gone, and its children are another's */
}

static int thread_children(pid_t pid, pid_t thread, struct tree_pids *list)
{
    char what[NAME_SIZE];
    snprintf(what, sizeof(what), "task/%d/children", (int)thread);
    int fd = open_of(pid, what);
    if (fd < 0)
        return -ESRCH;
    int rc = parse_children(fd, list);
    close(fd);
    return rc;
}

int tree_first_children(pid_t pid, struct tree_pids *list)
{
    return has_lists() ? thread_children(pid, pid, list) : children_by_asking(pid, list);
}

int tree_children(pid_t pid, struct tree_pids *list)
{
    char path[PATH_SIZE];
    struct dirent *entry;
    int rc = 0;
    if (!has_lists())
        return children_by_asking(pid, list);
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    if (!folder)
        return -ESRCH;
    while (rc == 0 && (entry = readdir(folder))) {
        if (!pid_of(entry->d_name))
            continue;
        rc = thread_children(pid, pid_of(entry->d_name), list);
        if (rc == -ESRCH) /* that thread ended */
            rc = 0;
    }
    closedir(folder);
    return rc;
}
