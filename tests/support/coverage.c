/* SPDX-License-Identifier: MIT */
/*
 * coverage: what the coverage preset links into every program, so that counts are kept of processes
 * that end otherwise than by exit().  Their counters are written where they end themselves: _exit(),
 * abort() (a failed CHECK, an overflowed stack), and SIGKILL from their own hand (a failpoint).
 *
 * The linker puts these in the place of the calls (--wrap, cmake/options.cmake).  What others kill
 * takes its counts with it.
 */
#include <signal.h>
#include <stdnoreturn.h>
#include <sys/types.h>
#include <unistd.h>

void __gcov_dump(void);
noreturn void __real__exit(int status);
noreturn void __real_abort(void);
int __real_kill(pid_t pid, int signal);
noreturn void __wrap__exit(int status);
noreturn void __wrap_abort(void);
int __wrap_kill(pid_t pid, int signal);

void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}

void __wrap_abort(void)
{
    __gcov_dump();
    __real_abort();
}

int __wrap_kill(pid_t pid, int signal)
{
    if (pid == getpid() && signal == SIGKILL)
        __gcov_dump();
    return __real_kill(pid, signal);
}
