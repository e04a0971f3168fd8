/* SPDX-License-Identifier: MIT */
/* config_paths_test: daemon/config_finish.c and life.c, where things are for a user who says
 * nothing; and config.c, what is wrong with files as such. */
#include "daemon/config.h"
#include "daemon/life.h"

#include "support/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static char folder[64];
static struct problem problem;
static struct config *config;

static void begin(void)
{
    strcpy(folder, "/tmp/weft-paths-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chmod(folder, 0777), 0);
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("HOME");
    if (getuid() == 0) /* these defaults are a user's */
        cr_assert_eq(seteuid(NOBODY), 0);
}

static void end(void)
{
    char command[128];
    config_free(config);
    cr_assert_eq(seteuid(getuid()), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static int load(const char *path)
{
    config_free(config);
    config = NULL;
    problem = (struct problem){0};
    return config_load(path, NULL, &problem, &config);
}

static void expect_state(const char *expected)
{
    cr_assert_eq(load(NULL), 0, "%s", problem.text);
    cr_assert_str_eq(config->daemon.state_dir, expected);
}

static void expect_socket(const char *expected)
{
    cr_assert_eq(load(NULL), 0, "%s", problem.text);
    cr_assert_str_eq(config->daemon.socket, expected);
}

Test(config_paths, a_user_s_state_is_where_xdg_says_or_below_home, .init = begin, .fini = end)
{
    cr_assert_eq(load(NULL), -EINVAL);
    cr_assert_not_null(strstr(problem.text, "XDG_STATE_HOME or HOME"), "%s", problem.text);
    setenv("HOME", "not/absolute", 1);
    cr_assert_eq(load(NULL), -EINVAL);
    setenv("HOME", "/home/ada", 1);
    expect_state("/home/ada/.local/state/weft");
    setenv("XDG_STATE_HOME", "also/relative", 1); /* XDG: then it is to be ignored */
    expect_state("/home/ada/.local/state/weft");
    setenv("XDG_STATE_HOME", "/var/ada", 1);
    expect_state("/var/ada/weft");
}

Test(config_paths, a_user_s_socket_is_in_the_runtime_folder_or_beside_the_state, .init = begin,
     .fini = end)
{
    char usual[64], expected[128];
    setenv("XDG_STATE_HOME", "/var/ada", 1);
    snprintf(usual, sizeof usual, "/run/user/%u", (unsigned)geteuid());
    snprintf(expected, sizeof expected, "%s/weft/weft.sock", usual);
    expect_socket(eaccess(usual, W_OK | X_OK) == 0 ? expected : "/var/ada/weft/weft.sock");
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    expect_socket(eaccess(usual, W_OK | X_OK) == 0 ? expected : "/var/ada/weft/weft.sock");
    setenv("XDG_RUNTIME_DIR", "/run/ada", 1);
    expect_socket("/run/ada/weft/weft.sock");
}

static void make_folder(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(mkdir(path, 0700), 0);
}

static void make_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fclose(file);
}

static void expect_config(const char *expected)
{
    char buffer[4096], path[256];
    const char *found = life_config_path(NULL, buffer);
    if (!expected) {
        cr_assert_null(found);
        return;
    }
    snprintf(path, sizeof path, "%s/%s", folder, expected);
    cr_assert_not_null(found);
    cr_assert_str_eq(found, path);
}

Test(config_paths, a_user_s_configuration_is_read_if_it_is_there, .init = begin, .fini = end)
{
    char buffer[4096], path[256];
    cr_assert_str_eq(life_config_path("given.conf", buffer), "given.conf");
    expect_config(NULL);
    setenv("HOME", folder, 1);
    expect_config(NULL);
    make_folder(".config");
    make_folder(".config/weft");
    make_file(".config/weft/weftd.conf");
    expect_config(".config/weft/weftd.conf");
    snprintf(path, sizeof path, "%s/xdg", folder);
    setenv("XDG_CONFIG_HOME", path, 1);
    expect_config(NULL); /* XDG's place counts, also while it is empty */
    make_folder("xdg");
    make_folder("xdg/weft");
    make_file("xdg/weft/weftd.conf");
    expect_config("xdg/weft/weftd.conf");
    setenv("XDG_CONFIG_HOME", "relative", 1);
    expect_config(".config/weft/weftd.conf");
}

/* ---- files as such ---- */

static char *path_in(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_bytes(const char *name, size_t count)
{
    FILE *file = fopen(path_in(name), "w");
    cr_assert_not_null(file);
    for (size_t i = 0; i < count; i++)
        fputc(i % 64 == 63 ? '\n' : '#', file);
    fclose(file);
}

static void expect_refusal(const char *name, int err, const char *words)
{
    setenv("HOME", "/home/ada", 1);
    cr_assert_eq(load(path_in(name)), err, "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, words), "%s", problem.text);
    cr_assert_not_null(strstr(problem.text, folder), "it is named: %s", problem.text);
}

Test(config_paths, a_file_of_a_mebibyte_is_no_configuration, .init = begin, .fini = end)
{
    write_bytes("large.conf", (1 << 20) - 1);
    setenv("HOME", "/home/ada", 1);
    cr_assert_eq(load(path_in("large.conf")), 0, "%s", problem.text);
    write_bytes("large.conf", 1 << 20);
    expect_refusal("large.conf", -EINVAL, "over 1 MiB");
}

Test(config_paths, what_must_not_be_read_is_said, .init = begin, .fini = end)
{
    write_bytes("secret.conf", 64);
    cr_assert_eq(chmod(path_in("secret.conf"), 0), 0);
    expect_refusal("secret.conf", -EACCES, "cannot open");
    write_bytes("good.conf", 64);
    cr_assert_eq(mkdir(path_in("good.conf.d"), 0), 0);
    expect_refusal("good.conf", -EACCES, "cannot list");
    cr_assert_eq(rmdir(path_in("good.conf.d")), 0);
    write_bytes("good.conf.d", 0);
    expect_refusal("good.conf", -ENOTDIR, "cannot list");
}
