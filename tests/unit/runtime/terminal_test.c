/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

#include "support/io.h"

enum { MIB = 1024 * 1024 };

/* A stream of `fd`, which must not change: neither now nor by what is done with the stream. */
struct shared {
    struct weft_stream *stream;
    int fd, flags;
};

static struct shared share(int fd)
{
    struct shared shared = {.fd = fd, .flags = fcntl(fd, F_GETFL)};
    EXPECT(shared.flags >= 0 && !(shared.flags & O_NONBLOCK));
    EXPECT_EQ(weft_terminal_stream(fd, &shared.stream), 0);
    EXPECT(weft_stream_fd(shared.stream) > 2 && weft_stream_fd(shared.stream) != fd);
    EXPECT(fcntl(weft_stream_fd(shared.stream), F_GETFD) & FD_CLOEXEC);
    EXPECT_EQ(fcntl(fd, F_GETFL), shared.flags);
    return shared;
}

static void unshare(struct shared *shared)
{
    EXPECT_EQ(fcntl(shared->fd, F_GETFL), shared->flags);
    weft_stream_free(shared->stream);
    EXPECT_EQ(fcntl(shared->fd, F_GETFL), shared->flags);
}

static void open_pty(int ret_fds[2])
{
    ret_fds[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT(ret_fds[0] >= 0);
    EXPECT_EQ(grantpt(ret_fds[0]), 0);
    EXPECT_EQ(unlockpt(ret_fds[0]), 0);
    ret_fds[1] = open(ptsname(ret_fds[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT(ret_fds[1] >= 0);
}

static void type(int fd, const char *text)
{
    EXPECT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void expect_read(struct weft_stream *stream, const char *text)
{
    char buffer[64] = "";
    EXPECT_EQ(weft_read(stream, buffer, sizeof(buffer)), strlen(text));
    EXPECT(memcmp(buffer, text, strlen(text)) == 0);
}

/* However many reads it takes. */
static void expect_bytes(struct weft_stream *stream, const char *text)
{
    char buffer[64];
    read_exactly(stream, buffer, strlen(text));
    EXPECT(memcmp(buffer, text, strlen(text)) == 0);
}

struct call {
    struct weft_stream *stream;
    const char *data;
    size_t size, written;
    atomic_int arrivals;
    ssize_t result;
};

static int read_once(void *arg)
{
    struct call *call = arg;
    char byte;
    arrive(&call->arrivals);
    call->result = weft_read(call->stream, &byte, 1);
    return 0;
}

static int write_once(void *arg)
{
    struct call *call = arg;
    arrive(&call->arrivals);
    call->result = weft_write(call->stream, call->data, call->size, &call->written);
    return 0;
}

/* A read that waits ends by a cancel, and by a deadline, and takes nothing. */
static void cancel_a_read(struct weft_stream *stream)
{
    struct call call = {.stream = stream};
    struct weft_group group;
    struct weft_scope scope;
    char byte;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_once, &call), 0);
    await_waits("readable", 1);
    EXPECT_EQ(weft_read(stream, &byte, 1), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call.result, -ECANCELED);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_read(stream, &byte, 1), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_stream_wait_readable(stream, weft_now_ns() + WEFT_MILLISECOND), -ETIMEDOUT);
}

/* ---- terminals ------------------------------------------------------------------------------- */

static int use_terminal(void *arg)
{
    int fds[2];
    (void)arg;
    open_pty(fds);
    struct shared shared = share(fds[1]);
    cancel_a_read(shared.stream);
    type(fds[0], "first\nsecond\n");
    EXPECT_EQ(weft_stream_wait_readable(shared.stream, soon()), 0);
    expect_read(shared.stream, "first\n"); /* line by line, as a terminal gives them */
    expect_read(shared.stream, "second\n");
    type(fds[0], "\x04"); /* Ctrl-D ends a read, not the terminal */
    EXPECT_EQ(weft_read(shared.stream, fds, 0), 0);
    expect_read(shared.stream, "");
    type(fds[0], "third\n");
    expect_read(shared.stream, "third\n");
    EXPECT_EQ(weft_write(shared.stream, "out", 3, NULL), 0);
    EXPECT_EQ(weft_stream_shutdown_write(shared.stream), -ENOTSOCK);
    unshare(&shared);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(terminal, a_terminal_gives_lines_and_its_end_passes)
{
    on_fibers_counting_fds(1, use_terminal, NULL);
    on_fibers_counting_fds(2, use_terminal, NULL);
}

static int hang_up(void *arg)
{
    struct call call = {0};
    struct weft_group group;
    int fds[2];
    char byte;
    (void)arg;
    open_pty(fds);
    struct shared shared = share(fds[1]);
    call.stream = shared.stream;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_once, &call), 0);
    await_arrivals(&call.arrivals, 1);
    close(fds[0]);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT(call.result == 0 || call.result == -EIO);
    ssize_t n = weft_read(shared.stream, &byte, 1);
    EXPECT(n == 0 || n == -EIO);
    EXPECT_EQ(weft_write(shared.stream, "x", 1, NULL), -EIO);
    unshare(&shared);
    close(fds[1]);
    return 0;
}

Test(terminal, a_hang_up_ends_the_read)
{
    on_fibers_counting_fds(1, hang_up, NULL);
}

/* The master's side cannot be opened anew: that would be another terminal. */
static int use_master(void *arg)
{
    int fds[2];
    (void)arg;
    open_pty(fds);
    struct shared shared = share(fds[0]);
    cancel_a_read(shared.stream);
    type(fds[1], "from the slave");
    EXPECT_EQ(weft_stream_wait_readable(shared.stream, soon()), 0);
    expect_bytes(shared.stream, "from the slave");
    EXPECT_EQ(weft_write(shared.stream, "typed\n", 6, NULL), 0);
    expect_bytes(shared.stream, "typed\r\n"); /* the echo */
    EXPECT_EQ(weft_stream_shutdown_write(shared.stream), -ENOTSOCK);
    unshare(&shared);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(terminal, what_cannot_be_opened_anew_is_read_off_the_worker)
{
    on_fibers_counting_fds(1, use_master, NULL);
    on_fibers_counting_fds(2, use_master, NULL);
}

static int read_in_background(void *arg)
{
    struct weft_stream *stream;
    char byte;
    (void)arg;
    EXPECT_EQ(weft_terminal_stdin(&stream), 0);
    EXPECT_EQ(weft_read(stream, &byte, 1), -EIO);
    weft_stream_free(stream);
    return 0;
}

static void run_in_background(int slave)
{
    if (setpgid(0, 0) < 0 || dup2(slave, 0) < 0)
        _exit(2);
    signal(SIGTTIN, SIG_DFL);
    on_fibers(1, read_in_background, NULL);
    _exit(0);
}

static void lead_session(int slave)
{
    if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
        _exit(3);
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        run_in_background(slave);
    if (waitpid(pid, &status, WUNTRACED) != pid || !WIFEXITED(status))
        _exit(4);
    _exit(WEXITSTATUS(status));
}

Test(terminal, in_the_background_a_read_fails_and_stops_nobody)
{
    int fds[2], status = 0;
    open_pty(fds);
    pid_t pid = fork();
    if (pid == 0)
        lead_session(fds[1]);
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    close(fds[0]);
    close(fds[1]);
}

/* ---- pipes and sockets ----------------------------------------------------------------------- */

/* A large write to `writer` waits for a reader that comes later. */
static void pass_a_mebibyte(struct weft_stream *writer, struct weft_stream *reader)
{
    char *data = malloc(MIB), *got = malloc(MIB);
    struct call call = {.stream = writer, .data = data, .size = MIB};
    struct weft_group group;
    for (size_t i = 0; i < MIB; i++)
        data[i] = (char)(i * 31 + (i >> 12));
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "writer", write_once, &call), 0);
    await_arrivals(&call.arrivals, 1);
    read_exactly(reader, got, MIB);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, 0);
    EXPECT_EQ(call.written, MIB);
    EXPECT(memcmp(got, data, MIB) == 0);
    free(data);
    free(got);
}

static int use_pipe(void *arg)
{
    int fds[2];
    (void)arg;
    raw_pipe(fds);
    struct shared reader = share(fds[0]), writer = share(fds[1]);
    cancel_a_read(reader.stream);
    pass_a_mebibyte(writer.stream, reader.stream);
    unshare(&writer);
    type(fds[1], "more"); /* the shell's own end still works */
    expect_read(reader.stream, "more");
    close(fds[1]);
    expect_read(reader.stream, "");
    unshare(&reader);
    close(fds[0]);
    raw_pipe(fds);
    writer = share(fds[1]);
    close(fds[0]);
    EXPECT_EQ(weft_write(writer.stream, "x", 1, NULL), -EPIPE);
    unshare(&writer);
    close(fds[1]);
    return 0;
}

Test(terminal, a_pipe_in_both_directions)
{
    signal(SIGPIPE, SIG_DFL);
    on_fibers_counting_fds(1, use_pipe, NULL);
    on_fibers_counting_fds(2, use_pipe, NULL);
}

static int use_socket(void *arg)
{
    int fds[2];
    (void)arg;
    raw_pair(fds);
    struct shared one = share(fds[0]), other = share(fds[1]);
    cancel_a_read(one.stream);
    pass_a_mebibyte(one.stream, other.stream);
    pass_a_mebibyte(other.stream, one.stream);
    EXPECT_EQ(weft_stream_shutdown_write(one.stream), 0);
    expect_read(other.stream, "");
    unshare(&one);
    unshare(&other);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(terminal, a_socket_in_both_directions)
{
    on_fibers_counting_fds(1, use_socket, NULL);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int use_file(void *arg)
{
    char name[] = "/tmp/weft-terminal-XXXXXX", buffer[16];
    struct weft_scope scope;
    size_t written = 99;
    (void)arg;
    int fd = mkostemp(name, O_CLOEXEC);
    unlink(name);
    type(fd, "before ");
    struct shared shared = share(fd);
    EXPECT_EQ(weft_write(shared.stream, "after", 5, &written), 0);
    EXPECT_EQ(written, 5);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 12); /* the position is shared, as it is with a shell */
    EXPECT_EQ(lseek(fd, 2, SEEK_SET), 2);
    expect_read(shared.stream, "fore after");
    expect_read(shared.stream, "");
    EXPECT_EQ(weft_stream_wait_readable(shared.stream, 0), 0);
    EXPECT_EQ(weft_stream_shutdown_write(shared.stream), -ENOTSOCK);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_read(shared.stream, buffer, 5), -ETIMEDOUT);
    EXPECT_EQ(weft_write(shared.stream, "x", 1, &written), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(written, 0);
    EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
    unshare(&shared);
    close(fd);
    return 0;
}

Test(terminal, a_file_from_its_position_on)
{
    on_fibers_counting_fds(1, use_file, NULL);
}

static int use_null_and_full(void *arg)
{
    char byte;
    (void)arg;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), full = open("/dev/full", O_RDWR | O_CLOEXEC);
    struct shared shared = share(null);
    EXPECT_EQ(weft_read(shared.stream, &byte, 1), 0);
    EXPECT_EQ(weft_write(shared.stream, "x", 1, NULL), 0);
    unshare(&shared);
    shared = share(full);
    EXPECT_EQ(weft_write(shared.stream, "x", 1, NULL), -ENOSPC);
    unshare(&shared);
    close(null);
    close(full);
    return 0;
}

Test(terminal, dev_null_and_dev_full)
{
    on_fibers_counting_fds(1, use_null_and_full, NULL);
}

/* ---- the three ------------------------------------------------------------------------------- */

static int use_standard(void *arg)
{
    int *fds = arg;
    struct weft_stream *in, *out, *err;
    EXPECT_EQ(weft_terminal_stdin(&in), 0);
    EXPECT_EQ(weft_terminal_stdout(&out), 0);
    EXPECT_EQ(weft_terminal_stderr(&err), 0);
    EXPECT_EQ(weft_write(out, "out ", 4, NULL), 0);
    EXPECT_EQ(weft_write(err, "err", 3, NULL), 0);
    expect_read(in, "out err");
    weft_stream_free(in);
    weft_stream_free(out);
    weft_stream_free(err);
    EXPECT_EQ(fcntl(0, F_GETFL), O_RDONLY);
    EXPECT_EQ(fcntl(1, F_GETFL), O_WRONLY);
    close(0);
    struct weft_stream *none = NULL;
    EXPECT_EQ(weft_terminal_stdin(&none), -EBADF);
    EXPECT(none == NULL);
    EXPECT_EQ(dup2(fds[0], 0), 0);
    return 0;
}

Test(terminal, standard_input_output_and_error)
{
    int fds[2], saved = dup(2);
    raw_pipe(fds);
    EXPECT_EQ(dup2(fds[0], 0), 0);
    EXPECT_EQ(dup2(fds[1], 1), 1);
    EXPECT_EQ(dup2(fds[1], 2), 2);
    on_fibers_counting_fds(1, use_standard, fds);
    EXPECT_EQ(dup2(saved, 2), 2);
}
