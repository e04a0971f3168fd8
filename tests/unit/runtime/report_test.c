/* SPDX-License-Identifier: MIT */
/* report_test: observe/report.c */
#include "support/test.h"

#include "support/io.h"
#include "support/reports.h"

static int fail(void *arg)
{
    (void)arg;
    return -ENOENT;
}

static int succeed(void *arg)
{
    (void)arg;
    return 0;
}

static int lose_a_failure(void *arg)
{
    struct weft_task *task;

    EXPECT_EQ(weft_task_new("careless", arg ? succeed : fail, NULL, &task), 0);
    weft_task_detach(task);
    return 0;
}

static int forget_a_task(void *arg)
{
    struct weft_task **task = arg;

    return weft_task_new("forgotten", succeed, NULL, task);
}

Test(report, a_failure_that_nobody_asked_for_is_reported_in_debug_mode)
{
    struct reports reports = REPORTS_INIT;
    struct weft_options options = reports_options(&reports, 1);

    options.debug = true;
    cr_assert_eq(weft_run(&options, lose_a_failure, NULL), 0);
    cr_assert_eq(reports_count(&reports, WEFT_REPORT_UNJOINED), 1);
    cr_assert_str_eq(reports.last[WEFT_REPORT_UNJOINED],
                     "weft: task careless failed, and nobody asked for its result: "
                     "No such file or directory\n");
}

Test(report, a_success_that_nobody_asked_for_is_not)
{
    struct reports reports = REPORTS_INIT;
    struct weft_options options = reports_options(&reports, 1);

    options.debug = true;
    cr_assert_eq(weft_run(&options, lose_a_failure, &reports), 0);
    cr_assert_eq(reports_count(&reports, WEFT_REPORT_UNJOINED), 0);
}

Test(report, a_handle_that_is_left_at_the_end_is_reported_in_debug_mode)
{
    struct reports reports = REPORTS_INIT;
    struct weft_options options = reports_options(&reports, 1);
    struct weft_task *task;

    options.debug = true;
    cr_assert_eq(weft_run(&options, forget_a_task, &task), 0);
    cr_assert(reports_say(&reports, WEFT_REPORT_UNJOINED, "task forgotten was never joined"));
    weft_task_free(task);
}

Test(report, without_debug_mode_nothing_is_reported)
{
    struct reports reports = REPORTS_INIT;
    struct weft_options options = reports_options(&reports, 1);

    unsetenv("WEFT_DEBUG");
    cr_assert_eq(weft_run(&options, lose_a_failure, NULL), 0);
    cr_assert_eq(reports_count(&reports, WEFT_REPORT_UNJOINED), 0);
}

/* Run with standard error in a pipe; what was written there. */
static ssize_t on_standard_error(const struct weft_options *options, char *ret_text, size_t size)
{
    int fds[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    raw_pipe(fds);
    EXPECT(dup2(fds[1], STDERR_FILENO) >= 0);
    EXPECT_EQ(weft_run(options, lose_a_failure, NULL), 0);
    EXPECT(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(fds[1]);
    n = read(fds[0], ret_text, size - 1);
    close(fds[0]);
    return n;
}

Test(report, without_a_callback_it_goes_to_standard_error)
{
    struct weft_options options;
    char text[4096] = "";

    setenv("WEFT_DEBUG", "1", 1);
    weft_options_init(&options);
    one_at_a_time(&options);
    options.handle_signals = false;
    cr_assert(on_standard_error(&options, text, sizeof(text)) > 0);
    cr_assert_not_null(strstr(text, "weft: task careless failed"));
}

/* --- a report from within a report */

struct chain {
    unsigned reports;
    struct weft_task *next; /* whom the first report lets go */
};

static void report_again(const struct weft_report *report, void *arg)
{
    struct chain *chain = arg;
    struct weft_task *next;

    if (report->kind == WEFT_REPORT_SLOW_FIBER)
        return; /* one that the kernel kept waiting */
    EXPECT_EQ(report->kind, WEFT_REPORT_UNJOINED);
    next = chain->next;
    chain->reports++;
    chain->next = NULL;
    weft_task_detach(next);
}

static int lose_two(void *arg)
{
    struct chain *chain = arg;
    struct weft_task *first;

    EXPECT_EQ(weft_task_new("first", fail, NULL, &first), 0);
    EXPECT_EQ(weft_task_new("second", fail, NULL, &chain->next), 0);
    while (!weft_task_done(first) || !weft_task_done(chain->next))
        EXPECT_EQ(weft_yield(), 0);
    weft_task_detach(first);
    return 0;
}

Test(report, a_callback_may_cause_another_report)
{
    struct reports reports = REPORTS_INIT;
    struct weft_options options = reports_options(&reports, 2);
    struct chain chain = {0};

    options.debug = true;
    options.report = report_again;
    options.report_arg = &chain;
    cr_assert_eq(weft_run(&options, lose_two, &chain), 0);
    cr_assert_eq(chain.reports, 2);
}
