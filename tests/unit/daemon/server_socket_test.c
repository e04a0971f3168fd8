/* SPDX-License-Identifier: MIT */
/* server_socket_test: daemon/server_socket.c */
#include "daemon/server_socket.h"

#include "support/test.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64], path[128];
static struct problem problem;
static struct config_daemon daemon_config;

static void begin(void)
{
    strcpy(folder, "/tmp/weft-socket-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/weft.sock", folder);
    daemon_config.socket = path;
    daemon_config.socket_group = (char *)"";
    daemon_config.socket_mode = 0640;
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static int open_socket(int *ret_fd, struct server_socket *ret_socket)
{
    problem = (struct problem){0};
    return server_socket_open(&daemon_config, &problem, ret_fd, ret_socket);
}

static void expect_refusal(int err, const char *words)
{
    struct server_socket socket;
    int fd = -1;
    cr_assert_eq(open_socket(&fd, &socket), err, "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, words), "%s", problem.text);
    cr_assert_eq(fd, -1);
}

/* A group that we may give files to: any for root, else one of ours. */
static gid_t some_group(void)
{
    gid_t groups[64];
    int count = getgroups(64, groups);
    if (geteuid() == 0)
        return 1; /* daemon */
    return count > 0 ? groups[count - 1] : getegid();
}

Test(server_socket, it_has_the_mode_and_the_group_that_are_asked_for, .init = begin, .fini = end)
{
    struct server_socket socket;
    struct stat status;
    gid_t gid = some_group();
    struct group *group = getgrgid(gid);
    int fd;
    if (group)
        daemon_config.socket_group = group->gr_name;
    cr_assert_eq(open_socket(&fd, &socket), 0, "%s", problem.text);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0640);
    if (group)
        cr_assert_eq(status.st_gid, gid);
    close(fd);
    server_socket_remove(&socket);
    cr_assert_eq(access(path, F_OK), -1);
}

Test(server_socket, nothing_is_left_where_a_group_is_not_there, .init = begin, .fini = end)
{
    daemon_config.socket_group = (char *)"no-such-group";
    expect_refusal(-EINVAL, "there is no group 'no-such-group'");
    cr_assert_eq(access(path, F_OK), -1);
}

static struct sockaddr_un address_of(const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, text);
    return address;
}

static int bind_at(const char *text, int type)
{
    struct sockaddr_un address = address_of(text);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* It does not answer, but it is there. */
Test(server_socket, a_server_whose_queue_is_full_is_not_replaced, .init = begin, .fini = end)
{
    struct sockaddr_un address = address_of(path);
    int server = bind_at(path, SOCK_STREAM), clients[16], count = 0;
    cr_assert_eq(listen(server, 0), 0);
    do
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    while (connect(clients[count++], (struct sockaddr *)&address, sizeof address) == 0 &&
           count < 16);
    cr_assert_eq(errno, EAGAIN);
    expect_refusal(-EADDRINUSE, "a server listens on");
    cr_assert_eq(access(path, F_OK), 0);
    while (count > 0)
        close(clients[--count]);
    close(server);
}

Test(server_socket, a_socket_of_another_kind_is_not_replaced, .init = begin, .fini = end)
{
    int other = bind_at(path, SOCK_DGRAM);
    expect_refusal(-EADDRINUSE, "asking it fails");
    cr_assert_eq(access(path, F_OK), 0);
    close(other);
}

Test(server_socket, a_folder_that_is_none_is_said, .init = begin, .fini = end)
{
    char beside[64 + 16], long_path[160];
    snprintf(beside, sizeof beside, "%s/file/x.sock", folder);
    snprintf(long_path, sizeof long_path, "%s/file", folder);
    FILE *file = fopen(long_path, "w");
    cr_assert_not_null(file);
    fclose(file);
    daemon_config.socket = beside;
    expect_refusal(-ENOTDIR, "the socket's folder");
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    daemon_config.socket = long_path;
    expect_refusal(-ENAMETOOLONG, "107 are possible");
}
