/* SPDX-License-Identifier: MIT */
/* For tests that start programs; goes with support/io.h.  On fibers. */
#pragma once
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "support/io.h"

enum { OUTPUT_LIMIT = 1 << 20 };

/** Run `script` by sh to its end, and give what it said, which is the caller's. */
static inline char *output_of(const struct weft_process_options *options, const char *script)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct weft_process_options shell = *options;
    struct weft_process_output output;
    shell.argv = argv;
    EXPECT_EQ(weft_process_run(&shell, NULL, 0, OUTPUT_LIMIT, soon(), &output, NULL, NULL), 0);
    return output.data;
}

static inline void expect_said(const struct weft_process_options *options, const char *script,
                               const char *expected)
{
    char *output = output_of(options, script);
    if (strcmp(output, expected) != 0)
        fprintf(stderr, "%s\n  said: %s  not:  %s\n", script, output, expected);
    EXPECT(strcmp(output, expected) == 0);
    free(output);
}

static inline struct weft_process *start_script(const char *script)
{
    struct weft_process *process;
    EXPECT_EQ(weft_process_shell(script, NULL, &process), 0);
    return process;
}

/** No child is left, neither running nor dead. */
static inline void expect_no_child(void)
{
    EXPECT_EQ(waitpid(-1, NULL, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

/** Become a user who is bound by limits, before there are threads. */
static inline void become_ordinary(void)
{
    if (geteuid() != 0)
        return;
    EXPECT_EQ(setgid(61234), 0);
    EXPECT_EQ(setuid(61234), 0);
    EXPECT_EQ(prctl(PR_SET_DUMPABLE, 1), 0); /* LeakSanitizer looks at the process at its end */
}

/** Let this user make no further process or thread, or make some again. */
static inline void forbid_processes(bool forbid)
{
    struct rlimit limit;
    EXPECT_EQ(getrlimit(RLIMIT_NPROC, &limit), 0);
    limit.rlim_cur = forbid ? 1 : limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_NPROC, &limit), 0);
}
