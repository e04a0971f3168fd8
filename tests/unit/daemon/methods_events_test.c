/* SPDX-License-Identifier: MIT */
/* events.subscribe: its reply, who is shown what, and the lines that follow. */
#include "methods_support.h"

#define LINES_MAX 8192

static struct subscribed {
    struct request_follow_up follow_up;
    char lines[LINES_MAX];
} world_of;

static void publish_as(uid_t uid, uint64_t id, const char *queue)
{
    struct job_record record = {
        .id = id,
        .uid = uid,
        .state = JOB_FAILED,
        .attempt = 1,
        .exit_code = id == 2 ? JOB_NO_EXIT : 3,
        .term_signal = id == 2 ? 9 : JOB_NO_EXIT,
        .submitted_at = 1500000000,
        .queue = queue,
        .spec = "{\"name\":\"n\\u0001\",\"argv\":[\"x\"]}",
        .error = "exit status 3",
    };
    (void)events_publish(world.events, &record, JOB_RUNNING, JOB_BY_FAILURE, 2500000000);
}

/* Jobs 1 to 4: of user 1000 in "a" and "b", of user 2000 in "a" and "b". */
static void publish_four(void)
{
    publish_as(1000, 1, "a");
    publish_as(1000, 2, "b");
    publish_as(2000, 3, "a");
    publish_as(2000, 4, "b");
}

/* The result as text; the follow-up is in world_of. */
static const char *subscribe(const char *params)
{
    world_of = (struct subscribed){0};
    asked_follow_up = &world_of.follow_up;
    const char *result = ask("events.subscribe", params);
    asked_follow_up = NULL;
    return result;
}

static void put_line(const json_t *record)
{
    char *line = json_dumps(record, JSON_COMPACT);
    EXPECT(strlen(world_of.lines) + strlen(line) + 2 < LINES_MAX);
    strcat(strcat(world_of.lines, line), "\n");
    free(line);
}

/* Follow to the end of what there is, a line for each record. */
static int follow_all(void *arg)
{
    struct request_follow_up *follow_up = &world_of.follow_up;
    json_t *records, *record;
    size_t i;
    int rc;
    (void)arg;
    EXPECT(strcmp(follow_up->name, "event") == 0);
    while ((rc = follow_up->next(follow_up->arg, WEFT_NO_DEADLINE, &records)) == 0) {
        json_array_foreach(records, i, record)
        {
            put_line(record);
        }
        json_decref(records);
    }
    follow_up->free(follow_up->arg);
    EXPECT_EQ(rc, -EPIPE);
    return 0;
}

/* The ids that a subscription shows, in order, gaps as their numbers: "1 2 gap3-7 ". */
static const char *shown(const char *params)
{
    static char text[256];
    cr_assert_not_null(subscribe(params), "%s", error.message);
    events_close(world.events);
    on_fibers(1, follow_all, NULL);
    text[0] = '\0';
    for (char *line = strtok(world_of.lines, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *record = json_loads(line, 0, NULL);
        const json_t *gap = json_object_get(record, "gap");
        char *end = text + strlen(text);
        if (gap)
            sprintf(end, "gap%lld-%lld ", json_integer_value(json_object_get(gap, "from")),
                    json_integer_value(json_object_get(gap, "to")));
        else
            sprintf(end, "%lld ", json_integer_value(json_object_get(record, "id")));
        json_decref(record);
    }
    return text;
}

static void begin(size_t capacity)
{
    ask_as_ourselves();
    cr_assert_eq(events_new(capacity, &world.events), 0);
    peer = (struct peer){.uid = 1000};
}

static void begin_with_four(void)
{
    begin(100);
    publish_four();
}

static void end(void)
{
    events_free(world.events);
}

/* ---- the reply ------------------------------------------------------------------------------- */

Test(subscribe, reply_says_the_life_and_the_newest_number, .init = begin_with_four, .fini = end)
{
    cr_assert_str_eq(subscribe(NULL), "{\"epoch\":5,\"last\":4}");
    cr_assert_eq(world.since, EVENTS_FROM_NOW);
    world_of.follow_up.free(world_of.follow_up.arg);
    cr_assert_str_eq(subscribe("{\"since\":2,\"epoch\":5}"), "{\"epoch\":5,\"last\":4}");
    cr_assert_eq(world.since, 2);
    world_of.follow_up.free(world_of.follow_up.arg);
    cr_assert_str_eq(subscribe("{\"since\":2000,\"epoch\":4}"), "{\"epoch\":5,\"last\":4}");
    cr_assert_eq(world.since, 0, "numbers of another life mean: all of this one");
    world_of.follow_up.free(world_of.follow_up.arg);
    struct events_stats stats;
    events_stats(world.events, &stats);
    cr_assert_eq(stats.readers, 0);
}

Test(subscribe, what_is_wrong_is_said, .init = begin_with_four, .fini = end)
{
    refused("events.subscribe", "{}", RPC_INVALID_REQUEST, "alone on a line");
    cr_assert_null(subscribe("{\"since\":-1}"));
    cr_assert_null(subscribe("{\"ids\":[]}"));
    cr_assert_null(subscribe("{\"ids\":[0]}"));
    cr_assert_null(subscribe("{\"sinse\":1}"));
    cr_assert_str_eq(error.nearest, "since");
    world.err = -EINVAL;
    world.message = "there is no queue \"x\"";
    cr_assert_null(subscribe("{\"queue\":\"x\"}"));
    cr_assert_eq(error.code, RPC_NO_SUCH_QUEUE);
    cr_assert_null(world_of.follow_up.next, "nothing goes on after a refusal");
}

/* ---- who is shown what ----------------------------------------------------------------------- */

Test(subscribe, user_is_shown_the_events_of_own_jobs_alone, .init = begin_with_four, .fini = end)
{
    cr_assert_str_eq(shown("{\"since\":0}"), "1 2 ");
    peer.uid = 2000;
    cr_assert_str_eq(shown("{\"since\":0}"), "3 4 ");
    peer.uid = 3000;
    cr_assert_str_eq(shown("{\"since\":0}"), "");
    peer.admin = true;
    cr_assert_str_eq(shown("{\"since\":0}"), "1 2 3 4 ");
}

Test(subscribe, filters_narrow_what_one_may_see, .init = begin_with_four, .fini = end)
{
    cr_assert_str_eq(shown("{\"since\":0,\"queue\":\"b\"}"), "2 ");
    cr_assert_str_eq(shown("{\"since\":0,\"ids\":[4,2]}"), "2 ");
    cr_assert_str_eq(shown("{\"since\":0,\"ids\":[4,2,1],\"queue\":\"a\"}"), "1 ");
    cr_assert_str_eq(shown("{\"since\":1,\"ids\":[4,1,3]}"), "");
    peer.admin = true;
    cr_assert_str_eq(shown("{\"since\":0,\"ids\":[4,3,1]}"), "1 3 4 ");
}

static void begin_small(void)
{
    begin(3);
    publish_four();
    publish_four();
}

Test(subscribe, gap_is_told_to_everybody_whom_it_may_concern, .init = begin_small, .fini = end)
{
    cr_assert_str_eq(shown("{\"since\":0}"), "gap1-5 2 ");
    peer.uid = 2000;
    cr_assert_str_eq(shown("{\"since\":3}"), "gap4-5 3 4 ");
    cr_assert_str_eq(shown("{\"since\":5}"), "3 4 ");
    peer.uid = 3000;
    cr_assert_str_eq(shown("{\"since\":0,\"ids\":[1]}"), "gap1-5 ");
}

/* ---- the records ----------------------------------------------------------------------------- */

Test(subscribe, gap_and_event_are_records, .init = begin_small, .fini = end)
{
    cr_assert_not_null(subscribe("{\"since\":4,\"ids\":[2]}"));
    events_close(world.events);
    on_fibers(1, follow_all, NULL);
    cr_assert_str_eq(world_of.lines,
                     "{\"seq\":5,\"gap\":{\"from\":5,\"to\":5}}\n"
                     "{\"seq\":6,\"time\":2.5,"
                     "\"id\":2,\"name\":\"n\\u0001\",\"queue\":\"b\",\"before\":\"running\","
                     "\"state\":\"failed\",\"cause\":\"failure\",\"attempt\":1,\"signal\":9,"
                     "\"error\":\"exit status 3\"}\n",
                     "%s", world_of.lines);
}

Test(subscribe, progress_is_told_as_what_it_is, .init = begin_with_four, .fini = end)
{
    struct job_record record = {
        .id = 9,
        .uid = 1000,
        .state = JOB_RUNNING,
        .attempt = 1,
        .submitted_at = 1500000000,
        .queue = "a",
        .spec = "{\"argv\":[\"x\"]}",
        .progress = "{\"fraction\":0.5,\"text\":\"half\"}",
    };
    (void)events_publish_progress(world.events, &record, 2500000000); /* nobody listens */
    cr_assert_not_null(subscribe("{\"since\":4,\"ids\":[9]}"));
    cr_assert(events_publish_progress(world.events, &record, 2500000000));
    events_close(world.events);
    on_fibers(1, follow_all, NULL);
    cr_assert_str_eq(world_of.lines,
                     "{\"seq\":5,\"time\":2.5,\"id\":9,\"queue\":\"a\",\"before\":\"running\","
                     "\"state\":\"running\",\"cause\":\"progress\",\"attempt\":1,"
                     "\"progress\":{\"fraction\":0.5,\"text\":\"half\"}}\n",
                     "%s", world_of.lines);
}

static int await_nothing(void *arg)
{
    struct request_follow_up *follow_up = &world_of.follow_up;
    json_t *records;
    (void)arg;
    EXPECT_EQ(follow_up->next(follow_up->arg, WEFT_NO_DEADLINE, &records), 0);
    EXPECT_EQ(json_array_size(records), 0); /* what there is is not for this client */
    json_decref(records);
    EXPECT_EQ(follow_up->next(follow_up->arg, weft_now_ns(), &records), -ETIMEDOUT);
    follow_up->free(follow_up->arg);
    return 0;
}

Test(subscribe, nothing_for_the_client_is_told_as_such, .init = begin_with_four, .fini = end)
{
    cr_assert_not_null(subscribe("{\"since\":0,\"ids\":[9]}"));
    on_fibers(1, await_nothing, NULL);
}
