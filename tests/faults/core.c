/* SPDX-License-Identifier: MIT */
/* Scenarios of fibers and what they share. */
#include <string.h>
#include <time.h>

#include "scenario.h"
#include "weft/weft.h"

/* ---- fibers ---------------------------------------------------------------------------------- */

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

static int count_up(void *arg)
{
    int r = weft_yield();
    atomic_fetch_add((atomic_int *)arg, 1);
    return r;
}

static int groups(void *unused)
{
    atomic_int count = 0;
    WEFT_CLEANUP(group) struct weft_group *group = &(struct weft_group){0};
    (void)unused;
    weft_group_init(group);
    for (int i = 0; i < 40; i++)
        TRY(weft_group_spawn(group, "counter", count_up, &count));
    int r = weft_group_join(group);
    group = NULL;
    EXPECT(r < 0 || count == 40);
    return r;
}

static int sleep_some(void *arg)
{
    return weft_sleep((uint64_t)(uintptr_t)arg * WEFT_MICROSECOND);
}

static int tasks(void *unused)
{
    WEFT_CLEANUP(task) struct weft_task *one = NULL, *two = NULL, *long_one = NULL;
    int result;
    (void)unused;
    TRY(weft_task_new("one", sleep_some, (void *)10, &one));
    TRY(weft_task_new("two", sleep_some, (void *)20, &two));
    TRY(weft_task_new("long", sleep_some, (void *)100000000, &long_one));
    TRY(weft_tasks_wait((struct weft_task *[]){one, two}, 2, WEFT_WAIT_ALL, in_time()));
    weft_task_cancel(long_one);
    TRY(weft_task_join(long_one, in_time(), &result));
    EXPECT_EQ(result, -ECANCELED);
    TRY(weft_task_join(one, in_time(), &result));
    return result;
}

static int calls(void *unused)
{
    struct weft_call calls[3] = {{.fn = sleep_some, .arg = (void *)30},
                                 {.fn = nothing},
                                 {.fn = sleep_some, .arg = (void *)10}};
    struct weft_completions completions;
    struct weft_call *call;
    int result;
    (void)unused;
    TRY(weft_gather(calls, 3));
    TRY(weft_timeout(in_time(), nothing, NULL, &result));
    TRY(weft_completions_init(&completions, calls, 3));
    int r = 0;
    for (int i = 0; r >= 0 && i < 3; i++)
        r = weft_completions_next(&completions, in_time(), &call);
    weft_completions_destroy(&completions);
    return r < 0 ? r : 0;
}

static int sleepers(void *unused)
{
    WEFT_CLEANUP(group) struct weft_group *group = &(struct weft_group){0};
    (void)unused;
    weft_group_init(group);
    for (uintptr_t i = 0; i < 100; i++)
        TRY(weft_group_spawn(group, NULL, sleep_some, (void *)(i * 7)));
    int r = weft_group_join(group);
    group = NULL;
    return r;
}

static struct weft_local word = WEFT_LOCAL(NULL);

static int read_word(void *arg)
{
    EXPECT(weft_local_get(&word) == arg);
    return 0;
}

static int locals(void *unused)
{
    int value, result = 0;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    (void)unused;
    TRY(weft_local_set(&word, &value));
    TRY(weft_task_new("heir", read_word, &value, &task));
    TRY(weft_task_join(task, in_time(), &result));
    return result;
}

/* ---- what they share ------------------------------------------------------------------------- */

static int send_ten(void *arg)
{
    for (int i = 0; i < 10; i++)
        TRY(weft_channel_send(arg, &i, in_time()));
    weft_channel_close(arg);
    return 0;
}

static int channels(void *unused)
{
    WEFT_CLEANUP(channel) struct weft_channel *channel = NULL, *other = NULL;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    int item, sum = 0, result, r;
    (void)unused;
    TRY(weft_channel_new(sizeof(int), 2, &channel));
    TRY(weft_channel_new(sizeof(int), 0, &other));
    TRY(weft_task_new("sender", send_ten, channel, &task));
    struct weft_select_case cases[] = {weft_case_recv(channel, &item),
                                       weft_case_recv(other, &item)};
    while ((r = weft_select(cases, 2, in_time())) == 0 && cases[0].result == 0)
        sum += item;
    weft_channel_close(channel);
    TRY(r);
    TRY(weft_task_join(task, in_time(), &result));
    EXPECT(result < 0 || sum == 45);
    return result;
}

static int queues(void *unused)
{
    static const enum weft_queue_order orders[] = {WEFT_QUEUE_FIFO, WEFT_QUEUE_LIFO,
                                                   WEFT_QUEUE_PRIORITY};
    (void)unused;
    for (int o = 0; o < 3; o++) {
        WEFT_CLEANUP(queue) struct weft_queue *queue = NULL;
        TRY(weft_queue_new(sizeof(int64_t), 0, orders[o], &queue));
        int64_t sum = 0, put = 0;
        int r = 0;
        for (int64_t i = 0; i < 300; i++) {
            int one = weft_queue_put(queue, &i, in_time());
            r = one < 0 ? one : r;
            put += one < 0 ? 0 : i;
        }
        while (weft_queue_length(queue) > 0) {
            int64_t item;
            TRY(weft_queue_get(queue, &item, in_time()));
            weft_queue_task_done(queue);
            sum += item;
        }
        EXPECT_EQ(sum, put); /* whatever failed: it is in there, or not */
        weft_queue_shutdown(queue, true);
        TRY(r);
    }
    return 0;
}

static void callback(struct weft_future *future, void *arg)
{
    (void)future;
    ++*(int *)arg;
}

static int fulfil(void *arg)
{
    return weft_future_set_result(arg, arg);
}

static int futures(void *unused)
{
    WEFT_CLEANUP(future) struct weft_future *future = NULL;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    int called = 0;
    void *result;
    (void)unused;
    TRY(weft_future_new(&future));
    TRY(weft_future_add_done_callback(future, callback, &called));
    TRY(weft_task_new("fulfiller", fulfil, future, &task));
    /* Who waits may go on before the callbacks are called. */
    TRY(weft_future_wait(future, in_time(), &result));
    TRY(weft_task_join(task, in_time(), NULL));
    EXPECT(result == future && called == 1);
    return 0;
}

static int produce(struct weft_generator *generator, void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++)
        TRY(weft_generator_yield(generator, &i));
    return 0;
}

static int generators(void *unused)
{
    WEFT_CLEANUP(generator) struct weft_generator *generator = NULL, *early = NULL;
    int item, r, sum = 0;
    (void)unused;
    TRY(weft_generator_new("five", produce, NULL, sizeof(int), &generator));
    TRY(weft_generator_new("early", produce, NULL, sizeof(int), &early));
    TRY(weft_generator_next(early, &item, in_time()));
    while ((r = weft_generator_next(generator, &item, in_time())) > 0)
        sum += item;
    EXPECT(r < 0 || sum == 10);
    return r;
}

static int broadcasts(void *unused)
{
    WEFT_CLEANUP(broadcast) struct weft_broadcast *broadcast = NULL;
    WEFT_CLEANUP(watch) struct weft_watch *watch = NULL;
    struct weft_broadcast_receiver receiver;
    uint64_t version = 0;
    int item = 7, got = 0;
    (void)unused;
    TRY(weft_broadcast_new(sizeof(int), 4, &broadcast));
    TRY(weft_watch_new(sizeof(int), &item, &watch));
    weft_broadcast_subscribe(broadcast, &receiver);
    int r = weft_broadcast_send(broadcast, &item);
    if (r >= 0)
        r = weft_broadcast_recv(&receiver, &got, in_time());
    weft_broadcast_unsubscribe(&receiver);
    TRY(r);
    EXPECT_EQ(got, 7);
    TRY(weft_watch_set(watch, &item));
    return weft_watch_changed(watch, &version, &got, in_time());
}

/* ---- threads --------------------------------------------------------------------------------- */

static int compute(void *arg)
{
    return (int)(uintptr_t)arg;
}

static int offloads(void *unused)
{
    struct weft_job jobs[4];
    int result = 0, submitted = 0, r = 0;
    (void)unused;
    TRY(weft_offload(compute, (void *)5, &result));
    EXPECT_EQ(result, 5);
    WEFT_CLEANUP(executor) struct weft_executor *executor = NULL;
    TRY(weft_executor_new(2, "swept", &executor));
    while (r == 0 && submitted < 4) {
        r = weft_executor_submit(executor, &jobs[submitted], compute, (void *)6);
        submitted += r == 0;
    }
    for (int i = 0; i < submitted; i++) {
        EXPECT_EQ(weft_job_wait(&jobs[i], in_time(), &result), 0);
        EXPECT_EQ(result, 6);
    }
    TRY(r);
    return weft_executor_post(executor, compute, NULL);
}

static int block(void *arg)
{
    struct timespec pause = {.tv_nsec = 15 * 1000 * 1000};
    nanosleep(&pause, NULL); /* a worker that is stuck */
    atomic_fetch_add((atomic_int *)arg, 1);
    return 0;
}

static int stuck(void *unused)
{
    atomic_int count = 0;
    WEFT_CLEANUP(group) struct weft_group *group = &(struct weft_group){0};
    (void)unused;
    weft_group_init(group);
    for (int i = 0; i < 3; i++)
        TRY(weft_group_spawn(group, "blocker", block, &count));
    int r = weft_group_join(group);
    group = NULL;
    return r;
}

/* ---- looking at it --------------------------------------------------------------------------- */

static int swallow(const char *text, size_t size, void *arg)
{
    (void)text;
    *(size_t *)arg += size;
    return 0;
}

static int look(void *unused)
{
    size_t size = 0;
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    (void)unused;
    TRY(weft_trace_start(weft_runtime_self(), 1000));
    TRY(weft_task_new("looked at", sleep_some, (void *)10, &task));
    TRY(weft_dump(weft_runtime_self(), WEFT_DUMP_BACKTRACE | WEFT_DUMP_TREE, swallow, &size));
    TRY(weft_task_join(task, in_time(), NULL));
    weft_trace_stop(weft_runtime_self());
    TRY(weft_trace_export(weft_runtime_self(), swallow, &size));
    EXPECT(size > 0);
    return 0;
}

static int on_signal(void *arg)
{
    atomic_store((atomic_int *)arg, 1);
    return 0;
}

static int signals(void *unused)
{
    static atomic_int seen;
    (void)unused;
    atomic_store(&seen, 0);
    TRY(weft_signal_handle(SIGUSR1, on_signal, &seen));
    kill(getpid(), SIGUSR1);
    int r = 0;
    for (uint64_t end = in_time(); r == 0 && !atomic_load(&seen) && weft_now_ns() < end;)
        r = weft_sleep(100 * WEFT_MICROSECOND);
    int undone = weft_signal_unhandle(SIGUSR1);
    TRY(r);
    TRY(undone);
    EXPECT(atomic_load(&seen));
    return 0;
}

const struct scenario core_scenarios[] = {
    {"nothing", nothing},       {"groups", groups},
    {"tasks", tasks},           {"calls", calls},
    {"sleepers", sleepers},     {"locals", locals},
    {"channels", channels},     {"queues", queues},
    {"futures", futures},       {"generators", generators},
    {"broadcasts", broadcasts}, {"offloads", offloads},
    {"stuck", stuck},           {"look", look},
    {"signals", signals},       {NULL},
};
