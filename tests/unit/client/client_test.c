/* SPDX-License-Identifier: MIT */
/* client: one connection, against a server that does all that a server may do to it. */
#include "fake_server.h"

#include "protocol/error.h"

#define BIG ((size_t)4 << 20)

Test(client, call_gives_the_result)
{
    static const struct canned canned[] = {{"ping", "\"result\":\"pong\""}, {0}};
    struct fake fake = {.canned = canned};
    struct weft_client *client = fake_open(&fake);
    struct weft_client_error error;
    json_t *result = NULL;
    cr_assert_eq(weft_client_call(client, "ping", NULL, &result, &error), 0);
    cr_assert_str_eq(json_string_value(result), "pong");
    json_decref(result);
    fake_finish(&fake, client);
}

Test(client, call_gives_the_error_with_its_fields)
{
    static const struct canned canned[] = {
        {"job.submit", "\"error\":{\"code\":-32602,\"message\":\"unknown parameter\","
                       "\"data\":{\"name\":\"invalid_params\",\"param\":\"piority\","
                       "\"nearest\":\"priority\"}}"},
        {0},
    };
    struct fake fake = {.canned = canned};
    struct weft_client *client = fake_open(&fake);
    struct weft_client_error error;
    json_t *result = (json_t *)&fake;
    cr_assert_eq(weft_client_call(client, "job.submit", NULL, &result, &error), -EREMOTEIO);
    cr_assert_eq(error.code, RPC_INVALID_PARAMS);
    cr_assert_str_eq(error.message, "unknown parameter");
    cr_assert_str_eq(error.param, "piority");
    cr_assert_str_eq(error.nearest, "priority");
    cr_assert_eq(result, (json_t *)&fake, "ret_ must stay untouched on failure");
    fake_finish(&fake, client);
}

/* Reads count requests, then answers them, last first, with their own ids as results. */
static void serve_backwards(struct fake *fake, FILE *from, int fd)
{
    long long ids[8];
    for (size_t i = 0; i < fake->count; i++)
        ids[i] = fake_id(fake_read(fake, from));
    for (size_t i = fake->count; i-- > 0;)
        fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":%lld}\n", ids[i], ids[i]);
    fake_read(fake, from); /* until the client closes */
}

Test(client, replies_in_any_order_find_their_requests)
{
    struct fake fake = {.serve = serve_backwards, .count = 5};
    struct weft_client *client = fake_open(&fake);
    int64_t ids[5];
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(weft_client_send(client, "ping", NULL, &ids[i]), 0);
    for (size_t i = 0; i < 5; i++) {
        struct weft_reply reply;
        cr_assert_eq(weft_client_receive(client, ids[i], &reply), 0);
        cr_assert_eq(reply.id, ids[i]);
        cr_assert_eq(json_integer_value(reply.result), ids[i]);
        weft_reply_destroy(&reply);
    }
    fake_finish(&fake, client);
}

Test(client, id_zero_takes_whichever_reply_is_next)
{
    struct fake fake = {.serve = serve_backwards, .count = 3};
    struct weft_client *client = fake_open(&fake);
    int64_t ids[3];
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(weft_client_send(client, "ping", NULL, &ids[i]), 0);
    for (size_t i = 3; i-- > 0;) {
        struct weft_reply reply;
        cr_assert_eq(weft_client_receive(client, 0, &reply), 0);
        cr_assert_eq(reply.id, ids[i], "the order in which they came");
        weft_reply_destroy(&reply);
    }
    fake_finish(&fake, client);
}

Test(client, replies_that_nobody_took_are_freed)
{
    struct fake fake = {.serve = serve_backwards, .count = 4};
    struct weft_client *client = fake_open(&fake);
    struct weft_reply reply;
    int64_t id = 0, first = 0;
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(weft_client_send(client, "ping", NULL, &id), 0);
        first = i == 0 ? id : first;
    }
    cr_assert_eq(weft_client_receive(client, first, &reply), 0);
    weft_reply_destroy(&reply);
    fake_finish(&fake, client);
}

/* Answers byte by byte. */
static void serve_slowly(struct fake *fake, FILE *from, int fd)
{
    char text[128];
    json_t *request = fake_read(fake, from);
    int size = snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":[1,2]}\r\n",
                        fake_id(request));
    for (int i = 0; i < size; i++)
        fake_write(fd, text + i, 1);
    fake_read(fake, from);
}

Test(client, reply_may_come_in_pieces)
{
    struct fake fake = {.serve = serve_slowly};
    struct weft_client *client = fake_open(&fake);
    struct weft_client_error error;
    json_t *result = NULL;
    cr_assert_eq(weft_client_call(client, "ping", NULL, &result, &error), 0);
    cr_assert_eq(json_array_size(result), 2);
    json_decref(result);
    fake_finish(&fake, client);
}

/* Answers the first request when there is a second. */
static void serve_late(struct fake *fake, FILE *from, int fd)
{
    long long first = fake_id(fake_read(fake, from));
    fake_read(fake, from);
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":1}\n", first);
    fake_read(fake, from);
}

Test(client, what_did_not_come_in_time_may_still_be_received)
{
    struct fake fake = {.serve = serve_late};
    struct weft_client *client = fake_open(&fake);
    struct weft_reply reply;
    int64_t id, next;
    cr_assert_eq(weft_client_send(client, "job.wait", NULL, &id), 0);
    cr_assert_eq(weft_client_receive_within(client, id, 0, &reply), -ETIMEDOUT);
    cr_assert_eq(weft_client_receive_within(client, id, 1000000, &reply), -ETIMEDOUT);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &next), 0);
    cr_assert_eq(weft_client_receive_within(client, id, UINT64_MAX, &reply), 0);
    cr_assert_eq(reply.id, id);
    weft_reply_destroy(&reply);
    fake_finish(&fake, client);
}

/* Reads one request, says raw, and leaves. */
static void serve_raw(struct fake *fake, FILE *from, int fd)
{
    fake_read(fake, from);
    if (fake->raw)
        fake_write(fd, fake->raw, strlen(fake->raw));
}

static int call_raw(const char *raw, struct weft_client_error *error)
{
    struct fake fake = {.serve = serve_raw, .raw = raw};
    struct weft_client *client = fake_open(&fake);
    json_t *result = NULL;
    int err = weft_client_call(client, "ping", NULL, &result, error);
    json_decref(result);
    fake_finish(&fake, client);
    return err;
}

Test(client, server_that_leaves_is_a_reset)
{
    struct weft_client_error error;
    cr_assert_eq(call_raw(NULL, &error), -ECONNRESET);
    cr_assert_eq(call_raw("{\"jsonrpc\":\"2.0\",\"id\":1,\"res", &error), -ECONNRESET,
                 "half a reply is none");
}

Test(client, what_is_not_the_protocol_is_a_bad_message)
{
    struct weft_client_error error;
    cr_assert_eq(call_raw("HTTP/1.1 400 Bad Request\r\n\r\n", &error), -EBADMSG);
    cr_assert_eq(call_raw("[]\n", &error), -EBADMSG);
    cr_assert_eq(call_raw("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":1}\n", &error), -EBADMSG,
                 "an id that we never gave");
}

Test(client, notifications_are_passed_over)
{
    struct weft_client_error error;
    cr_assert_eq(call_raw("{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{}}\n"
                          "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}\n",
                          &error),
                 0);
}

Test(client, error_without_an_id_is_for_whoever_waits)
{
    struct weft_client_error error = {0};
    cr_assert_eq(call_raw("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32004,"
                          "\"message\":\"too long\"}}\n",
                          &error),
                 -EREMOTEIO);
    cr_assert_eq(error.code, RPC_LINE_TOO_LONG);
}

/* Refuses before it reads anything, as weftd does with one connection too many. */
static void serve_refusal(struct fake *fake, FILE *from, int fd)
{
    (void)fake;
    (void)from;
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,"
                 "\"message\":\"too many connections\"}}\n");
    shutdown(fd, SHUT_RDWR);
}

Test(client, refusal_is_seen_though_writing_fails)
{
    struct fake fake = {.serve = serve_refusal};
    struct weft_client *client = fake_open(&fake);
    struct weft_client_error error = {0};
    json_t *result = NULL;
    char *data = calloc(1, BIG);
    memset(data, 0x61, BIG - 1);
    json_t *params = json_pack("{s:s}", "data", data);
    free(data);
    cr_assert_eq(weft_client_call(client, "ping", params, &result, &error), -EREMOTEIO);
    cr_assert_eq(error.code, RPC_BUSY);
    cr_assert_eq(weft_client_call(client, "ping", params, &result, &error), -ECONNRESET,
                 "and it stays broken");
    json_decref(params);
    fake_finish(&fake, client);
}

/* Says BIG bytes before it reads the first. */
static void serve_talker(struct fake *fake, FILE *from, int fd)
{
    char *blanks = malloc(BIG);
    memset(blanks, ' ', BIG);
    fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,");
    fake_write(fd, blanks, BIG);
    fake_say(fd, "\"result\":1}\n");
    free(blanks);
    json_t *request = fake_read(fake, from);
    fake->count = json_string_length(json_object_get(json_object_get(request, "params"), "data"));
}

Test(client, two_that_both_talk_do_not_block_each_other, .timeout = 30)
{
    struct fake fake = {.serve = serve_talker};
    struct weft_client *client = fake_open(&fake);
    char *data = malloc(BIG);
    memset(data, 'x', BIG);
    json_t *result = NULL, *params = json_pack("{s:s#}", "data", data, (int)BIG);
    struct weft_client_error error;
    int64_t id;
    cr_assert_eq(weft_client_send(client, "ping", params, &id), 0);
    struct weft_reply reply;
    cr_assert_eq(weft_client_receive(client, id, &reply), 0);
    weft_reply_destroy(&reply);
    /* what is left of the request goes out while we wait for the next reply */
    cr_assert_eq(weft_client_call(client, "ping", NULL, &result, &error), -ECONNRESET);
    free(data);
    json_decref(params);
    weft_client_close(client);
    fake_stop(&fake);
    cr_assert_eq(fake.count, BIG, "the request came whole: %zu", fake.count);
    fake_free(&fake);
}

Test(client, interrupt_ends_a_wait_and_loses_nothing)
{
    struct fake fake = {.serve = serve_backwards, .count = 2};
    struct weft_client *client = fake_open(&fake);
    int pipes[2];
    int64_t first, second;
    struct weft_reply reply;
    cr_assert_eq(pipe(pipes), 0);
    weft_client_interrupt_on(client, pipes[0]);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &first), 0);
    cr_assert_eq(write(pipes[1], "!", 1), 1);
    cr_assert_eq(weft_client_receive(client, first, &reply), -EINTR);
    weft_client_interrupt_on(client, -1);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &second), 0);
    cr_assert_eq(weft_client_receive(client, first, &reply), 0);
    weft_reply_destroy(&reply);
    close(pipes[0]);
    close(pipes[1]);
    fake_finish(&fake, client);
}

Test(client, open_says_what_is_wrong_with_a_path)
{
    char path[256];
    struct weft_client *client = NULL;
    memset(path, 'a', sizeof path);
    path[sizeof path - 1] = '\0';
    cr_assert_eq(weft_client_open(path, &client), -ENAMETOOLONG);
    cr_assert_eq(weft_client_open("/nowhere/sock", &client), -ENOENT);
    cr_assert_null(client);
    struct fake fake = {.serve = serve_raw};
    fake_start(&fake);
    shutdown(fake.listener, SHUT_RDWR);
    pthread_join(fake.thread, NULL);
    close(fake.listener); /* the socket file stays: stale */
    cr_assert_eq(weft_client_open(fake.path, &client), -ECONNREFUSED);
    unlink(fake.path);
    rmdir(fake.folder);
    fake_free(&fake);
}

Test(client, params_that_are_not_utf8_are_refused_before_sending)
{
    struct fake fake = {.serve = serve_backwards, .count = 1};
    struct weft_client *client = fake_open(&fake);
    json_t *params = json_pack("{s:o}", "a", json_string_nocheck("\xff"));
    int64_t id = 77;
    cr_assert_eq(weft_client_send(client, "ping", params, &id), -EINVAL);
    cr_assert_eq(id, 77);
    json_decref(params);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &id), 0, "the connection is still good");
    struct weft_reply reply;
    cr_assert_eq(weft_client_receive(client, id, &reply), 0);
    weft_reply_destroy(&reply);
    fake_finish(&fake, client);
}
