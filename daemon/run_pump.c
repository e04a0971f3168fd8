/* SPDX-License-Identifier: MIT */
/*
 * run_pump: a program's output, from the pipe to the file.
 *
 * I1  The pipe is always read, whatever becomes of the file, so a program never blocks on us.
 * I2  The fiber ends at end of file, or soon after run_pump_abort().
 * I3  scope is cancelled only while it is entered; `open` says so under the lock.
 * I4  What was in the pipe at an abort is kept, as far as its file takes it: it may be the program's
 *     last words, which only our disk has held up.  What comes later is a stranger's.
 */
#include "daemon/run_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

/* Not inlined: errno's address must not be kept across a suspension of the caller. */
static __attribute__((noinline)) int make_pipe(int fds[2])
{
    return pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
}

int run_pump_init(struct run_pump *pump, int *ret_fd)
{
    int fds[2];
    int rc = make_pipe(fds);
    if (rc < 0)
        return rc;
    *pump = (struct run_pump){0};
    rc = weft_stream_new(fds[0], &pump->stream);
    if (rc < 0) {
        close(fds[0]);
        close(fds[1]);
        return rc;
    }
    pthread_mutex_init(&pump->lock, NULL);
    weft_event_init(&pump->end);
    *ret_fd = fds[1];
    return 0;
}

void run_pump_destroy(struct run_pump *pump)
{
    weft_stream_free(pump->stream);
    pthread_mutex_destroy(&pump->lock);
}

void run_pump_abort(struct run_pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    pump->aborted = true;
    if (pump->open)
        weft_scope_cancel(&pump->scope);
    pthread_mutex_unlock(&pump->lock);
}

static void open_scope(struct run_pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    weft_scope_enter(&pump->scope, WEFT_NO_DEADLINE);
    pump->open = true;
    if (pump->aborted)
        weft_scope_cancel(&pump->scope);
    pthread_mutex_unlock(&pump->lock);
}

static void close_scope(struct run_pump *pump)
{
    pthread_mutex_lock(&pump->lock);
    pump->open = false;
    weft_scope_leave(&pump->scope);
    pthread_mutex_unlock(&pump->lock);
}

/* A program that always has something is read without a wait, so others are let run. */
static void copy(struct run_pump *pump, char *buffer, size_t size)
{
    ssize_t n;
    while ((n = weft_read(pump->stream, buffer, size)) > 0) {
        output_write(pump->output, buffer, (size_t)n);
        if (weft_yield() < 0)
            return;
    }
}

/* Returns 0 or less where there is nothing now. */
static __attribute__((noinline)) ssize_t read_now(struct run_pump *pump, char *buffer, size_t size)
{
    ssize_t n;
    do
        n = read(weft_stream_fd(pump->stream), buffer, size);
    while (n < 0 && errno == EINTR);
    return n;
}

static size_t pipe_capacity(struct run_pump *pump)
{
    int capacity = fcntl(weft_stream_fd(pump->stream), F_GETPIPE_SZ);
    return capacity > 0 ? (size_t)capacity : PIECE;
}

/* I4: as much as may have been there. */
static void copy_rest(struct run_pump *pump, char *buffer, size_t size)
{
    size_t left = pipe_capacity(pump);
    ssize_t n;
    while (left > 0 && (n = read_now(pump, buffer, left < size ? left : size)) > 0) {
        output_write(pump->output, buffer, (size_t)n);
        left -= (size_t)n;
    }
}

int run_pump_main(void *arg)
{
    struct run_pump *pump = arg;
    struct weft_scope shield;
    char small[512];
    char *large = malloc(PIECE), *buffer = large ? large : small;
    size_t size = large ? PIECE : sizeof(small);
    weft_shield_enter(&shield);
    open_scope(pump);
    copy(pump, buffer, size);
    close_scope(pump);
    copy_rest(pump, buffer, size);
    weft_scope_leave(&shield);
    free(large);
    weft_event_set(&pump->end);
    return 0;
}
