/* SPDX-License-Identifier: MIT */
/* accounts: see accounts.h. */
#include "daemon/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

enum { ROOM_FIRST = 1024, ROOM_MAX = 1 << 20, GROUPS_FIRST = 32, GROUPS_MAX = 65536 };

int accounts_look(accounts_look_fn *look, void *arg)
{
    int rc = -ERANGE;
    for (size_t size = ROOM_FIRST; rc == -ERANGE && size <= ROOM_MAX; size *= 4) {
        char *room = malloc(size);
        rc = room ? look(arg, room, size) : -ENOMEM;
        free(room);
    }
    return rc;
}

int accounts_groups(const char *user, gid_t gid, gid_t **ret_groups, size_t *ret_count)
{
    gid_t *groups = NULL;
    for (int room = GROUPS_FIRST; room <= GROUPS_MAX; room *= 2) {
        gid_t *more = reallocarray(groups, (size_t)room, sizeof *groups);
        int count = room;
        if (!more) {
            free(groups);
            return -ENOMEM;
        }
        groups = more;
        if (getgrouplist(user, gid, groups, &count) >= 0) {
            *ret_groups = groups;
            *ret_count = (size_t)count;
            return 0;
        }
    }
    free(groups);
    return -E2BIG;
}

/* What getpwnam_r() and its relatives return: databases have several words for "none". */
static int verdict(int error, const void *found)
{
    if (found)
        return 0;
    return error == 0 || error == ESRCH ? -ENOENT : -error;
}

/* ---- by name --------------------------------------------------------------------------------- */

struct by_name {
    const char *name;
    uid_t uid;
    gid_t gid;
};

static int look_user(void *arg, char *room, size_t size)
{
    struct by_name *search = arg;
    struct passwd entry, *found = NULL;
    int error = getpwnam_r(search->name, &entry, room, size, &found);
    if (found) {
        search->uid = found->pw_uid;
        search->gid = found->pw_gid;
    }
    return verdict(error, found);
}

static int look_group(void *arg, char *room, size_t size)
{
    struct by_name *search = arg;
    struct group entry, *found = NULL;
    int error = getgrnam_r(search->name, &entry, room, size, &found);
    if (found)
        search->gid = found->gr_gid;
    return verdict(error, found);
}

int accounts_user(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
    struct by_name search = {.name = name};
    int rc = accounts_look(look_user, &search);
    if (rc == 0) {
        *ret_uid = search.uid;
        *ret_gid = search.gid;
    }
    return rc;
}

int accounts_group(const char *name, gid_t *ret_gid)
{
    struct by_name search = {.name = name};
    int rc = accounts_look(look_group, &search);
    if (rc == 0)
        *ret_gid = search.gid;
    return rc;
}

/* ---- members --------------------------------------------------------------------------------- */

struct membership {
    uid_t uid;
    gid_t gid;
    bool is_member;
};

static int look_member(void *arg, char *room, size_t size)
{
    struct membership *search = arg;
    struct passwd entry, *found = NULL;
    int error = getpwuid_r(search->uid, &entry, room, size, &found);
    int rc = verdict(error, found);
    if (rc < 0)
        return rc;
    gid_t *groups;
    size_t count;
    rc = accounts_groups(found->pw_name, found->pw_gid, &groups, &count);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        search->is_member |= groups[i] == search->gid;
    free(groups);
    return 0;
}

int accounts_is_member(uid_t uid, gid_t gid, bool *ret_is_member)
{
    struct membership search = {.uid = uid, .gid = gid};
    int rc = accounts_look(look_member, &search);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    *ret_is_member = search.is_member;
    return 0;
}
