/* SPDX-License-Identifier: MIT */
/*
 * Fibers that block their threads and compute for long, announced or not, while they wake each
 * other, spawn, sleep, pin themselves and are cancelled; the monitor takes workers away after a
 * fraction of a millisecond.  Each runs exactly once and to its end, finds its errno and (pinned)
 * its thread as it left them, nobody is in the mutex together with another, and every token comes
 * back.
 */
#include "support/stress.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { FIBERS = 24, STEPS = 40, CHILDREN = 3, BLOCK_NS = 1500000, COMPUTE = 60000 };

struct world {
    struct chaos chaos;
    struct weft_semaphore tokens;
    struct weft_mutex mutex;
    unsigned in_mutex; /* guarded by mutex */
    atomic_uint_fast64_t started, ended, handoffs;
};

struct actor {
    struct world *world;
    unsigned number;
};

/* Not inlined: what they ask for is the thread's, and must not be kept across a suspension. */
static __attribute__((noinline)) void set_errno(int value)
{
    errno = value;
}

static __attribute__((noinline)) int get_errno(void)
{
    return errno;
}

static __attribute__((noinline)) pid_t thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static void block(struct dice *dice)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)dice_roll(dice, BLOCK_NS)}, NULL);
}

static void compute(struct dice *dice)
{
    volatile unsigned sink = 0;

    for (unsigned i = dice_roll(dice, COMPUTE); i > 0; i--)
        sink += i;
    (void)sink;
}

static void block_or_compute(struct dice *dice)
{
    if (dice_roll(dice, 2))
        block(dice);
    else
        compute(dice);
}

/* Wake somebody, and be woken by somebody. */
static void pass_token(struct world *world, struct dice *dice)
{
    struct weft_scope shield;

    weft_shield_enter(&shield);
    EXPECT_EQ(weft_semaphore_release(&world->tokens), 0);
    if (dice_roll(dice, 2))
        compute(dice);
    EXPECT_EQ(weft_semaphore_acquire(&world->tokens, WEFT_NO_DEADLINE), 0);
    weft_scope_leave(&shield);
}

static void lock_mutex(struct world *world, struct dice *dice)
{
    int r = weft_mutex_lock(&world->mutex);

    if (r < 0) {
        EXPECT(stress_ended(r));
        return;
    }
    EXPECT_EQ(world->in_mutex++, 0);
    if (dice_roll(dice, 4) == 0)
        block(dice);
    EXPECT_EQ(--world->in_mutex, 0);
    weft_mutex_unlock(&world->mutex);
}

/* A region in which it may also suspend, which ends its effect but not the region. */
static void block_announced(struct world *world, struct dice *dice)
{
    int began = weft_blocking_begin();
    bool nested = began == 0 && dice_roll(dice, 4) == 0 && weft_blocking_begin() == 0;

    EXPECT(began == 0 || began == -EAGAIN || began == -EBUSY);
    block_or_compute(dice);
    if (dice_roll(dice, 3) == 0)
        pass_token(world, dice);
    if (nested)
        EXPECT_EQ(weft_blocking_end(), 0);
    if (began == 0)
        EXPECT(weft_blocking_end() == 0 || stress_ended(weft_check_cancel()));
    else
        EXPECT_EQ(weft_blocking_end(), -EINVAL);
}

static void go_on_pinned(struct world *world, struct dice *dice)
{
    pid_t thread;

    EXPECT_EQ(weft_pin(), 0);
    thread = thread_id();
    for (unsigned i = dice_roll(dice, 4); i > 0; i--) {
        if (dice_roll(dice, 3) == 0)
            block_or_compute(dice);
        else if (dice_roll(dice, 2))
            (void)weft_yield();
        else
            pass_token(world, dice);
        EXPECT_EQ(thread_id(), thread);
    }
    if (dice_roll(dice, 8)) /* else its end does it */
        EXPECT_EQ(weft_unpin(), 0);
}

static int child(void *arg)
{
    struct actor *parent = arg;
    struct world *world = parent->world;
    struct dice dice = dice_of(world->chaos.seed, atomic_fetch_add(&world->started, 1) + 2000);

    EXPECT_EQ(get_errno(), 0);
    if (dice_roll(&dice, 2))
        block_or_compute(&dice);
    if (dice_roll(&dice, 4) == 0)
        (void)weft_blocking_begin(); /* its end ends the region, too */
    if (dice_roll(&dice, 2))
        pass_token(world, &dice);
    if (dice_roll(&dice, 4) == 0)
        go_on_pinned(world, &dice);
    atomic_fetch_add(&world->ended, 1);
    return 0;
}

static void spawn_some(struct actor *self, struct dice *dice)
{
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = dice_roll(dice, CHILDREN + 1); i > 0; i--) {
        EXPECT_EQ(weft_group_spawn(&group, "child", child, self), 0);
        if (dice_roll(dice, 3) == 0)
            block_or_compute(dice);
    }
    if (dice_roll(dice, 2))
        block(dice);
    int r = weft_group_join(&group);
    EXPECT(r == 0 || stress_ended(r));
}

static void act(struct actor *self, struct dice *dice)
{
    switch (dice_roll(dice, 9)) {
    case 0:
        block(dice);
        break;
    case 1:
        compute(dice);
        break;
    case 2:
        block_announced(self->world, dice);
        break;
    case 3:
        (void)weft_yield();
        break;
    case 4:
        (void)weft_sleep(dice_roll(dice, 200) * WEFT_MICROSECOND);
        break;
    case 5:
        pass_token(self->world, dice);
        break;
    case 6:
        lock_mutex(self->world, dice);
        break;
    case 7:
        spawn_some(self, dice);
        break;
    default:
        go_on_pinned(self->world, dice);
        break;
    }
}

static int live(void *arg)
{
    struct actor self = *(struct actor *)arg;
    struct world *world = self.world;
    struct dice dice = dice_of(world->chaos.seed, self.number);

    for (unsigned step = 0; step < STEPS / STRESS_SLOW + 3; step++) {
        int number = (int)step % 100 + 1;
        struct weft_scope scope;

        set_errno(number);
        chaos_enter(&world->chaos, self.number, &dice, &scope);
        act(&self, &dice);
        chaos_leave(&world->chaos, self.number, &scope);
        EXPECT_EQ(get_errno(), number);
    }
    return 0;
}

static void count_handoffs(unsigned workers, struct world *world)
{
    struct weft_worker_stats stats;

    for (unsigned i = 0; i < workers; i++) {
        EXPECT_EQ(weft_stats_worker(weft_runtime_self(), i, &stats), 0);
        atomic_fetch_add(&world->handoffs, stats.handoffs);
    }
}

static atomic_uint_fast64_t handoffs;

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world world = {.chaos.seed = round->seed};
    struct actor actors[FIBERS];
    struct weft_group group, chaos;

    weft_semaphore_init(&world.tokens, 0, 0);
    weft_mutex_init(&world.mutex);
    weft_group_init(&chaos);
    EXPECT_EQ(weft_group_spawn(&chaos, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < FIBERS; i++) {
        actors[i] = (struct actor){&world, i};
        EXPECT_EQ(weft_group_spawn(&group, "actor", live, &actors[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&chaos), 0);
    EXPECT_EQ(atomic_load(&world.ended), atomic_load(&world.started));
    EXPECT_EQ(weft_semaphore_try_acquire(&world.tokens), -EAGAIN);
    count_handoffs(round->workers, &world);
    atomic_fetch_add(&handoffs, atomic_load(&world.handoffs));
    return 0;
}

/* Some rounds with few threads to spare, so that taking a worker is refused, too. */
static void play_round(const struct stress_round *round)
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = round->workers;
    options.handle_signals = false;
    options.handoff_ns = 400 * WEFT_MICROSECOND;
    options.spare_threads = round->seed % 2 ? 2 : 0;
    EXPECT_EQ(weft_run(&options, play, (void *)round), 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = stress_seed(argc, argv);

    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        uint64_t end_ns = weft_deadline_after(stress_budget_ns());
        /* A round may have had somebody pinned each time that the monitor came by. */
        uint64_t patience_ns = weft_deadline_after(20 * WEFT_SECOND);
        unsigned rounds = 0;

        atomic_store(&handoffs, 0);
        do {
            struct stress_round round = {.seed = seed + rounds, .workers = workers};

            play_round(&round);
            rounds++;
        } while (weft_now_ns() < end_ns ||
                 (atomic_load(&handoffs) == 0 && weft_now_ns() < patience_ns));
        printf("%u workers: %u rounds, %" PRIu64 " hand-offs\n", workers, rounds,
               atomic_load(&handoffs));
        EXPECT(atomic_load(&handoffs) > 0);
    }
    return 0;
}
