/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* stderr is a pipe for the length of a test; each test is a process of its own. */
static int out_fd;
static int saved_stderr;

static void capture(void)
{
    int ends[2];
    unsetenv("JOURNAL_STREAM");
    cr_assert_eq(pipe(ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    out_fd = ends[0];
}

static char *read_until_closed(void)
{
    size_t size = 0, capacity = 1 << 20;
    char *text = malloc(capacity);
    ssize_t got;
    while ((got = read(out_fd, text + size, capacity - size - 1)) > 0)
        size += (size_t)got;
    text[size] = '\0';
    return text;
}

static char *captured(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    return read_until_closed();
}

static size_t count_lines(const char *text, const char *needle)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, needle)); at++)
        count++;
    return count;
}

Test(log, lines_come_out_in_order_with_time_and_level, .init = capture)
{
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    log_info("one %d", 1);
    log_error("two");
    log_debug("not shown");
    log_stop();
    char *text = captured();
    char *one = strstr(text, " info    one 1\n"), *two = strstr(text, " error   two\n");
    cr_assert(one && two && one < two, "%s", text);
    cr_assert_null(strstr(text, "not shown"));
    free(text);
}

Test(log, works_before_start_and_after_stop, .init = capture)
{
    log_notice("before");
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    cr_assert_eq(log_start(CONFIG_LOG_INFO), -EALREADY);
    log_stop();
    log_stop();
    log_notice("after");
    char *text = captured();
    cr_assert(strstr(text, "before\n") && strstr(text, "after\n"), "%s", text);
    free(text);
}

Test(log, level_can_change_at_any_time, .init = capture)
{
    cr_assert_eq(log_start(CONFIG_LOG_ERROR), 0);
    log_info("hidden");
    log_set_level(CONFIG_LOG_DEBUG);
    log_debug("shown");
    log_stop();
    char *text = captured();
    cr_assert_null(strstr(text, "hidden"));
    cr_assert_not_null(strstr(text, "shown"));
    free(text);
}

Test(log, control_bytes_are_escaped_and_long_lines_cut, .init = capture)
{
    char lengthy[2000];
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = '\0';
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    log_info("a\nb\x1b[31mc");
    log_info("%s", lengthy);
    log_stop();
    char *text = captured();
    cr_assert(strstr(text, "a\\nb\\x1b[31mc\n") != NULL, "%s", text);
    cr_assert_eq(count_lines(text, "\n"), 2);
    cr_assert_not_null(strstr(text, "xxx...\n"));
    free(text);
}

Test(log, errno_is_kept, .init = capture)
{
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    errno = EXDEV;
    log_info("x");
    cr_assert_eq(errno, EXDEV);
    log_stop();
    free(captured());
}

Test(log, journald_gets_the_level_as_a_number, .init = capture)
{
    struct stat status;
    char stream[64];
    cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    log_warning("careful");
    log_stop();
    char *text = captured();
    cr_assert_str_eq(text, "<4>careful\n");
    free(text);
}

static void *stop_and_close(void *arg)
{
    log_stop();
    dup2(saved_stderr, STDERR_FILENO);
    return arg;
}

/* Nobody reads the pipe, so the writer gets stuck in write(2); the callers must not. */
Test(log, full_ring_drops_counts_and_says_so, .init = capture)
{
    enum { LINES = 20000 };
    fcntl(STDERR_FILENO, F_SETPIPE_SZ, 4096);
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    for (int i = 0; i < LINES; i++)
        log_info("line %d", i);
    uint64_t lost = log_lost();
    cr_assert(lost > 0 && lost < LINES, "%llu", (unsigned long long)lost);

    pthread_t stopper;
    cr_assert_eq(pthread_create(&stopper, NULL, stop_and_close, NULL), 0);
    char *text = read_until_closed();
    pthread_join(stopper, NULL);
    cr_assert_not_null(strstr(text, "lines were lost"));
    size_t shown = count_lines(text, " line ");
    cr_assert_eq(shown + lost, LINES, "%zu + %llu", shown, (unsigned long long)lost);
    free(text);
}

static void *chatter(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("thread %s says %d", (const char *)arg, i);
    return NULL;
}

Test(log, many_threads_lose_nothing_that_fits, .init = capture)
{
    fcntl(STDERR_FILENO, F_SETPIPE_SZ, 1 << 20);
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    pthread_t threads[4];
    static const char *const names[] = {"A", "B", "C", "D"};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, chatter, (void *)names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    log_stop();
    char *text = captured();
    cr_assert_eq(count_lines(text, "says "), 800);
    cr_assert_eq(count_lines(text, "thread C says 199\n"), 1);
    cr_assert_eq(log_lost(), 0);
    free(text);
}

/* As where a terminal is shared with a program that made it non-blocking. */
Test(log, a_full_pipe_that_does_not_block_is_waited_for, .init = capture)
{
    static const char filler[4096] = {'-'};
    size_t filled = 0;
    ssize_t n;
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    cr_assert_eq(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
    while ((n = write(STDERR_FILENO, filler, sizeof filler)) > 0)
        filled += (size_t)n;
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    log_info("it comes whole");
    char *text = malloc(filled + 1);
    for (size_t got = 0; got < filled; got += (size_t)n) {
        n = read(out_fd, text + got, filled - got);
        cr_assert_gt(n, 0);
    }
    free(text);
    log_stop();
    text = captured();
    cr_assert_not_null(strstr(text, " info    it comes whole\n"), "%s", text);
    free(text);
}

Test(log, nobody_needs_to_be_there)
{
    int ends[2];
    signal(SIGPIPE, SIG_IGN); /* as weftd has it */
    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    cr_assert_eq(log_start(CONFIG_LOG_INFO), 0);
    for (int i = 0; i < 100; i++)
        log_info("for nobody");
    log_stop(); /* it does come back */
    dup2(saved_stderr, STDERR_FILENO);
}
