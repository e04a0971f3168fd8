/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The service manager's end: an abstract datagram socket, named by our pid. */
static int manager;

static void start_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int length = snprintf(address.sun_path + 1, 64, "weft-notify-%d", getpid());
    snprintf(name, sizeof name, "@weft-notify-%d", getpid());
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    cr_assert_eq(bind(manager, (struct sockaddr *)&address, size), 0);
    setenv("NOTIFY_SOCKET", name, 1);
}

static const char *received(void)
{
    static char text[512];
    ssize_t size = recv(manager, text, sizeof text - 1, MSG_DONTWAIT);
    cr_assert(size >= 0, "nothing was sent");
    text[size] = '\0';
    return text;
}

Test(notify, says_each_thing_in_the_managers_words, .init = start_manager)
{
    notify_ready();
    cr_assert_str_eq(received(), "READY=1");
    notify_stopping();
    cr_assert_str_eq(received(), "STOPPING=1");
    notify_extend(UINT64_C(2500000000));
    cr_assert_str_eq(received(), "EXTEND_TIMEOUT_USEC=2500000");
    notify_watchdog();
    cr_assert_str_eq(received(), "WATCHDOG=1");
    notify_status("%d jobs\nREADY=1", 3);
    cr_assert_str_eq(received(), "STATUS=3 jobs");
}

Test(notify, reloading_carries_the_clock, .init = start_manager)
{
    notify_reloading();
    const char *text = received();
    cr_assert(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27) == 0, "%s", text);
    cr_assert(strtoull(text + 27, NULL, 10) > 0);
}

Test(notify, without_a_manager_everything_is_quiet)
{
    unsetenv("NOTIFY_SOCKET");
    notify_ready();
    notify_status("x");
    notify_watchdog();
}

Test(notify, watchdog_is_ours_only_if_the_pid_is)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("WATCHDOG_USEC", "30000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    cr_assert_eq(notify_watchdog_ns(), UINT64_C(30000000000));
    cr_assert_null(getenv("WATCHDOG_USEC"), "children must not see it");
    cr_assert_eq(notify_watchdog_ns(), UINT64_C(30000000000), "remembered");
}

Test(notify, watchdog_of_somebody_else_is_none)
{
    setenv("WATCHDOG_USEC", "30000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    cr_assert_eq(notify_watchdog_ns(), 0);
}

/* Put a socket where systemd does: at descriptor 3. */
static void pass_in(int fd, int count)
{
    char text[16];
    if (fd != 3) {
        dup2(fd, 3);
        close(fd);
    }
    snprintf(text, sizeof text, "%d", getpid());
    setenv("LISTEN_PID", text, 1);
    snprintf(text, sizeof text, "%d", count);
    setenv("LISTEN_FDS", text, 1);
}

static int listening_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0); /* autobind */
    cr_assert_eq(listen(fd, 1), 0);
    return fd;
}

/* The test program's own descriptor 3 is not ours to replace: these run in a child. */
static void assert_in_child(bool (*body)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(body() ? 0 : 1);
    cr_assert(pid > 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "see above");
}

static bool take_over(void)
{
    struct problem problem = {0};
    int fd = -1;
    pass_in(listening_socket(), 1);
    return notify_inherited_socket(&problem, &fd) == 1 && fd == 3 &&
           (fcntl(fd, F_GETFD) & FD_CLOEXEC) && (fcntl(fd, F_GETFL) & O_NONBLOCK) &&
           !getenv("LISTEN_FDS") && notify_inherited_socket(&problem, &fd) == 0;
}

Test(notify, inherited_socket_is_taken_over_once)
{
    assert_in_child(take_over);
}

Test(notify, no_socket_is_fine)
{
    int fd = -1;
    unsetenv("LISTEN_FDS");
    cr_assert_eq(notify_inherited_socket(NULL, &fd), 0);
    cr_assert_eq(fd, -1);
}

static bool refuse_datagram(void)
{
    struct problem problem = {0};
    int fd = -1;
    pass_in(socket(AF_UNIX, SOCK_DGRAM, 0), 1);
    return notify_inherited_socket(&problem, &fd) == -EINVAL && fd == -1 &&
           strstr(problem.text, "listening Unix stream socket");
}

static bool refuse_two(void)
{
    struct problem problem = {0};
    int fd = -1;
    pass_in(listening_socket(), 2);
    dup2(3, 4);
    return notify_inherited_socket(&problem, &fd) == -EINVAL && fd == -1 &&
           strstr(problem.text, "2 sockets");
}

Test(notify, wrong_sockets_are_refused)
{
    assert_in_child(refuse_datagram);
    assert_in_child(refuse_two);
}
