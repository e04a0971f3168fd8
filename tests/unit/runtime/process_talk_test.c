/* SPDX-License-Identifier: MIT */
/* The conversation with a child over its pipes, and ending it. */
#include "support/test.h"

#include "support/process.h"

static struct weft_process_options with_pipes(void)
{
    struct weft_process_options options;
    weft_process_options_init(&options);
    options.stdin_fd = options.stdout_fd = options.stderr_fd = WEFT_PROCESS_PIPE;
    return options;
}

static struct weft_process *start_with(const struct weft_process_options *options,
                                       const char *script)
{
    struct weft_process *process;
    EXPECT_EQ(weft_process_shell(script, options, &process), 0);
    return process;
}

static struct weft_process *start_piped(const char *script)
{
    struct weft_process_options options = with_pipes();
    return start_with(&options, script);
}

/* ---- streams -------------------------------------------------------------------------------- */

static int talk_by_hand(void *arg)
{
    struct weft_process *process = start_piped("cat; echo bye >&2; exit 5");
    struct weft_process_status status;
    char buffer[16] = {0};
    (void)arg;
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(weft_write(weft_process_stdin(process), "ping\n", 5, NULL), 0);
        read_exactly(weft_process_stdout(process), buffer, 5);
        EXPECT(strcmp(buffer, "ping\n") == 0);
    }
    weft_process_close_stdin(process);
    EXPECT(weft_process_stdin(process) == NULL);
    weft_process_close_stdin(process);
    EXPECT_EQ(weft_read(weft_process_stdout(process), buffer, 16), 0);
    EXPECT_EQ(weft_read(weft_process_stderr(process), buffer, 16), 4);
    EXPECT_EQ(weft_process_wait(process, soon(), &status), 0);
    EXPECT_EQ(status.exit_code, 5);
    weft_process_free(process);
    process = start_script("exit 0");
    EXPECT(!weft_process_stdin(process) && !weft_process_stdout(process));
    EXPECT(weft_process_stderr(process) == NULL);
    EXPECT_EQ(weft_process_wait(process, soon(), &status), 0);
    weft_process_free(process);
    return 0;
}

Test(process_talk, pipes_are_streams)
{
    on_fibers_counting_fds(1, talk_by_hand, NULL);
}

/* ---- communicate ---------------------------------------------------------------------------- */

enum { MUCH = 300000 };

static char *make_input(void)
{
    char *input = malloc(MUCH);
    for (int i = 0; i < MUCH; i++)
        input[i] = (char)('a' + i % 26);
    return input;
}

/* More than the pipes hold goes in and comes out twice at the same time. */
static int talk_much(void *arg)
{
    struct weft_process *process = start_piped("tee /dev/stderr; exit 3");
    struct weft_process_output out, err;
    struct weft_process_status status;
    char *input = make_input();
    (void)arg;
    EXPECT_EQ(weft_process_communicate(process, input, MUCH, MUCH, soon(), &out, &err, &status), 0);
    EXPECT(out.size == MUCH && memcmp(out.data, input, MUCH) == 0 && out.data[MUCH] == '\0');
    EXPECT(err.size == MUCH && memcmp(err.data, input, MUCH) == 0);
    EXPECT_EQ(status.exit_code, 3);
    free(out.data);
    free(err.data);
    /* Again: nothing more comes, and the end is the same. */
    EXPECT_EQ(weft_process_communicate(process, input, MUCH, 0, soon(), &out, NULL, NULL), 0);
    EXPECT(out.size == 0 && out.data[0] == '\0');
    free(out.data);
    weft_process_free(process);
    free(input);
    return 0;
}

Test(process_talk, input_and_both_outputs_flow_at_once)
{
    on_fibers_counting_fds(1, talk_much, NULL);
    on_fibers_counting_fds(2, talk_much, NULL);
}

static int talk_to_the_deaf(void *arg)
{
    struct weft_process *process = start_piped("exec <&-; echo deaf");
    struct weft_process_output out;
    struct weft_process_status status;
    char *input = make_input();
    (void)arg;
    EXPECT_EQ(weft_process_communicate(process, input, MUCH, 100, soon(), &out, NULL, &status), 0);
    EXPECT(strcmp(out.data, "deaf\n") == 0);
    EXPECT_EQ(status.exit_code, 0);
    free(out.data);
    weft_process_free(process);
    process = start_script("exit 1"); /* no pipes at all */
    EXPECT_EQ(weft_process_communicate(process, input, 1, 100, soon(), &out, NULL, NULL), -EINVAL);
    EXPECT_EQ(weft_process_communicate(process, NULL, 0, 0, soon(), &out, NULL, &status), 0);
    EXPECT_EQ(out.size, 0);
    EXPECT_EQ(status.exit_code, 1);
    free(out.data);
    weft_process_free(process);
    free(input);
    return 0;
}

Test(process_talk, a_child_need_not_read_its_input)
{
    on_fibers_counting_fds(1, talk_to_the_deaf, NULL);
}

static int talk_too_much(void *arg)
{
    struct weft_process *process = start_piped("head -c 100000 /dev/zero; echo err >&2");
    struct weft_process_output out = {0}, err;
    (void)arg;
    EXPECT_EQ(weft_process_communicate(process, "", 0, 10, soon(), &out, &err, NULL), -EMSGSIZE);
    EXPECT_EQ(weft_process_communicate(process, "", 0, 99999, soon(), &out, &err, NULL), -EMSGSIZE);
    EXPECT(out.data == NULL);
    EXPECT_EQ(weft_process_communicate(process, "", 0, 100000, soon(), &out, &err, NULL), 0);
    EXPECT_EQ(out.size, 100000);
    EXPECT(strcmp(err.data, "err\n") == 0);
    free(out.data);
    free(err.data);
    weft_process_free(process);
    return 0;
}

Test(process_talk, output_beyond_the_limit_is_an_error_and_is_kept)
{
    on_fibers_counting_fds(1, talk_too_much, NULL);
}

/* A child that goes on when the pipe in *ret_gate says so. */
static struct weft_process *start_gated(int *ret_gate)
{
    struct weft_process_options options = with_pipes();
    struct weft_process_fd fd = {.child = 9};
    int fds[2];
    raw_pipe(fds);
    fd.parent = fds[0];
    options.fds = &fd;
    options.fds_count = 1;
    struct weft_process *process =
        start_with(&options, "echo first; read x; read y <&9; echo $x $y; cat");
    close(fds[0]);
    *ret_gate = fds[1];
    return process;
}

static void open_gate(int gate)
{
    EXPECT_EQ(write(gate, "gate\n", 5), 5);
    close(gate);
}

struct talker {
    struct weft_process *process;
    atomic_int arrivals;
    int result;
};

static int talk_on(void *arg)
{
    struct talker *talker = arg;
    arrive(&talker->arrivals);
    talker->result = weft_process_communicate(talker->process, "input\nmore\n", 11, 100,
                                              WEFT_NO_DEADLINE, NULL, NULL, NULL);
    return 0;
}

static int interrupt_talk(void *arg)
{
    int gate;
    struct talker talker = {.process = start_gated(&gate)};
    struct weft_process_output out;
    struct weft_group group;
    struct weft_scope scope;
    (void)arg;
    EXPECT_EQ(weft_process_communicate(talker.process, "input\nmore\n", 11, 100,
                                       weft_now_ns() + WEFT_MILLISECOND, &out, NULL, NULL),
              -ETIMEDOUT);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "talker", talk_on, &talker), 0);
    await_arrivals(&talker.arrivals, 1);
    EXPECT_EQ(weft_process_communicate(talker.process, "", 0, 1, soon(), NULL, NULL, NULL), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(talker.result, -ECANCELED);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_process_communicate(talker.process, "", 0, 1, soon(), NULL, NULL, NULL),
              -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    open_gate(gate);
    EXPECT_EQ(weft_process_communicate(talker.process, "input\nmore\n", 11, 100, soon(), &out, NULL,
                                       NULL),
              0);
    EXPECT(strcmp(out.data, "first\ninput gate\nmore\n") == 0);
    free(out.data);
    weft_process_free(talker.process);
    return 0;
}

Test(process_talk, what_was_said_before_a_cancel_is_not_lost)
{
    on_fibers_counting_fds(1, interrupt_talk, NULL);
}

static int talk_alone(void *arg)
{
    struct weft_process *process = start_piped("cat; echo $?");
    struct weft_process_status status;
    (void)arg;
    EXPECT_EQ(weft_process_communicate(process, "in", 2, 10, soon(), NULL, NULL, NULL), -EAGAIN);
    EXPECT(weft_process_stdin(process) != NULL);
    EXPECT_EQ(weft_process_terminate(process, 0, &status), 0);
    weft_process_free(process);
    return 0;
}

Test(process_talk, without_a_further_fiber_it_is_refused)
{
    struct weft_options options;
    weft_options_init(&options);
    options.handle_signals = false;
    options.max_fibers = 1;
    cr_assert_eq(weft_run(&options, talk_alone, NULL), 0);
}

/* ---- run ------------------------------------------------------------------------------------ */

/* The writing end of a pipe as the child's 9: whoever of the tree lives, holds it. */
static struct weft_process_options holding(int fds[2], struct weft_process_fd *fd)
{
    struct weft_process_options options;
    weft_process_options_init(&options);
    raw_pipe(fds);
    *fd = (struct weft_process_fd){.child = 9, .parent = fds[1]};
    options.fds = fd;
    options.fds_count = 1;
    return options;
}

static void expect_nobody_holds(int fds[2])
{
    struct weft_stream *stream;
    char byte;
    close(fds[1]);
    EXPECT_EQ(weft_stream_new(fds[0], &stream), 0);
    while (weft_read(stream, &byte, 1) > 0)
        ;
    EXPECT_EQ(weft_read(stream, &byte, 1), 0);
    weft_stream_free(stream);
}

static int run_badly(void *arg)
{
    const char *argv[] = {"sh", "-c", "sleep 1000 & wait", NULL}, *absent[] = {"/no/such", NULL};
    struct weft_process_output out = {0};
    struct weft_process_fd fd;
    int fds[2];
    struct weft_process_options options = holding(fds, &fd);
    (void)arg;
    options.argv = argv;
    EXPECT_EQ(
        weft_process_run(&options, NULL, 0, 10, weft_now_ns() + WEFT_MILLISECOND, &out, NULL, NULL),
        -ETIMEDOUT);
    expect_nobody_holds(fds);
    expect_no_child();
    weft_process_options_init(&options);
    options.argv = absent;
    EXPECT_EQ(weft_process_run(&options, "x", 1, 10, soon(), &out, &out, NULL), -ENOENT);
    EXPECT(out.data == NULL);
    return 0;
}

Test(process_talk, a_run_that_fails_leaves_nobody_behind)
{
    on_fibers_counting_fds(1, run_badly, NULL);
}

/* ---- terminate ------------------------------------------------------------------------------ */

static void await_line(struct weft_process *process)
{
    char byte;
    EXPECT_EQ(weft_read(weft_process_stdout(process), &byte, 1), 1);
}

static void expect_terminated(const char *script, uint64_t grace_ns, int exit_code, int signal)
{
    struct weft_process_status status;
    struct weft_process_fd fd;
    int fds[2];
    struct weft_process_options options = holding(fds, &fd);
    options.stdout_fd = WEFT_PROCESS_PIPE;
    struct weft_process *process = start_with(&options, script);
    await_line(process);
    EXPECT_EQ(weft_process_terminate(process, grace_ns, &status), 0);
    EXPECT_EQ(status.exit_code, exit_code);
    EXPECT_EQ(status.signal, signal);
    expect_nobody_holds(fds);
    EXPECT_EQ(weft_process_terminate(process, grace_ns, NULL), 0); /* again */
    weft_process_free(process);
    expect_no_child();
}

static int terminate_all(void *arg)
{
    (void)arg;
    expect_terminated("echo; exec sleep 1000", 30 * WEFT_SECOND, -1, SIGTERM);
    expect_terminated("trap '' TERM; echo; exec sleep 1000", WEFT_MILLISECOND, -1, SIGKILL);
    /* The leader ends by itself, and whoever of its group does not is killed with it. */
    expect_terminated("trap 'exit 7' TERM; (trap '' TERM; echo; exec sleep 1000) & wait; wait",
                      30 * WEFT_SECOND, 7, 0);
    return 0;
}

Test(process_talk, terminate_ends_the_whole_group)
{
    on_fibers_counting_fds(1, terminate_all, NULL);
    on_fibers_counting_fds(2, terminate_all, NULL);
}

struct waiting {
    struct weft_process *process;
    struct weft_process_status status;
};

static int wait_beside(void *arg)
{
    struct waiting *waiting = arg;
    EXPECT_EQ(weft_process_wait(waiting->process, soon(), &waiting->status), 0);
    return 0;
}

static int terminate_while_others_wait(void *arg)
{
    struct waiting waiting[3];
    struct weft_process *process = start_script("exec sleep 1000");
    struct weft_group group;
    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < 3; i++) {
        waiting[i].process = process;
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_beside, &waiting[i]), 0);
    }
    EXPECT_EQ(weft_process_terminate(process, 30 * WEFT_SECOND, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(waiting[i].status.signal, SIGTERM);
    weft_process_free(process);
    return 0;
}

Test(process_talk, several_may_wait_while_one_terminates)
{
    on_fibers_counting_fds(1, terminate_while_others_wait, NULL);
    on_fibers_counting_fds(2, terminate_while_others_wait, NULL);
}

static int terminate_in_a_hurry(void *arg)
{
    struct weft_process_options options;
    struct weft_process_status status;
    struct weft_scope scope;
    (void)arg;
    weft_process_options_init(&options);
    options.new_group = false;
    options.stdout_fd = WEFT_PROCESS_PIPE;
    struct weft_process *process = start_with(&options, "trap '' TERM; echo; exec sleep 1000");
    await_line(process);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_process_terminate(process, WEFT_NO_DEADLINE, &status), 0);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(status.signal, SIGKILL);
    weft_process_free(process);
    return 0;
}

Test(process_talk, a_cancel_shortens_the_grace)
{
    on_fibers_counting_fds(1, terminate_in_a_hurry, NULL);
}

struct stopped {
    pid_t pid;
    int result;
    atomic_int arrivals;
};

static int terminate_shielded(void *arg)
{
    struct stopped *stopped = arg;
    struct weft_process_options options = with_pipes();
    struct weft_process *process = start_with(&options, "trap '' TERM; echo; exec sleep 1000");
    struct weft_scope shield;
    await_line(process);
    stopped->pid = weft_process_pid(process);
    weft_shield_enter(&shield);
    arrive(&stopped->arrivals);
    stopped->result = weft_process_terminate(process, WEFT_NO_DEADLINE, NULL);
    weft_scope_leave(&shield);
    weft_process_free(process);
    return 0;
}

/* The stop of a runtime, when its patience is over. */
Test(process_talk, even_a_broken_shield_leaves_no_zombie)
{
    struct stopped stopped = {.result = 77};
    struct weft_runtime *runtime;
    cr_assert_eq(weft_runtime_new(NULL, &runtime), 0);
    cr_assert_eq(weft_runtime_spawn(runtime, "terminator", terminate_shielded, &stopped), 0);
    while (atomic_load(&stopped.arrivals) == 0)
        usleep(1000);
    weft_runtime_stop(runtime);
    weft_runtime_stop(runtime);
    cr_assert_eq(weft_runtime_free(runtime), 0);
    cr_assert_eq(stopped.result, 0);
    cr_assert_eq(waitpid(stopped.pid, NULL, WNOHANG), -1);
}
