/* SPDX-License-Identifier: MIT */
/* For tests of pools: functions that behave badly, and checks on fibers; goes with
 * support/process.h. */
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support/process.h"

/* The pool's socket in a worker, which is nobody's business but a hostile one's. */
enum { WORKER_SOCKET = 3 };

/* By its own name, whatever a sanitizer does with it. */
static inline void die_of(int number)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(number, SIG_DFL);
    raise(number);
}

/* Gives its input back, and its size. */
static inline WEFT_POOL_FUNCTION(pool_echo)
{
    if (weft_pool_write(output, input, size) < 0)
        return -1;
    return (int)size;
}

static inline WEFT_POOL_FUNCTION(pool_crash)
{
    (void)input, (void)size, (void)output;
    die_of(SIGSEGV);
    return 0;
}

static inline WEFT_POOL_FUNCTION(pool_abort)
{
    (void)input, (void)size, (void)output;
    die_of(SIGABRT);
    return 0;
}

static inline WEFT_POOL_FUNCTION(pool_exit)
{
    (void)input, (void)size, (void)output;
    _exit(7);
}

static inline WEFT_POOL_FUNCTION(pool_hang)
{
    (void)input, (void)size, (void)output;
    for (;;)
        pause();
    return 0;
}

/* Computes for ever. */
static inline WEFT_POOL_FUNCTION(pool_spin)
{
    volatile unsigned turns = 0;
    (void)input, (void)size, (void)output;
    for (;;)
        turns++;
    return 0;
}

/* Ends, but leaves a child that holds the socket, in the same group. */
static inline WEFT_POOL_FUNCTION(pool_leave_child)
{
    (void)input, (void)size, (void)output;
    if (fork() == 0)
        for (;;)
            pause();
    _exit(9);
}

static inline WEFT_POOL_FUNCTION(pool_close_socket)
{
    close(WORKER_SOCKET);
    return pool_hang(input, size, output);
}

static inline WEFT_POOL_FUNCTION(pool_babble)
{
    (void)input, (void)size, (void)output;
    for (int i = 0; i < 100; i++)
        if (write(WORKER_SOCKET, "nonsense", 8) != 8)
            _exit(1);
    return 0;
}

static inline WEFT_POOL_FUNCTION(tell_pid)
{
    pid_t pid = getpid();
    (void)input, (void)size;
    usleep(1000); /* long enough that one process does not do all of it */
    return weft_pool_write(output, &pid, sizeof(pid));
}

/* ---- checks --------------------------------------------------------------------------------- */

static inline struct weft_pool *pool_of(unsigned processes)
{
    struct weft_pool_options options;
    struct weft_pool *pool;
    weft_pool_options_init(&options);
    options.processes = processes;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    return pool;
}

static inline struct weft_pool_stats stats_of(struct weft_pool *pool)
{
    struct weft_pool_stats stats;
    weft_pool_stats(pool, &stats);
    return stats;
}

static inline void expect_echo(struct weft_pool *pool, const char *text)
{
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply;
    EXPECT_EQ(weft_pool_call(pool, pool_echo, text, strlen(text), soon(), &reply, &death), 0);
    EXPECT_EQ(reply.result, strlen(text));
    EXPECT_EQ(reply.size, strlen(text));
    EXPECT(strcmp(reply.data, text) == 0);
    EXPECT_EQ(death.exit_code, 77);
    free(reply.data);
}

static inline void pool_ends(struct weft_pool *pool)
{
    weft_pool_free(pool);
    expect_no_child();
}
