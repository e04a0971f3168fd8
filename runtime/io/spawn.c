/* SPDX-License-Identifier: MIT */
/*
 * Starting a program with posix_spawn, which is vfork inside: no page table is copied, an exec
 * error comes back as a return value, and the sanitizers know it.
 *
 *   I1  What can be checked beforehand is: the working directory is opened and the program is
 *       looked up first, so that either one's absence is told from the other's and costs no fork.
 *   I2  The child's 0, 1 and 2 are set from descriptors above 2 or from the same number, so that
 *       setting one does not destroy the source of another.
 *   I3  The descriptor for the pidfd is set aside before the child is started: running out of
 *       descriptors afterwards would mean killing a program that already runs.
 *
 * Any thread; nothing here suspends.  No rlimits, no user change, no cgroup: posix_spawn cannot.
 * glibc leaves its two internal signals (32, 33) ignored in the child.
 */
#include "io/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base.h"

#define DEFAULT_PATH "/bin:/usr/bin"

struct spawn {
    const struct weft_process_options *options;
    const char *const *envp;
    int directory; /* the working directory, or "/" to set a descriptor aside (I3) */
    int stdio[3];  /* sources of 0, 1, 2; -1: /dev/null */
    int copies[3]; /* descriptors to close; -1: none */
    char program[PATH_MAX];
};

/* ---- the working directory and the program ------------------------------------------------ */

static int open_directory(const char *cwd)
{
    int fd = open(cwd ? cwd : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (!cwd || faccessat(AT_FDCWD, cwd, X_OK, AT_EACCESS) == 0)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

/* Where relative names of the child's start. */
static int lookup_base(const struct spawn *spawn)
{
    return spawn->options->cwd ? spawn->directory : AT_FDCWD;
}

/* Whether the child could execute this file. */
static int check_program(const struct spawn *spawn, const char *path)
{
    struct stat status;
    if (fstatat(lookup_base(spawn), path, &status, 0) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EACCES;
    return faccessat(lookup_base(spawn), path, X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

static const char *search_path(const char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return DEFAULT_PATH;
}

/* Make spawn->program the file `name` in the folder of `length` bytes; an empty one is ".". */
static int check_in_folder(struct spawn *spawn, const char *folder, size_t length, const char *name)
{
    const char *separator = length ? "/" : "";
    int size = snprintf(spawn->program, sizeof(spawn->program), "%.*s%s%s", (int)length, folder,
                        separator, name);
    if (size < 0 || (size_t)size >= sizeof(spawn->program))
        return -ENAMETOOLONG;
    return check_program(spawn, spawn->program);
}

/* As execvp(3): the first that can be executed; one that may not be is told only if none can. */
static int search_program(struct spawn *spawn, const char *name)
{
    const char *folder = search_path(spawn->envp);
    int result = -ENOENT;
    for (;;) {
        size_t length = strcspn(folder, ":");
        int r = check_in_folder(spawn, folder, length, name);
        if (r == 0)
            return 0;
        if (r == -EACCES)
            result = r;
        if (folder[length] == '\0')
            return result;
        folder += length + 1;
    }
}

static int find_program(struct spawn *spawn)
{
    const char *name = spawn->options->argv[0];
    if (!strchr(name, '/'))
        return name[0] ? search_program(spawn, name) : -ENOENT;
    if (strlen(name) >= sizeof(spawn->program))
        return -ENAMETOOLONG;
    strcpy(spawn->program, name);
    return check_program(spawn, name);
}

/* ---- the child's descriptors -------------------------------------------------------------- */

/* I2 */
static int copy_low(struct spawn *spawn)
{
    for (int target = 0; target < 3; target++) {
        int fd = spawn->stdio[target];
        if (fd < 0 || fd > 2 || fd == target)
            continue;
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
            return -errno;
        spawn->stdio[target] = spawn->copies[target] = copy;
    }
    return 0;
}

static int add_stdio(const struct spawn *spawn, posix_spawn_file_actions_t *actions)
{
    int error = 0;
    for (int target = 0; target < 3 && !error; target++) {
        int fd = spawn->stdio[target];
        if (fd >= 0)
            error = posix_spawn_file_actions_adddup2(actions, fd, target);
        else
            error = posix_spawn_file_actions_addopen(actions, target, "/dev/null",
                                                     target == 0 ? O_RDONLY : O_WRONLY, 0);
    }
    return error;
}

/* The directory first: its descriptor may be one that the standard three replace. */
static int add_actions(const struct spawn *spawn, posix_spawn_file_actions_t *actions)
{
    int error = 0;
    if (spawn->options->cwd)
        error = posix_spawn_file_actions_addfchdir_np(actions, spawn->directory);
    if (!error)
        error = add_stdio(spawn, actions);
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    return error;
}

/* ---- the child ---------------------------------------------------------------------------- */

static void set_attributes(const struct weft_process_options *options,
                           posix_spawnattr_t *attributes)
{
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    sigset_t set;
    if (options->new_session)
        flags |= POSIX_SPAWN_SETSID;
    else if (options->new_group)
        flags |= POSIX_SPAWN_SETPGROUP; /* of group 0: its own */
    posix_spawnattr_setflags(attributes, flags);
    sigfillset(&set);
    posix_spawnattr_setsigdefault(attributes, &set);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(attributes, &set);
}

static int start_child(const struct spawn *spawn, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions); /* neither can fail in glibc */
    posix_spawnattr_init(&attributes);
    set_attributes(spawn->options, &attributes);
    int error = add_actions(spawn, &actions);
    if (!error)
        error = posix_spawn(ret_pid, spawn->program, &actions, &attributes,
                            (char *const *)spawn->options->argv, (char *const *)spawn->envp);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -error;
}

/* The child is ours and not reaped, so its pid is its own. */
static int watch_child(struct spawn *spawn, pid_t pid, struct spawned *ret_spawned)
{
    close(spawn->directory); /* I3 */
    spawn->directory = -1;
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        int r = -errno;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return r;
    }
    *ret_spawned = (struct spawned){.pid = pid, .pidfd = pidfd};
    return 0;
}

static enum weft_process_fault fault_of(int error)
{
    switch (error) {
    case -EAGAIN:
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
    case -EBADF: /* one of the standard three */
        return WEFT_PROCESS_FAULT_OTHER;
    default:
        return WEFT_PROCESS_FAULT_PROGRAM;
    }
}

static int spawn_run(struct spawn *spawn, enum weft_process_fault *ret_fault,
                     struct spawned *ret_spawned)
{
    pid_t pid;
    int r = find_program(spawn);
    if (r < 0) {
        *ret_fault = WEFT_PROCESS_FAULT_PROGRAM;
        return r;
    }
    *ret_fault = WEFT_PROCESS_FAULT_OTHER;
    r = copy_low(spawn);
    if (r < 0)
        return r;
    r = start_child(spawn, &pid);
    if (r < 0) {
        *ret_fault = fault_of(r);
        return r;
    }
    return watch_child(spawn, pid, ret_spawned);
}

static void close_all(struct spawn *spawn)
{
    if (spawn->directory >= 0)
        close(spawn->directory);
    for (int i = 0; i < 3; i++)
        if (spawn->copies[i] >= 0)
            close(spawn->copies[i]);
}

int spawn_program(const struct weft_process_options *options, enum weft_process_fault *ret_fault,
                  struct spawned *ret_spawned)
{
    struct spawn spawn;
    spawn.options = options;
    spawn.envp = options->envp ? options->envp : (const char *const *)environ;
    spawn.directory = open_directory(options->cwd);
    spawn.stdio[0] = options->stdin_fd;
    spawn.stdio[1] = options->stdout_fd;
    spawn.stdio[2] = options->stderr_fd;
    spawn.copies[0] = spawn.copies[1] = spawn.copies[2] = -1;
    if (spawn.directory < 0) {
        *ret_fault = options->cwd ? WEFT_PROCESS_FAULT_CWD : WEFT_PROCESS_FAULT_OTHER;
        return spawn.directory;
    }
    int r = spawn_run(&spawn, ret_fault, ret_spawned);
    close_all(&spawn);
    return r;
}
