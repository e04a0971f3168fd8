/* SPDX-License-Identifier: MIT */
/*
 * Who carries an operation on files out: the worker's io_uring, or, where that refuses, the offload
 * pool.  For fibers.
 */
#include "io/file/file_call.h"

#include "core/ring.h"

int64_t file_call(struct file_call *call)
{
    int r = file_call_uring(call);
    if (r == RING_REFUSED)
        r = file_call_offload(call);
    return r < 0 ? r : call->result;
}
