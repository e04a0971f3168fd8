/* SPDX-License-Identifier: MIT */
/* The methods of queues: what they ask of the engine, what they answer, and who may. */
#include "methods_support.h"

#define STATES(waiting, delayed, queued)                                                           \
    ((waiting) << JOB_WAITING | (delayed) << JOB_DELAYED | (queued) << JOB_QUEUED)

static void have_a_queue(void)
{
    world.queue_facts = (struct engine_queue){
        .configured = true,
        .running = 3,
        .given = QUEUE_PAUSED | QUEUE_RATE,
        .now = {.concurrency = 4, .paused = true, .rate = {10, UINT64_C(1000000000)}},
        .next_start_at = INT64_C(1500000000),
        .states = {[JOB_QUEUED] = 7, [JOB_RUNNING] = 2, [JOB_DELAYED] = 1},
    };
}

#define QUEUE(name)                                                                                \
    "{\"queues\":[{\"concurrency\":4,\"concurrency_user\":0,\"configured\":true,\"delayed\":1,"    \
    "\"drained\":false,\"frozen\":false,\"max_waiting\":0,"                                        \
    "\"name\":\"" name "\",\"next_start_at\":1.5,\"paused\":true,\"queued\":7,\"rate\":\"10/s\","  \
    "\"running\":2,\"set\":{\"paused\":true,\"rate\":\"10/s\"},\"slots_taken\":3,\"waiting\":0}]}"

static void answers(const char *method, const char *params, const char *expected)
{
    const char *result = ask(method, params);
    cr_assert_not_null(result, "%s: %s", method, error.message);
    cr_assert_str_eq(result, expected);
}

Test(methods_queue, the_list_says_what_is_in_force_and_what_was_set, .init = have_a_queue)
{
    peer.admin = false; /* everybody may look */
    answers("queue.list", NULL, QUEUE("listed"));
}

Test(methods_queue, a_pause_is_of_the_default_queue_the_named_one_or_all, .init = have_a_queue)
{
    answers("queue.pause", NULL, QUEUE("default"));
    answers("queue.pause", "{\"queue\":\"q\"}", QUEUE("q"));
    cr_assert_eq(world.change.given, QUEUE_PAUSED);
    cr_assert(world.change.values.paused);
    answers("queue.drain", "{\"queue\":\"q\"}", QUEUE("q"));
    cr_assert_eq(world.change.given, QUEUE_DRAINED);
    cr_assert(world.change.values.drained);
    answers("queue.resume", "{\"all\":true}", QUEUE("all"));
    cr_assert_eq(world.change.given, QUEUE_PAUSED | QUEUE_DRAINED);
    cr_assert_not(world.change.values.paused || world.change.values.drained);
    refused("queue.pause", "{\"all\":true,\"queue\":\"q\"}", RPC_INVALID_PARAMS, "not both");
    refused("queue.pause", "{\"name\":\"q\"}", RPC_INVALID_PARAMS, "name");
}

Test(methods_queue, a_pause_may_freeze, .init = have_a_queue)
{
    world.queue_facts.frozen_jobs = 2;
    world.queue_facts.not_frozen_jobs = 1;
    const char *result = ask("queue.pause", "{\"queue\":\"q\",\"freeze\":true}");
    cr_assert(strstr(result, "\"frozen\":true,\"frozen_jobs\":2,"), "%s", result);
    cr_assert(strstr(result, "\"not_frozen_jobs\":1,"), "%s", result);
    cr_assert(world.change.values.paused);
    answers("queue.pause", "{\"all\":true,\"freeze\":false}", QUEUE("all"));
    refused("queue.pause", "{\"freeze\":1}", RPC_INVALID_PARAMS, "freeze");
    refused("queue.resume", "{\"freeze\":true}", RPC_INVALID_PARAMS, "freeze");
}

Test(methods_queue, set_takes_what_is_named, .init = have_a_queue)
{
    answers("queue.set", "{\"queue\":\"q\",\"concurrency\":9,\"rate\":null}", QUEUE("q"));
    cr_assert_eq(world.change.given, QUEUE_CONCURRENCY);
    cr_assert_eq(world.change.reset, QUEUE_RATE);
    cr_assert_eq(world.change.values.concurrency, 9);
    refused("queue.set", "{\"queue\":\"q\"}", RPC_INVALID_PARAMS, "nothing to set");
    refused("queue.set", NULL, RPC_INVALID_PARAMS, "queue");
    refused("queue.set", "{\"queue\":\"q\",\"rate\":\"x\"}", RPC_INVALID_PARAMS, "rate");
}

Test(methods_queue, purge_says_how_many, .init = have_a_queue)
{
    answers("queue.purge", "{\"queue\":\"q\"}", "{\"cancelled\":12,\"queue\":\"q\"}");
    cr_assert_eq(world.purged, STATES(1, 1, 1));
    answers("queue.purge", "{\"queue\":\"q\",\"state\":\"delayed\"}",
            "{\"cancelled\":12,\"queue\":\"q\"}");
    cr_assert_eq(world.purged, STATES(0, 1, 0));
    answers("queue.purge", "{\"queue\":\"q\",\"state\":[\"queued\",\"waiting\"]}",
            "{\"cancelled\":12,\"queue\":\"q\"}");
    cr_assert_eq(world.purged, STATES(1, 0, 1));
    refused("queue.purge", NULL, RPC_INVALID_PARAMS, "queue");
    refused("queue.purge", "{\"queue\":\"q\",\"state\":\"running\"}", RPC_INVALID_PARAMS, "state");
    refused("queue.purge", "{\"queue\":\"q\",\"state\":[]}", RPC_INVALID_PARAMS, "state");
}

Test(methods_queue, only_admins_change_anything)
{
    peer.admin = false;
    refused("queue.pause", NULL, RPC_PERMISSION_DENIED, "may change queues");
    refused("queue.resume", NULL, RPC_PERMISSION_DENIED, "may change queues");
    refused("queue.set", "{\"queue\":\"q\",\"rate\":\"1/s\"}", RPC_PERMISSION_DENIED, "may");
    refused("queue.purge", "{\"queue\":\"q\"}", RPC_PERMISSION_DENIED, "may change queues");
}

Test(methods_queue, what_the_engine_refuses_is_passed_on)
{
    world.err = -EINVAL;
    world.message = "there is no queue \"q\"";
    refused("queue.pause", "{\"queue\":\"q\"}", RPC_NO_SUCH_QUEUE, "there is no queue");
    refused("queue.set", "{\"queue\":\"q\",\"rate\":\"1/s\"}", RPC_NO_SUCH_QUEUE, "no queue");
    refused("queue.purge", "{\"queue\":\"q\"}", RPC_NO_SUCH_QUEUE, "no queue");
}
