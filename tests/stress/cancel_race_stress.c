/* SPDX-License-Identifier: MIT */
/*
 * A million cancels, each of which races with the completion of what it cancels.
 *
 * In each batch a number of fibers wait; then one fiber goes along them and completes what each
 * waits for, while another goes along them, the same way or the other, and cancels.  Whoever
 * waited says what it got, and the books must balance exactly: an item that was sent was either
 * received or is still there, a wait that was cancelled took nothing, and each ends once.
 *
 * The ways to be cancelled: weft_task_cancel, weft_group_cancel, the deadline of a scope.  What is
 * completed: an event that is set, an item that is received, an item that is sent.
 *
 * cancel_race_stress [SEED]; WEFT_STRESS multiplies the number of cancels.
 */
#include "support/stress.h"

#ifdef NDEBUG
enum { CANCELS = 1000000 };
#else
enum { CANCELS = 40000 / (STRESS_SLOW * STRESS_SLOW / 4 + 1) }; /* fibers cost most of all there */
#endif
enum { BATCH = 64 };

enum way { BY_TASK, BY_GROUP, BY_DEADLINE, WAYS };

enum what { EVENT, RECEIVE, SEND, WHATS };

struct waiter {
    struct batch *batch;
    int number;
    struct weft_event event, finished;
    struct weft_channel *channel; /* without capacity */
    struct weft_task *task;
    _Atomic(struct weft_group *) group; /* that may be cancelled, NULL, or CHAOS_GROUP_BUSY */
    uint64_t deadline_ns;
    int outcome;    /* what its wait returned */
    int received;   /* the item */
    bool completed; /* the completer's own: it has moved an item */
    atomic_int ended;
};

/* The group is being cancelled now: it must not be left meanwhile. */
#define CHAOS_GROUP_BUSY ((struct weft_group *)(uintptr_t)1)

struct batch {
    enum way way;
    enum what what;
    bool opposite; /* the two go different ways */
    atomic_int arrivals;
    struct waiter waiters[BATCH];
};

struct books {
    unsigned long completed, cancelled;
};

/* --- who waits */

static int wait_for_it(void *arg)
{
    struct waiter *waiter = arg;
    int item = waiter->number;

    arrive(&waiter->batch->arrivals);
    switch (waiter->batch->what) {
    case EVENT:
        waiter->outcome = weft_event_wait(&waiter->event, WEFT_NO_DEADLINE);
        break;
    case RECEIVE:
        waiter->outcome = weft_channel_recv(waiter->channel, &waiter->received, WEFT_NO_DEADLINE);
        break;
    default:
        waiter->outcome = weft_channel_send(waiter->channel, &item, WEFT_NO_DEADLINE);
    }
    EXPECT_EQ(atomic_fetch_add(&waiter->ended, 1), 0);
    weft_event_set(&waiter->finished);
    return 0;
}

/* Waits in a child of a group that others may cancel while it is published. */
static int wait_in_group(void *arg)
{
    struct waiter *waiter = arg;
    struct weft_group group, *expected = &group;

    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "child", wait_for_it, waiter), 0);
    atomic_store(&waiter->group, &group);
    int r = weft_event_wait(&waiter->finished, WEFT_NO_DEADLINE);
    EXPECT(r == 0 || r == -ECANCELED);
    if (!atomic_compare_exchange_strong(&waiter->group, &expected, NULL))
        while (atomic_load(&waiter->group) == CHAOS_GROUP_BUSY)
            sched_yield(); /* the canceller does not suspend */
    r = weft_group_join(&group);
    EXPECT(r == 0 || r == -ECANCELED);
    return 0;
}

static int wait_in_scope(void *arg)
{
    struct waiter *waiter = arg;
    struct weft_scope scope;

    weft_scope_enter(&scope, waiter->deadline_ns);
    wait_for_it(waiter);
    int r = weft_scope_leave(&scope);
    EXPECT(r == 0 || r == -ETIMEDOUT);
    if (waiter->outcome < 0)
        EXPECT_EQ(r, -ETIMEDOUT);
    return 0;
}

/* --- who completes, and who cancels */

static void complete(struct waiter *waiter)
{
    int item = -1, r;

    switch (waiter->batch->what) {
    case EVENT:
        weft_event_set(&waiter->event);
        return;
    case RECEIVE:
        r = weft_channel_try_send(waiter->channel, &waiter->number);
        break;
    default:
        r = weft_channel_try_recv(waiter->channel, &item);
        EXPECT_EQ(item, r == 0 ? waiter->number : -1);
    }
    EXPECT(r == 0 || r == -EAGAIN); /* nobody waits (any more): nothing was moved */
    waiter->completed = r == 0;
}

static int complete_all(void *arg)
{
    struct batch *batch = arg;

    for (int i = 0; i < BATCH; i++)
        complete(&batch->waiters[i]);
    return 0;
}

static void cancel_group_of(struct waiter *waiter)
{
    struct weft_group *group = atomic_load(&waiter->group);

    if (!group || !atomic_compare_exchange_strong(&waiter->group, &group, CHAOS_GROUP_BUSY))
        return;
    weft_group_cancel(group);
    atomic_store(&waiter->group, NULL);
}

static int cancel_all(void *arg)
{
    struct batch *batch = arg;

    for (int i = 0; i < BATCH; i++) {
        struct waiter *waiter = &batch->waiters[batch->opposite ? BATCH - 1 - i : i];

        if (batch->way == BY_TASK)
            weft_task_cancel(waiter->task);
        else if (batch->way == BY_GROUP)
            cancel_group_of(waiter);
    }
    return 0;
}

/* --- a batch */

static int (*const wait_ways[WAYS])(void *) = {wait_for_it, wait_in_group, wait_in_scope};

static void start_waiters(struct batch *batch, struct weft_group *group, struct dice *dice)
{
    uint64_t now_ns = weft_now_ns();

    for (int i = 0; i < BATCH; i++) {
        struct waiter *waiter = &batch->waiters[i];
        int (*fn)(void *) = wait_ways[batch->way];

        waiter->batch = batch;
        waiter->number = i;
        waiter->outcome = waiter->received = -1000;
        waiter->completed = false;
        atomic_store(&waiter->ended, 0);
        atomic_store(&waiter->group, NULL);
        weft_event_init(&waiter->event);
        weft_event_init(&waiter->finished);
        waiter->deadline_ns = now_ns + dice_roll(dice, 100) * WEFT_MICROSECOND;
        if (batch->way == BY_TASK)
            EXPECT_EQ(weft_task_new("waiter", fn, waiter, &waiter->task), 0);
        else
            EXPECT_EQ(weft_group_spawn(group, "waiter", fn, waiter), 0);
    }
}

/* What the waiter says must be what its completer says. */
static void balance(struct waiter *waiter, struct books *books)
{
    bool completed = waiter->outcome == 0;

    EXPECT_EQ(atomic_load(&waiter->ended), 1);
    EXPECT(completed || stress_ended(waiter->outcome));
    if (waiter->batch->what != EVENT)
        EXPECT_EQ(completed, waiter->completed);
    if (waiter->batch->what == RECEIVE)
        EXPECT_EQ(waiter->received, completed ? waiter->number : -1000);
    if (completed)
        books->completed++;
    else
        books->cancelled++;
}

static void run_batch(struct batch *batch, struct dice *dice, struct books *books)
{
    struct weft_group group, racers;

    weft_group_init(&group);
    start_waiters(batch, &group, dice);
    weft_group_init(&racers);
    /* Who comes first is the scheduler's choice, and with one worker the order of these. */
    bool complete_first = dice_roll(dice, 2);
    EXPECT_EQ(weft_group_spawn(&racers, "first", complete_first ? complete_all : cancel_all, batch),
              0);
    EXPECT_EQ(
        weft_group_spawn(&racers, "second", complete_first ? cancel_all : complete_all, batch), 0);
    EXPECT_EQ(weft_group_join(&racers), 0);
    /* What was completed before its waiter waited, and not cancelled, has to be ended, too. */
    for (int i = 0; i < BATCH; i++)
        while (batch->what != EVENT && atomic_load(&batch->waiters[i].ended) == 0 &&
               !batch->waiters[i].completed) {
            complete(&batch->waiters[i]);
            weft_yield();
        }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < BATCH; i++) {
        if (batch->way == BY_TASK) {
            EXPECT_EQ(weft_task_join(batch->waiters[i].task, WEFT_NO_DEADLINE, NULL), 0);
            weft_task_free(batch->waiters[i].task);
        }
        balance(&batch->waiters[i], books);
    }
}

static unsigned long cancels_wanted(void)
{
    const char *factor = getenv("WEFT_STRESS");
    unsigned long times = factor ? strtoul(factor, NULL, 10) : 1;

    return (times ? times : 1) * CANCELS;
}

struct round {
    uint64_t seed;
    unsigned long cancels;
    struct books books;
};

static int play(void *arg)
{
    struct round *round = arg;
    struct dice dice = dice_of(round->seed, 0);
    struct batch *batch = calloc(1, sizeof(*batch));

    EXPECT(batch);
    for (int i = 0; i < BATCH; i++)
        EXPECT_EQ(weft_channel_new(sizeof(int), 0, &batch->waiters[i].channel), 0);
    for (unsigned long done = 0; done < round->cancels; done += BATCH) {
        batch->way = (enum way)dice_roll(&dice, WAYS);
        batch->what = (enum what)dice_roll(&dice, WHATS);
        batch->opposite = dice_roll(&dice, 2);
        run_batch(batch, &dice, &round->books);
    }
    for (int i = 0; i < BATCH; i++)
        weft_channel_free(batch->waiters[i].channel);
    free(batch);
    return 0;
}

int main(int argc, char **argv)
{
    static const unsigned workers[] = {1, 2, 4, 8};
    uint64_t seed = stress_seed(argc, argv);
    unsigned long share = cancels_wanted() / 4;

    for (size_t i = 0; i < 4; i++) {
        struct round round = {.seed = seed + i, .cancels = share};

        on_fibers(workers[i], play, &round);
        printf("%u workers: %lu completed, %lu cancelled\n", workers[i], round.books.completed,
               round.books.cancelled);
        EXPECT(round.books.completed + round.books.cancelled >= share);
    }
    return 0;
}
