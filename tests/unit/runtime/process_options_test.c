/* SPDX-License-Identifier: MIT */
/* What a child starts with; how it ends is in process_test.c. */
#include "support/test.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "support/process.h"

enum { OTHER_UID = 61235, OTHER_GID = 61236, THIRD_GID = 61237 };

static struct weft_process_options defaults(void)
{
    struct weft_process_options options;
    weft_process_options_init(&options);
    return options;
}

static void expect_refused(struct weft_process_options *options, int error,
                           enum weft_process_fault fault)
{
    static const char *const argv[] = {"true", NULL};
    enum weft_process_fault found = (enum weft_process_fault)77;
    struct weft_process *process = NULL;
    options->argv = argv;
    options->ret_fault = &found;
    EXPECT_EQ(weft_process_spawn(options, &process), error);
    EXPECT_EQ(found, fault);
    EXPECT(process == NULL);
    expect_no_child();
}

/* ---- standard descriptors ------------------------------------------------------------------- */

static void run_inheriting(void)
{
    struct weft_process_options options = defaults();
    struct weft_process_status status;
    struct weft_process *process;
    options.stdin_fd = options.stdout_fd = options.stderr_fd = WEFT_PROCESS_INHERIT;
    EXPECT_EQ(weft_process_shell("test -e /proc/$$/fd/0 || echo closed; echo err >&2", &options,
                                 &process),
              0);
    EXPECT_EQ(weft_process_wait(process, soon(), &status), 0);
    weft_process_free(process);
}

/* With this process's own 0 closed, and its 1 and 2 on a pipe. */
static int inherit_ours(void *arg)
{
    int fds[2], saved[3];
    char buffer[32] = {0};
    (void)arg;
    raw_pipe(fds);
    for (int i = 0; i < 3; i++)
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
    EXPECT(dup3(fds[1], 1, O_CLOEXEC) == 1 && dup2(fds[1], 2) == 2);
    close(0);
    run_inheriting();
    for (int i = 0; i < 3; i++) {
        dup2(saved[i], i);
        close(saved[i]);
    }
    EXPECT_EQ(read(fds[0], buffer, sizeof(buffer) - 1), 11);
    EXPECT(strcmp(buffer, "closed\nerr\n") == 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(process_options, standard_descriptors_may_be_inherited)
{
    on_fibers_counting_fds(1, inherit_ours, NULL);
}

static int merge(void *arg)
{
    struct weft_process_options options = defaults();
    (void)arg;
    options.stderr_fd = WEFT_PROCESS_STDOUT;
    expect_said(&options, "echo 1; echo 2 >&2; echo 3", "1\n2\n3\n");
    options.stdout_fd = WEFT_PROCESS_PIPE;
    expect_said(&options, "echo 1; echo 2 >&2; echo 3", "1\n2\n3\n");
    return 0;
}

Test(process_options, stderr_may_go_where_stdout_goes)
{
    on_fibers_counting_fds(1, merge, NULL);
}

/* ---- further descriptors -------------------------------------------------------------------- */

/* A pipe with a line in it, at this number. */
static void pipe_at(int number, const char *line)
{
    int fds[2];
    raw_pipe(fds);
    EXPECT_EQ(write(fds[1], line, strlen(line)), (ssize_t)strlen(line));
    close(fds[1]);
    EXPECT_EQ(dup3(fds[0], number, O_CLOEXEC), number);
    close(fds[0]);
}

/* In a list of descriptors, 3 is what the shell reads the list with. */
static int pass_descriptors(void *arg)
{
    const struct weft_process_fd fds[] = {{40, 41}, {41, 40}, {7, 42}, {8, 43}, {43, 43}, {0, 44}};
    struct weft_process_options options = defaults();
    int leak = fcntl(1, F_DUPFD, 50); /* which must not arrive */
    (void)arg;
    pipe_at(40, "forty\n");
    pipe_at(41, "forty-one\n");
    pipe_at(42, "forty-two\n");
    pipe_at(43, "forty-three\n");
    pipe_at(44, "forty-four\n");
    options.fds = fds;
    options.fds_count = 6;
    expect_said(&options,
                "read a; echo $a; bash -c 'read a <&40; read b <&41; read c <&7; read d <&43;"
                " echo $a $b $c $d; cd /proc/$$/fd; echo *'",
                "forty-four\nforty-one forty forty-two forty-three\n0 1 2 3 40 41 43 7 8\n");
    for (int fd = 40; fd <= 44; fd++)
        close(fd);
    options.fds_count = 1; /* a source that is not open */
    expect_refused(&options, -EBADF, WEFT_PROCESS_FAULT_STDIO);
    close(leak);
    return 0;
}

Test(process_options, descriptors_may_be_passed_under_any_number)
{
    on_fibers_counting_fds(1, pass_descriptors, NULL);
}

/* This process has no such system call from now on. */
static void lose_call(long number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (__u32)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    cr_assert_eq(syscall(number, -1, 0, 0), -1);
    cr_assert_eq(errno, ENOSYS);
}

static int see_no_leak(void *arg)
{
    struct weft_process_options options = defaults();
    int leaks[100];
    (void)arg;
    for (int i = 0; i < 100; i++)
        leaks[i] = open("/dev/null", O_RDONLY); /* NOLINT(android-cloexec-open) */
    expect_said(&options, "cd /proc/$$/fd; echo *", "0 1 2 3\n");
    for (int i = 0; i < 100; i++)
        close(leaks[i]);
    return 0;
}

Test(process_options, no_descriptor_leaks_where_the_kernel_has_no_close_range)
{
    lose_call(SYS_close_range);
    on_fibers_counting_fds(1, see_no_leak, NULL);
}

/* ---- folder, program, limits, priorities ---------------------------------------------------- */

static int see_the_rest(void *arg)
{
    const struct weft_process_limit limits[] = {{RLIMIT_NOFILE, {64, 128}}, {RLIMIT_CORE, {0, 0}}};
    const struct weft_process_limit wrong[] = {{1000, {0, 0}}};
    struct weft_process_options options = defaults();
    char expected[32];
    (void)arg;
    options.cwd_fd = open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    expect_said(&options, "pwd", "/usr\n");
    options.cwd = "bin";
    expect_said(&options, "pwd", "/usr/bin\n");
    options.cwd = "no-such";
    expect_refused(&options, -ENOENT, WEFT_PROCESS_FAULT_CWD);
    close(options.cwd_fd);
    options = defaults();
    options.program = "sh";
    expect_said(&options, "echo \"$0\" $-", "/bin/sh\n"); /* argv[0] is as it was */
    options = defaults();
    options.limits = limits;
    options.limits_count = 2;
    options.umask = 027;
    expect_said(&options, "ulimit -Sn; ulimit -Hn; ulimit -c; umask", "64\n128\n0\n0027\n");
    options.limits = wrong;
    expect_refused(&options, -EINVAL, WEFT_PROCESS_FAULT_LIMIT);
    options = defaults();
    options.nice = 3;
    options.ionice = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 7);
    snprintf(expected, sizeof(expected), "%d\nidle\n", getpriority(PRIO_PROCESS, 0) + 3);
    expect_said(&options, "nice; ionice | cut -d: -f1", expected);
    options.ionice = IOPRIO_PRIO_VALUE(7, 0);
    expect_refused(&options, -EINVAL, WEFT_PROCESS_FAULT_PRIORITY);
    return 0;
}

Test(process_options, folder_program_limits_and_priorities)
{
    on_fibers_counting_fds(1, see_the_rest, NULL);
}

static int read_a_file(void *arg)
{
    const struct weft_process_limit few = {RLIMIT_NOFILE, {8, 8}}; /* we have more ourselves */
    char folder[] = "/tmp/weft-stdin-XXXXXX";
    struct weft_process_options options = defaults();
    (void)arg;
    EXPECT(mkdtemp(folder) != NULL);
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    options.cwd = folder;
    options.stdin_path = "input";
    options.limits = &few;
    options.limits_count = 1;
    expect_refused(&options, -ENOENT, WEFT_PROCESS_FAULT_STDIN);
    EXPECT_EQ(mkfifoat(at, "input", 0600), 0);
    expect_said(&options, "cat; echo end", "end\n"); /* nobody writes it, and nobody waits */
    EXPECT_EQ(unlinkat(at, "input", 0), 0);
    int file = openat(at, "input", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    EXPECT_EQ(write(file, "text\n", 5), 5);
    close(file);
    expect_said(&options, "read -r line; echo \"$line\"; (echo >&0) 2>&- || echo no", "text\nno\n");
    EXPECT_EQ(unlinkat(at, "input", 0), 0);
    close(at);
    EXPECT_EQ(rmdir(folder), 0);
    return 0;
}

Test(process_options, a_file_is_its_input)
{
    on_fibers_counting_fds(1, read_a_file, NULL);
}

static int see_mask(void *arg)
{
    const char *argv[] = {"grep", "-E", "SigBlk|SigIgn|NoNewPrivs", "/proc/self/status", NULL};
    struct weft_process_options options = defaults();
    struct weft_process_output output;
    sigset_t mask;
    (void)arg;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGRTMAX);
    options.argv = argv;
    options.signal_mask = &mask;
    options.no_new_privileges = true;
    EXPECT_EQ(weft_process_run(&options, NULL, 0, OUTPUT_LIMIT, soon(), &output, NULL, NULL), 0);
    EXPECT(strcmp(output.data, "SigBlk:\t8000000000000200\nSigIgn:\t0000000000000000\n"
                               "NoNewPrivs:\t1\n") == 0);
    free(output.data);
    return 0;
}

Test(process_options, signals_may_be_blocked_and_none_is_ignored)
{
    signal(SIGHUP, SIG_IGN);
    on_fibers_counting_fds(1, see_mask, NULL);
}

/* ---- groups --------------------------------------------------------------------------------- */

static int join_a_group(void *arg)
{
    struct weft_process_options options = defaults();
    struct weft_process *leader = start_script("sleep 1000"), *member;
    struct weft_process_status status;
    (void)arg;
    options.group = weft_process_pid(leader);
    EXPECT_EQ(weft_process_shell("sleep 1000", &options, &member), 0);
    EXPECT_EQ(getpgid(weft_process_pid(member)), weft_process_pid(leader));
    EXPECT_EQ(weft_process_kill_group(member, SIGKILL), -EINVAL);
    EXPECT_EQ(weft_process_kill_group(leader, SIGKILL), 0);
    EXPECT_EQ(weft_process_wait(member, soon(), &status), 0);
    EXPECT_EQ(status.signal, SIGKILL);
    EXPECT_EQ(weft_process_wait(leader, soon(), &status), 0);
    weft_process_free(member);
    weft_process_free(leader);
    options.group = INT_MAX;
    expect_refused(&options, -EPERM, WEFT_PROCESS_FAULT_GROUP);
    return 0;
}

Test(process_options, a_child_may_join_a_group)
{
    on_fibers_counting_fds(1, join_a_group, NULL);
}

static int start_mortal(void *arg)
{
    struct weft_process_options options = defaults();
    struct weft_process *process;
    options.death_signal = SIGKILL;
    EXPECT_EQ(weft_process_shell("exec sleep 1000", &options, &process), 0);
    *(pid_t *)arg = weft_process_pid(process);
    weft_process_free(process);
    return 0;
}

Test(process_options, a_death_signal_ends_it_with_its_runtime)
{
    int status = 0;
    pid_t pid = 0;
    on_fibers(1, start_mortal, &pid);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- users ---------------------------------------------------------------------------------- */

static int be_another(void *arg)
{
    const gid_t groups[] = {THIRD_GID, OTHER_GID};
    char folder[] = "/tmp/weft-user-XXXXXX";
    struct weft_process_options options = defaults();
    (void)arg;
    options.uid = OTHER_UID;
    options.gid = OTHER_GID;
    expect_said(&options, "id -u; id -g; id -G; id -ru", "61235\n61236\n61236\n61235\n");
    options.groups = groups;
    options.groups_count = 2;
    expect_said(&options, "id -G", "61236 61237\n");
    EXPECT(mkdtemp(folder) != NULL);
    options.cwd = folder; /* which only we may enter */
    expect_refused(&options, -EACCES, WEFT_PROCESS_FAULT_CWD);
    EXPECT_EQ(rmdir(folder), 0);
    options.cwd = NULL;
    options.program = "/no/such";
    expect_refused(&options, -ENOENT, WEFT_PROCESS_FAULT_PROGRAM);
    options.program = NULL;
    struct weft_scope scope;
    weft_scope_enter(&scope, 0);
    expect_refused(&options, -ETIMEDOUT, WEFT_PROCESS_FAULT_OTHER);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(prctl(PR_GET_DUMPABLE), 1); /* the child's change was its own */
    return 0;
}

Test(process_options, root_may_start_it_as_another_user)
{
    if (geteuid() == 0)
        on_fibers_counting_fds(2, be_another, NULL);
}

struct start {
    pid_t pid;
    int calls;
};

static void note_start(pid_t pid, void *arg)
{
    struct start *start = arg;
    start->pid = pid;
    start->calls++;
}

static void expect_told(struct weft_process_options *options)
{
    struct weft_process_status status;
    struct weft_process *process;
    struct start start = {0};
    options->on_start = note_start;
    options->on_start_arg = &start;
    EXPECT_EQ(weft_process_spawn(options, &process), 0);
    EXPECT_EQ(start.calls, 1);
    EXPECT_EQ(start.pid, weft_process_pid(process));
    EXPECT_EQ(weft_process_wait(process, soon(), &status), 0);
    weft_process_free(process);
    options->program = "/no/such"; /* there is a child, and then there is none */
    EXPECT_EQ(weft_process_spawn(options, &process), -ENOENT);
    EXPECT_EQ(start.calls, 2);
    EXPECT_EQ(waitpid(start.pid, NULL, WNOHANG), -1);
    options->program = NULL;
    options->argv = (const char *const[]){NULL};
    EXPECT_EQ(weft_process_spawn(options, &process), -EINVAL);
    EXPECT_EQ(start.calls, 2);
}

static int tell_of_a_start(void *arg)
{
    const char *const argv[] = {"true", NULL};
    struct weft_process_options options = defaults();
    (void)arg;
    options.argv = argv;
    expect_told(&options);
    options.argv = argv;
    options.uid = OTHER_UID;
    if (geteuid() == 0)
        expect_told(&options);
    return 0;
}

Test(process_options, a_start_is_told_once)
{
    on_fibers_counting_fds(1, tell_of_a_start, NULL);
}

/* What the user asks for, with the user's rights: never above what it is given. */
static int ask_as_another(void *arg)
{
    const struct weft_process_limit given = {RLIMIT_NOFILE, {64, 128}};
    const struct weft_process_limit less[] = {{RLIMIT_CORE, {0, 0}}, {RLIMIT_NOFILE, {32, 100}}};
    const struct weft_process_limit more[] = {{RLIMIT_CORE, {0, 0}}, {RLIMIT_NOFILE, {32, 129}}};
    const struct weft_process_limit *failed = NULL;
    struct weft_process_options options = defaults();
    (void)arg;
    options.uid = OTHER_UID;
    options.limits = &given;
    options.limits_count = 1;
    options.user_limits = less;
    options.user_limits_count = 2;
    options.nice = 5;
    options.user_nice = 2;
    expect_said(&options, "ulimit -Sn; ulimit -Hn; nice", "32\n100\n7\n");
    options.user_nice = -1;
    expect_refused(&options, -EACCES, WEFT_PROCESS_FAULT_PRIORITY);
    options.user_nice = 0;
    options.user_limits = more;
    options.ret_fault_limit = &failed;
    expect_refused(&options, -EPERM, WEFT_PROCESS_FAULT_LIMIT);
    EXPECT(failed == &more[1]);
    options.stdin_path = "/proc/1/environ"; /* root's */
    options.user_limits_count = 0;
    expect_refused(&options, -EACCES, WEFT_PROCESS_FAULT_STDIN);
    return 0;
}

Test(process_options, what_a_user_asks_for_is_set_with_its_rights)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NICE, &none);
    if (geteuid() != 0)
        return;
    setpriority(PRIO_PROCESS, 0, 0); /* whatever the tests are run with */
    on_fibers_counting_fds(2, ask_as_another, NULL);
}

static int be_refused_another(void *arg)
{
    struct weft_process_options options = defaults();
    (void)arg;
    options.uid = 0;
    expect_refused(&options, -EPERM, WEFT_PROCESS_FAULT_USER);
    options = defaults();
    options.nice = -5;
    expect_refused(&options, -EACCES, WEFT_PROCESS_FAULT_PRIORITY);
    options.nice = 0;
    expect_said(&options, "echo on", "on\n");
    return 0;
}

Test(process_options, an_ordinary_user_is_refused_what_needs_privilege)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NICE, &none);
    become_ordinary();
    on_fibers_counting_fds(1, be_refused_another, NULL);
}

/* ---- control groups ------------------------------------------------------------------------- */

/* A folder of a version 2 hierarchy that we may make; false: there is none. */
static bool make_cgroup(char path[128])
{
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, 128, "%s/cgroup.procs", roots[i]);
        if (access(path, W_OK) < 0)
            continue;
        snprintf(path, 128, "%s/weft-test-%ld", roots[i], (long)getpid());
        if (mkdir(path, 0700) == 0)
            return true;
    }
    return false;
}

static int enter_a_cgroup(void *arg)
{
    const int *error = arg; /* for what is no control group */
    struct weft_process_options options = defaults();
    char path[128], expected[64];
    options.cgroup_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    expect_refused(&options, *error, WEFT_PROCESS_FAULT_CGROUP);
    close(options.cgroup_fd);
    if (!make_cgroup(path))
        return 0;
    options.cgroup_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(expected, sizeof(expected), "/weft-test-%ld\n", (long)getpid());
    expect_said(&options, "sed -n 's/^0:://p' /proc/self/cgroup", expected);
    close(options.cgroup_fd);
    EXPECT_EQ(rmdir(path), 0);
    return 0;
}

Test(process_options, a_child_may_start_in_a_control_group)
{
    int error = -EBADF;
    on_fibers_counting_fds(1, enter_a_cgroup, &error);
}

Test(process_options, or_enter_it_where_there_is_no_clone3)
{
    int error = -ENOENT;
    lose_call(SYS_clone3);
    on_fibers_counting_fds(1, enter_a_cgroup, &error);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static int refuse_nonsense(void *arg)
{
    const struct weft_process_fd bad[] = {{-1, 0}}, worse[] = {{3, -1}}, huge[] = {{70000, 0}};
    const struct weft_process_fd *const lists[] = {bad, worse, huge};
    struct weft_process_options options = defaults();
    (void)arg;
    options.stdin_fd = WEFT_PROCESS_STDOUT;
    expect_refused(&options, -EINVAL, WEFT_PROCESS_FAULT_OTHER);
    options = defaults();
    options.stderr_fd = -5;
    expect_refused(&options, -EINVAL, WEFT_PROCESS_FAULT_OTHER);
    options = defaults();
    options.death_signal = 65;
    expect_refused(&options, -EINVAL, WEFT_PROCESS_FAULT_OTHER);
    for (int i = 0; i < 3; i++) {
        options = defaults();
        options.stdout_fd = WEFT_PROCESS_PIPE;
        options.fds = lists[i];
        options.fds_count = 1;
        expect_refused(&options, -EINVAL, WEFT_PROCESS_FAULT_OTHER);
    }
    return 0;
}

Test(process_options, nonsense_is_refused)
{
    on_fibers_counting_fds(1, refuse_nonsense, NULL);
}

static int be_refused_a_fork(void *arg)
{
    struct weft_process_options options = defaults();
    (void)arg;
    options.stdin_fd = options.stdout_fd = options.stderr_fd = WEFT_PROCESS_PIPE;
    forbid_processes(true);
    for (int i = 0; i < 100; i++)
        expect_refused(&options, -EAGAIN, WEFT_PROCESS_FAULT_FORK);
    forbid_processes(false);
    options = defaults();
    expect_said(&options, "echo on", "on\n");
    return 0;
}

Test(process_options, a_refused_fork_leaves_nothing_behind)
{
    become_ordinary();
    on_fibers_counting_fds(2, be_refused_a_fork, NULL);
}
