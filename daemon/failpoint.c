/* SPDX-License-Identifier: MIT */
/*
 * failpoint: see failpoint.h.
 *
 * I1  SIGKILL, so that nothing runs on the way out: no buffer is flushed, no lock let go in order.
 */
#include "daemon/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[FAILPOINT_COUNT] = {
    [FAILPOINT_WRITE] = "write",
    [FAILPOINT_COMMIT] = "commit",
    [FAILPOINT_COMMITTED] = "committed",
    [FAILPOINT_FOLDED] = "folded",
    [FAILPOINT_REPLY] = "reply",
    [FAILPOINT_REPLIED] = "replied",
    [FAILPOINT_START] = "start",
    [FAILPOINT_STARTED] = "started",
    [FAILPOINT_SPAWNED] = "spawned",
    [FAILPOINT_EXITED] = "exited",
    [FAILPOINT_REAP] = "reap",
    [FAILPOINT_REAPED] = "reaped",
    [FAILPOINT_RAN] = "ran",
    [FAILPOINT_ENDED] = "ended",
    [FAILPOINT_FORGOTTEN] = "forgotten",
};

enum failpoint failpoint_armed;
static atomic_long left; /* passes until it strikes; relaxed: one thread gets the 1 */

static enum failpoint find(const char *text, size_t size)
{
    for (int at = FAILPOINT_NONE + 1; at < FAILPOINT_COUNT; at++)
        if (strlen(names[at]) == size && strncmp(names[at], text, size) == 0)
            return (enum failpoint)at;
    return FAILPOINT_NONE;
}

int failpoint_arm(struct problem *problem)
{
    const char *text = getenv("WEFT_FAILPOINT");
    if (!text)
        return 0;
    size_t size = strcspn(text, ":");
    char *end = "";
    long count = text[size] ? strtol(text + size + 1, &end, 10) : 1;
    enum failpoint at = find(text, size);
    if (at == FAILPOINT_NONE || count < 1 || *end != '\0')
        return problem_set(problem, -EINVAL, "WEFT_FAILPOINT=%s: there is no such failpoint", text);
    atomic_store_explicit(&left, count, memory_order_relaxed);
    failpoint_armed = at;
    unsetenv("WEFT_FAILPOINT");
    return 0;
}

void failpoint_reach(void)
{
    if (atomic_fetch_sub_explicit(&left, 1, memory_order_relaxed) != 1)
        return;
    kill(getpid(), SIGKILL); /* I1 */
    for (;;)
        pause();
}
