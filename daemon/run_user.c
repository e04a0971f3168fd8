/* SPDX-License-Identifier: MIT */
/*
 * run_user: the user that a program of a weftd that is root runs as.
 *
 * The database is asked at each start and nothing is kept: a user who left a group, or the machine,
 * has left it for the jobs that wait, too.  That is also why the group of the connection does not
 * count, which the kernel told when the job was submitted.
 */
#include "daemon/run_impl.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_FIRST = 1024, BUFFER_MAX = 1 << 20, GROUPS_FIRST = 32, GROUPS_MAX = 65536 };

/* ---- the database: blocks -------------------------------------------------------------------- */

struct search {
    uid_t uid;
    struct run_user user;
};

static int set_groups(struct run_user *user, const char *name)
{
    for (int room = GROUPS_FIRST; room <= GROUPS_MAX; room *= 2) {
        gid_t *groups = reallocarray(user->groups, (size_t)room, sizeof(*groups));
        int count = room;
        if (!groups)
            return -ENOMEM;
        user->groups = groups;
        if (getgrouplist(name, user->gid, groups, &count) >= 0) {
            user->groups_count = (size_t)count;
            return 0;
        }
    }
    return -E2BIG;
}

static int set_env(struct run_user *user, const struct passwd *entry)
{
    const char *shell = entry->pw_shell[0] ? entry->pw_shell : "/bin/sh";
    const struct {
        const char *name, *value;
    } variables[] = {{"HOME", entry->pw_dir},
                     {"LOGNAME", entry->pw_name},
                     {"SHELL", shell},
                     {"USER", entry->pw_name}};
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (asprintf(&user->env[i], "%s=%s", variables[i].name, variables[i].value) < 0) {
            user->env[i] = NULL;
            return -ENOMEM;
        }
    }
    return 0;
}

static int set_user(struct run_user *user, const struct passwd *entry)
{
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    int rc = set_groups(user, entry->pw_name);
    return rc < 0 ? rc : set_env(user, entry);
}

static int look_up(struct search *search, char *buffer, size_t size)
{
    struct passwd entry, *found;
    int error = getpwuid_r(search->uid, &entry, buffer, size, &found);
    if (error)
        return -error;
    return found ? set_user(&search->user, found) : -ESRCH;
}

/* A function of the pool. */
static int search_main(void *arg)
{
    struct search *search = arg;
    int rc = -ERANGE;
    for (size_t size = BUFFER_FIRST; rc == -ERANGE && size <= BUFFER_MAX; size *= 4) {
        char *buffer = malloc(size);
        rc = buffer ? look_up(search, buffer, size) : -ENOMEM;
        free(buffer);
    }
    return rc;
}

/* ---- for fibers ------------------------------------------------------------------------------ */

int run_user_find(uid_t uid, struct run_user *ret_user)
{
    struct search search = {.uid = uid};
    int rc = run_offload(search_main, &search);
    if (rc < 0) {
        run_user_destroy(&search.user);
        return rc;
    }
    *ret_user = search.user;
    return 0;
}

void run_user_destroy(struct run_user *user)
{
    free(user->groups);
    for (size_t i = 0; user->env[i]; i++)
        free(user->env[i]);
    *user = (struct run_user){0};
}
