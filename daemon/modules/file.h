/* SPDX-License-Identifier: MIT */
/*
 * What the handlers of the file module share.
 *
 * A handler does its work in slices: each is one call of weft_offload that takes a few milliseconds
 * and moves SLICE bytes at most, so that a cancel or a stop waits for one slice, and a small file
 * costs one.
 */
#pragma once

#include "daemon/modules/modules.h"

enum { FILE_SLICE = 4 * 1024 * 1024 };

/* Most bytes of a file in one result: it is kept with the job, and goes out as one line. */
enum { FILE_RESULT_MAX = 128 * 1024, FILE_LINES_MAX = 10000 };

/* A slice returns: 1 there is more, 0 done, -errno. */
int file_in_slices(int (*slice)(void *), void *arg);

/* The same once and to the end of it, whatever the scope says; for clean-up. */
void file_clean_up(int (*fn)(void *), void *arg);

/* Open a regular file for reading.  Returns the descriptor and, if asked for, the file's status.
 * Errors: -EISDIR, -EINVAL no regular file, and open(2)'s.  Blocks. */
struct stat;
int file_open(const char *path, struct stat *ret_status);

/* Handlers' checks.  file_check(): no path may end in "/", which names a folder. */
int file_check(struct weft_attempt *attempt);
int file_write_check(struct weft_attempt *attempt); /* file_text.c */

int file_copy_run(struct weft_attempt *attempt);  /* file_copy.c */
int file_hash_run(struct weft_attempt *attempt);  /* file_hash.c */
int file_read_run(struct weft_attempt *attempt);  /* file_text.c */
int file_write_run(struct weft_attempt *attempt); /* file_text.c */
int file_lines_run(struct weft_attempt *attempt); /* file_text.c */
