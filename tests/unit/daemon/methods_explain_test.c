/* SPDX-License-Identifier: MIT */
/* job.retry's answers, and how job.explain puts an engine's facts into words and members. */
#include "methods_support.h"

#include "daemon/job.h"

/* ---- retry ----------------------------------------------------------------------------------- */

Test(methods_retry, answers_each, .init = ask_as_ourselves)
{
    const char *result = ask("job.retry", "{\"ids\":[1,404]}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert(starts_with(result, "{\"results\":[{\"id\":1,\"state\":\"queued\"},{\"error\":{"),
              "%s", result);
    cr_assert(strstr(result, "-32011") && strstr(result, "job 404 is running"), "%s", result);
    cr_assert(strstr(result, "\"id\":404}]}") != NULL, "%s", result);
}

Test(methods_retry, what_is_refused_as_a_whole_says_why, .init = ask_as_ourselves)
{
    refused("job.retry", "{\"ids\":[]}", RPC_INVALID_PARAMS, "ids");
    refused("job.retry", "{\"id\":1}", RPC_INVALID_PARAMS, "id");
    world.err = -ESHUTDOWN;
    refused("job.retry", "{\"ids\":[1]}", RPC_SHUTTING_DOWN, "");
}

/* ---- explain --------------------------------------------------------------------------------- */

/* 2026-11-29T01:02:03Z */
#define THEN (INT64_C(1795914123) * 1000000000)

static struct job_record record;

static void ask_of_a_queued_job(void)
{
    ask_as_ourselves();
    record = (struct job_record){.id = 17,
                                 .state = JOB_QUEUED,
                                 .exit_code = JOB_NO_EXIT,
                                 .term_signal = JOB_NO_EXIT,
                                 .submitted_at = THEN,
                                 .queue = "one",
                                 .spec = "{\"argv\":[\"true\"],\"retries\":5}"};
    world.facts = (struct engine_explanation){.record = &record,
                                              .why = ENGINE_WHY_QUEUE_FULL,
                                              .configured = true,
                                              .running = 1,
                                              .concurrency = 1,
                                              .queued = 4};
}

/* The answer has this piece. */
static void expect_piece(const char *piece)
{
    const char *result = ask("job.explain", "{\"id\":17}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert(strstr(result, piece) != NULL, "no %s in %s", piece, result);
    cr_assert_eq(world.ids[0], 17);
}

static void expect_reason(enum engine_why why, const char *name, const char *reason)
{
    char piece[512];
    world.facts.why = why;
    snprintf(piece, sizeof piece, "\"reason\":\"%s\"", reason);
    expect_piece(piece);
    snprintf(piece, sizeof piece, "\"why\":\"%s\"", name);
    expect_piece(piece);
}

Test(methods_explain, a_queue_is_paused_or_keeps_to_its_rate, .init = ask_of_a_queued_job)
{
    world.facts.paused = true;
    expect_reason(ENGINE_WHY_QUEUE_PAUSED, "queue_paused", "queue \\\"one\\\" is paused");
    expect_piece("\"paused\":true");
    world.facts.paused = false;
    world.facts.rate = (struct units_rate){5, UINT64_C(3600000000000)};
    world.facts.next_start_at = THEN + INT64_C(500000000);
    world.facts.ahead = 2;
    expect_reason(ENGINE_WHY_QUEUE_RATE, "queue_rate",
                  "queue \\\"one\\\" starts at most 5/h, the next at 2026-11-29T01:02:03Z, and 2 "
                  "jobs are ahead of it");
    expect_piece("\"rate\":\"5/h\"");
    expect_piece("\"next_start_at\":1795914123.5");
}

Test(methods_explain, a_queued_job_is_told_the_slots_and_its_place, .init = ask_of_a_queued_job)
{
    const char *result = ask("job.explain", "{\"id\":17}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert_str_eq(result,
                     "{\"ahead\":0,\"attempt\":0,\"crashes\":0,\"draining\":false,\"failures\":0,"
                     "\"id\":17,\"queue\":{\"concurrency\":1,\"configured\":true,\"name\":\"one\","
                     "\"paused\":false,\"queued\":4,\"running\":1},\"reason\":\"the one slot of "
                     "queue \\\"one\\\" is "
                     "taken, and it is the next\",\"retries\":5,\"state\":\"queued\","
                     "\"submitted_at\":1795914123.0,\"why\":\"queue_full\"}");
    world.facts.ahead = 1;
    world.facts.concurrency = 8;
    expect_reason(ENGINE_WHY_QUEUE_FULL, "queue_full",
                  "all 8 slots of queue \\\"one\\\" are taken, and 1 job is ahead of it");
    world.facts.ahead = 3;
    expect_reason(ENGINE_WHY_QUEUE_ORDER, "queue_order",
                  "a slot of queue \\\"one\\\" is free, and 3 jobs are ahead of it");
    world.facts.concurrency_user = 2;
    world.facts.running_user = 2;
    expect_reason(ENGINE_WHY_USER_FULL, "user_full",
                  "its user has 2 of the 2 slots that each may have in queue \\\"one\\\"");
    expect_piece("\"concurrency_user\":2,");
    expect_piece("\"running_user\":2}");
    world.facts.concurrency_user = 0;
    world.facts.why = ENGINE_WHY_QUEUE_ORDER;
    world.facts.ahead = ENGINE_AHEAD_MAX;
    expect_piece("and at least 4096 jobs are ahead of it\"");
    expect_piece("\"ahead\":4096,\"ahead_at_least\":true");
    world.facts.ahead = 0;
    expect_reason(ENGINE_WHY_NEXT, "next",
                  "a slot of queue \\\"one\\\" is free: it is about to start");
}

Test(methods_explain, a_queue_that_is_off_or_gone_is_named, .init = ask_of_a_queued_job)
{
    world.facts.concurrency = 0;
    expect_reason(ENGINE_WHY_QUEUE_OFF, "queue_off",
                  "queue \\\"one\\\" has a concurrency of 0 and starts nothing");
    world.facts.configured = false;
    expect_reason(ENGINE_WHY_QUEUE_FULL, "queue_full",
                  "all 0 slots of queue \\\"one\\\" are taken, and it is the next; its queue is "
                  "not in the configuration any more");
    expect_piece("\"configured\":false");
}

Test(methods_explain, a_stopping_daemon_says_so, .init = ask_of_a_queued_job)
{
    world.facts.draining = true;
    expect_reason(ENGINE_WHY_DRAINING, "draining",
                  "weftd is stopping and starts nothing more; the job waits for its next start");
    expect_piece("\"draining\":true");
}

Test(methods_explain, a_delay_and_a_backoff_are_told_apart, .init = ask_of_a_queued_job)
{
    record.state = JOB_DELAYED;
    record.due_at = THEN;
    expect_reason(ENGINE_WHY_DELAY, "delay",
                  "its client asked for a delay, until 2026-11-29T01:02:03Z");
    record.attempt = 2;
    record.failures = 2;
    record.error = "exit status 9";
    expect_reason(ENGINE_WHY_BACKOFF, "backoff",
                  "attempt 2 failed: exit status 9; the next is due at 2026-11-29T01:02:03Z");
    expect_piece("\"failures\":2");
    expect_piece("\"due_at\":1795914123.0");
    record.error = "no file \xff";
    expect_piece("attempt 2 failed: no file ?; the next");
}

Test(methods_explain, a_running_job_runs_or_is_being_ended, .init = ask_of_a_queued_job)
{
    record.state = JOB_RUNNING;
    record.attempt = 3;
    record.started_at = THEN;
    expect_reason(ENGINE_WHY_RUNNING, "running",
                  "attempt 3 has been running since 2026-11-29T01:02:03Z");
    expect_piece("\"started_at\":1795914123.0");
    expect_reason(ENGINE_WHY_ENDING, "ending",
                  "attempt 3 is over, and how it ended is being stored");
    expect_reason(
        ENGINE_WHY_STOPPING, "stopping",
        "weftd is stopping: attempt 3 is being ended, and the job goes back to its queue");
    expect_reason(ENGINE_WHY_CANCELLING, "cancelling", "it is being cancelled");
}

static void expect_end(enum job_state state, const char *reason, bool retryable)
{
    record.state = state;
    expect_reason(ENGINE_WHY_ENDED, "ended", reason);
    expect_piece(retryable ? "\"retryable\":true" : "\"retryable\":false");
}

Test(methods_explain, an_end_says_how_and_whether_it_can_be_retried, .init = ask_of_a_queued_job)
{
    record.attempt = 2;
    record.finished_at = THEN;
    record.exit_code = 3;
    record.error = "exit status 3";
    expect_end(JOB_FAILED, "attempt 2 failed: exit status 3; it can be retried", true);
    expect_piece("\"exit_code\":3");
    expect_piece("\"finished_at\":1795914123.0");
    expect_end(JOB_DEAD, "it was given up after attempt 2: exit status 3; it can be retried", true);
    expect_reason(ENGINE_WHY_RETRYING, "retrying",
                  "it was given up after attempt 2: exit status 3; it is being retried");
    expect_end(JOB_TIMED_OUT, "attempt 2 ran longer than its timeout; it can be retried", true);
    record.expires_at = 1;
    record.error = "its timeout_total is over; attempt 2: exit status 3";
    expect_end(JOB_TIMED_OUT,
               "its timeout_total is over; attempt 2: exit status 3; it can be retried", true);
    record.error = NULL;
    expect_end(JOB_CANCELLED, "it was cancelled; it can be retried", true);
    record.attempt = 0;
    record.error = "it was to run after job 5, which failed";
    expect_end(JOB_CANCELLED,
               "it was cancelled: it was to run after job 5, which failed; it can be retried",
               true);
    record.attempt = 2;
    expect_end(JOB_SUCCEEDED, "attempt 2 succeeded; there is nothing to retry", false);
    world.facts.draining = true;
    expect_end(JOB_CANCELLED,
               "it was cancelled; it can be retried once weftd, which is stopping, has started "
               "again",
               false);
    world.facts.configured = false;
    expect_end(JOB_CANCELLED,
               "it was cancelled; it cannot be retried: its queue \\\"one\\\" is not in the "
               "configuration any more",
               false);
}

Test(methods_explain, what_the_engine_refuses_is_refused, .init = ask_of_a_queued_job)
{
    world.err = -ENOENT;
    refused("job.explain", "{\"id\":17}", RPC_NO_SUCH_JOB, "");
    refused("job.explain", "{\"ids\":[17]}", RPC_INVALID_PARAMS, "ids");
}
