/* SPDX-License-Identifier: MIT */
/*
 * store_files: the state folder, and the lock that keeps a second daemon out of it.
 * Blocking file calls; opening thread only.
 */
#pragma once

#include "daemon/problem.h"

/* Make the folder (0700) and what is missing above it, durably.  One that exists keeps its mode.
 * Errors: mkdir(2)'s, -ENOTDIR; with problem. */
int store_folder_make(const char *folder, struct problem *problem);

/* Take FOLDER/lock for this process; closing *ret_fd gives it back.  The file stays: its content,
 * the holder's pid, is for people.
 * Errors: -EBUSY another process holds it, -EACCES, -EROFS; with problem. */
int store_folder_lock(const char *folder, struct problem *problem, int *ret_fd);

/* The same to look only: several may, beside no daemon; nothing is made or written.
 * Errors: -ENOENT, without problem: nobody ever locked it; -EBUSY, -EACCES, … with problem. */
int store_folder_share(const char *folder, struct problem *problem, int *ret_fd);

/* fsync a folder, so that names made in it survive a power cut. */
int store_folder_sync(const char *folder);

/* "FOLDER/name" on the heap.  NULL: no memory. */
char *store_folder_path(const char *folder, const char *name);
