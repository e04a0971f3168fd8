/* SPDX-License-Identifier: MIT */
/*
 * store_wal: is an SQLite write-ahead log damaged in its durable part?
 *
 * SQLite takes the first frame with a bad checksum for the end of the log.  That is right after a
 * power cut, which can tear the last, unacknowledged transaction; it silently drops acknowledged
 * ones when a byte in the middle went bad.
 */
#pragma once

#include <stddef.h>

/* Reads the whole file once; changes nothing.  ret_reason gets a clause when it is damaged.
 * Returns: 0 it is whole, or torn at most in its last transaction, or empty, or not there.
 * Errors:  -EBADMSG damaged, and those of open(2) and read(2). */
int store_wal_check(const char *path, char *ret_reason, size_t size);
