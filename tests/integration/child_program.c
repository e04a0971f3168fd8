/* SPDX-License-Identifier: MIT */
/*
 * Makes children by io/process/spawn_child.c and nothing else of the library: for processors of
 * which there is only an emulator here.  The child has a copy of the memory, because emulators of
 * user programs cannot share it, and reports over a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/process/spawn_child.h"

enum { STACK_BYTES = 16384 };

static const char *const environment[] = {NULL};

static void expect(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "not so: %s\n", what);
    exit(1);
}

/* Returns: its wait status; *ret_report is what it said, zeroes when it did not. */
static int run_child(const struct weft_process_options *options, const char *path,
                     struct spawn_report *ret_report)
{
    static _Alignas(16) char stack[STACK_BYTES];
    struct child_clone how = {.cgroup_fd = -1, .stack = stack, .stack_size = sizeof(stack)};
    struct child *child = calloc(1, sizeof(*child) + 4 * sizeof(struct child_fd));
    int report[2], status = 0, unused = -1;

    expect(child && pipe2(report, O_CLOEXEC) == 0, "there is memory and a pipe");
    child->options = options;
    child->envp = environment;
    child->program = options->argv[0];
    child->path = path;
    child->parent = getpid();
    child->cwd_fd = -1;
    child->cgroup_fd = -1;
    child->report_fd = report[1];
    child->first_free = 8;
    child->fds[0] = (struct child_fd){.child = 0, .source = -1};
    child->fds[1] = (struct child_fd){.child = 1, .source = 1};
    child->fds[2] = (struct child_fd){.child = 2, .source = 2};
    child->fds[3] = (struct child_fd){.child = 7, .source = report[1]};
    child->fds_count = 4;
    uint64_t before = child_block_signals(UINT64_MAX);
    pid_t pid = child_start(&how, child, &unused);
    child_block_signals(before);
    expect(pid > 0, "a child is made");
    close(report[1]);
    *ret_report = (struct spawn_report){0};
    expect(waitpid(pid, &status, 0) == pid, "it ends");
    expect(read(report[0], ret_report, sizeof(*ret_report)) >= 0, "its report can be read");
    close(report[0]);
    free(child);
    return status;
}

int main(void)
{
    const char *const good[] = {"sh", "-c", "test -e /proc/self/fd/7 && exit 42", NULL};
    const char *const absent[] = {"no-such-program", NULL};
    struct weft_process_options options = {
        .argv = good, .new_session = true, .umask = 022, .uid = (uid_t)-1, .gid = (gid_t)-1};
    struct spawn_report report;
    int status = run_child(&options, "/nowhere:/bin", &report);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 42, "the program runs");
    expect(report.error == 0, "it reports nothing");
    options.argv = absent;
    status = run_child(&options, "/nowhere:/bin", &report);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 127, "there is no such program");
    expect(report.error == -ENOENT && report.fault == WEFT_PROCESS_FAULT_PROGRAM, "it says so");
    return 0;
}
