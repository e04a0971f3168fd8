/* SPDX-License-Identifier: MIT */
/* How far jobs are: what is shown, what is told, and that the last word is. */
#include "engine_support.h"

#include "support/test.h"

#include <inttypes.h>
#include <pthread.h>

enum { WORDS = 5000, TELLING_MS = 500 };

static struct weft_event has_said; /* an attempt has said all, and waits for the gate */
static bool fails_first;

static void say(const struct run_request *request, int number)
{
    struct run_progress said = {.fraction = number / (double)WORDS};
    snprintf(said.text, sizeof said.text, "word %d", number);
    request->report(request->report_arg, &said);
}

/* It says much, and waits.  Its second attempt says nothing. */
static int talkative(struct runner *runner, const struct run_request *request,
                     struct run_outcome *outcome)
{
    (void)runner;
    for (int i = 1; request->attempt == 1 && i <= WORDS; i++)
        say(request, i);
    weft_event_set(&has_said);
    int rc = weft_event_wait(&attempts_gate, WEFT_NO_DEADLINE);
    weft_event_clear(&attempts_gate);
    return rc < 0 ? rc : attempt_exit(outcome, fails_first && request->attempt == 1 ? 3 : 0);
}

static void prepare(struct world *world)
{
    world->engine->runners.exec = talkative;
    weft_event_init(&has_said);
}

static void expect_shown(struct world *world, uint64_t id, const char *expected)
{
    struct job_record *record;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_get(world->engine, &me, id, &record, &error), 0);
    if (expected)
        EXPECT(record->progress && strcmp(record->progress, expected) == 0);
    else
        EXPECT(record->progress == NULL);
    job_record_free(record);
}

#define LAST "{\"fraction\":1.0,\"text\":\"word 5000\"}"

/* Wait until that is what the job says. */
static void await_shown(struct world *world, uint64_t id, const char *expected)
{
    for (bool is_there = false; !is_there;) {
        struct job_record *record;
        struct rpc_error error = {0};
        EXPECT_EQ(engine_get(world->engine, &me, id, &record, &error), 0);
        is_there = record->progress && strcmp(record->progress, expected) == 0;
        job_record_free(record);
        EXPECT_EQ(weft_yield(), 0);
    }
}

/* ---- shown ----------------------------------------------------------------------------------- */

static void show(struct world *world)
{
    prepare(world);
    fails_first = true;
    uint64_t id = submit(world, "x", ",\"retries\":1");
    EXPECT_EQ(weft_event_wait(&has_said, WEFT_NO_DEADLINE), 0);
    await_shown(world, id, LAST);
    weft_event_clear(&has_said);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(weft_event_wait(&has_said, WEFT_NO_DEADLINE), 0);
    expect_shown(world, id, NULL); /* another attempt, which has said nothing */
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    expect_shown(world, id, NULL);
    fails_first = false;
}

Test(engine_progress, is_shown_while_its_attempt_runs_and_no_longer)
{
    in_a_world(2, show);
}

/* ---- told ------------------------------------------------------------------------------------ */

static void told(struct world *world)
{
    struct events_reader reader;
    struct events_batch batch;
    uint64_t last;
    char text[256] = "";
    size_t words = 0;
    bool ended = false;
    prepare(world);
    EXPECT_EQ(events_open(world->engine->events, EVENTS_FROM_NOW, &reader, &last), 0);
    uint64_t began_ns = weft_now_ns();
    submit(world, "x", "");
    weft_event_set(&attempts_gate);
    while (!ended) {
        EXPECT_EQ(events_read(&reader, &batch, WEFT_NO_DEADLINE), 0);
        for (size_t i = 0; i < batch.count; i++) {
            const struct event *event = batch.list[i];
            ended = job_state_is_end(event->state);
            words += event->progress != NULL;
            if (event->progress) {
                EXPECT_EQ(event->state, JOB_RUNNING);
                EXPECT_EQ(event->before, JOB_RUNNING);
                snprintf(text, sizeof text, "%s", event->progress);
            }
        }
        events_release(&batch);
    }
    events_leave(&reader);
    EXPECT(strcmp(text, LAST) == 0);
    uint64_t took_ms = (weft_now_ns() - began_ns) / WEFT_MILLISECOND;
    EXPECT(words <= 2 + took_ms / TELLING_MS); /* the first, the last, and what time allows */
}

Test(engine_progress, is_told_now_and_then_and_the_last_word_before_the_end)
{
    in_a_world(2, told);
}

static void unheard(struct world *world)
{
    struct engine_stats stats;
    prepare(world);
    uint64_t id = submit(world, "x", "");
    EXPECT_EQ(weft_event_wait(&has_said, WEFT_NO_DEADLINE), 0);
    await_shown(world, id, LAST);
    weft_event_set(&attempts_gate);
    EXPECT_EQ(end_of(world, id), JOB_SUCCEEDED);
    engine_stats(world->engine, &stats);
    EXPECT_EQ(stats.events.last, 3); /* submit, dispatch, success */
}

Test(engine_progress, takes_no_place_of_events_where_nobody_listens)
{
    in_a_world(2, unheard);
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { JOBS = 200 };

static void *say_in_a_thread(void *arg)
{
    const struct run_request *request = arg;
    for (int i = 1; i <= 50; i++)
        say(request, i);
    return NULL;
}

/* Says it from another thread, while others end. */
static int threaded(struct runner *runner, const struct run_request *request,
                    struct run_outcome *outcome)
{
    pthread_t thread;
    (void)runner;
    say(request, 1);
    if (request->id % 10 == 0 &&
        pthread_create(&thread, NULL, say_in_a_thread, (void *)request) == 0)
        pthread_join(thread, NULL);
    return attempt_exit(outcome, 0);
}

static void many(struct world *world)
{
    uint64_t ids[JOBS];
    world->engine->runners.exec = threaded;
    for (size_t i = 0; i < JOBS; i++)
        ids[i] = submit(world, "x", ",\"queue\":\"wide\"");
    for (size_t i = 0; i < JOBS; i++) {
        EXPECT_EQ(end_of(world, ids[i]), JOB_SUCCEEDED);
        expect_shown(world, ids[i], NULL);
    }
    EXPECT(world->engine->progress.fresh == NULL);
}

Test(engine_progress, of_many_jobs_that_end_at_once_leaves_nothing)
{
    in_a_world(4, many);
}
