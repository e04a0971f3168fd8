/* SPDX-License-Identifier: MIT */
/*
 * Fibers and a plain thread publish the moves of jobs of their own, while others read: fast ones,
 * slow ones, ones that come and go and take up where they left, all of them cancelled and timed out
 * while they wait; and the ring changes its size.  Each reader is told of each number once, as an
 * event or in a gap; a number is the same event for all; the events of a job are in order; and
 * after the close everybody has come to the last one.
 */
#include "daemon/events.h"

#include <pthread.h>

#include "support/stress.h"

enum { PUBLISHERS = 5, READERS = 12, MOVES = 1000 / STRESS_SLOW, ALL = PUBLISHERS * MOVES };

struct world {
    struct events *events;
    struct chaos chaos;
    atomic_uint_fast64_t
        stamps[ALL + 1]; /* by number: job and attempt, as the first reader saw it */
};

struct actor {
    struct world *world;
    unsigned number;
    struct dice dice;
    struct events_reader reader;
    uint64_t seen;                 /* the last number that it was told of */
    uint32_t attempts[PUBLISHERS]; /* by job: the last that it was told of */
    uint64_t told, lost;
};

/* ---- publishing ------------------------------------------------------------------------------ */

static void publish(struct actor *actor, uint32_t attempt)
{
    struct job_record record = {
        .id = actor->number + 1,
        .uid = actor->number,
        .state = JOB_RUNNING,
        .attempt = attempt,
        .queue = "default",
        .spec = attempt % 2 ? "{\"name\":\"odd\"}" : "{}",
        .error = attempt % 3 ? NULL : "exit status 1",
    };
    bool heard = events_publish(actor->world->events, &record, JOB_RUNNING, JOB_BY_FAILURE, 1);
    if (heard && dice_roll(&actor->dice, 4)) /* late, it is for several */
        events_announce(actor->world->events);
}

static int publish_all(void *arg)
{
    struct actor *actor = arg;
    for (uint32_t i = 1; i <= MOVES; i++) {
        publish(actor, i);
        if (dice_roll(&actor->dice, 20) == 0)
            weft_yield();
    }
    events_announce(actor->world->events);
    return 0;
}

static void *publish_in_thread(void *arg)
{
    struct actor *actor = arg;
    for (uint32_t i = 1; i <= MOVES; i++) {
        publish(actor, i);
        if (i % 16 == 0)
            sched_yield();
    }
    events_announce(actor->world->events);
    return NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void check_event(struct actor *actor, const struct event *event)
{
    uint_fast64_t before = 0, stamp = event->id << 32 | event->attempt;
    EXPECT_EQ(event->seq, actor->seen + 1);
    EXPECT(event->seq <= ALL && event->id >= 1 && event->id <= PUBLISHERS);
    EXPECT_EQ(event->uid, event->id - 1);
    EXPECT_EQ(event->name != NULL, event->attempt % 2 == 1);
    EXPECT_EQ(event->error != NULL, event->attempt % 3 == 0);
    EXPECT(event->attempt > actor->attempts[event->id - 1]);
    actor->attempts[event->id - 1] = event->attempt;
    actor->seen = event->seq;
    actor->told++;
    if (!atomic_compare_exchange_strong(&actor->world->stamps[event->seq], &before, stamp))
        EXPECT_EQ(before, stamp);
}

static void check_batch(struct actor *actor, struct events_batch *batch)
{
    EXPECT(batch->gap_to > 0 || batch->count > 0);
    if (batch->gap_to > 0) {
        EXPECT_EQ(batch->gap_from, actor->seen + 1);
        EXPECT(batch->gap_to >= batch->gap_from);
        actor->lost += batch->gap_to - batch->gap_from + 1;
        actor->seen = batch->gap_to;
    }
    for (size_t i = 0; i < batch->count; i++)
        check_event(actor, batch->list[i]);
    events_release(batch);
}

static int read_somehow(struct actor *actor, struct events_batch *batch)
{
    struct chaos *chaos = &actor->world->chaos;
    struct weft_scope scope;
    chaos_enter(chaos, actor->number, &actor->dice, &scope);
    int r = events_read(&actor->reader, batch, chaos_deadline(chaos, &actor->dice));
    chaos_leave(chaos, actor->number, &scope);
    return r;
}

static void come_back(struct actor *actor)
{
    uint64_t last;
    events_leave(&actor->reader);
    EXPECT_EQ(events_open(actor->world->events, actor->seen, &actor->reader, &last), 0);
    EXPECT(last >= actor->seen);
}

/* A third of them is slow, a third comes and goes. */
static void dawdle(struct actor *actor)
{
    if (actor->number % 3 == 1)
        (void)weft_sleep(dice_roll(&actor->dice, 200) * WEFT_MICROSECOND);
    if (actor->number % 3 == 2 && dice_roll(&actor->dice, 3) == 0)
        come_back(actor);
}

static int read_all(void *arg)
{
    struct actor *actor = arg;
    struct events_batch batch;
    int r;
    do {
        r = read_somehow(actor, &batch);
        if (r == 0)
            check_batch(actor, &batch);
        else
            EXPECT(r == -EPIPE || stress_ended(r));
        dawdle(actor);
    } while (r != -EPIPE);
    EXPECT_EQ(actor->seen, ALL);
    EXPECT_EQ(actor->told + actor->lost, ALL);
    events_leave(&actor->reader);
    return 0;
}

/* ---- a round --------------------------------------------------------------------------------- */

static int resize_often(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->chaos.seed, 3000);
    while (!atomic_load(&world->chaos.stop)) {
        EXPECT_EQ(events_resize(world->events, 1 + dice_roll(&dice, 200)), 0);
        EXPECT_EQ(weft_sleep(dice_roll(&dice, 300) * WEFT_MICROSECOND), 0);
    }
    return 0;
}

static void start_readers(struct world *world, struct actor *readers, struct weft_group *group)
{
    uint64_t last;
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] =
            (struct actor){.world = world, .number = i, .dice = dice_of(world->chaos.seed, i)};
        EXPECT_EQ(events_open(world->events, 0, &readers[i].reader, &last), 0);
        EXPECT_EQ(weft_group_spawn(group, "reader", read_all, &readers[i]), 0);
    }
}

static void publish_everything(struct world *world)
{
    struct actor publishers[PUBLISHERS];
    struct weft_group group;
    pthread_t thread;
    for (unsigned i = 0; i < PUBLISHERS; i++)
        publishers[i] = (struct actor){
            .world = world, .number = i, .dice = dice_of(world->chaos.seed, 100 + i)};
    EXPECT_EQ(pthread_create(&thread, NULL, publish_in_thread, &publishers[0]), 0);
    weft_group_init(&group);
    for (unsigned i = 1; i < PUBLISHERS; i++)
        EXPECT_EQ(weft_group_spawn(&group, "publisher", publish_all, &publishers[i]), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0); /* it needs no worker to come to its end */
}

static void play_in(struct world *world, struct actor *readers)
{
    struct weft_group trouble, reading;
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, &world->chaos), 0);
    EXPECT_EQ(weft_group_spawn(&trouble, "resize", resize_often, world), 0);
    weft_group_init(&reading);
    start_readers(world, readers, &reading);
    publish_everything(world);
    events_close(world->events);
    EXPECT_EQ(weft_group_join(&reading), 0);
    atomic_store(&world->chaos.stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct world *world = calloc(1, sizeof(*world));
    struct actor *readers = calloc(READERS, sizeof(*readers));
    struct events_stats stats;
    world->chaos.seed = round->seed;
    EXPECT_EQ(events_new(50, &world->events), 0);
    play_in(world, readers);
    events_stats(world->events, &stats);
    EXPECT_EQ(stats.last, ALL);
    EXPECT_EQ(stats.readers, 0);
    events_free(world->events);
    free(readers);
    free(world);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
