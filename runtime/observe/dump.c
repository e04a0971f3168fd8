/* SPDX-License-Identifier: MIT */
/*
 * The dump as text: a line per fiber, flat or as a tree.
 *
 * All fibers are looked at first, in chunks, and nothing is held while the text is made and
 * written; so the text may be long and the writer slow.
 *
 * The tree is made of ids.  A fiber's parent is older than the fiber and stays the same, so there
 * is no circle; children of which the dump did not see the parent are roots.
 */
#include "weft/dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/runtime.h"
#include "observe/describe.h"
#include "observe/look.h"
#include "observe/text.h"
#include "weft/time.h"

enum { CHUNK = 64, DEPTH_SHOWN = 48, NOBODY = -1 };

/* A fiber in the tree; indices into `all`, or NOBODY. */
struct node {
    uint64_t id;
    struct look *look;
    long parent, first_child, last_child, next_sibling;
};

struct all {
    struct look *looks;
    size_t count, capacity;
    struct node *nodes; /* sorted by id */
};

/* --- collecting */

static int all_reserve(struct all *all)
{
    size_t capacity = all->capacity ? 2 * all->capacity : 2 * CHUNK;
    struct look *looks;

    if (all->count + CHUNK <= all->capacity)
        return 0;
    looks = realloc(all->looks, capacity * sizeof(*looks));
    if (!looks)
        return -ENOMEM;
    all->looks = looks;
    all->capacity = capacity;
    return 0;
}

static int all_collect(struct all *all, struct weft_runtime *runtime, unsigned flags)
{
    struct look_cursor cursor = {0};
    int r;

    do {
        r = all_reserve(all);
        if (r == 0)
            r = look_more(runtime, flags, &cursor, &all->looks[all->count], CHUNK);
        if (r > 0)
            all->count += (size_t)r;
    } while (r > 0);
    for (size_t i = 0; i < all->count; i++) /* the copies have moved */
        if (all->looks[i].info.name)
            all->looks[i].info.name = all->looks[i].name;
    return r;
}

static void all_free(struct all *all)
{
    free(all->looks);
    free(all->nodes);
}

/* --- the tree */

static int by_id(const void *a, const void *b)
{
    const struct node *one = a, *other = b;

    return one->id < other->id ? -1 : one->id > other->id;
}

static long all_find(const struct all *all, uint64_t id)
{
    struct node wanted = {.id = id};
    struct node *found = bsearch(&wanted, all->nodes, all->count, sizeof(wanted), by_id);

    return found ? found - all->nodes : NOBODY;
}

static void all_adopt(struct all *all, long child, long parent)
{
    struct node *nodes = all->nodes;

    nodes[child].parent = parent;
    if (nodes[parent].last_child == NOBODY)
        nodes[parent].first_child = child;
    else
        nodes[nodes[parent].last_child].next_sibling = child;
    nodes[parent].last_child = child;
}

static int all_link(struct all *all)
{
    all->nodes = calloc(all->count + 1, sizeof(*all->nodes));
    if (!all->nodes)
        return -ENOMEM;
    for (size_t i = 0; i < all->count; i++)
        all->nodes[i] = (struct node){.id = all->looks[i].info.id,
                                      .look = &all->looks[i],
                                      .parent = NOBODY,
                                      .first_child = NOBODY,
                                      .last_child = NOBODY,
                                      .next_sibling = NOBODY};
    qsort(all->nodes, all->count, sizeof(*all->nodes), by_id);
    for (size_t i = 0; i < all->count; i++) {
        long parent = all_find(all, all->nodes[i].look->info.parent_id);

        if (parent != NOBODY)
            all_adopt(all, (long)i, parent);
    }
    return 0;
}

/* What stands before a line: a rail for each ancestor that has more to come. */
static void tree_indent(const struct all *all, long node, bool own_line, char *ret_indent)
{
    long path[DEPTH_SHOWN];
    int depth = 0;

    *ret_indent = '\0';
    for (; all->nodes[node].parent != NOBODY && depth < DEPTH_SHOWN; node = all->nodes[node].parent)
        path[depth++] = node;
    while (depth-- > 0) {
        bool last = all->nodes[path[depth]].next_sibling == NOBODY;

        if (depth == 0 && own_line)
            strcat(ret_indent, last ? "└─ " : "├─ ");
        else
            strcat(ret_indent, last ? "   " : "│  ");
    }
}

static void tree_line(struct text *text, const struct all *all, long node, uint64_t now)
{
    const struct weft_fiber_info *info = &all->nodes[node].look->info;
    char indent[DEPTH_SHOWN * 8 + 16];

    tree_indent(all, node, true, indent);
    text_add(text, "%s", indent);
    describe_fiber(text, info);
    text_add(text, " ");
    describe_state(text, info, now);
    text_add(text, "\n");
    tree_indent(all, node, false, indent);
    strcat(indent, all->nodes[node].first_child == NOBODY ? "   " : "│  ");
    describe_frames(text, info, indent);
}

static long tree_next(const struct all *all, long node)
{
    if (all->nodes[node].first_child != NOBODY)
        return all->nodes[node].first_child;
    while (node != NOBODY && all->nodes[node].next_sibling == NOBODY)
        node = all->nodes[node].parent;
    return node == NOBODY ? NOBODY : all->nodes[node].next_sibling;
}

static void write_tree(struct text *text, const struct all *all, uint64_t now)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->nodes[i].parent != NOBODY)
            continue;
        for (long node = (long)i; node != NOBODY; node = tree_next(all, node))
            tree_line(text, all, node, now);
    }
}

/* --- the whole */

static void write_flat(struct text *text, const struct all *all, uint64_t now)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct weft_fiber_info *info = &all->nodes[i].look->info;

        describe_fiber(text, info);
        text_add(text, " ");
        describe_state(text, info, now);
        text_add(text, "\n");
        describe_frames(text, info, "   ");
    }
}

static void write_head(struct text *text, const struct weft_runtime *runtime, const struct all *all)
{
    size_t counts[WEFT_FIBER_WAITING + 1] = {0};

    for (size_t i = 0; i < all->count; i++)
        counts[all->looks[i].info.state]++;
    text_add(text, "%zu fiber%s on %u worker%s: %zu running, %zu ready, %zu waiting\n", all->count,
             all->count == 1 ? "" : "s", runtime->workers, runtime->workers == 1 ? "" : "s",
             counts[WEFT_FIBER_RUNNING], counts[WEFT_FIBER_READY], counts[WEFT_FIBER_WAITING]);
}

int weft_dump(struct weft_runtime *runtime, unsigned flags,
              int (*write)(const char *text, size_t size, void *arg), void *arg)
{
    struct text text = {.write = write, .arg = arg};
    uint64_t now = weft_now_ns();
    struct all all = {0};
    int r = all_collect(&all, runtime, flags);

    if (r == 0)
        r = all_link(&all);
    if (r == 0) {
        write_head(&text, runtime, &all);
        if (flags & WEFT_DUMP_TREE)
            write_tree(&text, &all, now);
        else
            write_flat(&text, &all, now);
        r = text_end(&text);
    }
    all_free(&all);
    return r;
}

int weft_dump_fd(struct weft_runtime *runtime, unsigned flags, int fd)
{
    return weft_dump(runtime, flags, text_write_fd, &fd);
}
