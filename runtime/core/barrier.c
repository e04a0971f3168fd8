/* SPDX-License-Identifier: MIT */
/* membarrier(2), registered for when it is first wanted. */
#include "core/barrier.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

int barrier_everywhere(void)
{
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return 0;
    /* For the first time in this process: a child of fork(2) registers again. */
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return 0;
    return membarrier(MEMBARRIER_CMD_GLOBAL) == 0 ? 0 : -ENOTSUP;
}
