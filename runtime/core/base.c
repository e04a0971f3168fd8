/* SPDX-License-Identifier: MIT */
/* The report of a failed check.  It may run on any stack, also in a signal handler. */
#include "core/base.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

void check_failed(const char *file, int line, const char *expression)
{
    char number[16];
    void *frames[32];

    snprintf(number, sizeof(number), ":%d: ", line);
    say("weft: ");
    say(file);
    say(number);
    say("check failed: ");
    say(expression);
    say("\n");
    backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
    abort();
}
