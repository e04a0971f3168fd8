/* SPDX-License-Identifier: MIT */
#include "protocol/framer.h"
#include "support/test.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a framer reported, as text: "<line>" for a line, "!" for a refused one. */
struct report {
    char text[512];
    size_t used;
};

static void note(struct report *report, const char *line, size_t size)
{
    report->used +=
        (size_t)snprintf(report->text + report->used, sizeof(report->text) - report->used, "<%.*s>",
                         (int)size, line);
}

static void drain(struct framer *framer, struct report *report)
{
    char *line;
    size_t size;
    int rc;
    while ((rc = framer_next(framer, &line, &size)) != 0) {
        if (rc == 1)
            note(report, line, size);
        else
            report->text[report->used++] = rc == -EMSGSIZE ? '!' : '?';
    }
}

static void finish(struct framer *framer, struct report *report)
{
    char *line;
    size_t size;
    if (framer_finish(framer, &line, &size) == 1)
        note(report, line, size);
    report->text[report->used] = '\0';
}

/* Feed text cut into pieces of the given size. */
static struct report frame(const char *text, size_t size, size_t piece, size_t line_max)
{
    struct report report = {0};
    struct framer framer;
    framer_init(&framer, line_max);
    for (size_t at = 0; at < size; at += piece) {
        size_t part = size - at < piece ? size - at : piece;
        cr_assert_eq(framer_feed(&framer, text + at, part), 0);
        drain(&framer, &report);
    }
    finish(&framer, &report);
    framer_destroy(&framer);
    return report;
}

static void expect(const char *text, size_t line_max, const char *expected)
{
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        struct report report = frame(text, strlen(text), piece, line_max);
        cr_assert(strcmp(report.text, expected) == 0, "pieces of %zu: got %s, expected %s", piece,
                  report.text, expected);
    }
}

Test(framer, whole_lines_come_out_in_order)
{
    expect("one\ntwo\nthree\n", 100, "<one><two><three>");
}

Test(framer, carriage_returns_before_the_newline_are_dropped)
{
    expect("one\r\ntwo\n\r\nthree\r\n", 100, "<one><two><three>");
    expect("a\rb\r\r\n", 100, "<a\rb\r>");
}

Test(framer, empty_lines_are_passed_over)
{
    expect("\n\n\r\n\none\n\n", 100, "<one>");
    expect("", 100, "");
    expect("\r", 100, "");
}

Test(framer, last_line_needs_no_newline)
{
    expect("one\ntwo", 100, "<one><two>");
    expect("two\r", 100, "<two>");
}

Test(framer, line_of_exactly_the_limit_is_accepted)
{
    expect("12345\n12345\r\n12345", 5, "<12345><12345><12345>");
    expect("12345\r", 5, "<12345>");
}

Test(framer, line_over_the_limit_is_refused_once_and_the_next_is_good)
{
    expect("123456\nok\n", 5, "!<ok>");
    expect("123456789012345678901234567890\r\nok\n123456\n\nok\n", 5, "!<ok>!<ok>");
    expect("12345\r6\nok\n", 5, "!<ok>");
    expect("12345\r\r\nok\n", 5, "!<ok>");
    expect("ok\n1234567", 5, "<ok>!");
    expect("123456\n123456\n", 5, "!!");
}

Test(framer, two_mebibyte_line_is_refused_and_its_memory_given_back)
{
    struct framer framer;
    struct report report = {0};
    char chunk[4096], *space;
    size_t room;
    framer_init(&framer, 0);
    memset(chunk, 'x', sizeof(chunk));
    for (size_t sent = 0; sent < (2 << 20); sent += sizeof(chunk)) {
        cr_assert_eq(framer_feed(&framer, chunk, sizeof(chunk)), 0);
        drain(&framer, &report);
        cr_assert(framer_is_partial(&framer), "a line has begun");
        cr_assert(framer.capacity <= 4 << 20, "capacity %zu", framer.capacity);
    }
    cr_assert_eq(framer_feed(&framer, "\nok\n", 4), 0);
    drain(&framer, &report);
    cr_assert(strcmp(report.text, "!<ok>") == 0, "got %s", report.text);
    cr_assert(!framer_is_partial(&framer), "nothing is left");
    cr_assert_eq(framer_reserve(&framer, 512, &space, &room), 0);
    cr_assert(framer.capacity <= 64 << 10, "kept %zu bytes", framer.capacity);
    framer_destroy(&framer);
}

Test(framer, one_mebibyte_line_byte_by_byte_is_not_quadratic)
{
    struct framer framer;
    char *line;
    size_t size = 0;
    framer_init(&framer, 0);
    for (size_t sent = 0; sent < (1 << 20); sent++) {
        cr_assert_eq(framer_feed(&framer, "x", 1), 0);
        cr_assert_eq(framer_next(&framer, &line, &size), 0);
        cr_assert_eq(framer.scanned, framer.end); /* I2: searched once */
    }
    cr_assert_eq(framer_feed(&framer, "\n", 1), 0);
    cr_assert_eq(framer_next(&framer, &line, &size), 1);
    cr_assert_eq(size, (size_t)1 << 20);
    framer_destroy(&framer);
}

Test(framer, lines_hold_nul_bytes_and_end_in_one)
{
    struct framer framer;
    char *line;
    size_t size;
    framer_init(&framer, 0);
    cr_assert_eq(framer_feed(&framer, "a\0b\nrest", 8), 0);
    cr_assert_eq(framer_next(&framer, &line, &size), 1);
    cr_assert_eq(size, 3);
    cr_assert_eq(memcmp(line, "a\0b", 4), 0);
    cr_assert_eq(framer_next(&framer, &line, &size), 0);
    cr_assert(framer_is_partial(&framer), "half a line");
    cr_assert_eq(framer_finish(&framer, &line, &size), 1);
    cr_assert_eq(memcmp(line, "rest", 5), 0);
    cr_assert_eq(framer_finish(&framer, &line, &size), 0);
    framer_destroy(&framer);
}

Test(framer, lines_of_one_feed_stay_valid_together)
{
    struct framer framer;
    char *first, *second, *none = NULL;
    size_t size;
    framer_init(&framer, 0);
    cr_assert_eq(framer_feed(&framer, "one\ntwo\nthr", 11), 0);
    cr_assert_eq(framer_next(&framer, &first, &size), 1);
    cr_assert_eq(framer_next(&framer, &second, &size), 1);
    cr_assert_eq(framer_next(&framer, &none, &size), 0);
    cr_assert(none == NULL, "ret_line is untouched when there is no line");
    cr_assert(strcmp(first, "one") == 0 && strcmp(second, "two") == 0, "%s %s", first, second);
    framer_destroy(&framer);
}

Test(framer, reserve_and_commit_take_bytes_in_place)
{
    struct framer framer;
    struct report report = {0};
    const char text[] = "one\r\ntwo\n123456\nend";
    char *space;
    size_t room, at = 0;
    framer_init(&framer, 5);
    while (at < sizeof(text) - 1) {
        cr_assert_eq(framer_reserve(&framer, 3, &space, &room), 0);
        cr_assert(room >= 3, "room %zu", room);
        size_t part = sizeof(text) - 1 - at < 3 ? sizeof(text) - 1 - at : 3;
        memcpy(space, text + at, part);
        framer_commit(&framer, part);
        framer_commit(&framer, 0);
        drain(&framer, &report);
        at += part;
    }
    finish(&framer, &report);
    cr_assert(strcmp(report.text, "<one><two>!<end>") == 0, "got %s", report.text);
    framer_destroy(&framer);
}

/* Taking one line per feed leaves a backlog; it must come out whole and in order all the same. */
Test(framer, backlog_survives_growing_and_moving)
{
    struct framer framer;
    char *line, text[32], expected[32];
    size_t size, fed = 0, taken = 0;
    framer_init(&framer, 0);
    for (; fed < 3000; fed += 3) {
        for (size_t i = 0; i < 3; i++) {
            int used = snprintf(text, sizeof(text), "line %zu\n", fed + i);
            cr_assert_eq(framer_feed(&framer, text, (size_t)used), 0);
        }
        cr_assert_eq(framer_next(&framer, &line, &size), 1);
        snprintf(expected, sizeof(expected), "line %zu", taken++);
        cr_assert(strcmp(line, expected) == 0, "got %s, expected %s", line, expected);
    }
    while (framer_next(&framer, &line, &size) == 1) {
        cr_assert_eq(framer_feed(&framer, "", 0), 0);
        snprintf(expected, sizeof(expected), "line %zu", taken++);
        cr_assert(strcmp(line, expected) == 0, "got %s, expected %s", line, expected);
    }
    cr_assert_eq(taken, fed);
    framer_destroy(&framer);
}

/* A short rest behind a long line is moved to the front, half searched as it is. */
Test(framer, partial_line_survives_being_moved)
{
    struct framer framer;
    struct report report = {0};
    char text[400];
    framer_init(&framer, 0);
    memset(text, 'x', sizeof(text));
    memcpy(text + 380, "\n12345678", 9);
    cr_assert_eq(framer_feed(&framer, text, 389), 0);
    char *line;
    size_t size;
    cr_assert_eq(framer_next(&framer, &line, &size), 1);
    cr_assert_eq(size, 380);
    cr_assert_eq(framer_next(&framer, &line, &size), 0);
    size_t capacity = framer.capacity;
    memset(text, 'y', sizeof(text));
    memcpy(text + 10, "\nnext\ny", 7);
    cr_assert_eq(framer_feed(&framer, text, 200), 0);
    cr_assert_eq(framer.start, 0);
    cr_assert_eq(framer.capacity, capacity);
    cr_assert_eq(framer_next(&framer, &line, &size), 1);
    cr_assert(strcmp(line, "12345678yyyyyyyyyy") == 0, "got %s", line);
    cr_assert_eq(framer_next(&framer, &line, &size), 1);
    cr_assert(strcmp(line, "next") == 0, "got %s", line);
    drain(&framer, &report);
    cr_assert_eq(report.used, 0);
    framer_destroy(&framer);
}

Test(framer, full_buffer_keeps_a_byte_for_the_nul)
{
    for (size_t first = 1; first < 600; first++) {
        struct framer framer;
        char text[600], *line;
        size_t size;
        framer_init(&framer, 0);
        memset(text, 'x', sizeof(text));
        cr_assert_eq(framer_feed(&framer, text, first), 0);
        size_t room = framer.capacity - framer.end;
        cr_assert_eq(framer_feed(&framer, text, room > 600 ? 600 : room), 0);
        cr_assert(framer.end < framer.capacity, "I1");
        cr_assert_eq(framer_next(&framer, &line, &size), 0);
        cr_assert_eq(framer_finish(&framer, &line, &size), 1);
        cr_assert_eq(line[size], '\0');
        framer_destroy(&framer);
    }
}

Test(framer, feed_of_an_impossible_size_fails_and_changes_nothing)
{
    struct framer framer;
    char *space = NULL, *line;
    size_t room = 7, size;
    framer_init(&framer, 0);
    cr_assert_eq(framer_feed(&framer, "one", 3), 0);
    cr_assert_eq(framer_reserve(&framer, SIZE_MAX, &space, &room), -ENOMEM);
    cr_assert_eq(framer_reserve(&framer, SIZE_MAX - 4, &space, &room), -ENOMEM);
    cr_assert(space == NULL && room == 7, "out-parameters are untouched on failure");
    cr_assert_eq(framer_feed(&framer, "\n", 1), 0);
    cr_assert_eq(framer_next(&framer, &line, &size), 1);
    cr_assert_eq(size, 3);
    framer_destroy(&framer);
}

Test(framer, unused_framer_owns_nothing)
{
    struct framer framer;
    char *line;
    size_t size;
    framer_init(&framer, 0);
    cr_assert_eq(framer.line_max, FRAMER_LINE_MAX_DEFAULT);
    cr_assert_eq(framer_next(&framer, &line, &size), 0);
    cr_assert_eq(framer_finish(&framer, &line, &size), 0);
    cr_assert(framer.buffer == NULL, "nothing was allocated");
    framer_destroy(&framer);
    framer_destroy(NULL);
}
