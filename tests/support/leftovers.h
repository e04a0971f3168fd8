/* SPDX-License-Identifier: MIT */
/* What a process has open or running, for tests that leave nothing behind. */
#pragma once
#include <dirent.h>

#include "support/fibers.h"

/* Entries of a folder of /proc. */
static inline int count_entries(const char *path)
{
    DIR *folder = opendir(path);
    int count = -2; /* "." and ".." */
    EXPECT(folder != NULL);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/** Descriptors open in this process, without the one that counts them. */
static inline int open_fds(void)
{
    return count_entries("/proc/self/fd") - 1;
}

/** Until there are no more descriptors than that.  A detached thread of another library, as libcurl's
 * in getaddrinfo(3), may be about to close its own. */
static inline void await_fds(int most)
{
    uint64_t end_ns = weft_deadline_after(10 * WEFT_SECOND);
    while (open_fds() > most && weft_now_ns() < end_ns)
        usleep(1000);
    EXPECT_EQ(open_fds(), most);
}

/** Until there are no more threads than that.  One that was joined may still be listed. */
static inline void await_threads(int most)
{
    uint64_t end_ns = weft_deadline_after(10 * WEFT_SECOND);
    while (count_entries("/proc/self/task") > most)
        EXPECT(weft_now_ns() < end_ns);
}
