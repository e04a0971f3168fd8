/* SPDX-License-Identifier: MIT */
/*
 * config_finish: what a config needs beyond its files: overrides, paths that depend on who runs
 * us, and values that must fit each other.
 *
 * Socket: root /run/weft/weft.sock; others $XDG_RUNTIME_DIR/weft/weft.sock, else the same under
 * /run/user/UID if that exists, else weft.sock in the state folder (never in a shared /tmp).
 * State: root /var/lib/weft; others $XDG_STATE_HOME/weft, else ~/.local/state/weft.
 */
#include "daemon/config_table.h"
#include "protocol/units.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* Takes over path; NULL means that making it failed. */
static int replace(char **slot, char *path)
{
    if (!path)
        return -ENOMEM;
    free(*slot);
    *slot = path;
    return 0;
}

__attribute__((format(printf, 1, 2))) static char *format_path(const char *format, ...)
{
    char *path;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&path, format, args);
    va_end(args);
    return length < 0 ? NULL : path;
}

/* XDG says that a relative path in its variables is to be ignored. */
static const char *absolute_env(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

static int default_state_dir(struct config *config, struct problem *problem)
{
    char **slot = &config->daemon.state_dir;
    if (geteuid() == 0)
        return replace(slot, strdup("/var/lib/weft"));
    const char *state = absolute_env("XDG_STATE_HOME");
    if (state)
        return replace(slot, format_path("%s/weft", state));
    const char *home = absolute_env("HOME");
    if (home)
        return replace(slot, format_path("%s/.local/state/weft", home));
    return problem_set(problem, -EINVAL,
                       "no place for the state: set daemon.state_dir, or XDG_STATE_HOME or HOME");
}

static int default_socket(struct config *config)
{
    char **slot = &config->daemon.socket;
    if (geteuid() == 0)
        return replace(slot, strdup("/run/weft/weft.sock"));
    const char *runtime = absolute_env("XDG_RUNTIME_DIR");
    if (runtime)
        return replace(slot, format_path("%s/weft/weft.sock", runtime));
    char folder[64];
    snprintf(folder, sizeof folder, "/run/user/%u", (unsigned)geteuid());
    if (access(folder, W_OK | X_OK) == 0)
        return replace(slot, format_path("%s/weft/weft.sock", folder));
    return replace(slot, format_path("%s/weft.sock", config->daemon.state_dir));
}

static int make_absolute(char **slot, struct problem *problem)
{
    if ((*slot)[0] == '/')
        return 0;
    char cwd[PATH_MAX];
    if (!getcwd(cwd, sizeof cwd))
        return problem_set(problem, -errno, "current folder: %s", strerror(errno));
    return replace(slot, format_path("%s/%s", strcmp(cwd, "/") ? cwd : "", *slot));
}

static int finish_paths(struct config *config, const struct config_overrides *overrides,
                        struct problem *problem)
{
    struct config_daemon *daemon = &config->daemon;
    int err = 0;
    if (overrides && overrides->socket)
        err = replace(&daemon->socket, strdup(overrides->socket));
    if (!err && overrides && overrides->state_dir)
        err = replace(&daemon->state_dir, strdup(overrides->state_dir));
    if (!err && !daemon->state_dir[0])
        err = default_state_dir(config, problem);
    if (!err)
        err = make_absolute(&daemon->state_dir, problem);
    if (!err && !daemon->socket[0])
        err = default_socket(config);
    return err ? err : make_absolute(&daemon->socket, problem);
}

static int check_socket(const struct config *config, struct problem *problem)
{
    const size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1;
    size_t length = strlen(config->daemon.socket);
    if (length <= most)
        return 0;
    return problem_set(problem, -ENAMETOOLONG,
                       "daemon.socket is %zu bytes long, a Unix socket's path may have %zu: "
                       "%.120s…",
                       length, most, config->daemon.socket);
}

static int check_stop_times(const struct config *config, struct problem *problem)
{
    uint64_t needed = config->daemon.drain + config->exec.kill_grace;
    if (config->daemon.grace > needed)
        return 0;
    char grace[UNITS_TEXT_MAX], least[UNITS_TEXT_MAX];
    return problem_set(
        problem, -EINVAL, "%s: daemon.grace (%s) must exceed daemon.drain + exec.kill_grace (%s)",
        config->path ? config->path : "configuration",
        units_format_duration(config->daemon.grace, grace), units_format_duration(needed, least));
}

static int check_values(const struct config *config, struct problem *problem)
{
    const char *name = config->path ? config->path : "configuration";
    if (config->exec.cwd[0] != '/')
        return problem_set(problem, -EINVAL, "%s: exec.cwd must be an absolute path, not '%s'",
                           name, config->exec.cwd);
    if (config->jobs.retry_cap < config->jobs.retry_base)
        return problem_set(problem, -EINVAL, "%s: jobs.retry_cap is less than jobs.retry_base",
                           name);
    int err = check_stop_times(config, problem);
    return err ? err : check_socket(config, problem);
}

int config_finish(struct config *config, const struct config_overrides *overrides,
                  struct problem *problem)
{
    int err = finish_paths(config, overrides, problem);
    if (err == -ENOMEM)
        return problem_set(problem, err, "configuration: out of memory");
    if (!err)
        err = check_values(config, problem);
    return err ? err : config_finish_http(config, problem);
}
