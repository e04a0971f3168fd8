/* SPDX-License-Identifier: MIT */
/* The engine's lists: pages from memory and the store, and what they leave out. */
#include "engine_support.h"

#include "support/test.h"

#include <inttypes.h>

static size_t count_list(struct world *world, struct engine_filter filter, uint64_t *ret_next)
{
    struct engine_page page;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_list(world->engine, &me, &filter, &page, &error), 0);
    size_t count = page.count;
    uint64_t last = filter.before ? filter.before : UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        EXPECT(page.records[i]->id < last);
        last = page.records[i]->id;
    }
    *ret_next = page.next;
    engine_page_destroy(&page);
    return count;
}

static void list_pages(struct world *world)
{
    uint64_t next, last = 0;
    for (size_t i = 0; i < 10; i++) {
        last = submit(world, "ok", "");
        submit(world, "ok", ",\"queue\":\"paused\"");
        EXPECT_EQ(end_of(world, last), JOB_SUCCEEDED);
    }
    EXPECT_EQ(count_list(world, (struct engine_filter){.limit = 7}, &next), 7);
    EXPECT_EQ(count_list(world, (struct engine_filter){.limit = 7, .before = next}, &next), 7);
    EXPECT_EQ(count_list(world, (struct engine_filter){.limit = 7, .before = next}, &next), 6);
    EXPECT_EQ(next, 0);
    EXPECT_EQ(count_list(world, (struct engine_filter){.limit = 20}, &next), 20);
    EXPECT_EQ(next, 0);
    struct engine_filter queued = {.limit = 100, .states = 1u << JOB_QUEUED};
    EXPECT_EQ(count_list(world, queued, &next), 10);
    struct engine_filter paused = {.limit = 100, .queues = (const char *[]){"paused", NULL}};
    EXPECT_EQ(count_list(world, paused, &next), 10);
    struct engine_filter done = {.limit = 100, .states = 1u << JOB_SUCCEEDED};
    EXPECT_EQ(count_list(world, done, &next), 10);
    struct engine_filter dead = {.limit = 100, .states = 1u << JOB_DEAD};
    EXPECT_EQ(count_list(world, dead, &next), 0);
}

Test(engine_list, shows_newest_first_in_pages)
{
    in_a_world(2, list_pages);
}

/* All pages of a filter: the ids as text, and how many pages. */
static const char *list_ids(struct world *world, const struct peer *peer,
                            struct engine_filter filter, size_t *ret_pages)
{
    static char text[400];
    struct rpc_error error = {0};
    text[0] = '\0';
    *ret_pages = 0;
    do {
        struct engine_page page;
        EXPECT_EQ(engine_list(world->engine, peer, &filter, &page, &error), 0);
        for (size_t i = 0; i < page.count; i++)
            sprintf(text + strlen(text), "%s%" PRIu64, *text ? " " : "", page.records[i]->id);
        EXPECT(page.next == 0 || filter.before == 0 || page.next < filter.before);
        filter.before = page.next;
        engine_page_destroy(&page);
        ++*ret_pages;
    } while (filter.before);
    return text;
}

static void expect_listed(struct world *world, const char *name, const char *tag,
                          struct engine_filter filter, const char *expected)
{
    size_t pages;
    filter.limit = filter.limit ? filter.limit : 100;
    EXPECT_EQ(job_match_init(&filter.match, name, tag), 0);
    const char *ids = list_ids(world, &admin, filter, &pages);
    if (strcmp(ids, expected) != 0)
        fprintf(stderr, "listed %s, not %s\n", ids, expected);
    EXPECT(strcmp(ids, expected) == 0);
    job_match_destroy(&filter.match);
}

/* 1-4 end, 5-8 stay queued; 3 and 7 are another's. */
static void list_by_filter(struct world *world)
{
    static const char *const names[] = {"night-a", "night-b", "day", NULL};
    char more[128];
    for (uint64_t id = 1; id <= 8; id++) {
        const char *name = names[(id - 1) % 4];
        uint64_t made = 0;
        struct rpc_error error = {0};
        snprintf(more, sizeof(more), ",\"tags\":[\"all\",\"%s\"],\"queue\":\"%s\"%s%s%s",
                 id % 2 ? "odd" : "even", id <= 4 ? id % 2 ? "wide" : "one" : "paused",
                 name ? ",\"name\":\"" : "", name ? name : "", name ? "\"" : "");
        EXPECT_EQ(submit_for(world->engine, id % 4 == 3 ? &other : &me, spec_of("ok", more), NULL,
                             &made, &error),
                  0);
        EXPECT_EQ(made, id);
        while (id <= 4 && base_state(world->base, id) != JOB_SUCCEEDED)
            EXPECT_EQ(weft_yield(), 0);
    }
    struct engine_filter any = {0}, mine = {.of_user = true, .uid = me.uid};
    struct engine_filter two = {.queues = (const char *[]){"paused", "wide", NULL}};
    struct engine_filter ended = {.states = 1u << JOB_SUCCEEDED | 1u << JOB_DEAD};
    expect_listed(world, NULL, NULL, any, "8 7 6 5 4 3 2 1");
    expect_listed(world, "night*", NULL, any, "6 5 2 1");
    expect_listed(world, "day", NULL, any, "7 3");
    expect_listed(world, "da", NULL, any, "");
    expect_listed(world, "*", "even", any, "6 2");
    expect_listed(world, NULL, "odd", two, "7 5 3 1");
    expect_listed(world, NULL, "all", mine, "8 6 5 4 2 1");
    expect_listed(world, NULL, NULL, two, "8 7 6 5 3 1");
    expect_listed(world, NULL, "odd", ended, "3 1");
    any.limit = 1;
    expect_listed(world, "night*", NULL, any, "6 5 2 1");
    size_t pages;
    struct engine_filter others = {.limit = 100, .of_user = true, .uid = other.uid};
    EXPECT(strcmp(list_ids(world, &other, others, &pages), "7 3") == 0);
    EXPECT(strcmp(list_ids(world, &me, others, &pages), "") == 0);
}

Test(engine_list, shows_by_name_tag_user_and_queues)
{
    in_a_world(2, list_by_filter);
}

Test(engine_list, goes_on_where_the_store_has_come_to)
{
    struct world world;
    struct base *base = base_new();
    world_init(&world, base);
    base->list_most = 1;
    world_live(&world, list_by_filter);
    base_free(base);
}

static void list_unknown_queue(struct world *world)
{
    struct engine_filter filter = {.limit = 1, .queues = (const char *[]){"one", "paussed", NULL}};
    struct engine_page page;
    struct rpc_error error = {0};
    EXPECT_EQ(engine_list(world->engine, &me, &filter, &page, &error), -EINVAL);
    EXPECT_EQ(error.code, RPC_NO_SUCH_QUEUE);
    EXPECT_EQ(strcmp(error.nearest, "paused"), 0);
}

Test(engine_list, refuses_a_queue_that_does_not_exist)
{
    in_a_world(1, list_unknown_queue);
}
