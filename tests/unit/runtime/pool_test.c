/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/crash.h"
#include "support/process.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1 /* which need terabytes of addresses */
#else
#define SANITIZED 0
#endif

/* ---- help ----------------------------------------------------------------------------------- */

static struct weft_pool *pool_of(unsigned processes)
{
    struct weft_pool_options options;
    struct weft_pool *pool;
    weft_pool_options_init(&options);
    options.processes = processes;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    return pool;
}

static struct weft_pool_stats stats_of(struct weft_pool *pool)
{
    struct weft_pool_stats stats;
    weft_pool_stats(pool, &stats);
    return stats;
}

static void expect_echo(struct weft_pool *pool, const char *text)
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

static void pool_ends(struct weft_pool *pool)
{
    weft_pool_free(pool);
    expect_no_child();
}

/* ---- calls ---------------------------------------------------------------------------------- */

static int call_often(void *arg)
{
    static char large[300000];
    struct weft_pool *pool = pool_of(1);
    struct weft_pool_reply reply;
    (void)arg;
    EXPECT_EQ(stats_of(pool).processes, 0);
    for (int i = 0; i < 100; i++)
        expect_echo(pool, i % 2 ? "some words" : "");
    memset(large, 'x', sizeof(large));
    EXPECT_EQ(weft_pool_call(pool, pool_echo, large, sizeof(large), soon(), &reply, NULL), 0);
    EXPECT(reply.size == sizeof(large) && memcmp(reply.data, large, sizeof(large)) == 0);
    free(reply.data);
    EXPECT_EQ(stats_of(pool).started, 1);
    EXPECT_EQ(stats_of(pool).calls, 101);
    EXPECT_EQ(stats_of(pool).idle, 1);
    pool_ends(pool);
    weft_pool_free(NULL);
    pool_ends(pool_of(0)); /* unused */
    return 0;
}

Test(pool, calls_come_back)
{
    on_fibers_counting_fds(1, call_often, NULL);
    on_fibers_counting_fds(2, call_often, NULL);
}

enum { CALLERS = 20 };

static WEFT_POOL_FUNCTION(tell_pid)
{
    pid_t pid = getpid();
    (void)input, (void)size;
    usleep(1000); /* long enough that one process does not do all of it */
    return weft_pool_write(output, &pid, sizeof(pid));
}

struct caller {
    struct weft_pool *pool;
    pid_t pid;
};

static int ask_pid(void *arg)
{
    struct caller *caller = arg;
    struct weft_pool_reply reply;
    EXPECT_EQ(weft_pool_call(caller->pool, tell_pid, NULL, 0, soon(), &reply, NULL), 0);
    EXPECT_EQ(reply.size, sizeof(caller->pid));
    memcpy(&caller->pid, reply.data, sizeof(caller->pid));
    free(reply.data);
    return 0;
}

static int call_at_once(void *arg)
{
    struct weft_pool *pool = pool_of(3);
    struct caller callers[CALLERS];
    struct weft_group group;
    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < CALLERS; i++) {
        callers[i].pool = pool;
        EXPECT_EQ(weft_group_spawn(&group, "caller", ask_pid, &callers[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < CALLERS; i++)
        EXPECT(callers[i].pid > 0 && callers[i].pid != getpid());
    EXPECT(stats_of(pool).started <= 3);
    EXPECT_EQ(stats_of(pool).processes, stats_of(pool).started);
    pool_ends(pool);
    return 0;
}

Test(pool, many_callers_share_few_processes)
{
    on_fibers_counting_fds(2, call_at_once, NULL);
}

static WEFT_POOL_FUNCTION(count_calls)
{
    static int calls;
    (void)input, (void)size, (void)output;
    return ++calls;
}

static int call_limited(void *arg)
{
    struct weft_pool_options options;
    struct weft_pool *pool;
    (void)arg;
    weft_pool_options_init(&options);
    options.processes = 1;
    options.calls = 3;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    for (int i = 0; i < 7; i++) {
        struct weft_pool_reply reply;
        EXPECT_EQ(weft_pool_call(pool, count_calls, NULL, 0, soon(), &reply, NULL), 0);
        EXPECT_EQ(reply.result, i % 3 + 1);
        EXPECT(reply.size == 0 && reply.data != NULL);
        free(reply.data);
    }
    EXPECT_EQ(stats_of(pool).started, 3);
    EXPECT_EQ(stats_of(pool).died + stats_of(pool).killed, 0);
    pool_ends(pool);
    return 0;
}

Test(pool, a_process_is_replaced_after_its_share_of_calls)
{
    on_fibers_counting_fds(1, call_limited, NULL);
}

/* ---- what is called ------------------------------------------------------------------------- */

static void expect_length(struct weft_pool *pool, const char *symbol, int error)
{
    struct weft_pool_reply reply = {.result = 77};
    EXPECT_EQ(weft_pool_call_symbol(pool, "libc.so.6", symbol, "four", 4, soon(), &reply, NULL),
              error);
    EXPECT_EQ(reply.result, error ? 77 : 4);
    if (error == 0)
        free(reply.data);
}

static int call_by_name(void *arg)
{
    static char long_name[5000];
    struct weft_pool *pool = pool_of(1);
    struct weft_pool_reply reply;
    (void)arg;
    expect_length(pool, "strnlen", 0); /* which has the type that it takes */
    expect_length(pool, "weft_no_such_function", -ENOENT);
    expect_length(pool, "strnlen", 0);
    EXPECT_EQ(weft_pool_call_symbol(pool, "/no/such.so", "x", "", 0, soon(), &reply, NULL),
              -ENOENT);
    EXPECT_EQ(weft_pool_call_symbol(pool, NULL, "no_such", "", 0, soon(), &reply, NULL), -ENOENT);
    memset(long_name, 'x', sizeof(long_name) - 1);
    EXPECT_EQ(weft_pool_call_symbol(pool, long_name, "x", "", 0, soon(), &reply, NULL),
              -ENAMETOOLONG);
    EXPECT_EQ(weft_pool_call_symbol(pool, NULL, long_name, "", 0, soon(), &reply, NULL),
              -ENAMETOOLONG);
    EXPECT_EQ(stats_of(pool).started, 1); /* none of it cost the process */
    void *nowhere = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WEFT_POOL_FUNCTION((*wild));
    memcpy(&wild, &nowhere, sizeof(wild));
    EXPECT_EQ(weft_pool_call(pool, wild, "", 0, soon(), &reply, NULL), -EINVAL);
    munmap(nowhere, 4096);
    pool_ends(pool);
    return 0;
}

Test(pool, functions_may_be_called_by_name)
{
    on_fibers_counting_fds(1, call_by_name, NULL);
}

/* A shared object that knows nothing of this program and is linked with nothing of the library. */
static const char object_text[] = "#include <weft/pool.h>\n"
                                  "WEFT_POOL_FUNCTION(reverse)\n"
                                  "{\n"
                                  "    const char *text = input;\n"
                                  "    for (size_t i = size; i > 0; i--)\n"
                                  "        if (weft_pool_write(output, &text[i - 1], 1) < 0)\n"
                                  "            return -1;\n"
                                  "    return 5;\n"
                                  "}\n";

/* Returns: whether there is a compiler. */
static bool make_object(const char *source, const char *object)
{
    char include[512];
    const char *argv[] = {"cc", "-shared", "-fPIC", include, "-o", object, source, NULL};
    struct weft_process_options options;
    struct weft_process_status status;
    FILE *file = fopen(source, "we");
    EXPECT(file && fputs(object_text, file) >= 0 && fclose(file) == 0);
    snprintf(include, sizeof(include), "-I%s/runtime/include", getenv("WEFT_SOURCE"));
    weft_process_options_init(&options);
    options.argv = argv;
    options.stderr_fd = WEFT_PROCESS_INHERIT;
    int r = weft_process_run(&options, NULL, 0, 0, soon(), NULL, NULL, &status);
    if (r == -ENOENT)
        return false;
    EXPECT_EQ(r, 0);
    EXPECT_EQ(status.exit_code, 0);
    return true;
}

static int call_an_object(void *arg)
{
    char folder[] = "/tmp/weft-object-XXXXXX", source[64], object[64];
    struct weft_pool *pool = pool_of(1);
    struct weft_pool_reply reply;
    (void)arg;
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(source, sizeof(source), "%s/reverse.c", folder);
    snprintf(object, sizeof(object), "%s/reverse.so", folder);
    if (make_object(source, object)) {
        EXPECT_EQ(weft_pool_call_symbol(pool, object, "reverse", "abc", 3, soon(), &reply, NULL),
                  0);
        EXPECT_EQ(reply.result, 5);
        EXPECT(strcmp(reply.data, "cba") == 0);
        free(reply.data);
        EXPECT_EQ(unlink(object), 0);
    }
    EXPECT_EQ(unlink(source), 0);
    EXPECT_EQ(rmdir(folder), 0);
    pool_ends(pool);
    return 0;
}

Test(pool, a_shared_object_needs_nothing_of_the_library)
{
    if (getenv("WEFT_SOURCE"))
        on_fibers_counting_fds(1, call_an_object, NULL);
}

static int init_value;

static int init_well(void)
{
    init_value = 41;
    return 0;
}

static int init_badly(void)
{
    return -EXDEV;
}

static int init_dying(void)
{
    _exit(4);
}

static WEFT_POOL_FUNCTION(tell_init)
{
    (void)input, (void)size, (void)output;
    return init_value;
}

static int call_after_init(void *arg)
{
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_options options;
    struct weft_pool_reply reply;
    struct weft_pool *pool;
    (void)arg;
    weft_pool_options_init(&options);
    options.init = init_well;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    EXPECT_EQ(weft_pool_call(pool, tell_init, "", 0, soon(), &reply, NULL), 0);
    EXPECT_EQ(reply.result, 41);
    free(reply.data);
    pool_ends(pool);
    options.init = init_badly;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    EXPECT_EQ(weft_pool_call(pool, tell_init, "", 0, soon(), &reply, &death), -EXDEV);
    EXPECT_EQ(death.exit_code, 77);
    pool_ends(pool);
    options.init = init_dying;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    EXPECT_EQ(weft_pool_call(pool, tell_init, "", 0, soon(), &reply, &death), -ECHILD);
    EXPECT_EQ(death.exit_code, 4);
    pool_ends(pool);
    options.program = "/bin/true";
    EXPECT_EQ(weft_pool_new(&options, &pool), -EINVAL);
    options.init = NULL;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    EXPECT_EQ(weft_pool_call(pool, tell_init, "", 0, soon(), &reply, NULL), -EINVAL);
    EXPECT_EQ(weft_pool_call_symbol(pool, NULL, "x", "", 0, soon(), &reply, &death), -ECHILD);
    EXPECT_EQ(death.exit_code, 0);
    pool_ends(pool);
    options.program = "/no/such";
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    EXPECT_EQ(weft_pool_call_symbol(pool, NULL, "x", "", 0, soon(), &reply, NULL), -ENOENT);
    pool_ends(pool);
    return 0;
}

Test(pool, processes_may_be_prepared)
{
    on_fibers_counting_fds(1, call_after_init, NULL);
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

Test(pool, a_crash_costs_one_call)
{
    on_fibers_counting_fds(1, die_often, NULL);
    on_fibers_counting_fds(2, die_often, NULL);
}

static void expect_late(WEFT_POOL_FUNCTION((*fn)))
{
    struct weft_pool *pool = pool_of(1);
    expect_echo(pool, "started");
    struct weft_process_status death = {.exit_code = 77};
    struct weft_pool_reply reply;
    EXPECT_EQ(weft_pool_call(pool, fn, "", 0, weft_now_ns() + WEFT_MILLISECOND, &reply, &death),
              -ETIMEDOUT);
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

Test(pool, one_that_never_returns_is_killed_at_the_deadline)
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

Test(pool, one_that_computes_too_long_meets_its_limit)
{
    on_fibers_counting_fds(1, spend_cpu, NULL);
}

static WEFT_POOL_FUNCTION(allocate)
{
    (void)input, (void)size, (void)output;
    for (int i = 0; i < 64; i++) {
        char *memory = malloc(16 << 20);
        if (!memory)
            die_of(SIGSEGV); /* as most programs do then */
        memset(memory, 1, 16 << 20);
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

Test(pool, one_that_takes_too_much_memory_meets_its_limit)
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

Test(pool, a_hostile_process_is_not_believed)
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

Test(pool, a_process_that_died_or_babbled_while_idle_is_replaced)
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

Test(pool, output_has_a_limit)
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

Test(pool, a_cancel_kills_the_call)
{
    on_fibers_counting_fds(1, cancel_calls, NULL);
    on_fibers_counting_fds(2, cancel_calls, NULL);
}

/* ---- surroundings --------------------------------------------------------------------------- */

static WEFT_POOL_FUNCTION(tell_surroundings)
{
    char folder[256], text[512];
    (void)input, (void)size;
    if (!getcwd(folder, sizeof(folder)))
        return -1;
    int length = snprintf(text, sizeof(text), "%s %s %d", folder, getenv("MARK"),
                          fcntl(WORKER_SOCKET, F_GETFD));
    return weft_pool_write(output, text, (size_t)length);
}

static int call_elsewhere(void *arg)
{
    const char *const env[] = {"MARK=here", NULL};
    struct weft_process_options process;
    struct weft_pool_options options;
    struct weft_pool_reply reply;
    struct weft_pool *pool;
    (void)arg;
    weft_process_options_init(&process);
    process.cwd = "/usr";
    process.envp = env;
    weft_pool_options_init(&options);
    options.process = &process;
    EXPECT_EQ(weft_pool_new(&options, &pool), 0);
    EXPECT_EQ(weft_pool_call(pool, tell_surroundings, "", 0, soon(), &reply, NULL), 0);
    EXPECT(strcmp(reply.data, "/usr here 1") == 0);
    free(reply.data);
    pool_ends(pool);
    return 0;
}

Test(pool, processes_have_the_surroundings_that_are_asked_for)
{
    on_fibers_counting_fds(1, call_elsewhere, NULL);
}

static int be_refused_processes(void *arg)
{
    struct weft_pool *pool = pool_of(2);
    struct weft_pool_reply reply;
    (void)arg;
    forbid_processes(true);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(weft_pool_call(pool, pool_echo, "", 0, soon(), &reply, NULL), -EAGAIN);
    EXPECT_EQ(stats_of(pool).processes, 0);
    forbid_processes(false);
    expect_echo(pool, "on");
    pool_ends(pool);
    return 0;
}

Test(pool, a_refused_fork_costs_one_call)
{
    become_ordinary();
    on_fibers_counting_fds(1, be_refused_processes, NULL);
}
