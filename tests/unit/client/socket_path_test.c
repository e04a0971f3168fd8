/* SPDX-License-Identifier: MIT */
#include "client/socket_path.h"
#include "fake_server.h"

static struct socket_paths paths;

static void set(const char *socket, const char *runtime)
{
    unsetenv("WEFT_SOCKET");
    unsetenv("XDG_RUNTIME_DIR");
    if (socket)
        setenv("WEFT_SOCKET", socket, 1);
    if (runtime)
        setenv("XDG_RUNTIME_DIR", runtime, 1);
}

Test(socket_path, a_named_path_is_the_only_one)
{
    set("/b", "/run/user/1");
    socket_paths_find("/a", &paths);
    cr_assert_eq(paths.count, 1);
    cr_assert_str_eq(paths.path[0], "/a");
    socket_paths_find(NULL, &paths);
    cr_assert_eq(paths.count, 1);
    cr_assert_str_eq(paths.path[0], "/b");
}

Test(socket_path, the_users_weftd_comes_before_the_systems)
{
    set("", "/run/user/1");
    socket_paths_find(NULL, &paths);
    cr_assert_eq(paths.count, 2);
    cr_assert_str_eq(paths.path[0], "/run/user/1/weft/weft.sock");
    cr_assert_str_eq(paths.path[1], "/run/weft/weft.sock");
}

Test(socket_path, without_a_runtime_folder_the_places_are_those_of_weftd)
{
    char user[64];

    snprintf(user, sizeof user, "/run/user/%u/weft/weft.sock", (unsigned)geteuid());
    set(NULL, NULL);
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", "/home/me", 1);
    socket_paths_find(NULL, &paths);
    cr_assert_eq(paths.count, 3);
    cr_assert_str_eq(paths.path[0], user);
    cr_assert_str_eq(paths.path[1], "/home/me/.local/state/weft/weft.sock");
    cr_assert_str_eq(paths.path[2], "/run/weft/weft.sock");
    setenv("XDG_STATE_HOME", "/state", 1);
    socket_paths_find(NULL, &paths);
    cr_assert_str_eq(paths.path[1], "/state/weft/weft.sock");
}

Test(socket_path, each_mistake_has_its_advice)
{
    static const struct {
        int err;
        const char *part;
    } rows[] = {
        {-ENOENT, "not running"}, {-ECONNREFUSED, "left over"},        {-EACCES, "may not use"},
        {-ENAMETOOLONG, "107"},   {-EPROTOTYPE, "not weftd's socket"}, {-ENOTSOCK, "not a socket"},
        {-EIO, "check"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert(has(socket_path_advice(rows[i].err), rows[i].part), "row %zu", i);
}

Test(socket_path, a_file_that_is_no_socket_is_told_from_one_that_is_left_over)
{
    char folder[] = "/tmp/weft-client-XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct weft_client *client;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    paths.count = 3;
    strcpy(paths.path[0], "/dev/null");
    strcpy(paths.path[1], folder);
    strcpy(paths.path[2], address.sun_path);
    cr_assert_eq(socket_paths_open(&paths, &client), -ECONNREFUSED);
    cr_assert_eq(paths.err[0], -ENOTSOCK);
    cr_assert_eq(paths.err[1], -ENOTSOCK);
    unlink(address.sun_path);
    rmdir(folder);
}

Test(socket_path, the_first_that_answers_is_used)
{
    static const struct canned canned[] = {{"ping", "\"result\":\"pong\""}, {0}};
    struct fake fake = {.canned = canned};
    struct weft_client *client;
    fake_start(&fake);
    paths.count = 2;
    strcpy(paths.path[0], "/nowhere/sock");
    strcpy(paths.path[1], fake.path);
    cr_assert_eq(socket_paths_open(&paths, &client), 0);
    cr_assert_eq(paths.err[0], -ENOENT);
    cr_assert_eq(paths.err[1], 0);
    weft_client_close(client);
    fake_stop(&fake);
    fake_free(&fake);
}
