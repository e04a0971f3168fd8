/* SPDX-License-Identifier: MIT */
/*
 * Many clients submit, cancel, retry, wait, list and reload at once, are cancelled while they do, and
 * the daemon is stopped in order, hurried, or loses its store in the midst of it, several lives long.
 * Whatever was acknowledged is in the database, and in every list of all jobs; no end is changed but
 * by a retry, which keeps the attempt's number (the database checks that); in the last life every
 * job ends.  Listeners are told of each move, each beginning where the one before it ended.
 */
#include "support/stress.h"

#include "unit/daemon/engine_support.h"

enum { CLIENTS = 20, OPERATIONS = 60 / STRESS_SLOW, LIVES = 3, KNOWN = 400, MANY = 3 };

struct client {
    struct world *world;
    struct chaos *chaos;
    unsigned number;
    struct dice dice;
    uint64_t known[KNOWN]; /* acknowledged ids, of all lives */
    size_t count;
};

static struct job_spec *random_spec(struct dice *dice)
{
    static const char *const names[] = {"ok", "ok", "ok", "fail", "missing", "flaky", "hang"};
    static const char *const queues[] = {"default", "one", "wide", "paused"};
    const char *name = names[dice_roll(dice, 7)];
    char more[200];
    if (dice_roll(dice, 3) == 0)
        return call_of(dice_roll(dice, 2) ? ",\"queue\":\"wide\"" : "");
    snprintf(more, sizeof(more),
             ",\"queue\":\"%s\",\"priority\":%d,\"retries\":%u,\"on_crash\":\"%s\"%s%s",
             queues[dice_roll(dice, 4)], (int)dice_roll(dice, 9) - 4, dice_roll(dice, 3),
             dice_roll(dice, 3) ? "requeue" : "fail",
             strcmp(name, "hang") != 0 || dice_roll(dice, 4) == 0 ? "" : ",\"timeout\":\"1ms\"",
             dice_roll(dice, 4) ? "" : ",\"delay\":\"500us\"");
    return spec_of(name, more);
}

/* What a call may return while scopes end, the engine stops and the store fails. */
static bool excused(int rc)
{
    return stress_ended(rc) || rc == -ESHUTDOWN || rc == -EIO || rc == -EAGAIN;
}

static void know(struct client *client, uint64_t id)
{
    EXPECT(id > 0);
    if (client->count < KNOWN)
        client->known[client->count++] = id;
}

static uint64_t any_known(struct client *client)
{
    return client->count ? client->known[dice_roll(&client->dice, (unsigned)client->count)] : 1;
}

static int submit_one(struct client *client)
{
    uint64_t id = 0;
    struct rpc_error error = {0};
    struct job_spec *spec = random_spec(&client->dice);
    int rc = submit_for(client->world->engine, &me, spec, NULL, &id, &error);
    if (rc == 0)
        know(client, id);
    else
        EXPECT(error.code != RPC_OK && error.message[0]);
    return rc;
}

static int submit_some(struct client *client)
{
    struct rpc_error errors[MANY] = {0}, error = {0};
    struct engine_item items[MANY];
    bool atomic = dice_roll(&client->dice, 2);
    for (size_t i = 0; i < MANY; i++)
        items[i] = (struct engine_item){.spec = random_spec(&client->dice), .error = &errors[i]};
    int rc = engine_submit_many(client->world->engine, &me, items, MANY, atomic, NULL, &error);
    for (size_t i = 0; rc == 0 && i < MANY; i++)
        know(client, items[i].id);
    return rc;
}

/* Anybody's job: clients retry the same ones, and each other's while those wait and cancel. */
static uint64_t any_id(struct client *client)
{
    pthread_mutex_lock(&client->world->base->lock);
    uint64_t ids = client->world->base->next_id;
    pthread_mutex_unlock(&client->world->base->lock);
    return 1 + dice_roll(&client->dice, (unsigned)ids);
}

static int retry_some(struct client *client)
{
    uint64_t ids[6];
    enum job_state states[6] = {0};
    struct rpc_error errors[6] = {0}, error = {0};
    for (size_t i = 0; i < 6; i++)
        ids[i] = dice_roll(&client->dice, 2) ? any_known(client) : any_id(client);
    int rc = engine_retry(client->world->engine, &me, ids, 6, states, errors, &error);
    EXPECT(rc == 0 || error.code != RPC_OK);
    for (size_t i = 0; rc == 0 && i < 6; i++)
        EXPECT_EQ(states[i], errors[i].code == RPC_OK ? JOB_QUEUED : JOB_NONE);
    return rc;
}

static int explain_one(struct client *client)
{
    struct engine_explanation facts;
    struct rpc_error error = {0};
    int rc = engine_explain(client->world->engine, &me, any_id(client), &facts, &error);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    EXPECT((facts.why == ENGINE_WHY_ENDED || facts.why == ENGINE_WHY_RETRYING) ==
           job_state_is_end(facts.record->state));
    job_record_free(facts.record);
    return 0;
}

static int cancel_some(struct client *client)
{
    uint64_t ids[2] = {any_known(client), any_known(client)};
    enum job_state states[2] = {0};
    struct rpc_error errors[2] = {0};
    int rc = engine_cancel(client->world->engine, &me, ids, 2, states, errors);
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        EXPECT((states[i] == JOB_NONE) == (errors[i].code != RPC_OK));
        EXPECT(states[i] == JOB_NONE || job_state_is_end(states[i]));
    }
    return rc;
}

static int wait_some(struct client *client)
{
    uint64_t ids[3] = {any_known(client), any_known(client), any_known(client)};
    struct engine_page page;
    struct rpc_error error = {0};
    uint64_t deadline = weft_deadline_after(dice_roll(&client->dice, 2000) * WEFT_MICROSECOND);
    int rc = engine_wait(client->world->engine, &me, ids, 3, deadline, &page, &error);
    if (rc < 0)
        return client->count == 0 && rc == -ENOENT ? 0 : rc;
    for (size_t i = 0; i < 3; i++) {
        EXPECT_EQ(page.records[i]->id, ids[i]);
        EXPECT(job_state_is_end(page.records[i]->state));
    }
    engine_page_destroy(&page);
    return 0;
}

static int list_some(struct client *client)
{
    struct engine_filter filter = {.limit = 1 + dice_roll(&client->dice, 50),
                                   .states = dice_roll(&client->dice, 1u << JOB_STATE_COUNT)};
    struct engine_page page;
    struct rpc_error error = {0};
    int rc = engine_list(client->world->engine, &me, &filter, &page, &error);
    if (rc < 0)
        return rc;
    for (size_t i = 1; i < page.count; i++)
        EXPECT(page.records[i]->id < page.records[i - 1]->id);
    engine_page_destroy(&page);
    return 0;
}

static bool is_in(const struct engine_page *page, uint64_t id)
{
    size_t low = 0, high = page->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (page->records[middle]->id > id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < page->count && page->records[low]->id == id;
}

/* Page by page, in which each job that we know is somewhere, whatever state it is in by now. */
static int list_all(struct client *client)
{
    struct engine_filter filter = {.limit = ENGINE_LIST_MAX};
    uint64_t last = UINT64_MAX;
    do {
        struct engine_page page;
        struct rpc_error error = {0};
        int rc = engine_list(client->world->engine, &me, &filter, &page, &error);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < client->count; i++)
            if (client->known[i] >= page.next && client->known[i] < last)
                EXPECT(is_in(&page, client->known[i]));
        filter.before = last = page.next;
        engine_page_destroy(&page);
    } while (filter.before != 0);
    return 0;
}

static int get_one(struct client *client)
{
    struct job_record *record;
    struct rpc_error error = {0};
    int rc = engine_get(client->world->engine, &me, any_known(client), &record, &error);
    if (rc < 0)
        return client->count == 0 && rc == -ENOENT ? 0 : rc;
    job_record_free(record);
    return 0;
}

static int reload(struct client *client)
{
    struct config_queue queues[4];
    struct config config = client->world->config;
    memcpy(queues, client->world->queues, sizeof(queues));
    queues[2].concurrency = dice_roll(&client->dice, 3);
    queues[0].aging = dice_roll(&client->dice, 2) * WEFT_SECOND;
    config.queues = queues;
    config.daemon.recent = dice_roll(&client->dice, 50);
    config.daemon.events = 20 + dice_roll(&client->dice, 1000);
    return engine_apply_config(client->world->engine, &config);
}

static int operate(struct client *client)
{
    static int (*const operations[])(struct client *) = {
        submit_one, submit_one, submit_some, submit_some, cancel_some, wait_some,   wait_some,
        list_some,  list_all,   get_one,     retry_some,  retry_some,  explain_one, reload};
    unsigned roll = dice_roll(&client->dice, 54);
    return operations[roll < 52 ? roll % 13 : 13](client);
}

static int act(void *arg)
{
    struct client *client = arg;
    for (int i = 0; i < OPERATIONS; i++) {
        struct weft_scope scope;
        chaos_enter(client->chaos, client->number, &client->dice, &scope);
        int rc = operate(client);
        chaos_leave(client->chaos, client->number, &scope);
        EXPECT(rc == 0 || excused(rc));
    }
    return 0;
}

/* ---- listeners ------------------------------------------------------------------------------- */

enum { LISTENERS = 2 };

/* One life's. */
struct listener {
    struct world *world;
    struct events_reader reader;
    uint64_t seen;                   /* the newest number */
    enum job_state states[BASE_IDS]; /* as told; JOB_NONE: not told of yet, or lost */
};

static void hear_event(struct listener *listener, const struct event *event)
{
    enum job_state *state = &listener->states[event->id];
    EXPECT_EQ(event->seq, listener->seen + 1);
    EXPECT(*state == JOB_NONE || *state == event->before);
    EXPECT(event->before != JOB_NONE || *state == JOB_NONE);
    EXPECT_EQ(event->uid, me.uid);
    *state = event->state;
    listener->seen = event->seq;
}

static void hear_gap(struct listener *listener, const struct events_batch *batch)
{
    EXPECT_EQ(batch->gap_from, listener->seen + 1);
    listener->seen = batch->gap_to;
    memset(listener->states, 0, sizeof(listener->states));
}

static int listen_all(void *arg)
{
    struct listener *listener = arg;
    struct events_batch batch;
    struct engine_stats stats;
    while (events_read(&listener->reader, &batch, WEFT_NO_DEADLINE) == 0) {
        if (batch.gap_to > 0)
            hear_gap(listener, &batch);
        for (size_t i = 0; i < batch.count; i++)
            hear_event(listener, batch.list[i]);
        events_release(&batch);
    }
    engine_stats(listener->world->engine, &stats); /* it has stopped */
    EXPECT_EQ(listener->seen, stats.events.last);
    events_leave(&listener->reader);
    free(listener);
    return 0;
}

static void start_listeners(struct world *world, struct weft_group *group)
{
    uint64_t last;
    weft_group_init(group);
    for (int i = 0; i < LISTENERS; i++) {
        struct listener *listener = calloc(1, sizeof(*listener));
        listener->world = world;
        EXPECT_EQ(events_open(world->engine->events, 0, &listener->reader, &last), 0);
        EXPECT_EQ(weft_group_spawn(group, "listener", listen_all, listener), 0);
    }
}

/* ---- lives ----------------------------------------------------------------------------------- */

static void leave(struct world *world)
{
    store_free(world->store);
    engine_free(world->engine);
}

/* Returns false when the store failed during the recovery: then there is no life. */
static bool begin(struct world *world)
{
    struct problem problem = {0};
    bool fails = atomic_load(&world->base->fail_in) > 0;
    world_make(world);
    int rc = engine_recover(world->engine, &problem, &world->recovery);
    if (rc < 0) {
        EXPECT_EQ(rc, -EIO);
        EXPECT(fails && atomic_load(&world->base->fail_in) == 0);
        EXPECT(problem.text[0] != '\0');
        leave(world);
        return false;
    }
    weft_group_init(&world->group);
    EXPECT_EQ(weft_group_spawn(&world->group, "engine", world_engine, world), 0);
    return true;
}

static void finish(struct world *world)
{
    EXPECT_EQ(engine_stop(world->engine, 0), 0);
    world_end(world);
    leave(world);
}

static void check_known(struct world *world, struct client *clients)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        for (size_t k = 0; k < clients[i].count; k++)
            EXPECT(base_state(world->base, clients[i].known[k]) != JOB_NONE);
}

static int hurry(void *arg)
{
    struct world *world = arg;
    (void)weft_sleep(200 * WEFT_MICROSECOND);
    engine_hurry(world->engine);
    return 0;
}

static void end_somehow(struct world *world, struct dice *dice)
{
    struct weft_group group;
    weft_group_init(&group);
    if (dice_roll(dice, 2))
        EXPECT_EQ(weft_group_spawn(&group, "hurry", hurry, world), 0);
    uint64_t drain = dice_roll(dice, 3) * WEFT_MILLISECOND;
    EXPECT_EQ(engine_stop(world->engine, weft_deadline_after(drain)), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(world->engine->active, 0);
    EXPECT(world->engine->runs == NULL);
}

static void live(struct base *base, struct client *clients, struct chaos *chaos, uint64_t seed)
{
    struct world world;
    struct weft_group trouble, listening, group;
    struct dice dice = dice_of(seed, 2000);
    world_init(&world, base);
    atomic_store(&base->fail_in, dice_roll(&dice, 2) ? (int)dice_roll(&dice, 200) : 0);
    if (!begin(&world))
        return;
    start_listeners(&world, &listening);
    atomic_store(&chaos->stop, false);
    weft_group_init(&trouble);
    EXPECT_EQ(weft_group_spawn(&trouble, "chaos", chaos_run, chaos), 0);
    weft_group_init(&group);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].world = &world;
        EXPECT_EQ(weft_group_spawn(&group, "client", act, &clients[i]), 0);
    }
    if (dice_roll(&dice, 2))
        end_somehow(&world, &dice); /* while they are at it */
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&chaos->stop, true);
    EXPECT_EQ(weft_group_join(&trouble), 0);
    end_somehow(&world, &dice);
    EXPECT_EQ(weft_group_join(&listening), 0);
    finish(&world);
    check_known(&world, clients);
}

/* Those that would hang are cancelled, so that the others get their slots. */
static void cancel_hanging(struct world *world)
{
    struct base *base = world->base;
    for (uint64_t id = 1; id < base->next_id; id++) {
        enum job_state state = JOB_NONE;
        struct rpc_error error = {0};
        if (!base_has(base, id, "hang"))
            continue;
        EXPECT_EQ(engine_cancel(world->engine, &me, &id, 1, &state, &error), 0);
        EXPECT(job_state_is_end(state));
    }
}

/* Every job comes to an end. */
static void last_life(struct base *base, struct client *clients)
{
    struct world world;
    world_init(&world, base);
    world.queues[2].concurrency = 10;
    atomic_store(&base->fail_in, 0);
    EXPECT(begin(&world));
    cancel_hanging(&world);
    for (uint64_t id = 1; id < base->next_id; id++)
        if (base_state(base, id) != JOB_NONE)
            EXPECT(job_state_is_end(end_of(&world, id)));
    EXPECT_EQ(world.engine->live, 0);
    EXPECT_EQ(world.engine->delayed.count, 0);
    finish(&world);
    check_known(&world, clients);
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct chaos chaos = {.seed = round->seed};
    struct base *base = base_new();
    struct client *clients = calloc(CLIENTS, sizeof(*clients));
    attempts_reset();
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.chaos = &chaos, .number = i, .dice = dice_of(round->seed, i)};
    for (unsigned i = 0; i < LIVES; i++)
        live(base, clients, &chaos, round->seed * LIVES + i);
    last_life(base, clients);
    free(clients);
    base_free(base);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
