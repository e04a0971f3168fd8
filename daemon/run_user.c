/* SPDX-License-Identifier: MIT */
/*
 * run_user: the user that a program of a weftd that is root runs as.
 *
 * The database is asked at each start and nothing is kept: a user who left a group, or the machine,
 * has left it for the jobs that wait, too.  That is also why the group of the connection does not
 * count, which the kernel told when the job was submitted.
 */
#include "daemon/run_impl.h"

#include "daemon/accounts.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the database: blocks -------------------------------------------------------------------- */

struct search {
    uid_t uid;
    struct run_user user;
};

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
    int rc = accounts_groups(entry->pw_name, user->gid, &user->groups, &user->groups_count);
    return rc < 0 ? rc : set_env(user, entry);
}

static int look_up(void *arg, char *room, size_t size)
{
    struct search *search = arg;
    struct passwd entry, *found;
    int error = getpwuid_r(search->uid, &entry, room, size, &found);
    if (error)
        return -error;
    return found ? set_user(&search->user, found) : -ESRCH;
}

/* A function of the pool. */
static int search_main(void *arg)
{
    return accounts_look(look_up, arg);
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
