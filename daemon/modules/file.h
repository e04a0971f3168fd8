/* SPDX-License-Identifier: MIT */
/*
 * What the handlers of the file module share.
 *
 * A handler does its work in slices: each is one call of weft_offload that takes a few milliseconds
 * and moves SLICE bytes at most, so that a cancel or a stop waits for one slice, and a small file
 * costs one.
 */
#pragma once

#include "daemon/native.h"

enum { FILE_SLICE = 4 * 1024 * 1024 };

/* A slice returns: 1 there is more, 0 done, -errno. */
int file_in_slices(int (*slice)(void *), void *arg);

/* The same once and to the end of it, whatever the scope says; for clean-up. */
void file_clean_up(int (*fn)(void *), void *arg);

/* Open a regular file for reading.  Returns the descriptor and, if asked for, the file's status.
 * Errors: -EISDIR, -EINVAL no regular file, and open(2)'s.  Blocks. */
struct stat;
int file_open(const char *path, struct stat *ret_status);

/* The named parameters are absolute paths (a daemon's working directory is nobody's). */
int file_check_path(const json_t *args, const char *name, struct rpc_error *error);

int file_copy_run(struct native_call *call, const json_t *args);
int file_hash_run(struct native_call *call, const json_t *args);
