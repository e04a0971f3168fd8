/* SPDX-License-Identifier: MIT */
/* What events_fuzz.c compares the journal with: all that was ever published, what of it a ring of that
 * capacity still has, and so what a reader must be given next.  Header only. */
#pragma once

#include "daemon/events.h"
#include "fuzz.h"

#include <string.h>

enum { JOURNAL_MAX = 4096 };

/* What happened; error is the whole one, on the heap. */
struct happened {
    bool lost;
    uint64_t id;
    uid_t uid;
    enum job_state before, state;
    enum job_cause cause;
    uint32_t attempt;
    bool memory_only, outcome;
    int32_t exit_code, term_signal;
    int64_t time, due_at;
    const char *queue, *name, *progress;
    char *error;
};

static struct journal {
    uint64_t first, last; /* in the ring; first = last + 1: none */
    size_t capacity;
    struct happened list[JOURNAL_MAX + 1]; /* by number */
} journal;

/* The ring forgets. */
static void journal_forget(void)
{
    while (journal.last - journal.first + 1 > journal.capacity)
        journal.first++;
}

static struct happened *journal_next(void)
{
    struct happened *happened = &journal.list[++journal.last];
    *happened = (struct happened){0};
    journal_forget();
    return happened;
}

static void journal_begin(size_t capacity)
{
    journal.first = 1;
    journal.last = 0;
    journal.capacity = capacity;
}

static void journal_end(void)
{
    for (uint64_t seq = 1; seq <= journal.last; seq++)
        free(journal.list[seq].error);
}

/* ---- what is read ------------------------------------------------------------------------------ */

static bool same(const char *one, const char *other)
{
    return one && other ? strcmp(one, other) == 0 : one == other;
}

static bool is_utf8(const char *text)
{
    json_t *json = json_string(text);
    json_decref(json);
    return json != NULL;
}

/* E6 */
static void check_cut(const char *whole, const char *cut)
{
    size_t size = strlen(cut), all = strlen(whole);
    HOLDS(size <= EVENT_ERROR_MAX && strncmp(whole, cut, size) == 0);
    HOLDS(size == all || size > EVENT_ERROR_MAX - 5);
    HOLDS(!is_utf8(whole) || is_utf8(cut));
}

static void check_event(const struct event *event, uint64_t seq)
{
    const struct happened *happened = &journal.list[seq];
    HOLDS(event->seq == seq && !happened->lost);
    HOLDS(event->id == happened->id && event->uid == happened->uid);
    HOLDS(event->before == happened->before && event->state == happened->state);
    HOLDS(event->cause == happened->cause && event->attempt == happened->attempt);
    HOLDS(event->memory_only == happened->memory_only);
    HOLDS(event->exit_code == happened->exit_code && event->term_signal == happened->term_signal);
    HOLDS(event->time == happened->time && event->due_at == happened->due_at);
    HOLDS(same(event->queue, happened->queue) && same(event->name, happened->name));
    HOLDS(same(event->progress, happened->progress));
    HOLDS((event->error != NULL) == happened->outcome);
    if (event->error)
        check_cut(happened->error, event->error);
}

/* Where the gap that begins at `next` ends; next: there is none. */
static uint64_t journal_gap_end(uint64_t next)
{
    uint64_t seq = next < journal.first ? journal.first : next;
    while (seq <= journal.last && journal.list[seq].lost)
        seq++;
    return seq;
}

/* How many events follow at once. */
static size_t journal_run(uint64_t seq)
{
    size_t count = 0;
    while (seq + count <= journal.last && count < EVENTS_BATCH && !journal.list[seq + count].lost)
        count++;
    return count;
}

/* Returns the number after the batch. */
static uint64_t check_batch(const struct events_batch *batch, uint64_t next)
{
    uint64_t seq = journal_gap_end(next);
    HOLDS(batch->gap_to == (seq > next ? seq - 1 : 0));
    HOLDS(batch->gap_from == (seq > next ? next : 0));
    HOLDS(batch->count == journal_run(seq));
    HOLDS(batch->count > 0 || batch->gap_to > 0);
    for (size_t i = 0; i < batch->count; i++)
        check_event(batch->list[i], seq + i);
    return seq + batch->count;
}
