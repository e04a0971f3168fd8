/* SPDX-License-Identifier: MIT */
/*
 * Pools of worker processes: the calling side.  The inside of a worker is pool_worker.c.
 *
 *   I1  A call owns a slot, of which there are as many as processes are allowed, and with it one
 *       process: an idle one, or one that it starts.  Nothing runs between calls, so there is no
 *       fiber, and no process but the idle ones, to be cleaned up.
 *   I2  A process is given back only after a whole answer, with nothing left on its socket.  One
 *       whose call ended in any other way is killed with its group, and reaped, before the call
 *       returns.
 *   I3  What a process says is checked before it is believed: it may have been overrun.
 *   I4  While a call is under way a fiber of its own watches for the end of the process, because
 *       the socket need not end with it: a child of its may hold the other end.
 *
 * For fibers of one runtime.  The lock is a pthread mutex that is never held across a suspension.
 */
#include "weft/pool.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base.h"
#include "core/list.h"
#include "io/process/pool_wire.h"
#include "io/process/process.h"
#include "io/sys.h"
#include "weft/fiber.h"
#include "weft/group.h"
#include "weft/scope.h"
#include "weft/semaphore.h"
#include "weft/time.h"

#define SELF "/proc/self/exe"

enum { ERROR_LEAST = -4095 };

static const size_t REPLY_LIMIT_DEFAULT = 64u << 20;
static const uint64_t LAST_WORDS_NS = 10 * WEFT_SECOND; /* from its socket's end to its own */

struct pool_process {
    struct list link; /* on the pool's idle list, or on no list; guarded by the pool's lock */
    struct weft_process *process;
    struct weft_stream *stream;
    unsigned calls; /* that it has answered */
};

struct weft_pool {
    struct weft_pool_options options; /* constant */
    struct weft_semaphore slots;      /* I1 */
    pthread_mutex_t lock;
    struct list idle;             /* the latest first; guarded by lock */
    struct weft_pool_stats stats; /* guarded by lock */
};

/* What is to be called. */
struct pool_target {
    enum pool_kind kind;
    uint64_t offset;
    const char *object; /* "": the program */
    const char *symbol; /* "": none */
};

struct pool_call {
    struct pool_target target;
    const void *input;
    size_t size;
    struct weft_pool_reply reply;      /* once it has ended well */
    bool dead;                         /* its process is gone */
    struct weft_process_status status; /* of its end */
};

/* ---- functions ---------------------------------------------------------------------------- */

/* Where the function is: the worker's load addresses differ from ours. */
static int locate(uintptr_t fn, enum pool_kind kind, struct pool_target *ret_target)
{
    struct link_map *map = NULL;
    Dl_info info;

    if (dladdr1((void *)fn, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 || !map)
        return -EINVAL;
    *ret_target = (struct pool_target){
        .kind = kind, .offset = fn - map->l_addr, .object = map->l_name, .symbol = ""};
    return 0;
}

/* ---- counting ----------------------------------------------------------------------------- */

static void count_start(struct weft_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stats.processes++;
    pool->stats.started++;
    pthread_mutex_unlock(&pool->lock);
}

enum pool_end { END_RETIRED, END_DIED, END_KILLED };

static void count_end(struct weft_pool *pool, enum pool_end end)
{
    pthread_mutex_lock(&pool->lock);
    pool->stats.processes--;
    pool->stats.died += end == END_DIED;
    pool->stats.killed += end == END_KILLED;
    pthread_mutex_unlock(&pool->lock);
}

/* ---- the conversation --------------------------------------------------------------------- */

/* Not inlined: see io/sys.h. */
static __attribute__((noinline)) void end_socket(int fd)
{
    shutdown(fd, SHUT_RDWR);
}

/* I4 */
static int watch_end(void *arg)
{
    struct pool_process *process = arg;
    struct weft_process_status status;

    if (weft_process_wait(process->process, WEFT_NO_DEADLINE, &status) == 0)
        end_socket(weft_stream_fd(process->stream));
    return 0;
}

/* The end of the stream, and what stands for it. */
static int ended(int r)
{
    return r == 0 || r == -EPIPE || r == -ECONNRESET ? -ECHILD : r;
}

static int read_all(struct weft_stream *stream, void *buffer, size_t size)
{
    char *next = buffer;

    while (size > 0) {
        ssize_t n = weft_read(stream, next, size);
        if (n <= 0)
            return ended((int)n);
        next += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_all(struct weft_stream *stream, const void *data, size_t size)
{
    if (size == 0)
        return 0;
    int r = weft_write(stream, data, size, NULL);
    return r < 0 ? ended(r) : 0;
}

static uint32_t size_of(const char *text)
{
    return text[0] ? (uint32_t)strlen(text) + 1 : 0;
}

static int send_request(struct weft_pool *pool, struct weft_stream *stream,
                        const struct pool_call *call)
{
    const struct pool_target *target = &call->target;
    struct pool_request request = {.magic = POOL_MAGIC,
                                   .kind = target->kind,
                                   .offset = target->offset,
                                   .object_size = size_of(target->object),
                                   .symbol_size = size_of(target->symbol),
                                   .input_size = call->size,
                                   .reply_limit = pool->options.reply_limit,
                                   .cpu_limit_ns = pool->options.cpu_limit_ns};
    int r = write_all(stream, &request, sizeof(request));
    if (r == 0)
        r = write_all(stream, target->object, request.object_size);
    if (r == 0)
        r = write_all(stream, target->symbol, request.symbol_size);
    if (r == 0)
        r = write_all(stream, call->input, call->size);
    return r;
}

/* I3 */
static bool answer_valid(const struct weft_pool *pool, const struct pool_answer *answer)
{
    return answer->magic == POOL_MAGIC && answer->error <= 0 && answer->error >= ERROR_LEAST &&
           answer->size <= pool->options.reply_limit && (answer->error == 0 || answer->size == 0);
}

/* Returns: 0 there is an answer, which may be an error: *ret_error. */
static int read_answer(struct weft_pool *pool, struct weft_stream *stream, struct pool_call *call,
                       int *ret_error)
{
    struct pool_answer answer;
    int r = read_all(stream, &answer, sizeof(answer));

    if (r < 0)
        return r;
    if (!answer_valid(pool, &answer))
        return -EPROTO;
    char *data = malloc(answer.size + 1);
    if (!data)
        return -ENOMEM;
    r = read_all(stream, data, answer.size);
    if (r < 0 || answer.error < 0) {
        free(data);
        *ret_error = answer.error;
        return r;
    }
    data[answer.size] = '\0';
    call->reply = (struct weft_pool_reply){answer.result, data, answer.size};
    *ret_error = 0;
    return 0;
}

/* Returns: 0 the process is in order (I2), and *ret_error what it said. */
static int converse(struct weft_pool *pool, struct pool_process *process, struct pool_call *call,
                    int *ret_error)
{
    struct weft_group group;

    weft_group_init(&group);
    int r = weft_group_spawn(&group, "pool process", watch_end, process);
    if (r < 0) {
        *ret_error = r; /* nothing was said yet */
        weft_group_join(&group);
        return 0;
    }
    r = send_request(pool, process->stream, call);
    if (r == 0)
        r = read_answer(pool, process->stream, call, ret_error);
    weft_group_cancel(&group);
    weft_group_join(&group);
    return r;
}

/* ---- processes ---------------------------------------------------------------------------- */

static void process_release(struct pool_process *process)
{
    weft_stream_free(process->stream);
    weft_process_free(process->process);
    free(process);
}

/* I2: after a conversation that failed with `r`.  A socket that ended is the end of its process,
 * too, unless it fools us.  Returns: what the call gets. */
static int process_fail(struct weft_pool *pool, struct pool_process *process,
                        struct pool_call *call, int r)
{
    uint64_t deadline_ns = weft_deadline_after(LAST_WORDS_NS);
    bool alone =
        r == -ECHILD && weft_process_wait(process->process, deadline_ns, &call->status) == 0;

    if (r == -ECHILD && !alone)
        r = weft_check_cancel() < 0 ? weft_check_cancel() : -EPROTO;
    process_destroy(process->process, &call->status);
    process_release(process);
    count_end(pool, alone ? END_DIED : END_KILLED);
    call->dead = true;
    return r;
}

static void process_retire(struct weft_pool *pool, struct pool_process *process)
{
    process_destroy(process->process, NULL);
    process_release(process);
    count_end(pool, END_RETIRED);
}

static __attribute__((noinline)) int make_sockets(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
}

/* The options of a worker process; `limits` has room for one more than the pool's options name. */
static void worker_options(const struct weft_pool *pool, struct weft_process_options *options,
                           struct weft_process_limit *limits)
{
    const struct weft_process_options *base = pool->options.process;
    uint64_t memory = pool->options.memory_limit;

    weft_process_options_init(options);
    options->stdout_fd = options->stderr_fd = WEFT_PROCESS_INHERIT;
    if (base)
        *options = *base;
    options->program = pool->options.program ? pool->options.program : SELF;
    options->stdin_fd = WEFT_PROCESS_NULL;
    options->group = 0;
    options->new_group = true;
    options->ret_fault = NULL;
    if (options->death_signal == 0)
        options->death_signal = SIGKILL;
    for (size_t i = 0; i < options->limits_count; i++)
        limits[i] = options->limits[i];
    if (memory > 0)
        limits[options->limits_count++] =
            (struct weft_process_limit){RLIMIT_AS, {(rlim_t)memory, (rlim_t)memory}};
    options->limits = limits;
}

/* `fd`: the worker's end of the socket. */
static int spawn_worker(const struct weft_pool *pool, int fd, struct weft_process **ret_process)
{
    static const char *const argv[] = {"weft-pool-worker", pool_worker_argument, NULL};
    const struct weft_process_options *base = pool->options.process;
    const struct weft_process_fd fds[] = {{.child = POOL_FD, .parent = fd}};
    struct weft_process_options options;
    struct weft_process_limit *limits =
        malloc(((base ? base->limits_count : 0) + 1) * sizeof(*limits));
    if (!limits)
        return -ENOMEM;
    worker_options(pool, &options, limits);
    options.argv = argv;
    options.fds = fds;
    options.fds_count = 1;
    int r = weft_process_spawn(&options, ret_process);
    free(limits);
    if (r == 0)
        process_end_group(*ret_process); /* I2, also when it ends by itself */
    return r;
}

/* The process and our end of its socket. */
static int process_open(struct weft_pool *pool, struct pool_process *process)
{
    int fds[2];
    int r = make_sockets(fds);

    if (r < 0)
        return r;
    r = weft_stream_new(fds[0], &process->stream);
    if (r < 0)
        close(fds[0]);
    else
        r = spawn_worker(pool, fds[1], &process->process);
    close(fds[1]);
    if (r < 0 && process->stream)
        weft_stream_free(process->stream);
    return r;
}

/* A greeting, or the init function: what a new process has to answer first. */
static int process_greet(struct weft_pool *pool, struct pool_process *process,
                         struct pool_call *call)
{
    struct pool_call greeting = {.target = {.kind = POOL_NONE, .object = "", .symbol = ""}};
    int error = 0;

    if (pool->options.init)
        error = locate((uintptr_t)pool->options.init, POOL_INIT, &greeting.target);
    int r = error < 0 ? 0 : converse(pool, process, &greeting, &error);
    if (r < 0)
        return process_fail(pool, process, call, r);
    if (error == 0 && greeting.reply.result < 0)
        error = greeting.reply.result;
    free(greeting.reply.data);
    if (error < 0)
        process_retire(pool, process);
    return error;
}

static int process_start(struct weft_pool *pool, struct pool_call *call,
                         struct pool_process **ret_process)
{
    struct pool_process *process = calloc(1, sizeof(*process));

    if (!process)
        return -ENOMEM;
    list_init(&process->link);
    int r = process_open(pool, process);
    if (r < 0) {
        free(process);
        return r;
    }
    count_start(pool);
    r = process_greet(pool, process, call);
    if (r == 0)
        *ret_process = process;
    return r;
}

static struct pool_process *idle_pop(struct weft_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct list *node = list_first(&pool->idle);
    if (node) {
        list_remove(node);
        pool->stats.idle--;
    }
    pthread_mutex_unlock(&pool->lock);
    return node ? container_of(node, struct pool_process, link) : NULL;
}

static void idle_push(struct weft_pool *pool, struct pool_process *process)
{
    pthread_mutex_lock(&pool->lock);
    list_prepend(&pool->idle, &process->link);
    pool->stats.idle++;
    pthread_mutex_unlock(&pool->lock);
}

/* Whether it lives, and has said no more than it was asked (I2). */
static bool idle_sound(struct pool_process *process)
{
    struct weft_process_status status;

    return process_reap(process->process, &status) == -EAGAIN &&
           sys_poll_now(weft_stream_fd(process->stream), POLLIN) == 0;
}

/* A sound idle process, or a new one.  With a slot. */
static int process_take(struct weft_pool *pool, struct pool_call *call,
                        struct pool_process **ret_process)
{
    struct pool_process *process;

    while ((process = idle_pop(pool))) {
        if (idle_sound(process)) {
            *ret_process = process;
            return 0;
        }
        process_destroy(process->process, NULL); /* it ended while it idled: nobody's call */
        process_release(process);
        count_end(pool, END_DIED);
    }
    return process_start(pool, call, ret_process);
}

static void process_give(struct weft_pool *pool, struct pool_process *process)
{
    process->calls++;
    if (pool->options.calls > 0 && process->calls >= pool->options.calls)
        process_retire(pool, process);
    else
        idle_push(pool, process);
}

/* ---- calls -------------------------------------------------------------------------------- */

/* With a slot. */
static int call_in_process(struct weft_pool *pool, struct pool_call *call)
{
    struct pool_process *process = NULL;
    int error = 0;
    int r = process_take(pool, call, &process);

    if (r < 0)
        return r;
    pthread_mutex_lock(&pool->lock);
    pool->stats.calls++;
    pthread_mutex_unlock(&pool->lock);
    r = converse(pool, process, call, &error);
    if (r < 0)
        return process_fail(pool, process, call, r);
    process_give(pool, process);
    return error;
}

static int call_in_time(struct weft_pool *pool, struct pool_call *call, uint64_t deadline_ns)
{
    struct weft_scope scope;

    weft_scope_enter(&scope, deadline_ns);
    int r = weft_semaphore_acquire(&pool->slots, WEFT_NO_DEADLINE);
    if (r == 0) {
        r = call_in_process(pool, call);
        weft_semaphore_release(&pool->slots);
    }
    weft_scope_leave(&scope);
    return r;
}

static int call_target(struct weft_pool *pool, struct pool_call *call, uint64_t deadline_ns,
                       struct weft_pool_reply *ret_reply, struct weft_process_status *ret_death)
{
    int r = weft_check_cancel();

    if (r < 0)
        return r;
    r = call_in_time(pool, call, deadline_ns);
    if (call->dead && ret_death)
        *ret_death = call->status;
    if (r == 0)
        *ret_reply = call->reply;
    return r;
}

int weft_pool_call(struct weft_pool *pool, WEFT_POOL_FUNCTION((*fn)), const void *input,
                   size_t size, uint64_t deadline_ns, struct weft_pool_reply *ret_reply,
                   struct weft_process_status *ret_death)
{
    struct pool_call call = {.input = input, .size = size};

    if (pool->options.program)
        return -EINVAL;
    int r = locate((uintptr_t)fn, POOL_OFFSET, &call.target);
    return r < 0 ? r : call_target(pool, &call, deadline_ns, ret_reply, ret_death);
}

int weft_pool_call_symbol(struct weft_pool *pool, const char *object, const char *symbol,
                          const void *input, size_t size, uint64_t deadline_ns,
                          struct weft_pool_reply *ret_reply, struct weft_process_status *ret_death)
{
    struct pool_call call = {
        .target = {.kind = POOL_SYMBOL, .object = object ? object : "", .symbol = symbol},
        .input = input,
        .size = size};

    if (strlen(call.target.object) >= PATH_MAX || strlen(symbol) >= POOL_SYMBOL_MAX)
        return -ENAMETOOLONG;
    return call_target(pool, &call, deadline_ns, ret_reply, ret_death);
}

/* ---- pools -------------------------------------------------------------------------------- */

void weft_pool_options_init(struct weft_pool_options *options)
{
    *options = (struct weft_pool_options){0};
}

static unsigned cpus_allowed(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return CPU_COUNT(&set) > 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int weft_pool_new(const struct weft_pool_options *options, struct weft_pool **ret_pool)
{
    if (options && options->init && options->program)
        return -EINVAL;
    struct weft_pool *pool = calloc(1, sizeof(*pool));
    if (!pool)
        return -ENOMEM;
    if (options)
        pool->options = *options;
    if (pool->options.processes == 0)
        pool->options.processes = cpus_allowed();
    if (pool->options.reply_limit == 0)
        pool->options.reply_limit = REPLY_LIMIT_DEFAULT;
    weft_semaphore_init(&pool->slots, pool->options.processes, 0);
    pthread_mutex_init(&pool->lock, NULL);
    list_init(&pool->idle);
    *ret_pool = pool;
    return 0;
}

void weft_pool_stats(struct weft_pool *pool, struct weft_pool_stats *ret_stats)
{
    pthread_mutex_lock(&pool->lock);
    *ret_stats = pool->stats;
    pthread_mutex_unlock(&pool->lock);
}

void weft_pool_free(struct weft_pool *pool)
{
    struct pool_process *process;

    if (!pool)
        return;
    for (struct list *node = pool->idle.next; node != &pool->idle; node = node->next)
        weft_process_kill(container_of(node, struct pool_process, link)->process, SIGKILL);
    while ((process = idle_pop(pool)))
        process_retire(pool, process);
    CHECK(pool->stats.processes == 0);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
