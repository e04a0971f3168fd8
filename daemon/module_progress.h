/* SPDX-License-Identifier: MIT */
/*
 * module_progress: how far a call is, from a module's process to weftd.
 *
 * The last word is a record behind the reply, in the same file in memory; that there is another is
 * told by an eventfd.  So the process never waits for weftd, a process that talks without end costs
 * weftd a look now and then, and what it said last is there even after its crash.
 *
 * A record that is read while it is written is seen to be none by its sum; the writer tells of it
 * after that, so it is looked at again.
 */
#pragma once

struct run_progress;

#define MODULE_PROGRESS_SIZE 256 /* of the record, behind MODULE_REPLY_MAX */

/* In the module's process.  Any thread, one at a time. */
void module_progress_write(int reply_fd, int signal_fd, const struct run_progress *said);

/* Errors: -ENODATA there is no whole one; pread(2)'s. */
int module_progress_read(int reply_fd, struct run_progress *ret_said);
