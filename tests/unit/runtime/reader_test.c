/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/io.h"

/* A source that gives what the script says, a step a call: data, an error, or the end. */
struct step {
    const char *data; /* NULL: return `result` */
    ssize_t result;
    size_t taken;
};

struct script {
    struct step *steps; /* behind the last one is the end, for ever */
    int calls;
};

static ssize_t play(void *arg, void *buffer, size_t size)
{
    struct script *script = arg;
    struct step *step = script->steps;
    script->calls++;
    if (!step->data) {
        if (step->result || step[1].data || step[1].result)
            script->steps++;
        return step->result;
    }
    size_t left = strlen(step->data) - step->taken;
    size_t n = left < size ? left : size;
    memcpy(buffer, step->data + step->taken, n);
    step->taken += n;
    if (n == left)
        script->steps++;
    return (ssize_t)n;
}

/* A reader of these steps, which are followed by the end. */
#define SCRIPT(...)                                                                                \
    struct step steps[] = {__VA_ARGS__, {0}, {0}};                                                 \
    struct script script = {.steps = steps};                                                       \
    struct weft_reader reader;                                                                     \
    weft_reader_init_function(&reader, play, &script)

#define DATA(text)                                                                                 \
    {                                                                                              \
        .data = (text)                                                                             \
    }
#define FAIL(error)                                                                                \
    {                                                                                              \
        .result = (error)                                                                          \
    }

static void expect_rest(struct weft_reader *reader, const char *rest)
{
    char *data;
    size_t size;
    EXPECT_EQ(weft_reader_read_all(reader, 1 << 20, &data, &size), 0);
    EXPECT_EQ(size, strlen(rest));
    EXPECT(strcmp(data, rest) == 0);
    free(data);
}

static void expect_line(struct weft_reader *reader, const char *expected)
{
    const char *line = NULL;
    EXPECT_EQ(weft_reader_readline(reader, &line), strlen(expected));
    EXPECT(strcmp(line, expected) == 0);
}

/* ---- lines ----------------------------------------------------------------------------------- */

Test(reader, lines_keep_their_newline_and_the_last_may_lack_it)
{
    const char *line = "untouched";
    SCRIPT(DATA("one\ntw"), DATA("o\n\nth"), DATA("ree"));
    expect_line(&reader, "one\n");
    expect_line(&reader, "two\n");
    expect_line(&reader, "\n");
    EXPECT(!weft_reader_at_end(&reader));
    expect_line(&reader, "three");
    EXPECT(weft_reader_at_end(&reader));
    EXPECT_EQ(weft_reader_readline(&reader, &line), 0);
    EXPECT(strcmp(line, "untouched") == 0);
    weft_reader_destroy(&reader);
}

Test(reader, a_loop_over_lines_gets_them_without_their_end)
{
    static const char *const expected[] = {"one", "", "three\r", "four", "\rfive", "six"};
    const char *line;
    size_t size, i = 0;
    SCRIPT(DATA("one\r\n\nthree\r\r\nfour\n\rfive\r"), DATA("\nsix"));
    while (weft_reader_next_line(&reader, &line, &size) > 0) {
        EXPECT(strcmp(line, expected[i]) == 0);
        EXPECT_EQ(size, strlen(expected[i++]));
    }
    EXPECT_EQ(i, 6);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), 0);
    weft_reader_destroy(&reader);
}

Test(reader, lines_that_come_byte_by_byte)
{
    SCRIPT(DATA("a"), DATA("b"), DATA("\r"), DATA("\n"), DATA("c"), DATA("\n"));
    expect_line(&reader, "ab\r\n");
    expect_line(&reader, "c\n");
    expect_rest(&reader, "");
}

static ssize_t give_nulls(void *arg, void *buffer, size_t size)
{
    int *calls = arg;
    EXPECT(size >= 4);
    memcpy(buffer, "a\0b\n", 4);
    return (*calls)++ == 0 ? 4 : 0;
}

Test(reader, a_line_may_hold_null_bytes)
{
    struct weft_reader reader;
    const char *line;
    size_t size;
    int calls = 0;
    weft_reader_init_function(&reader, give_nulls, &calls);
    EXPECT_EQ(weft_reader_next_line(&reader, &line, &size), 1);
    EXPECT_EQ(size, 3);
    EXPECT(memcmp(line, "a\0b", 4) == 0);
    weft_reader_destroy(&reader);
}

/* ---- the limit ------------------------------------------------------------------------------- */

Test(reader, a_line_beyond_the_limit_is_told_and_can_be_skipped)
{
    const char *line = "untouched";
    SCRIPT(DATA("short\n"), DATA("much too long a line"), DATA(" that goes on\nnext\n"));
    weft_reader_set_limit(&reader, 10);
    expect_line(&reader, "short\n");
    EXPECT_EQ(weft_reader_readline(&reader, &line), -EMSGSIZE);
    EXPECT_EQ(weft_reader_readline(&reader, &line), -EMSGSIZE); /* and told again */
    EXPECT(strcmp(line, "untouched") == 0);
    EXPECT_EQ(weft_reader_skip_line(&reader), 1);
    expect_line(&reader, "next\n");
    EXPECT_EQ(weft_reader_skip_line(&reader), 0);
    weft_reader_destroy(&reader);
}

Test(reader, or_the_limit_can_be_raised_and_nothing_is_lost)
{
    const char *line;
    SCRIPT(DATA("much too long a line\nnext\n"));
    weft_reader_set_limit(&reader, 10);
    EXPECT_EQ(weft_reader_readline(&reader, &line), -EMSGSIZE);
    weft_reader_set_limit(&reader, 20);
    EXPECT_EQ(weft_reader_readline(&reader, &line), -EMSGSIZE); /* by one */
    weft_reader_set_limit(&reader, 21);
    expect_line(&reader, "much too long a line\n");
    weft_reader_set_limit(&reader, 2);
    EXPECT_EQ(weft_reader_readline(&reader, &line), -EMSGSIZE); /* although it is there whole */
    weft_reader_set_limit(&reader, 5);
    expect_line(&reader, "next\n");
    weft_reader_destroy(&reader);
}

Test(reader, a_record_of_just_the_limit_passes_even_at_the_end)
{
    SCRIPT(DATA("123\n"), DATA("4567"));
    weft_reader_set_limit(&reader, 4);
    expect_line(&reader, "123\n");
    expect_line(&reader, "4567");
    weft_reader_destroy(&reader);
}

Test(reader, a_long_line_is_skipped_in_little_memory)
{
    enum { LINE = 1 << 20 };
    char *long_line = malloc(LINE + 1);
    EXPECT(long_line != NULL);
    memset(long_line, 'x', LINE);
    long_line[LINE] = '\0';
    SCRIPT(DATA(long_line), DATA("\nnext\n"));
    EXPECT_EQ(weft_reader_skip_line(&reader), 1);
    EXPECT(weft_reader_buffered(&reader) < 10);
    EXPECT(script.calls >= LINE / 8192);
    expect_line(&reader, "next\n");
    weft_reader_destroy(&reader);
    free(long_line);
}

/* ---- other separators ------------------------------------------------------------------------ */

static void expect_record(struct weft_reader *reader, const char *separator, const char *expected)
{
    const char *data = NULL;
    EXPECT_EQ(weft_reader_readuntil(reader, separator, strlen(separator), &data), strlen(expected));
    EXPECT(strcmp(data, expected) == 0);
}

Test(reader, a_separator_may_be_split_anywhere)
{
    const char *data;
    SCRIPT(DATA("head\r"), DATA("\n\r"), DATA("\n\r\n\r"), DATA("\n=-"), DATA("=-=-="),
           DATA("=rest"));
    expect_record(&reader, "\r\n\r\n", "head\r\n\r\n");
    expect_record(&reader, "\r\n\r\n", "\r\n\r\n");
    expect_record(&reader, "=-==", "=-=-=-==");
    EXPECT_EQ(weft_reader_readuntil(&reader, "=-==", 4, &data), -ENODATA);
    EXPECT_EQ(weft_reader_readuntil(&reader, "", 0, &data), -EINVAL);
    EXPECT_EQ(weft_reader_skip_until(&reader, "", 0), -EINVAL);
    EXPECT_EQ(weft_reader_buffered(&reader), 4);
    expect_rest(&reader, "rest");
    EXPECT_EQ(weft_reader_readuntil(&reader, "x", 1, &data), 0);
    weft_reader_destroy(&reader);
}

Test(reader, skipping_finds_a_split_separator_too)
{
    SCRIPT(DATA("ab="), DATA("-="), DATA("=c"), DATA("d=-"));
    EXPECT_EQ(weft_reader_skip_until(&reader, "=-==", 4), 1);
    EXPECT_EQ(weft_reader_skip_until(&reader, "=-==", 4), 0);
    EXPECT_EQ(weft_reader_buffered(&reader), 0);
    weft_reader_destroy(&reader);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

Test(reader, readexactly_gets_it_all_or_takes_nothing)
{
    char buffer[16] = "";
    SCRIPT(DATA("12"), DATA("345"), DATA("6"));
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 0), 0);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 4), 0);
    EXPECT(strcmp(buffer, "1234") == 0);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 3), -ENODATA);
    EXPECT_EQ(weft_reader_buffered(&reader), 2);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 2), 0);
    EXPECT(memcmp(buffer, "56", 2) == 0);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 1), -ENODATA);
    EXPECT(weft_reader_at_end(&reader));
    weft_reader_destroy(&reader);
}

Test(reader, readexactly_beyond_the_limit_loses_nothing_either)
{
    char buffer[32] = "";
    SCRIPT(DATA("12\n34"), DATA("5678"), FAIL(-ETIMEDOUT), DATA("9"), DATA("0abc"));
    weft_reader_set_limit(&reader, 4);
    expect_line(&reader, "12\n");
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 8), -ETIMEDOUT);
    EXPECT_EQ(weft_reader_buffered(&reader), 6);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 8), 0);
    EXPECT(memcmp(buffer, "34567890", 8) == 0);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, 30), -ENODATA);
    EXPECT_EQ(weft_reader_readexactly(&reader, buffer, SIZE_MAX), -ENOMEM);
    expect_rest(&reader, "abc");
    weft_reader_destroy(&reader);
}

Test(reader, read_gives_what_is_there_first)
{
    char buffer[8192];
    SCRIPT(DATA("line\nrest"), DATA("more"), DATA("big"));
    expect_line(&reader, "line\n");
    EXPECT_EQ(weft_reader_read(&reader, buffer, 0), 0);
    EXPECT_EQ(weft_reader_read(&reader, buffer, 3), 3);
    EXPECT_EQ(weft_reader_read(&reader, buffer, sizeof(buffer)), 1);
    EXPECT(memcmp(buffer, "t", 1) == 0);
    EXPECT_EQ(weft_reader_read(&reader, buffer, 2), 2);
    EXPECT_EQ(weft_reader_read(&reader, buffer, 5), 2);
    EXPECT(memcmp(buffer, "re", 2) == 0);
    EXPECT_EQ(weft_reader_read(&reader, buffer, sizeof(buffer)), 3);
    EXPECT(memcmp(buffer, "big", 3) == 0);
    EXPECT_EQ(weft_reader_read(&reader, buffer, sizeof(buffer)), 0);
    EXPECT_EQ(weft_reader_read(&reader, buffer, 1), 0);
    EXPECT(weft_reader_at_end(&reader));
    weft_reader_destroy(&reader);
}

Test(reader, read_all_stops_at_its_limit_and_loses_nothing)
{
    char *data = NULL;
    size_t size = 99;
    SCRIPT(DATA("12345"), DATA("678"), DATA("9"));
    EXPECT_EQ(weft_reader_read_all(&reader, 8, &data, &size), -EFBIG);
    EXPECT(data == NULL && size == 99);
    EXPECT_EQ(weft_reader_read_all(&reader, 9, &data, &size), 0);
    EXPECT_EQ(size, 9);
    EXPECT(strcmp(data, "123456789") == 0);
    free(data);
    EXPECT_EQ(weft_reader_read_all(&reader, 0, &data, &size), 0);
    EXPECT_EQ(size, 0);
    EXPECT_EQ(data[0], '\0');
    free(data);
    weft_reader_destroy(&reader);
}

Test(reader, peek_takes_nothing_and_consume_takes_it)
{
    const char *data = NULL;
    SCRIPT(DATA("12"), DATA("345"), DATA("6"));
    EXPECT_EQ(weft_reader_peek(&reader, 0, &data), 0);
    EXPECT_EQ(weft_reader_peek(&reader, 1, &data), 2);
    EXPECT(memcmp(data, "12", 2) == 0);
    EXPECT_EQ(weft_reader_peek(&reader, 3, &data), 5);
    weft_reader_consume(&reader, 4);
    EXPECT_EQ(weft_reader_peek(&reader, 3, &data), 2);
    EXPECT(memcmp(data, "56", 2) == 0);
    weft_reader_consume(&reader, 2);
    EXPECT_EQ(weft_reader_peek(&reader, 3, &data), 0);
    EXPECT_EQ(weft_reader_peek(&reader, WEFT_READER_LIMIT + 1, &data), -EMSGSIZE);
    weft_reader_destroy(&reader);
}

/* ---- errors of the source -------------------------------------------------------------------- */

Test(reader, an_error_is_passed_on_and_what_came_before_stays)
{
    const char *line;
    char *all;
    size_t size;
    SCRIPT(DATA("on"), FAIL(-ECONNRESET), DATA("e\ntw"), FAIL(-EIO), FAIL(-ECANCELED), DATA("o"),
           FAIL(-ETIMEDOUT), FAIL(-ETIMEDOUT), FAIL(-ETIMEDOUT));
    EXPECT_EQ(weft_reader_readline(&reader, &line), -ECONNRESET);
    EXPECT_EQ(weft_reader_buffered(&reader), 2);
    expect_line(&reader, "one\n");
    EXPECT_EQ(weft_reader_next_line(&reader, &line, NULL), -EIO);
    EXPECT_EQ(weft_reader_peek(&reader, 3, &line), -ECANCELED);
    EXPECT_EQ(weft_reader_peek(&reader, 3, &line), 3);
    EXPECT_EQ(weft_reader_readexactly(&reader, &size, 4), -ETIMEDOUT);
    EXPECT_EQ(weft_reader_read_all(&reader, 100, &all, &size), -ETIMEDOUT);
    EXPECT_EQ(weft_reader_skip_until(&reader, "two+", 4), -ETIMEDOUT);
    EXPECT_EQ(weft_reader_read(&reader, &size, 2), 2);
    EXPECT_EQ(weft_reader_read(&reader, &size, 2), 1);
    EXPECT_EQ(weft_reader_read(&reader, &size, 2), 0);
    weft_reader_destroy(&reader);
}

Test(reader, a_source_that_grows_again_is_read_again)
{
    const char *line;
    SCRIPT(DATA("first\n"), FAIL(0), DATA("second\n"));
    expect_line(&reader, "first\n");
    EXPECT_EQ(weft_reader_readline(&reader, &line), 0);
    EXPECT(weft_reader_at_end(&reader));
    expect_line(&reader, "second\n");
    EXPECT(!weft_reader_at_end(&reader));
    weft_reader_destroy(&reader);
}

/* ---- over a stream --------------------------------------------------------------------------- */

struct pair {
    struct weft_stream *streams[2];
    atomic_int arrivals;
    int result;
};

static int send_lines(void *arg)
{
    struct pair *pair = arg;
    char line[4096];
    for (int i = 0; i < 300; i++) {
        int size = snprintf(line, sizeof(line), "%d %0*d\n", i, i * 10 + 1, 0);
        EXPECT_EQ(weft_write(pair->streams[1], line, (size_t)size, NULL), 0);
    }
    EXPECT_EQ(weft_stream_shutdown_write(pair->streams[1]), 0);
    return 0;
}

static int read_lines(void *arg)
{
    struct pair pair;
    struct weft_reader reader;
    struct weft_group group;
    const char *line;
    size_t size;
    int r, count = 0;
    (void)arg;
    stream_pair(pair.streams);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_lines, &pair), 0);
    weft_reader_init(&reader, pair.streams[0]);
    while ((r = weft_reader_next_line(&reader, &line, &size)) > 0) {
        char *end;
        EXPECT_EQ(strtol(line, &end, 10), count);
        EXPECT_EQ(strlen(end), count * 10 + 2);
        EXPECT_EQ(line + size - end, count * 10 + 2);
        count++;
    }
    EXPECT_EQ(r, 0);
    EXPECT_EQ(count, 300);
    weft_reader_destroy(&reader);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(pair.streams);
    return 0;
}

Test(reader, lines_of_a_stream)
{
    on_fibers_counting_fds(1, read_lines, NULL);
    on_fibers_counting_fds(2, read_lines, NULL);
}

static int read_until_deadline(void *arg)
{
    struct weft_stream *streams[2];
    struct weft_reader reader;
    struct weft_scope scope;
    const char *line;
    (void)arg;
    stream_pair(streams);
    weft_reader_init(&reader, streams[0]);
    EXPECT_EQ(weft_write(streams[1], "half", 4, NULL), 0);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_reader_readline(&reader, &line), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_reader_readline(&reader, &line), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_write(streams[1], " and half\n", 10, NULL), 0);
    expect_line(&reader, "half and half\n");
    weft_reader_destroy(&reader);
    free_pair(streams);
    return 0;
}

Test(reader, a_deadline_or_cancel_of_the_scope_loses_nothing)
{
    on_fibers_counting_fds(1, read_until_deadline, NULL);
}

/* ---- over a file ----------------------------------------------------------------------------- */

static int read_file(void *arg)
{
    char name[] = "/tmp/weft-reader-XXXXXX", long_line[9000];
    struct weft_reader reader;
    struct weft_file *file;
    (void)arg;
    int fd = mkostemp(name, O_CLOEXEC);
    memset(long_line, 'x', sizeof(long_line));
    long_line[8998] = '\n';
    long_line[8999] = '\0';
    dprintf(fd, "skipped\none\n%stwo", long_line);
    close(fd);
    EXPECT_EQ(weft_file_open(name, O_RDWR, 0, &file), 0);
    unlink(name);
    EXPECT_EQ(weft_file_seek(file, 8, SEEK_SET), 8);
    weft_reader_init_file(&reader, file); /* from there on */
    expect_line(&reader, "one\n");
    expect_line(&reader, long_line);
    expect_line(&reader, "two");
    EXPECT(weft_reader_at_end(&reader));
    EXPECT_EQ(weft_file_pwrite(file, "three\n", 6, weft_file_tell(file), NULL), 0);
    expect_line(&reader, "three\n"); /* it has grown */
    weft_reader_destroy(&reader);
    weft_file_free(file);
    return 0;
}

Test(reader, lines_of_a_file)
{
    on_fibers_counting_fds(1, read_file, NULL);
}
