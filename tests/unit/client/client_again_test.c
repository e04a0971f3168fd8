/* SPDX-License-Identifier: MIT */
/* Submits and calls that outlive a connection, against a server that goes away. */
#include "fake_server.h"

#include "client/clock.h"
#include "protocol/error.h"

#define SECOND UINT64_C(1000000000)

static const char job_text[] = "{\"argv\":[\"true\"]}";

static struct weft_client *open_to(struct fake *fake, uint64_t patience_ns)
{
    struct weft_client *client = fake_open(fake);
    weft_client_set_patience(client, patience_ns);
    return client;
}

static int submit(struct weft_client *client, const char *text, int64_t *ret_id)
{
    struct weft_client_error error = {0};
    json_t *job = json_loads(text, 0, NULL);
    int err = weft_client_submit(client, job, ret_id, &error);
    char *after = json_dumps(job, JSON_COMPACT);
    cr_assert_str_eq(after, text, "the caller's job was changed");
    free(after);
    json_decref(job);
    return err;
}

static const char *key_of(const struct fake *fake, size_t index)
{
    const json_t *params = json_object_get(json_array_get(fake->requests, index), "params");
    return json_string_value(json_object_get(params, "key"));
}

/* Each of `count` connections takes a request and breaks; the next one answers. */
static void serve_at_last(struct fake *fake, FILE *from, int fd)
{
    json_t *request = fake_read(fake, from);
    if (!request || json_array_size(fake->requests) <= fake->count)
        return;
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{\"id\":17}}\n", fake_id(request));
    fake_read(fake, from);
}

Test(client_again, a_submit_is_asked_again_under_one_key)
{
    struct fake fake = {.serve = serve_at_last, .count = 2};
    struct weft_client *client = open_to(&fake, 60 * SECOND);
    int64_t id = 0;
    cr_assert_eq(submit(client, job_text, &id), 0);
    cr_assert_eq(id, 17);
    cr_assert_eq(json_array_size(fake.requests), 3);
    const char *key = key_of(&fake, 0);
    cr_assert_not_null(key);
    cr_assert_eq(strlen(key), strlen("libweftclient-") + 32);
    cr_assert_str_eq(key_of(&fake, 1), key);
    cr_assert_str_eq(key_of(&fake, 2), key);
    fake_finish(&fake, client);
}

Test(client_again, two_submits_have_two_keys_and_a_key_of_the_caller_stays)
{
    static const struct canned canned[] = {{"job.submit", "\"result\":{\"id\":17}"}, {0}};
    struct fake fake = {.canned = canned};
    struct weft_client *client = open_to(&fake, SECOND);
    int64_t id;
    cr_assert_eq(submit(client, job_text, &id), 0);
    cr_assert_eq(submit(client, job_text, &id), 0);
    cr_assert_eq(submit(client, "{\"argv\":[\"true\"],\"key\":\"mine\"}", &id), 0);
    weft_client_set_patience(client, 0);
    cr_assert_eq(submit(client, job_text, &id), 0);
    cr_assert_str_neq(key_of(&fake, 0), key_of(&fake, 1));
    cr_assert_str_eq(key_of(&fake, 2), "mine");
    cr_assert_null(key_of(&fake, 3)); /* nobody asks again */
    fake_finish(&fake, client);
}

Test(client_again, without_patience_a_connection_that_breaks_is_an_error)
{
    struct fake fake = {.serve = serve_at_last, .count = 1};
    struct weft_client *client = open_to(&fake, 0);
    int64_t id = 5;
    cr_assert_eq(submit(client, job_text, &id), -ECONNRESET);
    cr_assert_eq(id, 5);
    fake_finish(&fake, client);
}

Test(client_again, patience_ends)
{
    struct fake fake = {.serve = serve_at_last, .count = 1000};
    struct weft_client *client = open_to(&fake, SECOND / 20);
    int64_t id;
    uint64_t begun_ns = clock_now_ns();
    cr_assert_eq(submit(client, job_text, &id), -ECONNRESET);
    cr_assert_geq(clock_now_ns() - begun_ns, SECOND / 20, "not before");
    fake_finish(&fake, client);
}

Test(client_again, a_stopping_weftd_is_no_answer)
{
    static const struct canned canned[] = {
        {"ping", "\"error\":{\"code\":-32007,\"message\":\"stopping\"}"},
        {"ping", "\"result\":\"pong\""},
        {0}};
    struct fake fake = {.canned = canned};
    struct weft_client *client = open_to(&fake, 60 * SECOND);
    struct weft_client_error error;
    json_t *result;
    cr_assert_eq(weft_client_call_again(client, "ping", NULL, &result, &error), 0);
    cr_assert_str_eq(json_string_value(result), "pong");
    json_decref(result);
    fake_finish(&fake, client);
}

Test(client_again, a_refusal_is_an_answer)
{
    static const struct canned canned[] = {
        {"job.submit", "\"error\":{\"code\":-32002,\"message\":\"no queue\"}"}, {0}};
    struct fake fake = {.canned = canned};
    struct weft_client *client = open_to(&fake, 60 * SECOND);
    struct weft_client_error error;
    json_t *job = json_loads(job_text, 0, NULL);
    int64_t id;
    cr_assert_eq(weft_client_submit(client, job, &id, &error), -EREMOTEIO);
    cr_assert_str_eq(weft_client_error_name(&error), "no_such_queue");
    cr_assert_eq(json_array_size(fake.requests), 1);
    json_decref(job);
    fake_finish(&fake, client);
}

/* The first connection takes two requests and breaks. */
static void serve_two_and_break(struct fake *fake, FILE *from, int fd)
{
    if (json_array_size(fake->requests) == 0) {
        fake_read(fake, from);
        fake_read(fake, from);
        return;
    }
    json_t *request;
    while ((request = fake_read(fake, from)))
        fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":\"pong\"}\n", fake_id(request));
}

Test(client_again, what_else_was_under_way_is_lost_with_the_connection)
{
    struct fake fake = {.serve = serve_two_and_break};
    struct weft_client *client = open_to(&fake, 60 * SECOND);
    struct weft_client_error error;
    struct weft_reply reply;
    json_t *result;
    int64_t lost, later;
    cr_assert_eq(weft_client_send(client, "ping", NULL, &lost), 0);
    cr_assert_eq(weft_client_call_again(client, "ping", NULL, &result, &error), 0);
    json_decref(result);
    cr_assert_eq(weft_client_receive(client, lost, &reply), -ECONNRESET);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &later), 0); /* the new one is good */
    cr_assert_eq(weft_client_receive(client, later, &reply), 0);
    weft_reply_destroy(&reply);
    fake_finish(&fake, client);
}

Test(client_again, many_jobs_have_a_key_each_and_answers_in_order)
{
    static const struct canned canned[] = {
        {"job.submit_many", "\"result\":{\"results\":[{\"id\":1},{\"error\":{\"code\":-32602,"
                            "\"message\":\"bad\"}}]}"},
        {0}};
    struct fake fake = {.canned = canned};
    struct weft_client *client = open_to(&fake, 60 * SECOND);
    struct weft_client_error error;
    json_t *jobs = json_loads("[{\"argv\":[\"true\"]},7]", 0, NULL), *results = NULL;
    cr_assert_eq(weft_client_submit_many(client, jobs, &results, &error), 0);
    cr_assert_eq(json_array_size(results), 2);
    json_decref(results);
    const json_t *params = json_object_get(json_array_get(fake.requests, 0), "params");
    const json_t *sent = json_object_get(params, "jobs");
    cr_assert(json_is_string(json_object_get(json_array_get(sent, 0), "key")));
    cr_assert_eq(json_integer_value(json_array_get(sent, 1)), 7); /* weftd says what is wrong */
    json_decref(jobs);
    fake_finish(&fake, client);
}
