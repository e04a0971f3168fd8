/* SPDX-License-Identifier: MIT */
/* The server over real sockets in a temporary folder, with methods of this file's own behind it. */
#include "daemon/server.h"

#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/methods.h"
#include "daemon/problem.h"
#include "daemon/session.h"
#include "support/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "support/io.h"

static char folder[64];
static struct weft_event gate;
static atomic_int arrivals, cancelled;

bool methods_takes_turns(const char *name)
{
    (void)name;
    return false;
}

int methods_call(struct request *request, const char *name, json_t **ret_result)
{
    request->error = (struct rpc_error){0};
    if (strcmp(name, "block") == 0) {
        arrive(&arrivals);
        if (weft_event_wait(&gate, WEFT_NO_DEADLINE)) {
            atomic_fetch_add(&cancelled, 1);
            return rpc_error_set(&request->error, RPC_SHUTTING_DOWN, NULL);
        }
    }
    *ret_result = json_string(name);
    return 0;
}

static void set_up(void)
{
    log_set_level(CONFIG_LOG_ERROR);
    strcpy(folder, "/tmp/weft-server-XXXXXX");
    EXPECT(mkdtemp(folder) != NULL);
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    EXPECT_EQ(system(command), 0);
}

#define ServerTest(name) Test(server, name, .init = set_up, .fini = tear_down)

static const char *socket_file(void)
{
    static char path[108];
    snprintf(path, sizeof path, "%s/run/weft.sock", folder);
    return path;
}

static struct config *config_with(const char *more)
{
    char text[1024];
    struct config *config;
    struct problem problem;
    snprintf(text, sizeof text, "[daemon]\nsocket = %s\nstate_dir = %s\n%s", socket_file(), folder,
             more);
    EXPECT_EQ(config_parse("test.conf", text, strlen(text), &problem, &config), 0);
    return config;
}

/* ---- a running server ------------------------------------------------------------------------ */

struct stage {
    struct config *config;
    struct server *server;
    struct weft_group group;
    void (*body)(struct stage *stage);
    const char *settings;
    int inherited;
};

static int server_main(void *arg)
{
    return server_run(arg);
}

static int stage_main(void *arg)
{
    struct stage *stage = arg;
    struct problem problem = {0};
    stage->config = config_with(stage->settings ? stage->settings : "");
    EXPECT_EQ(server_new(stage->config, stage->inherited, NULL, &problem, &stage->server), 0);
    weft_group_init(&stage->group);
    EXPECT_EQ(weft_group_spawn(&stage->group, "server", server_main, stage->server), 0);
    stage->body(stage);
    server_stop(stage->server, weft_deadline_after(30 * WEFT_SECOND));
    EXPECT_EQ(weft_group_join(&stage->group), 0);
    server_free(stage->server);
    config_free(stage->config);
    return 0;
}

static void on_stage(const char *settings, void (*body)(struct stage *stage))
{
    struct stage stage = {.body = body, .settings = settings, .inherited = -1};
    on_fibers_counting_fds(2, stage_main, &stage);
}

static struct weft_stream *dial(void)
{
    struct weft_stream *stream;
    EXPECT_EQ(weft_stream_connect_unix(socket_file(), soon(), &stream), 0);
    return stream;
}

static void say(struct weft_stream *stream, const char *text)
{
    EXPECT_EQ(weft_write(stream, text, strlen(text), NULL), 0);
}

/* One line, or "" at the end. */
static const char *hear(struct weft_stream *stream)
{
    static char text[4096];
    size_t size = 0;
    while (size < sizeof text - 1 && weft_read(stream, text + size, 1) == 1) {
        if (text[size++] == '\n')
            break;
    }
    text[size] = '\0';
    return text;
}

static void ask(struct weft_stream *stream, const char *method)
{
    char line[128];
    snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}\n", method);
    say(stream, line);
}

static void expect_answer(struct weft_stream *stream, const char *piece)
{
    const char *line = hear(stream);
    if (!strstr(line, piece)) {
        fprintf(stderr, "no '%s' in '%s'\n", piece, line);
        abort();
    }
}

static void answers(struct stage *stage)
{
    struct weft_stream *one = dial(), *two = dial();
    struct server_stats stats;
    ask(one, "hi");
    expect_answer(one, "\"result\":\"hi\"");
    ask(two, "ho");
    expect_answer(two, "\"result\":\"ho\"");
    server_stats(stage->server, &stats);
    EXPECT_EQ(stats.connections, 2);
    EXPECT_EQ(stats.accepted, 2);
    EXPECT_EQ(stats.requests, 2);
    weft_stream_free(one);
    weft_stream_free(two);
}

ServerTest(connections_are_served_and_the_file_is_removed_at_the_end)
{
    on_stage(NULL, answers);
    cr_assert_neq(access(socket_file(), F_OK), 0);
}

static void look_at_the_mode(struct stage *stage)
{
    struct stat status;
    (void)stage;
    EXPECT_EQ(stat(socket_file(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0642);
}

ServerTest(socket_has_the_mode_of_the_configuration_whatever_the_umask)
{
    umask(0777 & ~0700);
    on_stage("socket_mode = 0642\n", look_at_the_mode);
}

/* ---- stopping ------------------------------------------------------------------------------- */

static void stop_with_a_request(struct stage *stage)
{
    struct weft_stream *busy = dial(), *idle = dial();
    ask(busy, "block");
    await_arrivals(&arrivals, 1);
    ask(idle, "hi");
    expect_answer(idle, "hi");
    server_stop(stage->server, weft_deadline_after(30 * WEFT_SECOND));
    EXPECT_EQ(hear(idle)[0], '\0');
    weft_event_set(&gate);
    expect_answer(busy, "\"result\":\"block\"");
    EXPECT_EQ(hear(busy)[0], '\0');
    weft_stream_free(busy);
    weft_stream_free(idle);
}

ServerTest(stop_closes_idle_connections_and_lets_requests_reply)
{
    on_stage(NULL, stop_with_a_request);
    cr_assert_eq(atomic_load(&cancelled), 0);
}

static void stop_at_once(struct stage *stage)
{
    struct weft_stream *busy = dial();
    ask(busy, "block");
    await_arrivals(&arrivals, 1);
    server_stop(stage->server, weft_now_ns());
    EXPECT_EQ(weft_group_join(&stage->group), 0);
    weft_group_init(&stage->group);
    weft_stream_free(busy);
}

ServerTest(stop_cancels_requests_at_its_deadline)
{
    on_stage(NULL, stop_at_once);
    cr_assert_eq(atomic_load(&cancelled), 1);
}

static void close_listener(struct stage *stage)
{
    struct weft_stream *open = dial(), *late;
    ask(open, "hi");
    expect_answer(open, "hi");
    server_close_listener(stage->server);
    while (access(socket_file(), F_OK) == 0)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(weft_stream_connect_unix(socket_file(), soon(), &late), -ENOENT);
    ask(open, "still");
    expect_answer(open, "still");
    weft_stream_free(open);
}

ServerTest(closed_listener_keeps_its_connections)
{
    on_stage(NULL, close_listener);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void one_too_many(struct stage *stage)
{
    struct server_stats stats;
    struct weft_stream *one = dial(), *two;
    ask(one, "hi");
    expect_answer(one, "hi");
    two = dial();
    expect_answer(two, "\"code\":-32000");
    EXPECT_EQ(hear(two)[0], '\0');
    weft_stream_free(two);
    weft_stream_free(one);
    do {
        EXPECT_EQ(weft_yield(), 0);
        server_stats(stage->server, &stats);
    } while (stats.connections);
    EXPECT_EQ(stats.refused, 1);
    one = dial();
    ask(one, "again");
    expect_answer(one, "again");
    weft_stream_free(one);
}

ServerTest(connection_over_the_limit_is_told_and_closed)
{
    on_stage("max_connections = 1\n", one_too_many);
}

ServerTest(connection_over_the_users_limit_is_told_and_closed)
{
    on_stage("max_connections_user = 1\n", one_too_many);
}

static void new_limits(struct stage *stage)
{
    struct session_limits limits;
    struct config *wider = config_with("max_in_flight = 7\nmax_connections = 2\n"
                                       "[access]\nadmin_group = root\n");
    server_apply_config(stage->server, wider);
    config_free(wider);
    server_limits(stage->server, &limits);
    EXPECT_EQ(limits.max_in_flight, 7);
    struct weft_stream *one = dial(), *two = dial();
    ask(one, "hi");
    expect_answer(one, "hi");
    ask(two, "ho");
    expect_answer(two, "ho");
    weft_stream_free(one);
    weft_stream_free(two);
}

ServerTest(new_configuration_holds_for_new_connections)
{
    on_stage("max_connections = 1\n", new_limits);
}

/* ---- what is at the path already ------------------------------------------------------------- */

static struct problem problem;

static int try_to_open(void *arg)
{
    struct config *config = config_with("");
    struct server *server = NULL;
    int *result = arg;
    *result = server_new(config, -1, NULL, &problem, &server);
    if (*result == 0)
        server_free(server);
    config_free(config);
    return 0;
}

static int open_result(void)
{
    int result = 1;
    problem = (struct problem){0};
    on_fibers_counting_fds(1, try_to_open, &result);
    return result;
}

static void make_run_folder(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/run", folder);
    EXPECT_EQ(mkdir(path, 0700), 0);
}

/* A listening socket at the path; closing it leaves the file. */
static int squat(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, socket_file());
    int fd = socket(AF_UNIX, type, 0);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (type == SOCK_STREAM)
        EXPECT_EQ(listen(fd, 5), 0);
    return fd;
}

ServerTest(stale_socket_is_replaced)
{
    make_run_folder();
    close(squat(SOCK_STREAM));
    cr_assert_eq(access(socket_file(), F_OK), 0);
    cr_assert_eq(open_result(), 0, "%s", problem.text);
}

ServerTest(live_socket_is_refused_with_the_pid)
{
    char pid[32];
    make_run_folder();
    int fd = squat(SOCK_STREAM);
    cr_assert_eq(open_result(), -EADDRINUSE);
    snprintf(pid, sizeof pid, "process %d", getpid());
    cr_assert(strstr(problem.text, socket_file()) != NULL, "%s", problem.text);
    cr_assert(strstr(problem.text, pid) != NULL, "%s", problem.text);
    cr_assert_eq(access(socket_file(), F_OK), 0, "it is left alone");
    close(fd);
}

ServerTest(other_things_at_the_path_are_left_alone)
{
    make_run_folder();
    int fd = squat(SOCK_DGRAM);
    cr_assert_eq(open_result(), -EADDRINUSE, "%s", problem.text);
    close(fd);
    unlink(socket_file());
    close(open(socket_file(), O_CREAT | O_WRONLY, 0600));
    cr_assert_eq(open_result(), -EADDRINUSE);
    cr_assert(strstr(problem.text, "not a socket") != NULL, "%s", problem.text);
    cr_assert_eq(access(socket_file(), F_OK), 0);
}

ServerTest(folder_is_made_but_not_its_parent)
{
    cr_assert_eq(open_result(), 0, "%s", problem.text);
    tear_down();
    cr_assert_eq(open_result(), -ENOENT);
    cr_assert(strstr(problem.text, folder) != NULL, "%s", problem.text);
    cr_assert_eq(mkdir(folder, 0700), 0);
}

static int try_unknown_group(void *arg)
{
    struct config *config = config_with("socket_group = no-such-group\n");
    struct server *server;
    (void)arg;
    EXPECT_EQ(server_new(config, -1, NULL, &problem, &server), -EINVAL);
    config_free(config);
    return 0;
}

ServerTest(unknown_group_is_refused_and_leaves_no_file)
{
    on_fibers_counting_fds(1, try_unknown_group, NULL);
    cr_assert(strstr(problem.text, "no-such-group") != NULL, "%s", problem.text);
    cr_assert_neq(access(socket_file(), F_OK), 0);
}

static void replace_the_file(struct stage *stage)
{
    (void)stage;
    unlink(socket_file());
    close(squat(SOCK_STREAM));
}

ServerTest(file_of_somebody_else_is_not_removed_at_the_end)
{
    on_stage(NULL, replace_the_file);
    cr_assert_eq(access(socket_file(), F_OK), 0);
}

static void ask_once(struct stage *stage)
{
    (void)stage;
    struct weft_stream *stream = dial();
    ask(stream, "hi");
    expect_answer(stream, "hi");
    weft_stream_free(stream);
}

ServerTest(inherited_socket_is_served_and_its_file_stays)
{
    make_run_folder();
    int fd = squat(SOCK_STREAM);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct stage stage = {.body = ask_once, .inherited = fd};
    on_fibers(2, stage_main, &stage);
    cr_assert_eq(access(socket_file(), F_OK), 0);
}

ServerTest(free_of_null_does_nothing)
{
    server_free(NULL);
}
