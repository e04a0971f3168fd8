/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "support/io.h"

/* A program that is run to its end, and what it said. */
struct run {
    const char *script;      /* for sh; or */
    const char *const *argv; /* without one */
    const char *const *envp;
    const char *cwd;
    bool new_session;
    char output[4096];
    struct weft_process_status status;
};

static void read_all(struct weft_stream *stream, char *buffer, size_t size)
{
    size_t total = 0;
    ssize_t n;
    while ((n = weft_read(stream, buffer + total, size - 1 - total)) > 0)
        total += (size_t)n;
    EXPECT_EQ(n, 0);
    buffer[total] = '\0';
}

static void run_program(struct run *run)
{
    const char *argv[] = {"/bin/sh", "-c", run->script, NULL};
    struct weft_process_options options;
    struct weft_process *process;
    struct weft_stream *stream;
    int fds[2];
    raw_pipe(fds);
    weft_process_options_init(&options);
    options.argv = run->argv ? run->argv : argv;
    options.envp = run->envp;
    options.cwd = run->cwd;
    options.stdout_fd = options.stderr_fd = fds[1];
    options.new_session = run->new_session;
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    close(fds[1]);
    EXPECT_EQ(weft_stream_new(fds[0], &stream), 0);
    read_all(stream, run->output, sizeof(run->output));
    EXPECT_EQ(weft_process_wait(process, soon(), &run->status), 0);
    weft_stream_free(stream);
    weft_process_free(process);
}

static void expect_output(const char *script, const char *output)
{
    struct run run = {.script = script};
    run_program(&run);
    if (strcmp(run.output, output) != 0)
        fprintf(stderr, "%s\n  said: %s  not:  %s", script, run.output, output);
    EXPECT(strcmp(run.output, output) == 0);
    EXPECT_EQ(run.status.exit_code, 0);
}

/* Start argv with nothing but defaults. */
static int spawn(const char *const *argv, struct weft_process **ret_process)
{
    struct weft_process_options options;
    weft_process_options_init(&options);
    options.argv = argv;
    return weft_process_spawn(&options, ret_process);
}

static struct weft_process *spawn_script(const char *script)
{
    const char *argv[] = {"sh", "-c", script, NULL};
    struct weft_process *process;
    EXPECT_EQ(spawn(argv, &process), 0);
    return process;
}

static struct weft_process_status wait_for(struct weft_process *process)
{
    struct weft_process_status status;
    EXPECT_EQ(weft_process_wait(process, soon(), &status), 0);
    return status;
}

/* No child is left, neither running nor dead. */
static void expect_no_child(void)
{
    EXPECT_EQ(waitpid(-1, NULL, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

/* ---- how it ends ---------------------------------------------------------------------------- */

static int see_endings(void *arg)
{
    struct weft_process_status status;
    struct weft_process *process;
    (void)arg;
    process = spawn_script("exit 0");
    EXPECT_EQ(wait_for(process).exit_code, 0);
    EXPECT_EQ(wait_for(process).signal, 0); /* again: the same */
    EXPECT_EQ(weft_process_kill(process, SIGTERM), -ESRCH);
    EXPECT_EQ(weft_process_kill_group(process, SIGTERM), -ESRCH);
    weft_process_free(process);
    process = spawn_script("exit 255");
    EXPECT_EQ(wait_for(process).exit_code, 255);
    weft_process_free(process);
    process = spawn_script("kill -SEGV $$");
    status = wait_for(process);
    EXPECT_EQ(status.exit_code, -1);
    EXPECT_EQ(status.signal, SIGSEGV);
    weft_process_free(process);
    process = spawn_script("exec sleep 1000");
    EXPECT(weft_process_pid(process) > 0);
    EXPECT_EQ(weft_process_kill(process, SIGTERM), 0);
    EXPECT_EQ(wait_for(process).signal, SIGTERM);
    weft_process_free(process);
    weft_process_free(NULL);
    expect_no_child();
    return 0;
}

Test(process, tells_how_it_ended)
{
    on_fibers_counting_fds(1, see_endings, NULL);
}

/* ---- what it starts with -------------------------------------------------------------------- */

/* Nothing blocked and nothing ignored, but for 32 and 33, which are glibc's own.  Without a shell:
 * it would unblock signals. */
static void expect_default_signals(void)
{
    const char *argv[] = {"grep", "-E", "Sig(Blk|Ign)", "/proc/self/status", NULL};
    struct run run = {.argv = argv};
    unsigned long long blocked = 1, ignored = 1;
    run_program(&run);
    /* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
    EXPECT_EQ(sscanf(run.output, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    EXPECT_EQ(blocked, 0);
    EXPECT_EQ(ignored & ~(3ull << 31), 0);
}

static int see_surroundings(void *arg)
{
    const char *const env[] = {"WEFT_TEST=seen", NULL};
    struct run run = {.script = "echo $WEFT_TEST; pwd", .envp = env, .cwd = "/usr"};
    (void)arg;
    run_program(&run);
    EXPECT(strcmp(run.output, "seen\n/usr\n") == 0);
    expect_output("cat; echo $?", "0\n"); /* stdin is /dev/null */
    /* No descriptor but the three; one more is sh's or ls's own. */
    expect_output("set -- /proc/self/fd/*; echo $#", "4\n");
    expect_default_signals();
    expect_output("test $$ = $(ps -o pgid= -p $$)", "");
    struct run session = {.script = "test $$ = $(ps -o sid= -p $$)", .new_session = true};
    run_program(&session);
    EXPECT_EQ(session.status.exit_code, 0);
    return 0;
}

Test(process, starts_with_clean_surroundings)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    on_fibers_counting_fds(1, see_surroundings, NULL);
}

/* The parent's own 0, 1 and 2 are the child's, in another order. */
static int shuffle_stdio(void *arg)
{
    const char *argv[] = {"sh", "-c", "cat; echo out; echo err >&2", NULL};
    struct weft_process_options options;
    struct weft_process *process;
    int in[2], out[2], err[2];
    char buffer[16] = {0};
    (void)arg;
    raw_pipe(in);
    raw_pipe(out);
    raw_pipe(err);
    int saved[3] = {fcntl(0, F_DUPFD_CLOEXEC, 10), fcntl(1, F_DUPFD_CLOEXEC, 10),
                    fcntl(2, F_DUPFD_CLOEXEC, 10)};
    dup2(out[1], 0);
    dup2(err[1], 1);
    dup2(in[0], 2);
    weft_process_options_init(&options);
    options.argv = argv;
    options.stdin_fd = 2;
    options.stdout_fd = 0;
    options.stderr_fd = 1;
    int r = weft_process_spawn(&options, &process);
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    EXPECT_EQ(r, 0);
    EXPECT_EQ(write(in[1], "in\n", 3), 3);
    close(in[1]);
    EXPECT_EQ(wait_for(process).exit_code, 0);
    EXPECT_EQ(read(out[0], buffer, sizeof(buffer)), 7);
    EXPECT_EQ(memcmp(buffer, "in\nout\n", 7), 0);
    EXPECT_EQ(read(err[0], buffer, sizeof(buffer)), 4);
    EXPECT_EQ(memcmp(buffer, "err\n", 4), 0);
    weft_process_free(process);
    int used[] = {in[0], out[0], out[1], err[0], err[1]};
    for (int i = 0; i < 5; i++)
        close(used[i]);
    return 0;
}

Test(process, standard_descriptors_may_be_permuted)
{
    on_fibers_counting_fds(1, shuffle_stdio, NULL);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void expect_refused(const char *const *argv, const char *cwd, const char *const *envp,
                           int error, enum weft_process_fault fault)
{
    enum weft_process_fault found = (enum weft_process_fault)77;
    struct weft_process *process = NULL;
    struct weft_process_options options;
    weft_process_options_init(&options);
    options.argv = argv;
    options.envp = envp;
    options.cwd = cwd;
    options.ret_fault = &found;
    EXPECT_EQ(weft_process_spawn(&options, &process), error);
    EXPECT_EQ(found, fault);
    EXPECT(process == NULL);
}

/* A file that may be executed but cannot be. */
static void make_junk(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0700);
    EXPECT_EQ(write(fd, "junk", 4), 4);
    close(fd);
}

static int be_refused(void *arg)
{
    const char *none[] = {NULL}, *empty[] = {"", NULL}, *absent[] = {"/no/such", NULL};
    const char *unknown[] = {"weft-no-such-program", NULL}, *folder[] = {"/usr", NULL};
    const char *plain[] = {"/etc/passwd", NULL}, *good[] = {"true", NULL};
    const char *under_file[] = {"/etc/passwd/x", NULL};
    const char *nowhere[] = {"PATH=/nowhere", NULL}, *unset[] = {NULL};
    char junk[64];
    struct weft_process *process;
    (void)arg;
    expect_refused(none, NULL, NULL, -EINVAL, WEFT_PROCESS_FAULT_OTHER);
    expect_refused(empty, NULL, NULL, -ENOENT, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(absent, NULL, NULL, -ENOENT, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(unknown, NULL, NULL, -ENOENT, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(folder, NULL, NULL, -EACCES, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(plain, NULL, NULL, -EACCES, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(under_file, NULL, NULL, -ENOTDIR, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(good, NULL, nowhere, -ENOENT, WEFT_PROCESS_FAULT_PROGRAM);
    expect_refused(good, "/no/such", NULL, -ENOENT, WEFT_PROCESS_FAULT_CWD);
    expect_refused(good, "/etc/passwd", NULL, -ENOTDIR, WEFT_PROCESS_FAULT_CWD);
    snprintf(junk, sizeof(junk), "/tmp/weft-junk-%ld", (long)getpid());
    const char *unfit[] = {junk, NULL};
    make_junk(junk);
    expect_refused(unfit, NULL, NULL, -ENOEXEC, WEFT_PROCESS_FAULT_PROGRAM);
    unlink(junk);
    expect_no_child();
    struct weft_process_options options; /* without PATH there is a default */
    weft_process_options_init(&options);
    options.argv = good;
    options.envp = unset;
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    EXPECT_EQ(wait_for(process).exit_code, 0);
    weft_process_free(process);
    return 0;
}

Test(process, a_refused_spawn_says_what_was_wrong_and_leaves_no_child)
{
    on_fibers_counting_fds(1, be_refused, NULL);
}

static int search_past_a_folder(void *arg)
{
    const char *good[] = {"true", NULL};
    char folder[64], inner[80], path[96];
    const char *envp[] = {path, NULL};
    struct run run = {.argv = good, .envp = envp};
    (void)arg;
    snprintf(folder, sizeof(folder), "/tmp/weft-path-%ld", (long)getpid());
    snprintf(inner, sizeof(inner), "%s/true", folder);
    snprintf(path, sizeof(path), "PATH=%s:/usr/bin", folder);
    EXPECT_EQ(mkdir(folder, 0700), 0);
    EXPECT_EQ(mkdir(inner, 0700), 0);
    run_program(&run);
    EXPECT_EQ(run.status.exit_code, 0);
    EXPECT_EQ(rmdir(inner), 0);
    make_junk(inner); /* a file that may not be executed is passed over, too */
    EXPECT_EQ(chmod(inner, 0600), 0);
    run_program(&run);
    EXPECT_EQ(run.status.exit_code, 0);
    unlink(inner);
    EXPECT_EQ(rmdir(folder), 0);
    return 0;
}

Test(process, the_search_passes_over_what_is_no_program)
{
    on_fibers_counting_fds(1, search_past_a_folder, NULL);
}

static int relative_to_cwd(void *arg)
{
    const char *direct[] = {"./env", "true", NULL}, *searched[] = {"env", "true", NULL};
    const char *path[] = {"PATH=nowhere:bin", NULL};
    struct weft_process_options options;
    struct weft_process *process;
    (void)arg;
    weft_process_options_init(&options);
    options.argv = direct;
    options.cwd = "/usr/bin";
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    EXPECT_EQ(wait_for(process).exit_code, 0);
    weft_process_free(process);
    options.argv = searched;
    options.envp = path;
    options.cwd = "/usr";
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    EXPECT_EQ(wait_for(process).exit_code, 0);
    weft_process_free(process);
    return 0;
}

Test(process, relative_names_start_at_the_childs_directory)
{
    on_fibers_counting_fds(1, relative_to_cwd, NULL);
}

static int spawn_without_fds(void *arg)
{
    const char *good[] = {"true", NULL};
    struct weft_process *process = NULL;
    struct rlimit before, low;
    (void)arg;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 3;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
    EXPECT_EQ(spawn(good, &process), -EMFILE);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT(process == NULL);
    expect_no_child();
    return 0;
}

Test(process, without_descriptors_nothing_is_started)
{
    on_fibers_counting_fds(1, spawn_without_fds, NULL);
}

/* ---- cancellation --------------------------------------------------------------------------- */

struct waiting {
    struct weft_process *process;
    atomic_int arrivals;
    int result;
};

static int wait_once(void *arg)
{
    struct waiting *waiting = arg;
    struct weft_process_status status;
    arrive(&waiting->arrivals);
    waiting->result = weft_process_wait(waiting->process, WEFT_NO_DEADLINE, &status);
    return 0;
}

static int cancel_a_wait(void *arg)
{
    const char *good[] = {"true", NULL};
    struct weft_process_status status = {.exit_code = 77};
    struct weft_process *process = NULL;
    struct waiting waiting = {.process = spawn_script("exec sleep 1000")};
    struct weft_group group;
    struct weft_scope scope;
    (void)arg;
    EXPECT_EQ(weft_process_wait(waiting.process, weft_now_ns() + WEFT_MILLISECOND, &status),
              -ETIMEDOUT);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_once, &waiting), 0);
    await_arrivals(&waiting.arrivals, 1);
    EXPECT_EQ(weft_process_wait(waiting.process, weft_now_ns() + WEFT_MILLISECOND, &status),
              -ETIMEDOUT); /* beside the other */
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(waiting.result, -ECANCELED);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_process_wait(waiting.process, soon(), &status), -ETIMEDOUT);
    EXPECT_EQ(spawn(good, &process), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT(process == NULL);
    EXPECT_EQ(status.exit_code, 77);
    EXPECT_EQ(weft_process_kill(waiting.process, SIGKILL), 0);
    EXPECT_EQ(wait_for(waiting.process).signal, SIGKILL);
    weft_process_free(waiting.process);
    expect_no_child();
    return 0;
}

Test(process, a_cancelled_wait_can_be_repeated)
{
    on_fibers_counting_fds(1, cancel_a_wait, NULL);
    on_fibers_counting_fds(2, cancel_a_wait, NULL);
}

/* ---- groups --------------------------------------------------------------------------------- */

static int kill_a_group(void *arg)
{
    const char *argv[] = {"sh", "-c", "sleep 1000 & echo; wait", NULL};
    struct weft_process_options options;
    struct weft_process *process;
    struct weft_stream *stream;
    char buffer[8];
    int fds[2];
    (void)arg;
    raw_pipe(fds);
    weft_process_options_init(&options);
    options.argv = argv;
    options.stdout_fd = fds[1];
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    close(fds[1]);
    EXPECT_EQ(weft_stream_new(fds[0], &stream), 0);
    EXPECT_EQ(weft_read(stream, buffer, 8), 1); /* the grandchild has been started */
    EXPECT_EQ(weft_process_kill_group(process, SIGKILL), 0);
    EXPECT_EQ(weft_read(stream, buffer, 8), 0); /* and holds the pipe no longer */
    EXPECT_EQ(wait_for(process).signal, SIGKILL);
    weft_process_free(process);
    weft_stream_free(stream);

    options.new_group = false;
    options.stdout_fd = -1;
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    EXPECT_EQ(weft_process_kill_group(process, SIGKILL), -EINVAL);
    EXPECT_EQ(weft_process_kill(process, SIGKILL), 0);
    EXPECT_EQ(wait_for(process).signal, SIGKILL);
    weft_process_free(process);
    return 0;
}

Test(process, kill_group_reaches_grandchildren)
{
    setpgid(0, 0);
    on_fibers_counting_fds(1, kill_a_group, NULL);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM); /* the sleep of the child without a group of its own */
}

/* ---- when somebody else reaps ---------------------------------------------------------------- */

static int be_robbed(void *arg)
{
    struct weft_process_status status = {.exit_code = 77};
    struct weft_process *process = spawn_script("exit 3");
    (void)arg;
    EXPECT_EQ(waitpid(weft_process_pid(process), NULL, 0), weft_process_pid(process));
    EXPECT_EQ(weft_process_wait(process, soon(), &status), -ECHILD);
    EXPECT_EQ(weft_process_communicate(process, NULL, 0, 0, soon(), NULL, NULL, &status), -ECHILD);
    EXPECT_EQ(weft_process_terminate(process, WEFT_SECOND, &status), -ECHILD);
    EXPECT_EQ(weft_process_kill(process, SIGKILL), -ESRCH);
    EXPECT_EQ(status.exit_code, 77);
    weft_process_free(process);
    return 0;
}

Test(process, one_that_somebody_else_reaped_is_told)
{
    on_fibers_counting_fds(1, be_robbed, NULL);
}

/* ---- many ----------------------------------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SEQUENTIAL = 100, PARALLEL = 16 };
#else
enum { SEQUENTIAL = 1000, PARALLEL = 64 };
#endif

static int one_true(void *arg)
{
    const char *argv[] = {"true", NULL};
    struct weft_process *process;
    (void)arg;
    EXPECT_EQ(spawn(argv, &process), 0);
    EXPECT_EQ(wait_for(process).exit_code, 0);
    weft_process_free(process);
    return 0;
}

static int many_in_a_row(void *arg)
{
    for (int i = 0; i < SEQUENTIAL; i++)
        one_true(arg);
    expect_no_child();
    return 0;
}

Test(process, a_thousand_in_a_row_leave_nothing_behind)
{
    on_fibers_counting_fds(1, many_in_a_row, NULL);
}

static int many_at_once(void *arg)
{
    struct weft_group group;
    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < PARALLEL; i++)
        EXPECT_EQ(weft_group_spawn(&group, "true", one_true, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    expect_no_child();
    return 0;
}

Test(process, sixty_four_at_once_leave_nothing_behind)
{
    on_fibers_counting_fds(2, many_at_once, NULL);
}

static int free_unwaited(void *arg)
{
    pid_t *ret_pid = arg;
    struct weft_process *process = spawn_script("exit 3");
    *ret_pid = weft_process_pid(process);
    weft_process_free(process);
    return 0;
}

Test(process, one_that_is_forgotten_is_left_to_run)
{
    pid_t pid = 0;
    int status = 0;
    on_fibers_counting_fds(1, free_unwaited, &pid);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}
