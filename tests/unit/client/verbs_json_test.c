/* SPDX-License-Identifier: MIT */
/* verbs_json_test: with --json a verb prints what weftd answered, as it came, and nothing else. */
#include "fake_server.h"

struct asked {
    struct canned canned;
    const char *words[5];
    const char *out;
};

#define ENDED "{\"id\":17,\"state\":\"succeeded\",\"attempt\":1,\"result\":{\"n\":1}}"

static const struct asked asked_of[] = {
    {{"daemon.reload", "\"result\":{\"changed\":2,\"restart\":[]}"},
     {"reload"},
     "{\"changed\":2,\"restart\":[]}\n"},
    {{"daemon.drain", "\"result\":{\"drained\":true,\"running\":2}"},
     {"drain"},
     "{\"drained\":true,\"running\":2}\n"},
    {{"daemon.backup", "\"result\":{\"path\":\"/s/a.db\",\"bytes\":4096}"},
     {"backup", "a.db"},
     "{\"path\":\"/s/a.db\",\"bytes\":4096}\n"},
    {{"queue.purge", "\"result\":{\"cancelled\":3}"},
     {"queue", "purge", "q"},
     "{\"cancelled\":3}\n"},
    {{"ping", "\"result\":\"pong\""}, {"ping"}, "\"pong\"\n"},
};

Test(verbs_json, the_answer_is_printed_as_it_came)
{
    for (size_t i = 0; i < sizeof asked_of / sizeof *asked_of; i++) {
        const struct canned canned[] = {asked_of[i].canned, {0}};
        const char *words[8] = {asked_of[i].words[0], "--json"};
        struct fake fake = {.canned = canned};
        for (size_t at = 1; asked_of[i].words[at]; at++)
            words[at + 1] = asked_of[i].words[at];
        expect_run(fake_run(&fake, "", words), 0, asked_of[i].out, "");
        fake_free(&fake);
    }
}

Test(verbs_json, a_call_that_is_waited_for_is_the_whole_job)
{
    static const struct canned canned[] = {{"job.submit", "\"result\":{\"id\":17}"},
                                           {"job.wait", "\"result\":{\"jobs\":[" ENDED "]}"},
                                           {0}};
    struct fake fake = {.canned = canned};
    expect_run(FAKE_RUN(&fake, "call", "--json", "--wait", "echo"), 0, ENDED "\n", "");
    fake_free(&fake);
    fake = (struct fake){.canned = canned};
    expect_run(FAKE_RUN(&fake, "call", "--wait", "echo"), 0, "{\"n\":1}\n", "");
    fake_free(&fake);
}

Test(verbs_json, lines_of_a_file_take_neither_arguments_nor_a_wait)
{
    struct fake fake = {.canned = (const struct canned[]){{0}}};
    struct ran ran = FAKE_FEED(&fake, "{}\n", "call", "--from", "-", "--wait", "echo");
    cr_assert_eq(ran.status, COMMAND_USAGE);
    cr_assert(has(ran.err, "--wait cannot be combined with --from"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
    fake = (struct fake){.canned = (const struct canned[]){{0}}};
    ran = FAKE_FEED(&fake, "{}\n", "call", "--from", "-", "echo", "{}");
    cr_assert_eq(ran.status, COMMAND_USAGE);
    cr_assert(has(ran.err, "JSON arguments cannot be combined with --from"), "%s", ran.err);
    ran_free(&ran);
    fake_free(&fake);
}

/* Left out of what is sent, it would mean all of them, or the default one. */
Test(verbs_json, a_word_that_is_no_utf_8_is_misuse_and_never_left_out)
{
    static const char *const wrong[][6] = {
        {"submit", "--name", "a\xff", "true"},
        {"submit", "--tag", "a\xff", "true"},
        {"submit", "a\xff"},
        {"submit", "--limit", "a\xff=1", "true"},
        {"queue", "purge", "a\xff"},
        {"queue", "purge", "--state", "queued,\xff", "q"},
        {"queue", "pause", "q", "a\xff"},
        {"queue", "resume", "a\xff"},
        {"queue", "set", "a\xff", "--reset"},
        {"queue", "set", "q", "--rate", "\xff"},
        {"list", "--queue", "a,\xff"},
        {"list", "--state", "\xff"},
        {"list", "--name", "\xff"},
        {"list", "--tag", "\xff"},
        {"list", "--user", "\xff"},
        {"events", "--queue", "\xff"},
        {"backup", "\xff"},
    };
    static const struct canned willing[] = {{"queue.pause", "\"result\":{\"queues\":[]}"}, {0}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct fake fake = {.canned = willing};
        const char *words[8] = {0};
        memcpy(words, wrong[i], sizeof wrong[i]);
        struct ran ran = fake_run(&fake, "", words);
        cr_assert_eq(ran.status, COMMAND_USAGE, "%s %s: %d %s", words[0], words[1], ran.status,
                     ran.err);
        cr_assert(has(ran.err, "not UTF-8 text"), "%s", ran.err);
        cr_assert_eq(json_array_size(fake.requests), i == 6 ? 1 : 0); /* pause q was fine */
        ran_free(&ran);
        fake_free(&fake);
    }
}
