/* SPDX-License-Identifier: MIT */
/* Calls that cost their process. */
#include "support/test.h"

#include <time.h>

#include "core/base.h"
#include "support/pool.h"

#if defined(WITH_TSAN) || defined(WITH_ASAN)
#define SANITIZED 1 /* which need terabytes of addresses */
#else
#define SANITIZED 0
#endif

/* A call that costs its process, and the next one. */
static void expect_death(struct weft_pool *pool, WEFT_POOL_FUNCTION((*fn)), uint64_t deadline_ns,
                         int error, int exit_code, int signal)
{
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply = {.result = 77};
    EXPECT_EQ(weft_pool_call(pool, fn, "", 0, deadline_ns, &reply, &death), error);
    EXPECT_EQ(reply.result, 77);
    EXPECT_EQ(death.exit_code, exit_code);
    EXPECT_EQ(death.signal, signal);
    EXPECT_EQ(stats_of(pool).processes, 0);
    expect_no_child();
    expect_echo(pool, "on");
}

/* ---- deaths --------------------------------------------------------------------------------- */

static int die_often(void *arg)
{
    struct weft_pool *pool = pool_of(1);
    (void)arg;
    expect_death(pool, pool_crash, soon(), -ECHILD, -1, SIGSEGV);
    weft_pool_free(pool);
    pool = pool_of(1);
    expect_death(pool, pool_abort, soon(), -ECHILD, -1, SIGABRT);
    weft_pool_free(pool);
    pool = pool_of(1);
    expect_death(pool, pool_exit, soon(), -ECHILD, 7, 0);
    weft_pool_free(pool);
    pool = pool_of(1);
    expect_death(pool, pool_leave_child, soon(), -ECHILD, 9, 0);
    EXPECT_EQ(stats_of(pool).died, 1);
    EXPECT_EQ(stats_of(pool).killed, 0);
    pool_ends(pool);
    return 0;
}

Test(pool_death, a_crash_costs_one_call)
{
    on_fibers_counting_fds(1, die_often, NULL);
    on_fibers_counting_fds(2, die_often, NULL);
}

/* On a busy machine the deadline may pass before the process is called: then with more time. */
static void expect_late(WEFT_POOL_FUNCTION((*fn)))
{
    struct weft_pool *pool = pool_of(1);
    expect_echo(pool, "started");
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply;
    for (uint64_t time_ns = WEFT_MILLISECOND; stats_of(pool).calls == 1; time_ns *= 2) {
        EXPECT_EQ(death.exit_code, 77);
        EXPECT_EQ(weft_pool_call(pool, fn, "", 0, weft_deadline_after(time_ns), &reply, &death),
                  -ETIMEDOUT);
    }
    EXPECT_EQ(death.signal, SIGKILL);
    EXPECT_EQ(stats_of(pool).killed, 1);
    expect_no_child();
    expect_echo(pool, "on");
    pool_ends(pool);
}

static int be_late(void *arg)
{
    (void)arg;
    expect_late(pool_hang);
    expect_late(pool_spin);
    return 0;
}

Test(pool_death, one_that_never_returns_is_killed_at_the_deadline)
{
    on_fibers_counting_fds(1, be_late, NULL);
}

static int spend_cpu(void *arg)
{
    struct weft_pool_options options;
    struct weft_pool *pool;
    (void)arg;
    weft_pool_options_init(&options);
    options.processes = 1;
    options.cpu_limit_ns = 50 * WEFT_MILLISECOND;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    expect_echo(pool, "little");
    struct weft_process_status death;
    struct weft_pool_reply reply;
    EXPECT_EQ(weft_pool_call(pool, pool_spin, "", 0, WEFT_NO_DEADLINE, &reply, &death), -ECHILD);
    EXPECT_EQ(death.signal, SIGXCPU);
    pool_ends(pool);
    return 0;
}

Test(pool_death, one_that_computes_too_long_meets_its_limit)
{
    on_fibers_counting_fds(1, spend_cpu, NULL);
}

/* Computes for 30 ms of its process's time, and says which process that is. */
static WEFT_POOL_FUNCTION(compute)
{
    struct timespec now;
    pid_t pid = getpid();
    (void)input, (void)size;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    uint64_t until =
        (uint64_t)now.tv_sec * WEFT_SECOND + (uint64_t)now.tv_nsec + 30 * WEFT_MILLISECOND;
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    while ((uint64_t)now.tv_sec * WEFT_SECOND + (uint64_t)now.tv_nsec < until);
    return weft_pool_write(output, &pid, sizeof(pid));
}

static int spend_it_in_parts(void *arg)
{
    struct weft_pool_options options;
    struct weft_pool *pool;
    pid_t first = 0;
    (void)arg;
    weft_pool_options_init(&options);
    options.processes = 1;
    options.cpu_limit_ns = 200 * WEFT_MILLISECOND;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    for (int i = 0; i < 10; i++) {
        struct weft_pool_reply reply;
        EXPECT_EQ(weft_pool_call(pool, compute, "", 0, WEFT_NO_DEADLINE, &reply, NULL), 0);
        EXPECT_EQ(reply.size, sizeof(first));
        EXPECT(i == 0 || memcmp(reply.data, &first, sizeof(first)) == 0);
        memcpy(&first, reply.data, sizeof(first));
        free(reply.data);
    }
    pool_ends(pool);
    return 0;
}

Test(pool_death, the_limit_is_that_of_one_call_and_not_of_the_process)
{
    on_fibers_counting_fds(1, spend_it_in_parts, NULL);
}

static WEFT_POOL_FUNCTION(allocate)
{
    (void)input, (void)size, (void)output;
    for (int i = 0; i < 64; i++) {
        char *memory = malloc(16 << 20);
        if (!memory)
            die_of(SIGSEGV); /* as most programs do then */
        memset(memory, 1, 16 << 20);
        __asm__ volatile("" ::"r"(memory) : "memory"); /* or the compiler may leave it all out */
    }
    return 0;
}

static int spend_memory(void *arg)
{
    struct weft_pool_options options;
    struct weft_process_status death;
    struct weft_pool_reply reply;
    struct weft_pool *pool;
    (void)arg;
    weft_pool_options_init(&options);
    options.processes = 1;
    options.memory_limit = UINT64_C(192) << 20;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    expect_echo(pool, "little");
    EXPECT_EQ(weft_pool_call(pool, allocate, "", 0, soon(), &reply, &death), -ECHILD);
    EXPECT_EQ(death.signal, SIGSEGV);
    expect_echo(pool, "on");
    char *huge = calloc(1, (size_t)224 << 20); /* never touched: what the worker cannot hold */
    EXPECT_EQ(weft_pool_call(pool, pool_echo, huge, (size_t)224 << 20, soon(), &reply, &death),
              -ENOMEM);
    free(huge);
    expect_echo(pool, "on"); /* by the same process */
    EXPECT_EQ(stats_of(pool).started, 2);
    pool_ends(pool);
    return 0;
}

Test(pool_death, one_that_takes_too_much_memory_meets_its_limit)
{
    if (!SANITIZED)
        on_fibers_counting_fds(1, spend_memory, NULL);
}

static int be_fooled(void *arg)
{
    struct weft_pool *pool = pool_of(1);
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply;
    struct weft_scope scope;
    (void)arg;
    weft_scope_enter(&scope, weft_deadline_after(100 * WEFT_MILLISECOND));
    int r = weft_pool_call(pool, pool_close_socket, "", 0, soon(), &reply, &death);
    weft_scope_leave(&scope); /* else it waits ten seconds for its end */
    EXPECT(r == -ETIMEDOUT);
    expect_no_child();
    expect_death(pool, pool_babble, soon(), -EPROTO, -1, SIGKILL);
    pool_ends(pool);
    return 0;
}

Test(pool_death, a_hostile_process_is_not_believed)
{
    on_fibers_counting_fds(1, be_fooled, NULL);
}

/* Answers as it should, with the pid of one who says more when SIGUSR1 tells him to. */
static WEFT_POOL_FUNCTION(leave_a_talker)
{
    sigset_t set;
    int number;
    (void)input, (void)size;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        sigwait(&set, &number);
        _exit(write(WORKER_SOCKET, "more", 4) == 4 ? 0 : 1);
    }
    return weft_pool_write(output, &pid, sizeof(pid));
}

static pid_t call_for_pid(struct weft_pool *pool, WEFT_POOL_FUNCTION((*fn)))
{
    struct weft_pool_reply reply;
    pid_t pid;
    EXPECT_EQ(weft_pool_call(pool, fn, "", 0, soon(), &reply, NULL), 0);
    EXPECT_EQ(reply.size, sizeof(pid));
    memcpy(&pid, reply.data, sizeof(pid));
    free(reply.data);
    return pid;
}

/* Until it is a zombie. */
static void await_end_of(pid_t pid)
{
    char path[64], line[256], state = 'R';
    uint64_t deadline_ns = soon();
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    while (state != 'Z') {
        EXPECT(weft_now_ns() < deadline_ns);
        FILE *file = fopen(path, "re");
        EXPECT(file && fgets(line, sizeof(line), file));
        state = strrchr(line, ')')[2];
        fclose(file);
        EXPECT_EQ(weft_yield(), 0);
    }
}

static int idle_badly(void *arg)
{
    struct weft_pool *pool = pool_of(1);
    (void)arg;
    pid_t pid = call_for_pid(pool, tell_pid);
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    await_end_of(pid);
    expect_echo(pool, "on");
    EXPECT_EQ(stats_of(pool).died, 1);
    pid = call_for_pid(pool, leave_a_talker);
    EXPECT_EQ(kill(pid, SIGUSR1), 0);
    await_end_of(pid);
    expect_echo(pool, "on");
    EXPECT_EQ(stats_of(pool).started, 3);
    pool_ends(pool);
    return 0;
}

Test(pool_death, a_process_that_died_or_babbled_while_idle_is_replaced)
{
    on_fibers_counting_fds(1, idle_badly, NULL);
}

static int say_too_much(void *arg)
{
    struct weft_pool_options options;
    struct weft_pool_reply reply = {.result = 77};
    struct weft_pool *pool;
    (void)arg;
    weft_pool_options_init(&options);
    options.processes = 1;
    options.reply_limit = 5;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    expect_echo(pool, "12345");
    EXPECT_EQ(weft_pool_call(pool, pool_echo, "123456", 6, soon(), &reply, NULL), -EMSGSIZE);
    EXPECT_EQ(reply.result, 77);
    expect_echo(pool, "on");
    EXPECT_EQ(stats_of(pool).started, 1);
    pool_ends(pool);
    return 0;
}

Test(pool_death, output_has_a_limit)
{
    on_fibers_counting_fds(1, say_too_much, NULL);
}

/* ---- cancelling ----------------------------------------------------------------------------- */

struct hanging {
    struct weft_pool *pool;
    struct weft_process_status death;
    int result;
};

static int hang(void *arg)
{
    struct hanging *hanging = arg;
    struct weft_pool_reply reply;
    hanging->result =
        weft_pool_call(hanging->pool, pool_hang, "", 0, WEFT_NO_DEADLINE, &reply, &hanging->death);
    return 0;
}

static int cancel_calls(void *arg)
{
    struct weft_pool *pool = pool_of(1);
    struct hanging running = {.pool = pool}, queued = {.pool = pool};
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply;
    struct weft_group group;
    struct weft_scope scope;
    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "running", hang, &running), 0);
    while (stats_of(pool).calls == 0)
        EXPECT_EQ(weft_yield(), 0);
    queued.death.exit_code = 77;
    EXPECT_EQ(weft_group_spawn(&group, "queued", hang, &queued), 0);
    EXPECT_EQ(
        weft_pool_call(pool, pool_echo, "", 0, weft_now_ns() + WEFT_MILLISECOND, &reply, &death),
        -ETIMEDOUT);
    EXPECT_EQ(death.exit_code, 77); /* it was not called */
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(running.result, -ECANCELED);
    EXPECT_EQ(running.death.signal, SIGKILL);
    EXPECT_EQ(queued.result, -ECANCELED);
    EXPECT_EQ(queued.death.exit_code, 77);
    expect_no_child();
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_pool_call(pool, pool_echo, "", 0, soon(), &reply, &death), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    expect_echo(pool, "on");
    EXPECT_EQ(stats_of(pool).killed, 1);
    pool_ends(pool);
    return 0;
}

Test(pool_death, a_cancel_kills_the_call)
{
    on_fibers_counting_fds(1, cancel_calls, NULL);
    on_fibers_counting_fds(2, cancel_calls, NULL);
}
