/* SPDX-License-Identifier: MIT */
/* module_progress: the record of a process that is not trusted. */
#include "daemon/module_progress.h"

#include "daemon/module_host.h"
#include "daemon/run.h"
#include "support/test.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int reply, signal_fd;

static void begin(void)
{
    reply = module_reply_open();
    signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cr_assert_geq(reply, 0);
    cr_assert_geq(signal_fd, 0);
}

static void end(void)
{
    close(reply);
    close(signal_fd);
}

static struct run_progress through(double fraction, const char *text)
{
    struct run_progress said = {.fraction = fraction}, read;
    strcpy(said.text, text);
    module_progress_write(reply, signal_fd, &said);
    memset(&read, 'x', sizeof read);
    cr_assert_eq(module_progress_read(reply, &read), 0);
    return read;
}

Test(module_progress, what_is_written_is_read_and_signalled, .init = begin, .fini = end)
{
    uint64_t count;
    struct run_progress got = through(0.25, "a quarter");
    cr_assert_eq(got.fraction, 0.25);
    cr_assert_str_eq(got.text, "a quarter");
    got = through(-1, "");
    cr_assert_eq(got.fraction, -1);
    cr_assert_str_eq(got.text, "");
    cr_assert_eq(read(signal_fd, &count, sizeof count), (ssize_t)sizeof count);
    cr_assert_eq(count, 2);
}

Test(module_progress, none_is_no_record, .init = begin, .fini = end)
{
    struct run_progress read;
    cr_assert_eq(module_progress_read(reply, &read), -ENODATA);
}

Test(module_progress, half_a_record_is_none, .init = begin, .fini = end)
{
    struct run_progress read = through(0.5, "half");
    for (off_t at = 0; at < 24; at++) { /* sum, fraction, and some of the text */
        char byte, other;
        cr_assert_eq(pread(reply, &byte, 1, MODULE_REPLY_MAX + at), 1);
        other = (char)(byte ^ 1);
        cr_assert_eq(pwrite(reply, &other, 1, MODULE_REPLY_MAX + at), 1);
        cr_assert_eq(module_progress_read(reply, &read), -ENODATA);
        cr_assert_eq(pwrite(reply, &byte, 1, MODULE_REPLY_MAX + at), 1);
    }
    cr_assert_eq(module_progress_read(reply, &read), 0);
}

Test(module_progress, odd_numbers_are_made_plain, .init = begin, .fini = end)
{
    cr_assert_eq(through(NAN, "").fraction, -1);
    cr_assert_eq(through(INFINITY, "").fraction, -1);
    cr_assert_eq(through(7, "").fraction, 1);
}

Test(module_progress, reply_is_not_touched_by_it, .init = begin, .fini = end)
{
    json_t *json;
    through(0.5, "half");
    cr_assert_eq(module_reply_read(reply, &json), -ENODATA);
    cr_assert_eq(pwrite(reply, "{\"rc\":0}", 8, 0), 8);
    cr_assert_eq(module_reply_read(reply, &json), 0);
    json_decref(json);
}
