/* SPDX-License-Identifier: MIT */
/*
 * accounts: the databases of users and groups.
 *
 * They may be files or lie across a network: all of these block.  "There is no such" (-ENOENT) and "it
 * cannot be said now" (any other -errno) are two things: who takes one for the other gives the wrong
 * answer for a moment, or for good.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Errors: -ENOENT; else those of getpwnam_r(3). */
int accounts_user(const char *name, uid_t *ret_uid, gid_t *ret_gid);

/* The same for a group. */
int accounts_group(const char *name, gid_t *ret_gid);

/* Whether the database has the user in the group; of no user, false.  Errors: those of getpwuid_r(3). */
int accounts_is_member(uid_t uid, gid_t gid, bool *ret_is_member);

/* Call look with larger and larger room for as long as it returns -ERANGE.
 * Returns what it returned, or -ENOMEM. */
typedef int accounts_look_fn(void *arg, char *room, size_t size);
int accounts_look(accounts_look_fn *look, void *arg);

/* The groups of a user, with the primary one; the caller frees them.  Errors: -ENOMEM, -E2BIG. */
int accounts_groups(const char *user, gid_t gid, gid_t **ret_groups, size_t *ret_count);
