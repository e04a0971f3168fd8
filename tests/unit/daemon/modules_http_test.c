/* SPDX-License-Identifier: MIT */
/* http.fetch, called as jobs call it, against a server of this program's own. */
#include "run_support.h"

#include "daemon/native.h"
#include "support/http_server.h"

#include <dirent.h>
#include <sys/stat.h>

static struct http_server server;
static struct run_progress last_said;

static void keep_said(void *arg, const struct run_progress *said)
{
    (void)arg;
    last_said = *said;
}

struct call {
    struct world *world;
    json_t *args; /* taken */
    struct weft_scope scope;
    struct weft_event begun;
    int rc;
    struct run_outcome outcome;
};

static int run_call(void *arg)
{
    struct call *call = arg;
    struct job_spec spec = {.call = "http.fetch", .args = call->args};
    struct run_request request = {.spec = &spec, .id = 3, .attempt = 2, .report = keep_said};
    EXPECT(call->args != NULL);
    run_outcome_init(&call->outcome);
    weft_scope_enter(&call->scope, WEFT_NO_DEADLINE);
    weft_event_set(&call->begun);
    call->rc = run_native(call->world->runner, &request, &call->outcome);
    weft_scope_leave(&call->scope);
    EXPECT((call->rc == 0) == (call->outcome.result != NULL));
    json_decref(call->args);
    return 0;
}

static json_t *args_for(const char *path)
{
    return json_pack("{s:s}", "url", http_url(&server, path));
}

static json_t *with_text(json_t *args, const char *name, const char *text)
{
    json_object_set_new(args, name, json_string(text));
    return args;
}

/* The result, which is the caller's. */
static json_t *fetch(struct world *world, json_t *args)
{
    struct call call = {.world = world, .args = args};
    run_call(&call);
    if (call.outcome.error)
        fprintf(stderr, "%s\n", call.outcome.error);
    EXPECT_EQ(call.rc, 0);
    json_t *result = json_loads(call.outcome.result, 0, NULL);
    run_outcome_destroy(&call.outcome);
    return result;
}

static void expect_failure(struct world *world, json_t *args, int rc, bool refused, const char *why)
{
    struct call call = {.world = world, .args = args};
    run_call(&call);
    if (call.rc != rc || !call.outcome.error || !strstr(call.outcome.error, why))
        fprintf(stderr, "%d: %s\n", call.rc, call.outcome.error);
    EXPECT_EQ(call.rc, rc);
    EXPECT(strstr(call.outcome.error, why) != NULL);
    EXPECT_EQ(call.outcome.refused, refused);
    run_outcome_destroy(&call.outcome);
}

static const char *text_of(const json_t *result, const char *name)
{
    return json_string_value(json_object_get(result, name));
}

static json_int_t number_of(const json_t *result, const char *name)
{
    return json_integer_value(json_object_get(result, name));
}

static int (*body_of_test)(struct world *world);

static int beside_server(struct world *world)
{
    http_server_start(&server);
    body_of_test(world);
    http_server_stop(&server);
    return 0;
}

static void with_server(int (*body)(struct world *world))
{
    body_of_test = body;
    in_world(2, "", beside_server);
}

/* ---- into the result ------------------------------------------------------------------------- */

static int ask(struct world *world)
{
    json_t *result = fetch(world, args_for("/echo?a=1"));
    EXPECT_EQ(number_of(result, "status"), 200);
    EXPECT(strncmp(text_of(result, "body"), "GET /echo?a=1\n", 14) == 0);
    EXPECT(strcmp(text_of(result, "encoding"), "utf-8") == 0);
    EXPECT(text_of(json_object_get(result, "headers"), "content-length") != NULL);
    json_decref(result);

    json_t *args = with_text(with_text(args_for("/echo"), "body", "a body"), "method", "PUT");
    json_object_set_new(args, "headers", json_pack("{s:s}", "X-Of-Ours", "17"));
    result = fetch(world, args);
    EXPECT(strncmp(text_of(result, "body"), "PUT /echo\n", 10) == 0);
    EXPECT(strstr(text_of(result, "body"), "X-Of-Ours: 17") != NULL);
    EXPECT(strstr(text_of(result, "body"), "\na body") != NULL);
    json_decref(result);

    result = fetch(world, args_for("/hop/2"));
    EXPECT_EQ(number_of(result, "status"), 200);
    json_decref(result);
    result = fetch(world, args_for("/status/503"));
    EXPECT_EQ(number_of(result, "status"), 503);
    json_decref(result);
    return 0;
}

Test(http_fetch, answer_is_the_result)
{
    with_server(ask);
}

static int ask_for_headers(struct world *world)
{
    json_t *result = fetch(world, args_for("/set-cookies"));
    const char *cookies = text_of(json_object_get(result, "headers"), "set-cookie");
    EXPECT(cookies != NULL);
    EXPECT(strchr(cookies, '\n') != NULL);
    json_decref(result);
    result = fetch(world, args_for("/echo")); /* of another call: it has no cookies of that one */
    EXPECT(strstr(text_of(result, "body"), "Cookie") == NULL);
    json_decref(result);
    return 0;
}

Test(http_fetch, headers_of_a_name_are_joined_and_cookies_are_nobodys)
{
    with_server(ask_for_headers);
}

static int ask_for_much(struct world *world)
{
    json_t *result = fetch(world, args_for("/bytes/131072"));
    json_decref(result);
    expect_failure(world, args_for("/bytes/131073"), -EMSGSIZE, true, "over 131072 bytes");
    json_t *args = args_for("/bytes/11");
    json_object_set_new(args, "limit", json_integer(10));
    expect_failure(world, args, -EMSGSIZE, true, "over 10 bytes");
    args = args_for("/bytes/11");
    json_object_set_new(args, "limit", json_integer(200000));
    expect_failure(world, args, -EINVAL, true, "at most 131072");
    return 0;
}

Test(http_fetch, result_is_bounded)
{
    with_server(ask_for_much);
}

/* ---- into a file ----------------------------------------------------------------------------- */

static json_t *into(struct world *world, const char *path, const char *name)
{
    return with_text(args_for(path), "to", in_folder(world, name));
}

static void expect_file(struct world *world, const char *name, off_t size)
{
    struct stat status;
    EXPECT_EQ(stat(in_folder(world, name), &status), 0);
    EXPECT_EQ(status.st_size, size);
}

static size_t count_hidden(struct world *world)
{
    DIR *folder = opendir(world->folder);
    struct dirent *entry;
    size_t count = 0;
    while ((entry = readdir(folder)))
        count += strstr(entry->d_name, "weft-fetch") != NULL;
    closedir(folder);
    return count;
}

static int save(struct world *world)
{
    json_t *result = fetch(world, into(world, "/bytes/1000000", "there"));
    EXPECT_EQ(number_of(result, "size"), 1000000);
    EXPECT(strcmp(text_of(result, "path"), in_folder(world, "there")) == 0);
    EXPECT(json_object_get(result, "body") == NULL);
    json_decref(result);
    expect_file(world, "there", 1000000);
    EXPECT_EQ(last_said.fraction, 1);
    EXPECT(strcmp(last_said.text, "1000000 of 1000000 bytes") == 0);

    json_t *args = into(world, "/chunked/5000", "there");
    json_object_set_new(args, "limit", json_string("4K"));
    expect_failure(world, args, -EMSGSIZE, true, "over 4096 bytes");
    expect_failure(world, into(world, "/half", "there"), -ECONNRESET, false, "cannot fetch");
    args = into(world, "/status/404", "there");
    json_object_set_new(args, "check", json_true());
    expect_failure(world, args, -EREMOTEIO, true, "status 404");
    args = into(world, "/status/503", "there");
    json_object_set_new(args, "check", json_true());
    expect_failure(world, args, -EREMOTEIO, false, "status 503");
    expect_failure(world, into(world, "/bytes/5", "none/x"), -ENOENT, false, "none/x");
    expect_file(world, "there", 1000000); /* what was there stays */
    EXPECT_EQ(count_hidden(world), 0);
    return 0;
}

Test(http_fetch, file_is_there_whole_or_not_at_all)
{
    with_server(save);
}

/* ---- what is wrong --------------------------------------------------------------------------- */

static int ask_wrongly(struct world *world)
{
    expect_failure(world, json_pack("{s:s}", "url", "file:///etc/passwd"), -EINVAL, true,
                   "cannot be fetched");
    expect_failure(world, json_pack("{s:s}", "url", "ftp://127.0.0.1/"), -EINVAL, true,
                   "cannot be fetched");
    expect_failure(world, args_for("/redirect/302?file:///etc/passwd"), -EPROTONOSUPPORT, true,
                   "cannot fetch");
    expect_failure(world, args_for("/loop"), -ELOOP, true, "cannot fetch");
    expect_failure(world, args_for("/close"), -ECONNRESET, false, "cannot fetch");
    expect_failure(world, with_text(args_for("/never"), "timeout", "20ms"), -ETIMEDOUT, false,
                   "timed out");
    expect_failure(world, with_text(args_for("/stall/10"), "timeout", "50ms"), -ETIMEDOUT, false,
                   "timed out");
    return 0;
}

Test(http_fetch, failure_says_why_and_whether_another_attempt_may_help)
{
    with_server(ask_wrongly);
}

static void cancel_in(struct world *world, json_t *args)
{
    struct call call = {.world = world, .args = args};
    struct weft_group group;
    int requests = atomic_load(&server.requests), gone = atomic_load(&server.gone);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "call", run_call, &call), 0);
    await_arrivals(&server.requests, requests + 1);
    weft_scope_cancel(&call.scope);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.rc, -ECANCELED);
    await_arrivals(&server.gone, gone + 1); /* the server sees it */
    run_outcome_destroy(&call.outcome);
}

static int cancel(struct world *world)
{
    cancel_in(world, args_for("/never"));
    cancel_in(world, args_for("/stall/100"));
    cancel_in(world, into(world, "/stall/100000", "there"));
    EXPECT(access(in_folder(world, "there"), F_OK) < 0);
    EXPECT_EQ(count_hidden(world), 0);
    return 0;
}

Test(http_fetch, cancel_aborts_the_transfer)
{
    with_server(cancel);
}
