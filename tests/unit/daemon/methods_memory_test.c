/* SPDX-License-Identifier: MIT */
/* What methods answer when memory is short: the whole, or an error.  In each run another allocation
 * of jansson, which makes the answers, fails. */
#include "methods_support.h"

#include <fcntl.h>

#include "support/json_failing.h"

/* The same members, whatever numbers they have. */
static bool has_same_members(const json_t *a, const json_t *b)
{
    const char *name;
    json_t *value;
    if (json_is_number(a) && json_is_number(b))
        return true;
    if (json_is_array(a) && json_array_size(a) == json_array_size(b)) {
        for (size_t i = 0; i < json_array_size(a); i++)
            if (!has_same_members(json_array_get(a, i), json_array_get(b, i)))
                return false;
        return true;
    }
    if (!json_is_object(a) || json_object_size(a) != json_object_size(b))
        return json_equal(a, b);
    json_object_foreach((json_t *)a, name, value)
    {
        if (!has_same_members(value, json_object_get(b, name)))
            return false;
    }
    return true;
}

static int begin(void *arg)
{
    (void)arg;
    return 0;
}

static struct request_pass passing = {.begin = begin};

/* NULL: it was refused, for want of memory alone, unless it has changed something: then no error may be
 * the reply. */
static json_t *ask_failing(const char *method, const char *params, size_t nth, bool *ret_failed)
{
    json_t *json = params ? json_loads(params, 0, NULL) : NULL, *result = NULL;
    struct request request = {.context = &context, .peer = &peer, .pass = &passing, .params = json};
    passing.fd = -1;
    world.changes = 0;
    json_failing = nth;
    int err = methods_call(&request, method, &result);
    *ret_failed = json_failing_end() && nth > 0;
    json_decref(json);
    EXPECT(!err || request.error.code == RPC_INTERNAL_ERROR);
    EXPECT_EQ(request.changed, world.changes > 0);
    return result;
}

static void expect_same(const char *method, const json_t *result, const json_t *whole, size_t nth)
{
    if (has_same_members(whole, result))
        return;
    fprintf(stderr, "%s: allocation %zu failed: %s\n", method, nth,
            json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY));
    abort();
}

static void sweep(const char *method, const char *params)
{
    bool has_failed = true;
    json_failing_init();
    json_t *whole = ask_failing(method, params, 0, &has_failed);
    EXPECT(whole != NULL);
    has_failed = true;
    for (size_t nth = 1; has_failed; nth++) {
        json_t *result = ask_failing(method, params, nth, &has_failed);
        if (result)
            expect_same(method, result, whole, nth);
        EXPECT(result || has_failed);
        json_decref(result);
    }
    json_decref(whole);
}

Test(methods_memory, a_piece_of_output_tells_of_its_gap, .init = ask_as_ourselves)
{
    world.output = "\xff"; /* base64 however little memory there is */
    world.output_size = 1;
    world.gap = 7;
    world.dropped = 9;
    sweep("job.logs", "{\"id\":5}");
}

/* Its descriptor is passed, or closed. */
Test(methods_memory, what_is_shared_has_its_place, .init = ask_as_ourselves)
{
    bool has_failed = true;
    json_failing_init();
    for (size_t nth = 0; nth <= 1 || has_failed; nth++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        world.shared = (struct engine_shared){
            .attempt = 3, .eof = true, .share = {.fd = fd, .begin = 20, .gap = 10, .dropped = 9}};
        json_t *result = ask_failing("job.output", "{\"id\":5}", nth, &has_failed);
        cr_assert(result ? json_object_size(result) == 6 : nth > 0, "allocation %zu failed", nth);
        cr_assert_eq(passing.fd, result ? fd : -1);
        cr_assert_eq(close(fd), result ? 0 : -1, "allocation %zu failed", nth);
        json_decref(result);
    }
}

Test(methods_memory, jobs_and_queues_are_whole, .init = ask_as_ourselves)
{
    sweep("job.get", "{\"id\":5}");
    sweep("job.list", "{\"name\":\"a*\",\"tag\":\"b\"}");
    sweep("job.wait", "{\"ids\":[5,6]}");
    sweep("queue.list", NULL);
}

Test(methods_memory, what_is_done_is_not_told_as_an_error, .init = ask_as_ourselves)
{
    sweep("job.submit", "{\"argv\":[\"true\"]}");
    sweep("job.submit_many", "{\"jobs\":[{\"argv\":[\"true\"]},{\"argv\":[\"true\"]}]}");
    sweep("job.cancel", "{\"ids\":[5,404]}");
    sweep("job.retry", "{\"ids\":[5,404]}");
    sweep("queue.set", "{\"queue\":\"a\",\"concurrency\":2}");
    sweep("queue.pause", "{\"queue\":\"a\",\"freeze\":true}");
    sweep("queue.drain", "{\"queue\":\"a\"}");
    sweep("queue.resume", "{\"all\":true}");
    sweep("queue.purge", "{\"queue\":\"a\"}");
    sweep("daemon.backup", "{\"name\":\"a.db\"}");
    sweep("daemon.drain", NULL);
    sweep("daemon.reload", NULL);
}

Test(methods_memory, hello_names_all_there_is, .init = ask_as_ourselves)
{
    sweep("hello", NULL);
}

static int stats_main(void *arg)
{
    (void)arg;
    context.runtime = weft_runtime_self();
    context.started_ns = weft_now_ns();
    sweep("daemon.stats", NULL);
    return 0;
}

Test(methods_memory, stats_have_every_part, .init = ask_as_ourselves)
{
    on_fibers(1, stats_main, NULL);
}
