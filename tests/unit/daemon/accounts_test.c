/* SPDX-License-Identifier: MIT */
/* Users and groups: those there are, none, and entries of any size. */
#include "daemon/accounts.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>

enum { NOBODY_HAS = 4000000 };

Test(accounts, finds_users_and_groups)
{
    uid_t uid = 1;
    gid_t gid = 1;
    cr_assert_eq(accounts_user("root", &uid, &gid), 0);
    cr_assert(uid == 0 && gid == 0);
    gid = 1;
    cr_assert_eq(accounts_group("root", &gid), 0);
    cr_assert_eq(gid, 0);
}

Test(accounts, none_is_told_from_a_failure)
{
    uid_t uid;
    gid_t gid;
    cr_assert_eq(accounts_user("no-such-user", &uid, &gid), -ENOENT);
    cr_assert_eq(accounts_group("no-such-group", &gid), -ENOENT);
}

Test(accounts, members)
{
    bool is_member = false;
    cr_assert_eq(accounts_is_member(0, 0, &is_member), 0);
    cr_assert(is_member, "the primary group counts");
    cr_assert_eq(accounts_is_member(0, NOBODY_HAS, &is_member), 0);
    cr_assert_not(is_member);
    is_member = true;
    cr_assert_eq(accounts_is_member(NOBODY_HAS, 0, &is_member), 0);
    cr_assert_not(is_member, "of no user, false");
}

static int want(void *arg, char *room, size_t size)
{
    size_t wanted = *(size_t *)arg;
    room[size - 1] = 'x';
    return size < wanted ? -ERANGE : (int)(size >= wanted);
}

/* A group of some thousand members does not fit what is offered first. */
Test(accounts, entries_of_any_size)
{
    size_t wanted = 100000, too_much = (size_t)1 << 30;
    cr_assert_eq(accounts_look(want, &wanted), 1);
    cr_assert_eq(accounts_look(want, &too_much), -ERANGE);
}

Test(accounts, all_groups_of_a_user)
{
    gid_t *groups;
    size_t count;
    cr_assert_eq(accounts_groups("root", NOBODY_HAS, &groups, &count), 0);
    bool has_primary = false;
    for (size_t i = 0; i < count; i++)
        has_primary |= groups[i] == NOBODY_HAS;
    cr_assert(has_primary);
    free(groups);
}
