/* SPDX-License-Identifier: MIT */
/*
 * The inside of a worker process: it takes requests from its socket, calls functions, answers, and
 * leaves at the end of the stream.
 *
 *   I1  It takes over in a constructor, before main(), when the program was started as a worker;
 *       in any other case it does nothing.  A program that runs with another's privileges
 *       (set-user-id) is never a worker.
 *   I2  Requests come from the pool, which is trusted; what is called is not: it may do anything to
 *       this process, and all of it is undone by the end of the process.
 *   I3  Each request is read to its end, also one that fails, and answered once.
 *
 * One thread, no fibers; libc only.  What the parent believes of its answers is pool.c's affair.
 */
#include "io/process/pool_wire.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "weft/pool.h"
#include "weft/time.h"

const char pool_worker_argument[] = POOL_ARGUMENT;

enum { EXIT_NONSENSE = 2, OUTPUT_MIN = 4096 };

struct output {
    struct weft_pool_output public;
    char *data;
    size_t size, capacity, limit;
    bool full; /* a write was refused */
};

typedef WEFT_POOL_FUNCTION(pool_function);
typedef int init_function(void);

/* ---- the socket --------------------------------------------------------------------------- */

/* Read all of it; the end of the stream, or its failure, is ours. */
static void read_all(void *buffer, size_t size)
{
    char *next = buffer;

    while (size > 0) {
        ssize_t n = read(POOL_FD, next, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(EXIT_SUCCESS);
        next += n;
        size -= (size_t)n;
    }
}

static void skip(size_t size)
{
    char buffer[4096];

    while (size > 0) {
        size_t piece = size < sizeof(buffer) ? size : sizeof(buffer);
        read_all(buffer, piece);
        size -= piece;
    }
}

static void write_all(const void *data, size_t size)
{
    const char *next = data;

    while (size > 0) {
        ssize_t n = write(POOL_FD, next, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            _exit(EXIT_SUCCESS);
        next += n;
        size -= (size_t)n;
    }
}

/* ---- functions ---------------------------------------------------------------------------- */

/* The object is kept: the next request wants it again. */
static void *open_object(const char *object)
{
    return dlopen(object, RTLD_NOW | RTLD_LOCAL);
}

static void *at_offset(const char *object, uint64_t offset)
{
    struct link_map *map = NULL;
    void *handle = open_object(object);

    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, (void *)&map) != 0)
        return NULL;
    return (void *)((uintptr_t)map->l_addr + (uintptr_t)offset);
}

static void *find(const struct pool_request *request, const char *object, const char *symbol)
{
    if (request->kind != POOL_SYMBOL)
        return at_offset(object, request->offset);
    void *handle = open_object(object);
    return handle ? dlsym(handle, symbol) : NULL;
}

/* SIGXCPU when this process has computed for so long from now on; 0: never. */
static void limit_cpu(uint64_t limit_ns)
{
    static bool made;
    static timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGXCPU};
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(limit_ns / WEFT_SECOND),
                                           .tv_nsec = (long)(limit_ns % WEFT_SECOND)}};

    if (!made)
        made = timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0;
    if (made)
        timer_settime(timer, 0, &when, NULL);
}

static int output_write(struct weft_pool_output *public, const void *data, size_t size)
{
    struct output *output = (struct output *)public;
    size_t capacity = output->capacity ? output->capacity : OUTPUT_MIN;

    if (size > output->limit - output->size) {
        output->full = true;
        return -EMSGSIZE;
    }
    while (capacity - output->size < size)
        capacity *= 2;
    if (capacity > output->capacity) {
        char *grown = realloc(output->data, capacity);
        if (!grown)
            return -ENOMEM;
        output->data = grown;
        output->capacity = capacity;
    }
    if (size > 0)
        memcpy(output->data + output->size, data, size);
    output->size += size;
    return 0;
}

/* ---- requests ----------------------------------------------------------------------------- */

static void answer(int error, int result, const struct output *output)
{
    struct pool_answer head = {.magic = POOL_MAGIC, .error = error, .result = result};

    if (error == 0 && output)
        head.size = output->size;
    fflush(NULL); /* what it printed: a killed process flushes nothing */
    write_all(&head, sizeof(head));
    if (head.size > 0)
        write_all(output->data, output->size);
}

static void call(const struct pool_request *request, void *function, const void *input)
{
    struct output output = {.public.write = output_write, .limit = request->reply_limit};

    if (request->kind == POOL_INIT) {
        answer(0, ((init_function *)function)(), NULL);
        return;
    }
    if (request->cpu_limit_ns > 0)
        limit_cpu(request->cpu_limit_ns);
    int result = ((pool_function *)function)(input, request->input_size, &output.public);
    if (request->cpu_limit_ns > 0)
        limit_cpu(0);
    answer(output.full ? -EMSGSIZE : 0, result, &output);
    free(output.data);
}

/* With the names read. */
static void serve_named(const struct pool_request *request, const char *object, const char *symbol)
{
    char *input = malloc(request->input_size + 1);

    if (!input) {
        skip(request->input_size);
        answer(-ENOMEM, 0, NULL);
        return;
    }
    read_all(input, request->input_size);
    void *function = find(request, object, symbol);
    if (function)
        call(request, function, input);
    else
        answer(-ENOENT, 0, NULL);
    free(input);
}

static void serve(const struct pool_request *request)
{
    static char object[PATH_MAX], symbol[POOL_SYMBOL_MAX];

    if (request->magic != POOL_MAGIC || request->object_size > sizeof(object) ||
        request->symbol_size > sizeof(symbol))
        _exit(EXIT_NONSENSE);
    read_all(object, request->object_size);
    read_all(symbol, request->symbol_size);
    if (request->kind == POOL_NONE)
        answer(0, 0, NULL);
    else
        serve_named(request, request->object_size > 0 ? object : NULL, symbol);
}

/* I1 */
__attribute__((constructor)) static void take_over(int argc, char **argv)
{
    struct pool_request request;

    if (argc != 2 || strcmp(argv[1], POOL_ARGUMENT) != 0 || getauxval(AT_SECURE))
        return;
    prctl(PR_SET_NAME, "weft-pool");
    fcntl(POOL_FD, F_SETFD, FD_CLOEXEC); /* not for the programs that a function starts */
    for (;;) {
        read_all(&request, sizeof(request));
        serve(&request);
    }
}
