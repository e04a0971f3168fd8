/* SPDX-License-Identifier: MIT */
/* module_progress: see module_progress.h.  What is read comes from a process that is not trusted. */
#include "daemon/module_progress.h"

#include "daemon/module_host.h"
#include "daemon/run.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

struct record {
    uint64_t sum; /* of what follows */
    double fraction;
    char text[RUN_PROGRESS_TEXT];
};
_Static_assert(sizeof(struct record) <= MODULE_PROGRESS_SIZE, "it has its place");

/* FNV-1a; of nothing but zeroes it is not 0. */
static uint64_t sum_of(const struct record *record)
{
    const unsigned char *bytes = (const unsigned char *)&record->fraction;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof *record - offsetof(struct record, fraction); i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

void module_progress_write(int reply_fd, int signal_fd, const struct run_progress *said)
{
    struct record record;
    const uint64_t one = 1;
    memset(&record, 0, sizeof record);
    record.fraction = said->fraction;
    memcpy(record.text, said->text, sizeof record.text);
    record.sum = sum_of(&record);
    if (pwrite(reply_fd, &record, sizeof record, MODULE_REPLY_MAX) == sizeof record)
        (void)!write(signal_fd, &one, sizeof one); /* full: it is told already */
}

/* Not inlined, as errno is read in it: its address must not be kept across a suspension. */
__attribute__((noinline)) int module_progress_read(int reply_fd, struct run_progress *ret_said)
{
    struct record record;
    ssize_t size = pread(reply_fd, &record, sizeof record, MODULE_REPLY_MAX);
    if (size < 0)
        return -errno;
    if (size != sizeof record || record.sum != sum_of(&record))
        return -ENODATA;
    ret_said->fraction = isfinite(record.fraction) ? fmin(record.fraction, 1) : -1;
    memcpy(ret_said->text, record.text, sizeof record.text);
    ret_said->text[sizeof ret_said->text - 1] = '\0';
    return 0;
}
