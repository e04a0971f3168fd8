/* SPDX-License-Identifier: MIT */
/* What the parts of this folder share. */
#ifndef RUNTIME_IO_FILE_FILE_H
#define RUNTIME_IO_FILE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/file.h"

/** Open a path close-on-exec, off the worker unless it is cached; `flags` have O_NONBLOCK or
 * O_DIRECTORY.  Returns: the descriptor.
 * Errors: weft_file_open's. */
int file_open_fd(const char *path, int flags, mode_t mode);

/** Wait until the folder that holds `path` is on the disk.  A blocking call, for the pool. */
int file_sync_folder(const char *path);

/** As weft_offload, on the threads for files. */
int file_offload(int (*fn)(void *), void *arg, int *ret_result);

/** As file_offload with fn's result, but whatever the scope says; on the worker itself where there
 * is no thread to be had, or the runtime's grace is over. */
int file_offload_shielded(int (*fn)(void *), void *arg);

/** Whether what is cached is read and written by the worker itself (file.c, I2).  Tests turn it
 * off, so that the backends have something to do.  Any thread. */
void file_set_at_once(bool allowed);

#endif
