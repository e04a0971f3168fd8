/* SPDX-License-Identifier: MIT */
/* The state machine, records and backoff. */
#include "daemon/job.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/json_failing.h"

/* ---- names ----------------------------------------------------------------------------------- */

Test(job, states_have_the_names_of_the_wire)
{
    static const char *const names[] = {"waiting", "delayed",   "queued",    "running", "succeeded",
                                        "failed",  "cancelled", "timed_out", "dead"};
    enum job_state state;
    for (int i = 0; i < 9; i++) {
        cr_assert_str_eq(job_state_name((enum job_state)(i + 1)), names[i]);
        cr_assert_eq(job_state_from_name(names[i], &state), 0);
        cr_assert_eq(state, (enum job_state)(i + 1));
        cr_assert_eq(job_state_is_end(state), state >= JOB_SUCCEEDED);
    }
    cr_assert_eq(job_state_from_name("none", &state), -EINVAL);
    cr_assert_eq(job_state_from_name("", &state), -EINVAL);
    cr_assert_null(job_state_name(JOB_STATE_COUNT));
    cr_assert_null(job_state_name((enum job_state)(-1)));
    cr_assert_null(job_cause_name(JOB_CAUSE_COUNT));
    cr_assert_not(job_state_is_end(JOB_NONE));
    cr_assert_not(job_state_is_end(JOB_STATE_COUNT));
    for (int cause = 0; cause < JOB_CAUSE_COUNT; cause++)
        cr_assert_not_null(job_cause_name((enum job_cause)cause));
}

/* ---- edges ----------------------------------------------------------------------------------- */

static bool is_edge(enum job_state from, enum job_state to, enum job_cause cause)
{
    for (size_t i = 0; i < job_edge_count; i++)
        if (job_edges[i].from == from && job_edges[i].to == to && job_edges[i].cause == cause)
            return true;
    return false;
}

Test(job, moves_along_edges_and_along_nothing_else)
{
    for (int from = 0; from < JOB_STATE_COUNT; from++)
        for (int to = 0; to < JOB_STATE_COUNT; to++)
            for (int cause = 0; cause < JOB_CAUSE_COUNT; cause++) {
                struct job_record record = {.state = (enum job_state)from, .attempt = 1};
                struct job_record copy;
                memcpy(&copy, &record, sizeof(copy));
                bool edge =
                    is_edge((enum job_state)from, (enum job_state)to, (enum job_cause)cause);
                int rc = job_record_move(&record, (enum job_state)to, (enum job_cause)cause, 5);
                cr_assert_eq(rc, edge ? 0 : -EPROTO);
                cr_assert_eq(record.state, (enum job_state)(edge ? to : from));
                /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): a copy, padding and all */
                cr_assert(edge || memcmp(&record, &copy, sizeof(record)) == 0);
            }
}

Test(job, only_a_retry_leaves_an_end_and_nothing_is_unreachable)
{
    bool reached[JOB_STATE_COUNT] = {[JOB_NONE] = true};
    for (size_t i = 0; i < job_edge_count; i++) {
        cr_assert_eq(job_state_is_end(job_edges[i].from), job_edges[i].cause == JOB_BY_RETRY);
        cr_assert_neq(job_edges[i].from, JOB_SUCCEEDED);
        reached[job_edges[i].to] = true;
    }
    for (int state = 0; state < JOB_STATE_COUNT; state++)
        cr_assert(reached[state], "%s", job_state_name((enum job_state)state));
}

Test(job, counts_the_edges_that_jobs_take)
{
    struct job job = {.record.state = JOB_NONE};
    cr_assert_eq(job_edge_taken(0), 0);
    cr_assert_eq(job_move(&job, job_edges[0].to, job_edges[0].cause, 1), 0);
    cr_assert_eq(job_edge_taken(0), 1);
    cr_assert_eq(job_move(&job, job_edges[0].to, job_edges[0].cause, 1), -EPROTO);
    cr_assert_eq(job_edge_taken(0), 1);
    cr_assert_eq(job_edge_taken(job_edge_count), 0);
}

Test(job, a_move_changes_what_its_cause_demands)
{
    struct job_record record = {.state = JOB_NONE, .exit_code = 9, .term_signal = 9};
    cr_assert_eq(job_record_move(&record, JOB_QUEUED, JOB_BY_SUBMIT, 10), 0);
    cr_assert_eq(record.submitted_at, 10);
    cr_assert_eq(job_record_move(&record, JOB_RUNNING, JOB_BY_DISPATCH, 20), 0);
    cr_assert_eq(record.attempt, 1);
    cr_assert_eq(record.started_at, 20);
    cr_assert_eq(record.exit_code, JOB_NO_EXIT);
    cr_assert_eq(record.term_signal, JOB_NO_EXIT);
    cr_assert_eq(job_record_move(&record, JOB_QUEUED, JOB_BY_INTERRUPT, 30), 0);
    cr_assert_eq(record.attempt, 0);
    cr_assert_eq(record.started_at, 0);
    cr_assert_eq(job_record_move(&record, JOB_RUNNING, JOB_BY_DISPATCH, 40), 0);
    cr_assert_eq(job_record_move(&record, JOB_DELAYED, JOB_BY_TIMEOUT, 50), 0);
    cr_assert_eq(record.failures, 1);
    record.due_at = 60;
    cr_assert_eq(job_record_move(&record, JOB_QUEUED, JOB_BY_DUE, 60), 0);
    cr_assert_eq(record.due_at, 0);
    cr_assert_eq(job_record_move(&record, JOB_RUNNING, JOB_BY_DISPATCH, 70), 0);
    cr_assert_eq(record.attempt, 2);
    cr_assert_eq(job_record_move(&record, JOB_QUEUED, JOB_BY_CRASH, 80), 0);
    cr_assert_eq(record.crashes, 1);
    cr_assert_eq(record.attempt, 2);
    cr_assert_eq(record.finished_at, 0);
    cr_assert_eq(job_record_move(&record, JOB_CANCELLED, JOB_BY_CANCEL, 90), 0);
    cr_assert_eq(record.finished_at, 90);
    cr_assert_eq(record.failures, 1);
}

Test(job, a_retry_starts_anew_but_for_the_number_of_the_attempt)
{
    static const enum job_state ends[] = {JOB_FAILED, JOB_CANCELLED, JOB_TIMED_OUT, JOB_DEAD};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct job_record record = {.state = ends[i],
                                    .attempt = 4,
                                    .failures = 3,
                                    .crashes = 1,
                                    .exit_code = 2,
                                    .term_signal = 9,
                                    .submitted_at = 10,
                                    .started_at = 20,
                                    .finished_at = 30};
        cr_assert(job_state_may_retry(ends[i]));
        cr_assert_eq(job_record_move(&record, JOB_QUEUED, JOB_BY_RETRY, 40), 0);
        cr_assert_eq(record.attempt, 4);
        cr_assert_eq(record.failures, 0);
        cr_assert_eq(record.crashes, 0);
        cr_assert_eq(record.exit_code, JOB_NO_EXIT);
        cr_assert_eq(record.term_signal, JOB_NO_EXIT);
        cr_assert_eq(record.submitted_at, 10);
        cr_assert_eq(record.started_at, 0);
        cr_assert_eq(record.finished_at, 0);
        cr_assert_eq(job_waits_since(&record), 40);
        cr_assert_eq(job_record_move(&record, JOB_RUNNING, JOB_BY_DISPATCH, 50), 0);
        cr_assert_eq(record.attempt, 5);
        cr_assert_eq(job_waits_since(&record), 10);
    }
    cr_assert_not(job_state_may_retry(JOB_SUCCEEDED));
    cr_assert_not(job_state_may_retry(JOB_RUNNING));
    cr_assert_not(job_state_may_retry(JOB_STATE_COUNT));
}

/* ---- backoff --------------------------------------------------------------------------------- */

Test(job, its_times_stay_in_order_when_the_clock_is_set_back)
{
    struct job_record record = {.state = JOB_NONE};
    cr_assert_eq(job_record_move(&record, JOB_QUEUED, JOB_BY_SUBMIT, 1000), 0);
    cr_assert_eq(job_record_move(&record, JOB_RUNNING, JOB_BY_DISPATCH, 900), 0);
    cr_assert_eq(record.started_at, 1000);
    record.started_at = 1100; /* as if it had been right at the start */
    cr_assert_eq(job_record_move(&record, JOB_SUCCEEDED, JOB_BY_SUCCESS, 950), 0);
    cr_assert_eq(record.finished_at, 1100);
}

Test(job, backoff_doubles_up_to_its_cap_and_spreads)
{
    for (uint32_t failures = 1; failures < 200; failures++) {
        uint64_t step = failures > 10 ? 1000000 : 1000u << (failures - 1);
        step = step > 1000000 ? 1000000 : step;
        uint64_t least = job_backoff_ns(failures, 1000, 1000000, 0);
        uint64_t most = job_backoff_ns(failures, 1000, 1000000, 1023);
        cr_assert_eq(least, step - step / 2);
        cr_assert(most < step - step / 2 + step && most >= step + step / 4);
    }
    cr_assert_eq(job_backoff_ns(5, 0, 1000, 77), 0);
    cr_assert_eq(job_backoff_ns(5, 1000, 0, 77), 0);
    cr_assert(job_backoff_ns(100, UINT64_MAX, UINT64_MAX, UINT64_MAX) >= UINT64_MAX / 2);
}

/* ---- records --------------------------------------------------------------------------------- */

static const struct job_record full = {
    .id = 17,
    .uid = 1000,
    .state = JOB_FAILED,
    .attempt = 2,
    .exit_code = 3,
    .term_signal = JOB_NO_EXIT,
    .submitted_at = 1500000000,
    .started_at = 2000000000,
    .finished_at = 2500000000,
    .queue = "default",
    .spec = "{\"argv\":[\"a\",\"b\"],\"env\":{\"SECRET\":\"x\"},\"stdin\":\"y\",\"name\":\"n\","
            "\"tags\":[\"t\"],\"retries\":2,\"timeout\":\"10m\",\"cwd\":\"/tmp\"}",
    .result = "[1,2]",
    .error = "exit status 3",
};

Test(job, a_copy_of_a_record_is_whole_and_its_own)
{
    struct job_record *copy;
    cr_assert_eq(job_record_copy(&full, &copy), 0);
    cr_assert_eq(copy->id, 17);
    cr_assert_str_eq(copy->queue, full.queue);
    cr_assert_str_eq(copy->spec, full.spec);
    cr_assert_str_eq(copy->result, full.result);
    cr_assert_str_eq(copy->error, full.error);
    cr_assert(copy->spec != full.spec);
    job_record_free(copy);
    struct job_record bare = {.id = 1, .queue = "q", .spec = ""};
    cr_assert_eq(job_record_copy(&bare, &copy), 0);
    cr_assert_null(copy->result);
    cr_assert_null(copy->error);
    cr_assert_str_eq(copy->spec, "");
    job_record_free(copy);
    job_record_free(NULL);
}

static void check_text(const struct job_record *record, const char *expected)
{
    json_t *json;
    cr_assert_eq(job_record_to_json(record, &json), 0);
    char *text = json_dumps(json, JSON_COMPACT);
    cr_assert_str_eq(text, expected);
    free(text);
    json_decref(json);
}

Test(job, the_wire_shows_what_is_known_and_no_secrets)
{
    check_text(&full, "{\"id\":17,\"name\":\"n\",\"queue\":\"default\",\"state\":\"failed\","
                      "\"attempt\":2,\"submitted_at\":1.5,\"started_at\":2.0,\"finished_at\":2.5,"
                      "\"argv\":[\"a\",\"b\"],\"tags\":[\"t\"],\"retries\":2,"
                      "\"timeout\":\"10m\",\"cwd\":\"/tmp\",\"exit_code\":3,\"result\":[1,2],"
                      "\"error\":\"exit status 3\"}");
    struct job_record bare = {.id = 1,
                              .state = JOB_DELAYED,
                              .due_at = 500000000,
                              .exit_code = JOB_NO_EXIT,
                              .term_signal = JOB_NO_EXIT,
                              .queue = "q",
                              .spec = "{\"call\":\"echo\"}"};
    check_text(&bare, "{\"id\":1,\"queue\":\"q\",\"state\":\"delayed\",\"attempt\":0,"
                      "\"due_at\":0.5,\"call\":\"echo\"}");
}

Test(job, the_wire_shows_broken_texts_as_well_as_it_can)
{
    struct job_record broken = {.id = 1,
                                .state = JOB_FAILED,
                                .exit_code = JOB_NO_EXIT,
                                .term_signal = 9,
                                .queue = "q",
                                .spec = "{broken",
                                .result = "not json",
                                .error = "no file \xff\xfe"};
    check_text(&broken, "{\"id\":1,\"queue\":\"q\",\"state\":\"failed\",\"attempt\":0,"
                        "\"signal\":9,\"result\":\"not json\",\"error\":\"no file ??\"}");
}

Test(job, a_text_is_shown_as_it_is_or_not_at_all)
{
    struct job_record record = {.id = 1,
                                .state = JOB_FAILED,
                                .exit_code = JOB_NO_EXIT,
                                .term_signal = JOB_NO_EXIT,
                                .queue = "q",
                                .spec = "{}",
                                .result = "\xc3\xb6 is not json",
                                .error = "no file \xc3\xa4"};
    json_t *whole, *json;
    bool has_failed = true;
    json_failing_init();
    cr_assert_eq(job_record_to_json(&record, &whole), 0);
    for (size_t nth = 1; has_failed; nth++) {
        json_failing = nth;
        int rc = job_record_to_json(&record, &json);
        has_failed = json_failing_end();
        cr_assert_eq(rc, has_failed ? -ENOMEM : 0, "allocation %zu failed: %d", nth, rc);
        if (rc < 0)
            continue;
        cr_assert(json_equal(json, whole), "allocation %zu failed", nth);
        json_decref(json);
    }
    json_decref(whole);
}

Test(job, broken_text_is_shown_in_part_or_not_at_all)
{
    bool has_failed = true;
    json_failing_init();
    for (size_t nth = 1; has_failed; nth++) {
        json_failing = nth;
        json_t *json = job_text_to_json("\xc3\xa4\xff");
        has_failed = json_failing_end();
        cr_assert_eq(!json, has_failed);
        cr_assert(!json || strcmp(json_string_value(json), "???") == 0);
        json_decref(json);
    }
}

/* ---- jobs in memory -------------------------------------------------------------------------- */

Test(job, a_job_owns_its_texts)
{
    struct job *job;
    cr_assert_eq(job_new(&full, NULL, &job), 0);
    cr_assert_str_eq(job->record.spec, full.spec);
    cr_assert_str_eq(job->record.result, full.result);
    cr_assert_eq(job->heap_index, JOB_NOT_IN_HEAP);
    cr_assert((const char *)job->record.spec == (const char *)(job + 1));
    job_set_texts(job, NULL, strdup("later"));
    cr_assert_null(job->record.result);
    cr_assert_str_eq(job->record.error, "later");
    job_free(job);
    job_free(NULL);
}

/* A million queued jobs must fit: the struct, its spec, and its places in table and heaps. */
Test(job, a_job_in_memory_is_small)
{
    cr_assert(sizeof(struct job) <= 232, "%zu bytes", sizeof(struct job));
}
