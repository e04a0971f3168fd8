/* SPDX-License-Identifier: MIT */
/* follow_files: logs and run by descriptors of the output, and what they do where none comes. */
#include "fake_server.h"

#include "client/follow.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define FILE_FROM(begin, more)                                                                     \
    "\"result\":{\"attempt\":1,\"descriptor\":true,\"begin\":" #begin ",\"eof\":false" more "}"
#define NONE(attempt, eof, more)                                                                   \
    "\"result\":{\"attempt\":" #attempt ",\"descriptor\":false,\"eof\":" #eof more "}"
#define JOB(state, attempt)                                                                        \
    "\"result\":{\"id\":5,\"state\":\"" state "\",\"attempt\":" #attempt ",\"exit_code\":0}"
#define LOGS(text, next)                                                                           \
    "\"result\":{\"data\":\"" text "\",\"encoding\":\"utf-8\",\"next\":" #next "}"
#define ENDED "\"result\":{\"jobs\":[]}"

static void append(int file, const char *text)
{
    ssize_t size = (ssize_t)strlen(text);
    cr_assert_eq(pwrite(file, text, (size_t)size, lseek(file, 0, SEEK_END)), size);
}

static void complete(int file)
{
    cr_assert_eq(fchmod(file, 0400), 0);
}

static int file_of(const char *text)
{
    int file = memfd_create("output", MFD_CLOEXEC);
    cr_assert_geq(file, 0);
    cr_assert_eq(fchmod(file, 0600), 0);
    append(file, text);
    return file;
}

static int complete_file(const char *text)
{
    int file = file_of(text);
    complete(file);
    return file;
}

/* ---- what there is ---- */

Test(follow_files, logs_reads_what_there_is_and_no_more)
{
    int file = file_of("first\nsecond");
    const struct canned canned[] = {{"job.output", FILE_FROM(0, ""), &file}, {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "5"), 0, "first\nsecond", "");
    cr_assert_eq(json_array_size(fake.requests), 1, "it asks for nothing else");
    expect_params(&fake, "job.output", 0, "{\"id\":5,\"offset\":0,\"stream\":\"stdout\"}");
    fake_free(&fake);
    close(file);
}

Test(follow_files, a_row_of_files_is_read_to_its_end_and_gaps_are_told)
{
    int first = complete_file("abc"), second = complete_file("def");
    const struct canned canned[] = {
        {"job.output", FILE_FROM(100, ",\"gap\":100"), &first},
        {"job.output", FILE_FROM(103, ""), &second},
        {"job.output", NONE(1, true, ",\"dropped\":7"), NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "--stderr", "5"), 0, "abcdef",
               "weft: job 5: 100 bytes of stderr from offset 0 on were not kept (exec.output_max)\n"
               "weft: job 5: 7 more bytes of stderr were not kept (exec.output_max)\n");
    expect_params(&fake, "job.output", 1, "{\"id\":5,\"offset\":103,\"stream\":\"stderr\"}");
    expect_params(&fake, "job.output", 2, "{\"id\":5,\"offset\":106,\"stream\":\"stderr\"}");
    fake_free(&fake);
    close(first);
    close(second);
}

Test(follow_files, an_offset_within_a_file_is_read_from_there)
{
    int first = complete_file("0123"), longer = complete_file("0123456");
    const struct canned canned[] = {
        {"job.output", FILE_FROM(0, ""), &first},
        {"job.output", FILE_FROM(0, ""), &longer}, /* the same stream, in another file */
        {"job.output", NONE(1, true, ""), NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "5"), 0, "0123456", "");
    fake_free(&fake);
    close(first);
    close(longer);
}

/* ---- following ---- */

static int growing;

/* The job writes a bit more while it is followed, and ends. */
static void grow(const char *method)
{
    if (strcmp(method, "job.wait") != 0)
        return;
    append(growing, "one ");
    append(growing, "two");
    complete(growing);
}

Test(follow_files, follow_prints_what_is_appended_until_the_end)
{
    growing = file_of("zero ");
    const struct canned canned[] = {
        {"job.output", FILE_FROM(0, ""), &growing},
        {"job.wait", NULL, NULL}, /* unanswered: only the file tells */
        {"job.output", NONE(1, true, ""), NULL},
        {"job.get", JOB("succeeded", 1), NULL},
        {0},
    };
    struct fake fake = {.canned = canned, .seen = grow};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 0, "zero one two", "");
    cr_assert_eq(fake_count(&fake, "job.wait"), 1, "one lies there all the time");
    cr_assert_eq(fake_count(&fake, "job.output"), 2);
    cr_assert_eq(fake_count(&fake, "job.logs"), 0);
    expect_params(&fake, "job.wait", 0, "{\"ids\":[5]}");
    fake_free(&fake);
    close(growing);
}

/* It was killed with weftd: nobody takes the write bit off, but the job has ended. */
Test(follow_files, what_a_killed_weftd_left_is_complete_by_the_jobs_end)
{
    int left = file_of("left");
    const struct canned canned[] = {
        {"job.output", "\"result\":{\"attempt\":1,\"descriptor\":true,\"begin\":0,\"eof\":true}",
         &left},
        {"job.wait", ENDED, NULL},
        {"job.output", NONE(1, true, ""), NULL},
        {"job.get", JOB("succeeded", 1), NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 0, "left", "");
    fake_free(&fake);
    close(left);
}

/* The file does not grow any more, and is not complete: that the job has ended is why it is asked anew. */
Test(follow_files, the_jobs_end_ends_the_pause)
{
    int file = file_of("out");
    const struct canned canned[] = {
        {"job.output", NONE(0, false, ""), NULL},
        {"job.wait", ENDED, NULL},
        {"job.output", "\"result\":{\"attempt\":1,\"descriptor\":true,\"begin\":0,\"eof\":true}",
         &file},
        {"job.output", NONE(1, true, ""), NULL},
        {"job.get", JOB("failed", 1), NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 0, "out", "");
    fake_free(&fake);
    close(file);
}

Test(follow_files, a_weftd_that_stops_is_told)
{
    int file = file_of("out");
    const struct canned canned[] = {
        {"job.output", FILE_FROM(0, ""), &file},
        {"job.wait", STOPPING, NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 3, "out",
               "weft: weftd is stopping; run it again when weftd is back\n");
    fake_free(&fake);
    close(file);
}

Test(follow_files, another_attempt_begins_when_the_one_before_is_read)
{
    int out = complete_file("out of one\n"), err = complete_file("err of one\n");
    int again = complete_file("again\n");
    const struct canned canned[] = {
        {"job.submit", "\"result\":{\"id\":5}", NULL},
        {"job.output", FILE_FROM(0, ""), &out},
        {"job.output", FILE_FROM(0, ""), &err},
        {"job.output", NONE(2, false, ""), NULL}, /* stdout at 11 */
        {"job.output", NONE(2, false, ""), NULL}, /* stderr at 0 */
        {"job.output", "\"result\":{\"attempt\":2,\"descriptor\":true,\"begin\":0,\"eof\":true}",
         &again},
        {"job.output", NONE(2, true, ""), NULL},
        {"job.wait", ENDED, NULL},
        {"job.get", JOB("succeeded", 2), NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "run", "--cwd", "/", "--", "true");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert_str_eq(ran.out, "out of one\nagain\n");
    cr_assert_str_eq(ran.err, "err of one\nweft: job 5: attempt 2\n");
    ran_free(&ran);
    fake_free(&fake);
    close(out);
    close(err);
    close(again);
}

/* ---- where no more can be written ---- */

/* Takes left bytes, and then fails. */
static ssize_t take_some(void *left, const char *data, size_t size)
{
    size_t taken = size < *(size_t *)left ? size : *(size_t *)left;
    (void)data;
    *(size_t *)left -= taken;
    return (ssize_t)taken;
}

/* Follows into an output that takes so many bytes.  Returns: the offset that it came to. */
static int64_t offset_after(const struct canned *canned, size_t left)
{
    struct fake fake = {.canned = canned};
    struct command command = {.err = stderr, .client = fake_open(&fake)};
    struct follow follow;
    struct weft_client_error error;
    command.out = fopencookie(&left, "w", (cookie_io_functions_t){.write = take_some});
    setvbuf(command.out, NULL, _IONBF, 0);
    follow_init(&follow, &command, 5, "stdout");
    cr_assert_eq(follow_once(&follow, &error), -EPIPE);
    follow_destroy(&follow);
    fclose(command.out);
    fake_finish(&fake, command.client);
    return follow.streams[0].offset;
}

Test(follow_files, the_offset_moves_only_with_what_was_printed)
{
    int file = complete_file("0123456789");
    const struct canned in_file[] = {{"job.output", FILE_FROM(0, ""), &file}, {0}};
    const struct canned in_pieces[] = {
        {"job.logs", LOGS("", 0), NULL}, /* before the attempt is known */
        {"job.logs", LOGS("0123456789", 10), NULL},
        {"job.get", JOB("running", 1), NULL},
        {0},
    };
    const struct canned in_base64[] = {
        {"job.logs", LOGS("", 0), NULL},
        {"job.logs", "\"result\":{\"data\":\"/////w==\",\"encoding\":\"base64\",\"next\":4}", NULL},
        {"job.get", JOB("running", 1), NULL},
        {0},
    };
    cr_assert_eq(offset_after(in_file, 0), 0);
    cr_assert_eq(offset_after(in_file, 3), 3);
    cr_assert_eq(offset_after(in_pieces, 3), 0, "a piece is printed, or it is not");
    cr_assert_eq(offset_after(in_base64, 3), 0);
    close(file);
}

/* ---- where none comes ---- */

#define REST    "\"result\":{\"data\":\"rest\",\"encoding\":\"utf-8\",\"next\":9,\"eof\":true}"
#define NOTHING "\"result\":{\"data\":\"\",\"encoding\":\"utf-8\",\"next\":9,\"eof\":true}"

Test(follow_files, pieces_go_on_from_where_the_files_came_to)
{
    int file = complete_file("first");
    const struct canned canned[] = {
        {"job.output", FILE_FROM(0, ""), &file},
        {"job.wait", NULL, NULL},
        {"job.output", FILE_FROM(5, ""), NULL}, /* a proxy took it away */
        {"job.logs", REST, NULL},
        {"job.logs", NOTHING, NULL},
        {"job.get", JOB("succeeded", 1), NULL},
        {0},
    };
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "logs", "-f", "5"), 0, "firstrest", "");
    expect_params(&fake, "job.logs", 0,
                  "{\"id\":5,\"limit\":65536,\"offset\":5,\"stream\":\"stdout\"}");
    cr_assert_eq(fake_count(&fake, "job.output"), 2, "it does not try again");
    fake_free(&fake);
    close(file);
}

Test(follow_files, json_is_what_weftd_said)
{
    static const struct canned canned[] = {
        {"job.logs", NOTHING, NULL}, {"job.get", JOB("succeeded", 0), NULL}, {0}};
    struct fake fake = {.canned = canned};
    struct ran ran = FAKE_RUN(&fake, "logs", "--json", "5");
    cr_assert_eq(ran.status, 0, "%s", ran.err);
    cr_assert_eq(fake_count(&fake, "job.output"), 0);
    ran_free(&ran);
    fake_free(&fake);
}

/* ---- interrupts ---- */

static void interrupt(const char *method)
{
    if (strcmp(method, "job.wait") == 0)
        kill(getpid(), SIGINT);
    if (strcmp(method, "job.cancel") == 0) {
        append(growing, "bye");
        complete(growing);
    }
}

Test(follow_files, an_interrupt_cancels_and_what_is_still_written_is_shown)
{
    growing = file_of("");
    const struct canned canned[] = {
        {"job.submit", "\"result\":{\"id\":5}", NULL},
        {"job.output", FILE_FROM(0, ""), &growing},
        {"job.output", NONE(1, true, ""), NULL},
        {"job.wait", NULL, NULL},
        {"job.cancel", "\"result\":{\"results\":[]}", NULL},
        {"job.get", "\"result\":{\"id\":5,\"state\":\"cancelled\",\"attempt\":1,\"signal\":15}",
         NULL},
        {0},
    };
    struct fake fake = {.canned = canned, .seen = interrupt};
    expect_run(FAKE_RUN(&fake, "run", "--cwd", "/", "--", "true"), 128 + SIGINT, "bye", "");
    cr_assert_eq(fake_count(&fake, "job.wait"), 1, "the one that lies there goes on");
    fake_free(&fake);
    close(growing);
}
