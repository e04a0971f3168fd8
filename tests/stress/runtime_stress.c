/* SPDX-License-Identifier: MIT */
/* Runtimes start and stop all the time, while plain threads wake their fibers, spawn into them and
 * stop them: what a thread woke may end the runtime before the thread's call has returned.  Two
 * runtimes exchange items; either may end first. */
#include <pthread.h>

#include "support/stress.h"

enum { LIVES = 40 / STRESS_SLOW + 1, SPAWNERS = 3, ITEMS = 2000 / STRESS_SLOW };

static struct weft_runtime *runtime_of(unsigned workers)
{
    struct weft_options options;
    struct weft_runtime *runtime;

    weft_options_init(&options);
    options.workers = workers;
    EXPECT_EQ(weft_runtime_new(&options, &runtime), 0);
    return runtime;
}

/* --- the last wake-up of a runtime comes from a plain thread */

struct last_wake {
    struct weft_event event;
    atomic_bool asleep;
};

static int wait_for_last_wake(void *arg)
{
    struct last_wake *last = arg;

    atomic_store(&last->asleep, true);
    EXPECT_EQ(weft_event_wait(&last->event, WEFT_NO_DEADLINE), 0);
    return 0;
}

static void *wake_last(void *arg)
{
    struct last_wake *last = arg;

    while (!atomic_load(&last->asleep))
        sched_yield();
    weft_event_set(&last->event);
    return NULL;
}

static void end_by_a_foreign_wake(unsigned workers)
{
    struct last_wake last = {0};
    pthread_t waker;

    EXPECT_EQ(pthread_create(&waker, NULL, wake_last, &last), 0);
    on_fibers(workers, wait_for_last_wake, &last);
    pthread_join(waker, NULL);
}

/* --- plain threads spawn while the runtime stops */

struct spawning {
    struct weft_runtime *runtime;
    atomic_uint started, ended;
    atomic_bool refused;
};

static int tell_end(void *arg)
{
    struct spawning *spawning = arg;

    if (weft_yield() == 0)
        weft_sleep(10 * WEFT_MICROSECOND);
    atomic_fetch_add(&spawning->ended, 1);
    return 0;
}

static void *spawn_until_refused(void *arg)
{
    struct spawning *spawning = arg;
    int r;

    while ((r = weft_runtime_spawn(spawning->runtime, "foreign", tell_end, spawning)) == 0)
        atomic_fetch_add(&spawning->started, 1);
    EXPECT_EQ(r, -ESHUTDOWN);
    return NULL;
}

static void stop_under_spawners(unsigned workers, struct dice *dice)
{
    struct spawning spawning = {.runtime = runtime_of(workers)};
    pthread_t spawners[SPAWNERS];

    for (int i = 0; i < SPAWNERS; i++)
        EXPECT_EQ(pthread_create(&spawners[i], NULL, spawn_until_refused, &spawning), 0);
    unsigned enough = dice_roll(dice, 200);
    while (atomic_load(&spawning.started) < enough)
        sched_yield();
    weft_runtime_stop(spawning.runtime);
    for (int i = 0; i < SPAWNERS; i++)
        pthread_join(spawners[i], NULL);
    EXPECT_EQ(weft_runtime_free(spawning.runtime), 0);
    EXPECT_EQ(atomic_load(&spawning.ended), atomic_load(&spawning.started));
}

/* --- two runtimes exchange items; the sender's runtime ends at any time after its last item */

struct exchange {
    struct weft_channel *there, *back;
};

static int bounce(void *arg)
{
    struct exchange *exchange = arg;
    uint64_t item;

    while (weft_channel_recv(exchange->there, &item, WEFT_NO_DEADLINE) == 0)
        EXPECT_EQ(weft_channel_send(exchange->back, &item, WEFT_NO_DEADLINE), 0);
    weft_channel_close(exchange->back);
    return 0;
}

static int serve(void *arg)
{
    struct exchange *exchange = arg;

    for (uint64_t i = 0; i < ITEMS; i++)
        EXPECT_EQ(weft_channel_send(exchange->there, &i, WEFT_NO_DEADLINE), 0);
    weft_channel_close(exchange->there);
    return 0;
}

static int take_back(void *arg)
{
    struct exchange *exchange = arg;
    uint64_t item, sum = 0, count = 0;

    while (weft_channel_recv(exchange->back, &item, WEFT_NO_DEADLINE) == 0)
        sum += item, count++;
    EXPECT_EQ(count, ITEMS);
    EXPECT_EQ(sum, (uint64_t)ITEMS * (ITEMS - 1) / 2);
    return 0;
}

static int play_match(void *arg)
{
    struct weft_group group;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "take back", take_back, arg), 0);
    EXPECT_EQ(weft_group_spawn(&group, "serve", serve, arg), 0);
    return weft_group_join(&group);
}

static void *run_bouncer(void *arg)
{
    on_fibers(2, bounce, arg);
    return NULL;
}

static void exchange_between(unsigned workers, struct dice *dice)
{
    struct exchange exchange;
    pthread_t other;

    EXPECT_EQ(weft_channel_new(sizeof(uint64_t), dice_roll(dice, 8), &exchange.there), 0);
    EXPECT_EQ(weft_channel_new(sizeof(uint64_t), dice_roll(dice, 8), &exchange.back), 0);
    EXPECT_EQ(pthread_create(&other, NULL, run_bouncer, &exchange), 0);
    on_fibers(workers, play_match, &exchange);
    pthread_join(other, NULL);
    weft_channel_free(exchange.there);
    weft_channel_free(exchange.back);
}

static void play(unsigned workers, uint64_t seed)
{
    struct dice dice = dice_of(seed, workers);

    for (int i = 0; i < LIVES; i++)
        end_by_a_foreign_wake(workers);
    stop_under_spawners(workers, &dice);
    exchange_between(workers, &dice);
}

int main(int argc, char **argv)
{
    static const unsigned workers[] = {1, 2, 4, 8};
    uint64_t seed = stress_seed(argc, argv);

    for (size_t i = 0; i < sizeof(workers) / sizeof(*workers); i++) {
        uint64_t end_ns = weft_deadline_after(stress_budget_ns());

        do
            play(workers[i], seed++);
        while (weft_now_ns() < end_ns);
    }
    return 0;
}
