/* SPDX-License-Identifier: MIT */
/* weft queue: what it asks of weftd and what it prints. */
#include "fake_server.h"

#define QUEUE_ANSWER                                                                               \
    "\"result\":{\"queues\":[{\"name\":\"q\\u001b[2J\",\"configured\":true,\"concurrency\":4,"     \
    "\"running\":2,\"queued\":7,\"delayed\":1,\"waiting\":0,\"paused\":true,\"rate\":\"10/s\","    \
    "\"max_waiting\":0,\"concurrency_user\":2,\"set\":{\"paused\":true}},{\"name\":\"old\","       \
    "\"configured\":false,"                                                                        \
    "\"concurrency\":1,\"running\":0,\"queued\":0,\"delayed\":0,\"waiting\":0,\"drained\":true,"   \
    "\"rate\":\"none\",\"max_waiting\":9,\"set\":{\"max_waiting\":9,\"rate\":\"none\","            \
    "\"drained\":true}}]}"

static const struct canned queues[] = {
    {"queue.list", QUEUE_ANSWER},
    {"queue.pause", QUEUE_ANSWER},
    {"queue.drain", QUEUE_ANSWER},
    {"queue.resume", QUEUE_ANSWER},
    {"queue.set", QUEUE_ANSWER},
    {"queue.purge", "\"result\":{\"queue\":\"q\",\"cancelled\":12}"},
    {0}};

#define QUEUE_TABLE                                                                                \
    "QUEUE     RUNNING          OF  QUEUED  DELAYED  WAITING  MOST   RATE  STATE\n"                \
    "q\\x1b[2J        2  4 (2 each)       7        1        0     -   10/s  paused*\n"             \
    "old             0           1       0        0        0    9*  none*  drained*, not in the "  \
    "configuration\n"

Test(queue, lists_the_queues_and_marks_what_was_set)
{
    struct fake fake = {.canned = queues};
    expect_run(FAKE_RUN(&fake, "queue"), 0, QUEUE_TABLE, "");
    fake_free(&fake);
    fake = (struct fake){.canned = queues};
    expect_run(FAKE_RUN(&fake, "queue", "list"), 0, QUEUE_TABLE, "");
    fake_free(&fake);
}

Test(queue, pauses_the_named_ones_the_default_one_or_all)
{
    struct fake fake = {.canned = queues};
    ran_free(&(struct ran[]){FAKE_RUN(&fake, "queue", "pause", "a", "b")}[0]);
    expect_params(&fake, "queue.pause", 0, "{\"queue\":\"a\"}");
    expect_params(&fake, "queue.pause", 1, "{\"queue\":\"b\"}");
    fake_free(&fake);
    fake = (struct fake){.canned = queues};
    ran_free(&(struct ran[]){FAKE_RUN(&fake, "queue", "drain", "a")}[0]);
    expect_params(&fake, "queue.drain", 0, "{\"queue\":\"a\"}");
    fake_free(&fake);
    fake = (struct fake){.canned = queues};
    ran_free(&(struct ran[]){FAKE_RUN(&fake, "queue", "resume", "--all")}[0]);
    expect_params(&fake, "queue.resume", 0, "{\"all\":true}");
    fake_free(&fake);
    fake = (struct fake){.canned = queues};
    struct ran ran = FAKE_RUN(&fake, "queue", "resume", "--json");
    cr_assert_eq(ran.status, 0);
    cr_assert_eq(fake_count(&fake, "queue.resume"), 1);
    cr_assert_eq(ran.out[0], '{');
    ran_free(&ran);
    fake_free(&fake);
}

Test(queue, sets_what_is_named_and_gives_back_the_rest_on_reset)
{
    struct fake fake = {.canned = queues};
    ran_free(&(struct ran[]){FAKE_RUN(&fake, "queue", "set", "q", "--rate", "10/s", "-c4",
                                      "--concurrency-user", "2", "--max-waiting=0")}[0]);
    expect_params(&fake, "queue.set", 0,
                  "{\"concurrency\":4,\"concurrency_user\":2,\"max_waiting\":0,\"queue\":\"q\","
                  "\"rate\":\"10/s\"}");
    fake_free(&fake);
    fake = (struct fake){.canned = queues};
    ran_free(&(struct ran[]){FAKE_RUN(&fake, "queue", "set", "q", "--reset", "-c", "0")}[0]);
    expect_params(&fake, "queue.set", 0,
                  "{\"concurrency\":0,\"concurrency_user\":null,\"drained\":null,"
                  "\"max_waiting\":null,\"paused\":null,\"queue\":\"q\",\"rate\":null}");
    fake_free(&fake);
}

Test(queue, purges_and_says_how_many)
{
    struct fake fake = {.canned = queues};
    expect_run(FAKE_RUN(&fake, "queue", "purge", "q", "--state", "queued,delayed"), 0,
               "12 jobs cancelled\n", "");
    expect_params(&fake, "queue.purge", 0, "{\"queue\":\"q\",\"state\":[\"queued\",\"delayed\"]}");
    fake_free(&fake);
}

static void expect_misuse(struct fake *fake, struct ran ran, const char *text)
{
    cr_assert_eq(ran.status, 2);
    cr_assert(strstr(ran.err, text) != NULL, "%s", ran.err);
    ran_free(&ran);
    fake_free(fake);
    *fake = (struct fake){.canned = queues};
}

Test(queue, says_what_is_missing)
{
    struct fake fake = {.canned = queues};
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "stop"), "'stop' is none of list, pause");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "set", "--rate", "1/s"), "set which queue?");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "set", "q"), "set what?");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "purge"), "purge which queue?");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "purge", "a", "b"), "purge takes one queue");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "list", "a"), "list takes no queue");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "pause", "--all", "a"), "either --all or names");
}

Test(queue, refuses_an_option_of_another_action)
{
    struct fake fake = {.canned = queues};
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "pause", "q", "-c", "3"),
                  "--concurrency does not go with pause");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "purge", "q", "--all"),
                  "--all does not go with purge");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "purge", "q", "--concurrency", "3"),
                  "--concurrency does not go with purge");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "list", "--freeze"),
                  "--freeze does not go with list");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "resume", "--freeze"),
                  "--freeze does not go with resume");
    expect_misuse(&fake, FAKE_RUN(&fake, "queue", "set", "q", "--state", "queued"),
                  "--state does not go with set");
}
