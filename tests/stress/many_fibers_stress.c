/* SPDX-License-Identifier: MIT */
/*
 * 100,000 fibers on one event, on one mutex, and on one channel: all wait at the same time, none is
 * forgotten, none is woken twice; also when all of them are cancelled at once.
 *
 * In release the full number; under the sanitizers, whose fibers are much heavier, fewer.
 */
#include "support/stress.h"

#if defined(__SANITIZE_THREAD__)
enum { FIBERS = 100 };
#elif defined(__SANITIZE_ADDRESS__) || !defined(NDEBUG)
enum { FIBERS = 5000 };
#else
enum { FIBERS = 100000 };
#endif

struct world {
    int fibers;
    struct weft_event event;
    struct weft_mutex mutex;
    struct weft_channel *channel;
    long inside; /* guarded by mutex */
    atomic_int arrivals;
    atomic_long done, cancelled, sum;
};

static void spawn_all(struct weft_group *group, struct world *world, int (*fn)(void *))
{
    atomic_store(&world->arrivals, 0);
    atomic_store(&world->done, 0);
    atomic_store(&world->cancelled, 0);
    atomic_store(&world->sum, 0);
    weft_group_init(group);
    for (int i = 0; i < world->fibers; i++)
        EXPECT_EQ(weft_group_spawn(group, "one of many", fn, world), 0);
    await_arrivals(&world->arrivals, world->fibers);
}

static void note(struct world *world, int r)
{
    EXPECT(r == 0 || r == -ECANCELED);
    atomic_fetch_add(r == 0 ? &world->done : &world->cancelled, 1);
}

static void expect_all(struct world *world, struct weft_group *group, bool cancelled)
{
    EXPECT_EQ(weft_group_join(group), cancelled ? -ECANCELED : 0);
    EXPECT_EQ(atomic_load(&world->done) + atomic_load(&world->cancelled), world->fibers);
    if (!cancelled)
        EXPECT_EQ(atomic_load(&world->done), world->fibers);
}

/* --- the event */

static int wait_for_event(void *arg)
{
    struct world *world = arg;

    arrive(&world->arrivals);
    note(world, weft_event_wait(&world->event, WEFT_NO_DEADLINE));
    return 0;
}

static void play_event(struct world *world, bool cancel)
{
    struct weft_group group;

    weft_event_clear(&world->event);
    spawn_all(&group, world, wait_for_event);
    EXPECT_EQ(atomic_load(&world->done), 0);
    if (cancel)
        weft_group_cancel(&group);
    else
        weft_event_set(&world->event);
    expect_all(world, &group, cancel);
}

/* --- the mutex */

static int lock_mutex(void *arg)
{
    struct world *world = arg;
    int r;

    arrive(&world->arrivals);
    r = weft_mutex_lock(&world->mutex);
    note(world, r);
    if (r == 0) {
        EXPECT_EQ(++world->inside, 1);
        world->inside--;
        weft_mutex_unlock(&world->mutex);
    }
    return 0;
}

static void play_mutex(struct world *world, bool cancel)
{
    struct weft_group group;

    EXPECT_EQ(weft_mutex_lock(&world->mutex), 0);
    spawn_all(&group, world, lock_mutex);
    EXPECT_EQ(atomic_load(&world->done), 0);
    if (cancel)
        weft_group_cancel(&group);
    weft_mutex_unlock(&world->mutex);
    expect_all(world, &group, cancel);
    EXPECT_EQ(weft_mutex_trylock(&world->mutex), 0);
    weft_mutex_unlock(&world->mutex);
}

/* --- the channel */

static int send_one(void *arg)
{
    struct world *world = arg;
    long number = atomic_fetch_add(&world->arrivals, 1);

    note(world, weft_channel_send(world->channel, &number, WEFT_NO_DEADLINE));
    return 0;
}

static int receive_one(void *arg)
{
    struct world *world = arg;
    long number = 0;
    int r;

    arrive(&world->arrivals);
    r = weft_channel_recv(world->channel, &number, WEFT_NO_DEADLINE);
    note(world, r);
    if (r == 0)
        atomic_fetch_add(&world->sum, number);
    return 0;
}

static long sum_of_all(const struct world *world)
{
    return (long)world->fibers * (world->fibers - 1) / 2;
}

static void play_senders(struct world *world, bool cancel)
{
    struct weft_group group;
    long number = 0, sum = 0, received = 0;

    spawn_all(&group, world, send_one);
    for (int i = 0; i < (cancel ? world->fibers / 2 : world->fibers); i++, received++) {
        EXPECT_EQ(weft_channel_recv(world->channel, &number, WEFT_NO_DEADLINE), 0);
        sum += number;
    }
    if (cancel)
        weft_group_cancel(&group);
    else
        EXPECT_EQ(sum, sum_of_all(world));
    expect_all(world, &group, cancel);
    while (weft_channel_try_recv(world->channel, &number) == 0)
        received++; /* what was in the channel's own room */
    EXPECT_EQ(atomic_load(&world->done), received);
}

static void play_receivers(struct world *world, bool cancel)
{
    struct weft_group group;
    long sent = cancel ? world->fibers / 2 : world->fibers;

    spawn_all(&group, world, receive_one);
    for (long i = 0; i < sent; i++)
        EXPECT_EQ(weft_channel_send(world->channel, &i, WEFT_NO_DEADLINE), 0);
    if (cancel)
        weft_group_cancel(&group);
    expect_all(world, &group, cancel);
    sent -= (long)weft_channel_length(world->channel);
    EXPECT_EQ(atomic_load(&world->done), sent);
    if (!cancel)
        EXPECT_EQ(atomic_load(&world->sum), sum_of_all(world));
}

static int play(void *arg)
{
    struct world *world = calloc(1, sizeof(*world));

    EXPECT(world);
    world->fibers = *(int *)arg;
    EXPECT_EQ(weft_channel_new(sizeof(long), 16, &world->channel), 0);
    for (int cancel = 0; cancel < 2; cancel++) {
        play_event(world, cancel);
        play_mutex(world, cancel);
        play_senders(world, cancel);
        play_receivers(world, cancel);
    }
    weft_channel_free(world->channel);
    free(world);
    return 0;
}

static void run(unsigned workers, int fibers)
{
    uint64_t start_ns = weft_now_ns();
    struct weft_options options;

    weft_options_init(&options);
    options.workers = workers;
    options.stack_size = 64 << 10;
    options.handle_signals = false;
    EXPECT_EQ(weft_run(&options, play, &fibers), 0);
    printf("%u workers, %d fibers: %" PRIu64 " ms\n", workers, fibers,
           (weft_now_ns() - start_ns) / WEFT_MILLISECOND);
}

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    for (unsigned workers = 1; workers <= 4; workers *= 4)
        run(workers, FIBERS / 20);
    run(2, FIBERS);
    return 0;
}
