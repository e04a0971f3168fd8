/* SPDX-License-Identifier: MIT */
/* queue_settings: the wire's form and the store's. */
#include "daemon/queue_settings.h"

#include "support/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int read_change(const char *text, struct queue_change *ret_change, struct rpc_error *error)
{
    const char *name;
    json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    int rc = queue_change_from_json(json, &name, ret_change, error);
    if (rc == 0)
        cr_assert_str_eq(name, "q");
    json_decref(json);
    return rc;
}

static struct queue_change change_of(const char *text)
{
    struct queue_change change;
    struct rpc_error error;
    cr_assert_eq(read_change(text, &change, &error), 0, "%s: %s", text, error.message);
    return change;
}

static void refused(const char *text, const char *param)
{
    struct queue_change change;
    struct rpc_error error;
    cr_assert_eq(read_change(text, &change, &error), -EINVAL, "%s", text);
    cr_assert_eq(error.code, RPC_INVALID_PARAMS);
    cr_assert_str_eq(error.param, param, "%s", error.message);
}

Test(queue_settings, what_is_named_is_given_and_null_gives_back)
{
    struct queue_change change =
        change_of("{\"queue\":\"q\",\"concurrency\":3,\"rate\":\"10/s\",\"paused\":null}");
    cr_assert_eq(change.given, QUEUE_CONCURRENCY | QUEUE_RATE);
    cr_assert_eq(change.reset, QUEUE_PAUSED);
    cr_assert_eq(change.values.concurrency, 3);
    cr_assert_eq(change.values.rate.count, 10);
    change = change_of("{\"queue\":\"q\"}");
    cr_assert_eq(change.given | change.reset, 0);
}

Test(queue_settings, what_is_wrong_is_named)
{
    refused("{\"concurrency\":3}", "queue");
    refused("{\"queue\":\"q\",\"concurrency\":-1}", "concurrency");
    refused("{\"queue\":\"q\",\"concurrency\":1000001}", "concurrency");
    refused("{\"queue\":\"q\",\"concurency\":1}", "concurency");
    refused("{\"queue\":\"q\",\"rate\":\"often\"}", "rate");
    refused("{\"queue\":\"q\",\"rate\":\"0/s\"}", "rate");
    refused("{\"queue\":\"q\",\"max_waiting\":\"many\"}", "max_waiting");
    refused("{\"queue\":\"q\",\"paused\":1}", "paused");
}

Test(queue_settings, changes_add_up)
{
    struct queue_change live = {0};
    struct queue_change one = change_of("{\"queue\":\"q\",\"concurrency\":3,\"paused\":true}");
    queue_change_put(&live, &one);
    struct queue_change two = change_of("{\"queue\":\"q\",\"concurrency\":null,\"max_waiting\":5}");
    queue_change_put(&live, &two);
    cr_assert_eq(live.given, QUEUE_PAUSED | QUEUE_MAX_WAITING);
    cr_assert_eq(live.reset, 0);
    cr_assert(live.values.paused);
    cr_assert_eq(live.values.max_waiting, 5);
}

Test(queue_settings, the_stored_form_says_what_is_set_and_no_more)
{
    char *text, name[QUEUE_NAME_MAX + 1];
    struct queue_change back;
    struct queue_change live = change_of("{\"queue\":\"q\",\"concurrency\":0,\"paused\":false,"
                                         "\"rate\":\"none\",\"max_waiting\":4294967296}");
    cr_assert_eq(queue_change_to_text("q", &live, &text), 0);
    cr_assert_str_eq(text, "{\"queue\":\"q\",\"concurrency\":0,\"paused\":false,"
                           "\"rate\":\"none\",\"max_waiting\":4294967296}");
    cr_assert_eq(queue_change_from_text(text, name, &back), 0);
    cr_assert_str_eq(name, "q");
    cr_assert_eq(back.given, live.given);
    cr_assert_eq(back.values.max_waiting, UINT64_C(4294967296));
    free(text);
    live.given = QUEUE_PAUSED;
    cr_assert_eq(queue_change_to_text("q", &live, &text), 0);
    cr_assert_str_eq(text, "{\"queue\":\"q\",\"paused\":false}");
    free(text);
}

Test(queue_settings, a_stored_form_that_is_none_is_refused)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{}",
                                      "{\"queue\":\"q\",\"rate\":\"x\"}",
                                      "{\"queue\":\"\",\"paused\":true}",
                                      "{\"queue\":\"a234567890123456789012345678901234567890x\"}"};
    char name[QUEUE_NAME_MAX + 1];
    struct queue_change live;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(queue_change_from_text(bad[i], name, &live), -EBADMSG, "%s", bad[i]);
}
