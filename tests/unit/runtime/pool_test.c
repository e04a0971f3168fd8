/* SPDX-License-Identifier: MIT */
/* Calls that come back; those that do not are in pool_death_test.c. */
#include "support/test.h"

#include "support/pool.h"

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
