/* SPDX-License-Identifier: MIT */
/* events: the ring, its readers, and what they are told that they have lost. */
#include "daemon/events.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/fibers.h"

static struct events *events;

static void make(size_t capacity)
{
    cr_assert_eq(events_new(capacity, &events), 0);
}

static bool publish(uint64_t id)
{
    struct job_record record = {
        .id = id,
        .uid = 1000,
        .state = JOB_RUNNING,
        .attempt = 2,
        .exit_code = JOB_NO_EXIT,
        .term_signal = JOB_NO_EXIT,
        .queue = "default",
        .spec = "{\"argv\":[\"true\"]}",
    };
    return events_publish(events, &record, JOB_QUEUED, JOB_BY_DISPATCH, 5);
}

static void publish_many(uint64_t from, uint64_t to)
{
    for (uint64_t id = from; id <= to; id++)
        (void)publish(id);
}

static struct events_reader open_at(uint64_t since)
{
    struct events_reader reader;
    uint64_t last;
    EXPECT_EQ(events_open(events, since, &reader, &last), 0);
    return reader;
}

/* What is there at once; ids are the numbers, as publish_many(1, ...) gives them. */
static void expect_batch(struct events_reader *reader, uint64_t gap_from, uint64_t gap_to,
                         uint64_t from, uint64_t to)
{
    struct events_batch batch;
    EXPECT_EQ(events_read(reader, &batch, 0), 0);
    EXPECT_EQ(batch.gap_from, gap_from);
    EXPECT_EQ(batch.gap_to, gap_to);
    EXPECT_EQ(batch.count, to - from + 1);
    for (size_t i = 0; i < batch.count; i++) {
        EXPECT_EQ(batch.list[i]->seq, from + i);
        EXPECT_EQ(batch.list[i]->id, from + i);
    }
    events_release(&batch);
}

/* ---- the ring ------------------------------------------------------------------------------- */

static int read_in_order(void *arg)
{
    (void)arg;
    struct events_reader reader = open_at(0);
    publish_many(1, 3);
    expect_batch(&reader, 0, 0, 1, 3);
    publish_many(4, 4);
    expect_batch(&reader, 0, 0, 4, 4);
    events_leave(&reader);
    return 0;
}

Test(events, are_numbered_from_one_and_read_in_order)
{
    make(10);
    on_fibers(1, read_in_order, NULL);
    events_free(events);
}

static int read_old(void *arg)
{
    (void)arg;
    publish_many(1, 10);
    struct events_reader all = open_at(0), late = open_at(4), near = open_at(8),
                         now = open_at(EVENTS_FROM_NOW);
    expect_batch(&all, 1, 6, 7, 10);
    expect_batch(&late, 5, 6, 7, 10);
    expect_batch(&near, 0, 0, 9, 10);
    publish_many(11, 11);
    expect_batch(&now, 0, 0, 11, 11);
    events_leave(&all);
    events_leave(&late);
    events_leave(&near);
    events_leave(&now);
    return 0;
}

Test(events, reader_that_comes_late_is_told_what_it_has_missed_and_then_the_rest)
{
    make(4);
    on_fibers(1, read_old, NULL);
    events_free(events);
}

static int fall_behind(void *arg)
{
    (void)arg;
    struct events_reader reader = open_at(0);
    publish_many(1, 2);
    expect_batch(&reader, 0, 0, 1, 2);
    publish_many(3, 20);
    expect_batch(&reader, 3, 16, 17, 20);
    publish_many(21, 24);
    expect_batch(&reader, 0, 0, 21, 24);
    events_leave(&reader);
    return 0;
}

Test(events, slow_reader_is_told_each_lost_number_once)
{
    make(4);
    on_fibers(1, fall_behind, NULL);
    events_free(events);
}

static int read_in_batches(void *arg)
{
    (void)arg;
    publish_many(1, 2 * EVENTS_BATCH + 5);
    struct events_reader reader = open_at(0);
    expect_batch(&reader, 0, 0, 1, EVENTS_BATCH);
    expect_batch(&reader, 0, 0, EVENTS_BATCH + 1, 2 * EVENTS_BATCH);
    expect_batch(&reader, 0, 0, 2 * EVENTS_BATCH + 1, 2 * EVENTS_BATCH + 5);
    events_leave(&reader);
    return 0;
}

Test(events, much_comes_in_batches)
{
    make(1000);
    on_fibers(1, read_in_batches, NULL);
    events_free(events);
}

Test(events, number_that_was_not_told_yet_is_refused)
{
    struct events_reader reader;
    uint64_t last = 77;
    make(4);
    cr_assert_eq(events_open(events, 1, &reader, &last), -ERANGE);
    cr_assert_eq(last, 0);
    publish_many(1, 3);
    cr_assert_eq(events_open(events, 4, &reader, &last), -ERANGE);
    cr_assert_eq(last, 3);
    cr_assert_eq(events_open(events, 3, &reader, &last), 0);
    events_leave(&reader);
    events_free(events);
}

static int change_size(void *arg)
{
    (void)arg;
    publish_many(1, 6);
    struct events_reader reader = open_at(0);
    EXPECT_EQ(events_resize(events, 3), 0);
    expect_batch(&reader, 1, 3, 4, 6);
    EXPECT_EQ(events_resize(events, 7), 0);
    events_leave(&reader);
    publish_many(7, 10);
    reader = open_at(0);
    expect_batch(&reader, 1, 3, 4, 10);
    publish_many(11, 12);
    events_leave(&reader);
    reader = open_at(0);
    expect_batch(&reader, 1, 5, 6, 12);
    events_leave(&reader);
    return 0;
}

Test(events, ring_of_another_size_keeps_the_newest)
{
    struct events_stats stats;
    make(10);
    on_fibers(1, change_size, NULL);
    events_stats(events, &stats);
    cr_assert_eq(stats.last, 12);
    cr_assert_eq(stats.kept, 7);
    cr_assert_eq(stats.readers, 0);
    events_free(events);
}

/* ---- waiting -------------------------------------------------------------------------------- */

Test(events, publisher_is_told_whether_anybody_listens)
{
    make(4);
    cr_assert_not(publish(1));
    struct events_reader reader = open_at(EVENTS_FROM_NOW);
    cr_assert(publish(2));
    events_leave(&reader);
    cr_assert_not(publish(3));
    events_free(events);
}

struct listener {
    struct events_reader reader;
    struct weft_scope scope;
    struct events_batch batch;
    int rc;
};

static int listen_once(void *arg)
{
    struct listener *listener = arg;
    weft_scope_enter(&listener->scope, WEFT_NO_DEADLINE);
    listener->rc = events_read(&listener->reader, &listener->batch, WEFT_NO_DEADLINE);
    weft_scope_leave(&listener->scope);
    return 0;
}

static void spawn_listener(struct weft_group *group, struct listener *listener)
{
    *listener = (struct listener){.reader = open_at(EVENTS_FROM_NOW)};
    EXPECT_EQ(weft_group_spawn(group, "listener", listen_once, listener), 0);
}

static int wake_listeners(void *arg)
{
    struct weft_group group;
    struct listener woken[2], cancelled;
    (void)arg;
    weft_group_init(&group);
    spawn_listener(&group, &woken[0]);
    spawn_listener(&group, &woken[1]);
    spawn_listener(&group, &cancelled);
    await_waits("watch", 3);
    weft_scope_cancel(&cancelled.scope);
    await_waits("watch", 2);
    EXPECT(publish(1));
    events_announce(events);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(cancelled.rc, -ECANCELED);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(woken[i].rc, 0);
        EXPECT_EQ(woken[i].batch.count, 1);
        events_release(&woken[i].batch);
        events_leave(&woken[i].reader);
    }
    events_leave(&cancelled.reader);
    return 0;
}

Test(events, announcement_wakes_all_who_wait_and_a_cancel_one)
{
    make(4);
    on_fibers(1, wake_listeners, NULL);
    events_free(events);
}

static int close_on_listeners(void *arg)
{
    struct weft_group group;
    struct listener waiting;
    struct events_batch batch;
    (void)arg;
    struct events_reader behind = open_at(0);
    weft_group_init(&group);
    spawn_listener(&group, &waiting);
    await_waits("watch", 1);
    events_close(events);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(waiting.rc, -EPIPE);
    publish_many(1, 1); /* told, but not announced: who comes by sees it */
    expect_batch(&behind, 0, 0, 1, 1);
    EXPECT_EQ(events_read(&behind, &batch, WEFT_NO_DEADLINE), -EPIPE);
    events_leave(&behind);
    events_leave(&waiting.reader);
    return 0;
}

Test(events, closed_ones_are_read_to_their_end)
{
    make(4);
    on_fibers(1, close_on_listeners, NULL);
    events_free(events);
}

static int nothing_in_time(void *arg)
{
    struct events_batch batch;
    (void)arg;
    struct events_reader reader = open_at(0);
    EXPECT_EQ(events_read(&reader, &batch, weft_deadline_after(WEFT_MILLISECOND)), -ETIMEDOUT);
    publish_many(1, 1);
    expect_batch(&reader, 0, 0, 1, 1);
    events_leave(&reader);
    return 0;
}

Test(events, deadline_loses_nothing)
{
    make(4);
    on_fibers(1, nothing_in_time, NULL);
    events_free(events);
}

/* ---- what is in one -------------------------------------------------------------------------- */

static const struct event *only_event(struct events_batch *batch)
{
    struct events_reader reader = open_at(0);
    EXPECT_EQ(events_read(&reader, batch, 0), 0);
    EXPECT_EQ(batch->count, 1);
    events_leave(&reader);
    return batch->list[0];
}

static struct job_record end_of_attempt(void)
{
    return (struct job_record){
        .id = 7,
        .uid = 1000,
        .state = JOB_DELAYED,
        .attempt = 3,
        .exit_code = 4,
        .term_signal = JOB_NO_EXIT,
        .submitted_at = 10,
        .started_at = 90,
        .due_at = 500,
        .queue = "video",
        .spec = "{\"name\":\"a \\\"b\",\"argv\":[\"x\"]}",
        .error = "exit status 4",
    };
}

static int whole_event(void *arg)
{
    struct events_batch batch;
    struct job_record record = end_of_attempt();
    (void)arg;
    (void)events_publish(events, &record, JOB_RUNNING, JOB_BY_FAILURE, 80);
    const struct event *event = only_event(&batch);
    EXPECT_EQ(event->seq, 1);
    EXPECT_EQ(event->id, 7);
    EXPECT_EQ(event->uid, 1000);
    EXPECT_EQ(event->before, JOB_RUNNING);
    EXPECT_EQ(event->state, JOB_DELAYED);
    EXPECT_EQ(event->cause, JOB_BY_FAILURE);
    EXPECT_EQ(event->attempt, 3);
    EXPECT_EQ(event->exit_code, 4);
    EXPECT_EQ(event->term_signal, JOB_NO_EXIT);
    EXPECT_EQ(event->time, 90); /* the clock was set back: not before its start */
    EXPECT_EQ(event->due_at, 500);
    EXPECT_EQ(strcmp(event->queue, "video"), 0);
    EXPECT_EQ(strcmp(event->name, "\"a \\\"b\""), 0);
    EXPECT_EQ(strcmp(event->error, "exit status 4"), 0);
    events_release(&batch);
    return 0;
}

Test(events, tell_what_an_attempt_came_to)
{
    make(4);
    on_fibers(1, whole_event, NULL);
    events_free(events);
}

static int without_outcome(void *arg)
{
    struct events_batch batch;
    struct job_record record = end_of_attempt();
    const enum job_cause *cause = arg;
    record.spec = "{\"argv\":[\"x\"]}";
    record.state = JOB_QUEUED;
    (void)events_publish(events, &record, *cause == JOB_BY_DUE ? JOB_DELAYED : JOB_RUNNING, *cause,
                         100);
    const struct event *event = only_event(&batch);
    EXPECT_EQ(event->exit_code, JOB_NO_EXIT);
    EXPECT(!event->error && !event->name);
    EXPECT_EQ(event->due_at, 0);
    events_release(&batch);
    return 0;
}

Test(events, other_moves_do_not_repeat_what_the_last_attempt_came_to)
{
    static enum job_cause causes[] = {JOB_BY_DUE, JOB_BY_INTERRUPT};
    for (int i = 0; i < 2; i++) {
        make(4);
        on_fibers(1, without_outcome, &causes[i]);
        events_free(events);
    }
}

static int long_error(void *arg)
{
    struct events_batch batch;
    struct job_record record = end_of_attempt();
    char error[2 * EVENT_ERROR_MAX];
    const char *character = arg; /* repeated behind one byte, so that one lies across the limit */
    size_t size = 1;
    error[0] = 'x';
    while (size + strlen(character) < sizeof error)
        size = (size_t)(stpcpy(error + size, character) - error);
    record.error = error;
    (void)events_publish(events, &record, JOB_RUNNING, JOB_BY_FAILURE, 80);
    const struct event *event = only_event(&batch);
    size_t kept = strlen(event->error);
    EXPECT(kept <= EVENT_ERROR_MAX && kept + strlen(character) > EVENT_ERROR_MAX);
    EXPECT_EQ((kept - 1) % strlen(character), 0);
    EXPECT_EQ(strncmp(event->error, error, kept), 0);
    events_release(&batch);
    return 0;
}

Test(events, long_error_is_cut_at_a_whole_character)
{
    static char *const characters[] = {"y", "\u00e4", "\u20ac", "\U0001F600"};
    for (int i = 0; i < 4; i++) {
        make(4);
        on_fibers(1, long_error, characters[i]);
        events_free(events);
    }
}
