/* SPDX-License-Identifier: MIT */
/*
 * module_load: the modules that the configuration names, and the replies of their processes.
 *
 * I1  A module under modules.load is never loaded into this process: what it has, its own process
 *     tells, and has LOAD_MS for it.
 * I2  A reply's file has a fixed size (sealed), so that a process cannot make us read more, and its
 *     text nests as deep as a result may, in the reply: reading it recurses, on a fiber's stack.
 *
 * At start, before there are threads or fibers: blocks.
 */
#include "daemon/module_host.h"
#include "daemon/module_progress.h"

#include "daemon/config.h"
#include "daemon/native.h"
#include "daemon/problem.h"
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

enum { LOAD_MS = 10000, REPLY_DEPTH_MAX = JSONRPC_DEPTH_MAX + 1 };

/* ---- replies --------------------------------------------------------------------------------- */

/* Not inlined, as errno is read in it: its address must not be kept across a suspension. */
__attribute__((noinline)) int module_reply_open(void)
{
    int fd = memfd_create("weft-reply", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, MODULE_REPLY_MAX + MODULE_PROGRESS_SIZE) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* I2.  Errors: -EPROTO it is no object that we read; -ENOMEM. */
static int parse_reply(const char *text, size_t size, json_t **ret_reply)
{
    json_t *reply;
    if (jsonrpc_depth(text, size, REPLY_DEPTH_MAX) > REPLY_DEPTH_MAX)
        return -EPROTO;
    int rc = json_memory_load(text, size, JSON_ALLOW_NUL, NULL, &reply);
    if (rc < 0)
        return rc == -ENOMEM ? rc : -EPROTO;
    if (!json_is_object(reply)) {
        json_decref(reply);
        return -EPROTO;
    }
    *ret_reply = reply;
    return 0;
}

/* The text ends at the first NUL.  text: room for MODULE_REPLY_MAX bytes. */
__attribute__((noinline)) static int read_reply(int fd, char *text, json_t **ret_reply)
{
    ssize_t size = pread(fd, text, MODULE_REPLY_MAX, 0);
    if (size < 0)
        return -errno;
    size_t length = strnlen(text, (size_t)size);
    if (length == 0)
        return -ENODATA;
    return parse_reply(text, length, ret_reply);
}

int module_reply_read(int fd, json_t **ret_reply)
{
    char *text = malloc(MODULE_REPLY_MAX);
    int rc = text ? read_reply(fd, text, ret_reply) : -ENOMEM;
    free(text);
    return rc;
}

/* ---- asking a module's process --------------------------------------------------------------- */

static int spawn_host(const char *path, uint64_t memory, int input, int reply, pid_t *ret_pid)
{
    char limit[32];
    posix_spawn_file_actions_t actions;
    snprintf(limit, sizeof(limit), "%" PRIu64, memory);
    char *argv[] = {"weftd", MODULE_HOST_OPTION, (char *)path, limit, NULL};
    if (posix_spawn_file_actions_init(&actions))
        return -ENOMEM;
    int rc = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, reply, MODULE_REPLY_FD);
    if (rc == 0)
        rc = posix_spawn(ret_pid, "/proc/self/exe", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

/* Returns the status of wait(2).  Errors: -ETIMEDOUT, it was killed. */
static int await_host(pid_t pid, int *ret_status)
{
    int pidfd = pidfd_open(pid, 0), short_of = pidfd < 0 ? -errno : 0;
    struct pollfd poll_end = {.fd = pidfd, .events = POLLIN};
    bool ended = pidfd >= 0 && poll(&poll_end, 1, LOAD_MS) != 0;
    if (!ended)
        kill(pid, SIGKILL); /* ours, and not reaped: the number is its own */
    if (pidfd >= 0)
        close(pidfd);
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return short_of ? short_of : ended ? 0 : -ETIMEDOUT;
}

static int open_request(void)
{
    int fd = memfd_create("weft-request", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (pwrite(fd, "{}", 2, 0) == 2)
        return fd;
    close(fd);
    return -EIO;
}

static int ask_host(const char *path, uint64_t memory, int reply, struct problem *problem)
{
    pid_t pid;
    int status = 0, input = open_request();
    int rc = input < 0 ? input : spawn_host(path, memory, input, reply, &pid);
    if (input >= 0)
        close(input);
    if (rc < 0)
        return problem_set(problem, rc, "cannot start a process for module %s: %s", path,
                           strerror(-rc));
    rc = await_host(pid, &status);
    if (rc == -ETIMEDOUT)
        return problem_set(problem, rc, "module %s did not load within %d s", path, LOAD_MS / 1000);
    if (rc < 0)
        return problem_set(problem, rc, "cannot watch the process of module %s: %s", path,
                           strerror(-rc));
    if (WIFSIGNALED(status))
        return problem_set(
            problem, WTERMSIG(status) == SIGKILL ? -EAGAIN : -ECHILD,
            "module %s: loading it ended in signal %d (%s)", path, WTERMSIG(status),
            strsignal(WTERMSIG(status))); /* SIGKILL: the kernel's, for want of memory */
    if (WEXITSTATUS(status) == EX_TEMPFAIL)
        return problem_set(problem, -EAGAIN, "module %s: its process lacked memory", path);
    if (WEXITSTATUS(status))
        return problem_set(problem, -ECHILD, "module %s: its process ended with exit status %d",
                           path, WEXITSTATUS(status));
    return 0;
}

static int add_described(const char *path, int reply, struct problem *problem)
{
    const struct weft_module *module;
    json_t *description;
    int rc = module_reply_read(reply, &description);
    if (rc < 0)
        return problem_set(problem, rc, "module %s: its process did not say what it has", path);
    const char *text = json_string_value(json_object_get(description, "problem"));
    if (text)
        rc = problem_set(problem,
                         (int)json_integer_value(json_object_get(description, "rc")) ?: -EINVAL,
                         "%s", text);
    else
        rc = module_from_description(description, &module);
    if (rc == 0)
        rc = native_add_hosted(module, path, problem);
    else if (!text)
        rc = problem_set(problem, rc, "module %s: %s", path, strerror(-rc));
    json_decref(description);
    return rc;
}

/* I1 */
static int load_apart(const char *path, uint64_t memory, struct problem *problem)
{
    int reply = module_reply_open();
    if (reply < 0)
        return problem_set(problem, reply, "module %s: %s", path, strerror(-reply));
    int rc = ask_host(path, memory, reply, problem);
    if (rc == 0)
        rc = add_described(path, reply, problem);
    close(reply);
    return rc;
}

static int load_here(const char *path, uint64_t memory, struct problem *problem)
{
    const struct weft_module *module;
    (void)memory; /* it is weftd's own */
    int rc = module_open(path, &module, problem);
    return rc < 0 ? rc : native_add(module, path, problem);
}

/* ---- what the configuration names ------------------------------------------------------------ */

typedef int load_fn(const char *path, uint64_t memory, struct problem *problem);

static int is_object(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 3 && strcmp(entry->d_name + length - 3, ".so") == 0;
}

static int load_folder(const char *folder, load_fn *load, uint64_t memory, struct problem *problem)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_object, alphasort);
    if (count < 0)
        return problem_set(problem, -errno, "cannot list the modules in %s: %s", folder,
                           strerror(errno));
    int rc = 0;
    for (int i = 0; i < count; i++) {
        char *path;
        if (rc == 0 && asprintf(&path, "%s/%s", folder, entries[i]->d_name) < 0)
            rc = problem_set(problem, -ENOMEM, "modules: out of memory");
        else if (rc == 0) {
            rc = load(path, memory, problem);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int load_word(const char *path, load_fn *load, uint64_t memory, struct problem *problem)
{
    struct stat status;
    if (path[0] != '/')
        return problem_set(problem, -EINVAL, "module %s: not an absolute path", path);
    if (stat(path, &status) < 0)
        return problem_set(problem, -errno, "cannot load module %s: %s", path, strerror(errno));
    return S_ISDIR(status.st_mode) ? load_folder(path, load, memory, problem)
                                   : load(path, memory, problem);
}

int modules_load(const struct config_modules *modules, struct problem *problem)
{
    int rc = native_add_built_in(problem);
    for (size_t i = 0; rc == 0 && modules->trusted[i]; i++)
        rc = load_word(modules->trusted[i], load_here, 0, problem);
    for (size_t i = 0; rc == 0 && modules->load[i]; i++)
        rc = load_word(modules->load[i], load_apart, modules->memory, problem);
    return rc;
}
