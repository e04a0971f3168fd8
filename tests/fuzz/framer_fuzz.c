/* SPDX-License-Identifier: MIT */
/* The framer against a model that sees all bytes at once: whatever the pieces, whichever way they
 * are put in, however lazily lines are taken, it must report the same.
 * Input: a byte for the line limit, a byte that seeds the cuts, the stream. */
#include "fuzz.h"
#include "protocol/framer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What was reported, one after the other: 'L', size, bytes of a line; '!' for a refused one. */
struct report {
    char *bytes;
    size_t used, capacity;
};

static void put(struct report *report, const void *bytes, size_t size)
{
    if (report->used + size > report->capacity) {
        report->capacity = 2 * (report->used + size);
        report->bytes = realloc(report->bytes, report->capacity);
        HOLDS(report->bytes != NULL);
    }
    memcpy(report->bytes + report->used, bytes, size);
    report->used += size;
}

static void put_line(struct report *report, const char *line, size_t size)
{
    put(report, "L", 1);
    put(report, &size, sizeof(size));
    put(report, line, size);
}

/* One line of the model, its newline already gone. */
static void model_line(struct report *report, const char *line, size_t size, size_t line_max)
{
    if (size > 0 && line[size - 1] == '\r')
        size--;
    if (size > line_max)
        put(report, "!", 1);
    else if (size > 0)
        put_line(report, line, size);
}

static struct report model(const char *text, size_t size, size_t line_max)
{
    struct report report = {0};
    size_t from = 0;
    for (size_t at = 0; at < size; at++) {
        if (text[at] != '\n')
            continue;
        model_line(&report, text + from, at - from, line_max);
        from = at + 1;
    }
    model_line(&report, text + from, size - from, line_max);
    return report;
}

static void check_state(const struct framer *framer)
{
    HOLDS(framer->start <= framer->scanned && framer->scanned <= framer->end);
    HOLDS(framer->end < framer->capacity || framer->buffer == NULL);
    if (framer->buffer != NULL)
        HOLDS(memchr(framer->buffer + framer->start, '\n', framer->scanned - framer->start) ==
              NULL);
}

/* Take lines, all of them or at most one. */
static void take(struct framer *framer, struct report *report, bool all)
{
    char *line;
    size_t size;
    int rc;
    do {
        rc = framer_next(framer, &line, &size);
        check_state(framer);
        if (rc == 1) {
            HOLDS(line[size] == '\0' && size > 0);
            put_line(report, line, size);
        }
        HOLDS(rc == 0 || rc == 1 || rc == -EMSGSIZE);
        if (rc == -EMSGSIZE)
            put(report, "!", 1);
    } while (all && rc != 0);
    if (rc == 0)
        HOLDS(framer->end - framer->start <= framer->line_max + 1);
}

static void put_in(struct framer *framer, const char *bytes, size_t size, bool in_place)
{
    char *space;
    size_t room;
    if (!in_place) {
        HOLDS(framer_feed(framer, bytes, size) == 0);
        return;
    }
    HOLDS(framer_reserve(framer, size, &space, &room) == 0 && room >= size);
    memcpy(space, bytes, size);
    framer_commit(framer, size);
}

/* piece 0: cuts, ways in and laziness all vary with the seed. */
static struct report run(const char *text, size_t size, size_t line_max, size_t piece,
                         uint32_t seed)
{
    struct report report = {0};
    struct framer framer;
    char *line;
    size_t line_size;
    framer_init(&framer, line_max);
    for (size_t at = 0, part; at < size; at += part) {
        seed = seed * 1664525 + 1013904223;
        part = piece ? piece : 1 + (seed >> 16) % 97;
        part = part > size - at ? size - at : part;
        put_in(&framer, text + at, part, seed & (1u << 14));
        check_state(&framer);
        take(&framer, &report, piece != 0 || (seed & (3u << 12)) != 0);
    }
    take(&framer, &report, true);
    if (framer_finish(&framer, &line, &line_size) == 1)
        put_line(&report, line, line_size);
    framer_destroy(&framer);
    return report;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 2;
    size_t line_max = 1u + data[0];
    struct report expected = model(text, size - 2, line_max);
    const size_t pieces[] = {size, 1, 2, 3, 7, 0, 0};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct report got = run(text, size - 2, line_max, pieces[i], data[1] + (uint32_t)i);
        HOLDS(got.used == expected.used);
        HOLDS(got.used == 0 || memcmp(got.bytes, expected.bytes, got.used) == 0);
        free(got.bytes);
    }
    free(expected.bytes);
    return 0;
}
