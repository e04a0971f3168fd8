/* SPDX-License-Identifier: MIT */
/*
 * The graph of waits.  A fiber waits for the owner of what it waits for (a mutex's, a task's), and
 * whoever joins a group waits for each fiber of it.
 *
 *   G1  Depth first; a fiber is on the path, done, or new.  An edge to one on the path closes a
 *       circle; what is done leads to none.  So each edge is followed once.
 */
#include "observe/graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "observe/describe.h"

enum mark { NEW, ON_PATH, DONE };

struct node {
    enum mark mark;
    long next_member;  /* the next fiber of the same group, or -1 */
    long first_member; /* of the group that this one joins, or -1 */
    long edge;         /* the fiber that is to be followed next, or -1 */
};

struct graph {
    const struct census *census;
    struct node *nodes;
    long *path;
    size_t length;
};

static const struct weft_fiber_info *info_of(const struct graph *graph, long node)
{
    return &graph->census->looks[node].info;
}

static bool joins_group(const struct weft_fiber_info *info)
{
    return info->wait_kind && strcmp(info->wait_kind, "group") == 0;
}

/* Hang every fiber of a group that is being joined under the one that joins it. */
static void link_members(struct graph *graph)
{
    const struct census *census = graph->census;

    for (size_t i = 0; i < census->count; i++) {
        const struct look *owner = census_find(census, census->looks[i].info.parent_id);
        struct node *joiner;

        graph->nodes[i].next_member = -1;
        if (!owner || !joins_group(&owner->info) ||
            owner->info.wait_object != census->looks[i].group)
            continue;
        joiner = &graph->nodes[owner - census->looks];
        graph->nodes[i].next_member = joiner->first_member;
        joiner->first_member = (long)i;
    }
}

static long first_edge(const struct graph *graph, long node)
{
    const struct look *owner = census_find(graph->census, info_of(graph, node)->wait_owner_id);

    return owner ? owner - graph->census->looks : graph->nodes[node].first_member;
}

/* The edge behind this one: only a join has several. */
static long next_edge(const struct graph *graph, long node)
{
    return joins_group(info_of(graph, node)) ? graph->nodes[graph->nodes[node].edge].next_member
                                             : -1;
}

static void enter(struct graph *graph, long node)
{
    graph->nodes[node].mark = ON_PATH;
    graph->nodes[node].edge = first_edge(graph, node);
    graph->path[graph->length++] = node;
}

/* G1.  Returns: the fiber on the path at which the circle begins, or -1. */
static long search_from(struct graph *graph, long root)
{
    enter(graph, root);
    while (graph->length > 0) {
        long node = graph->path[graph->length - 1], to = graph->nodes[node].edge;

        if (to < 0) {
            graph->nodes[node].mark = DONE;
            graph->length--;
            continue;
        }
        if (graph->nodes[to].mark == ON_PATH)
            return to;
        graph->nodes[node].edge = next_edge(graph, node);
        if (graph->nodes[to].mark == NEW)
            enter(graph, to);
    }
    return -1;
}

static void describe_circle(struct text *text, const struct graph *graph, long start)
{
    size_t i = 0;

    while (graph->path[i] != start)
        i++;
    for (; i < graph->length; i++) {
        describe_fiber(text, info_of(graph, graph->path[i]));
        text_add(text, " -> ");
    }
    describe_fiber(text, info_of(graph, start));
}

static void search(struct text *text, struct graph *graph)
{
    for (size_t i = 0; i < graph->census->count; i++)
        graph->nodes[i].first_member = -1;
    link_members(graph);
    for (size_t i = 0; i < graph->census->count; i++) {
        long start = graph->nodes[i].mark == NEW ? search_from(graph, (long)i) : -1;

        if (start >= 0) {
            describe_circle(text, graph, start);
            return;
        }
    }
}

int graph_describe_circle(struct text *text, const struct census *census)
{
    struct graph graph = {.census = census};

    graph.nodes = calloc(census->count + 1, sizeof(*graph.nodes));
    graph.path = calloc(census->count + 1, sizeof(*graph.path));
    if (graph.nodes && graph.path)
        search(text, &graph);
    free(graph.nodes);
    free(graph.path);
    return graph.nodes && graph.path ? 0 : -ENOMEM;
}
