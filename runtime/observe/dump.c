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
#include "observe/census.h"
#include "observe/describe.h"
#include "observe/text.h"
#include "weft/time.h"

enum { DEPTH_SHOWN = 48, NOBODY = -1 };

/* A fiber in the tree: indices, like those of the looks, or NOBODY. */
struct node {
    long parent, first_child, last_child, next_sibling;
};

struct tree {
    struct census census;
    struct node *nodes;
};

/* --- the tree */

static void tree_adopt(struct tree *tree, long child, long parent)
{
    struct node *nodes = tree->nodes;

    nodes[child].parent = parent;
    if (nodes[parent].last_child == NOBODY)
        nodes[parent].first_child = child;
    else
        nodes[nodes[parent].last_child].next_sibling = child;
    nodes[parent].last_child = child;
}

static int tree_link(struct tree *tree)
{
    const struct census *census = &tree->census;

    tree->nodes = calloc(census->count + 1, sizeof(*tree->nodes));
    if (!tree->nodes)
        return -ENOMEM;
    for (size_t i = 0; i < census->count; i++)
        tree->nodes[i] = (struct node){NOBODY, NOBODY, NOBODY, NOBODY};
    for (size_t i = 0; i < census->count; i++) {
        const struct look *parent = census_find(census, census->looks[i].info.parent_id);

        if (parent)
            tree_adopt(tree, (long)i, parent - census->looks);
    }
    return 0;
}

/* What stands before a line: a rail for each ancestor that has more to come. */
static void tree_indent(const struct tree *tree, long node, bool own_line, char *ret_indent)
{
    long path[DEPTH_SHOWN];
    int depth = 0;

    *ret_indent = '\0';
    for (; tree->nodes[node].parent != NOBODY && depth < DEPTH_SHOWN;
         node = tree->nodes[node].parent)
        path[depth++] = node;
    while (depth-- > 0) {
        bool last = tree->nodes[path[depth]].next_sibling == NOBODY;

        if (depth == 0 && own_line)
            strcat(ret_indent, last ? "└─ " : "├─ ");
        else
            strcat(ret_indent, last ? "   " : "│  ");
    }
}

static void tree_line(struct text *text, const struct tree *tree, long node, uint64_t now)
{
    const struct weft_fiber_info *info = &tree->census.looks[node].info;
    char indent[DEPTH_SHOWN * 8 + 16];

    tree_indent(tree, node, true, indent);
    text_add(text, "%s", indent);
    describe_fiber(text, info);
    text_add(text, " ");
    describe_state(text, info, now);
    text_add(text, "\n");
    tree_indent(tree, node, false, indent);
    strcat(indent, tree->nodes[node].first_child == NOBODY ? "   " : "│  ");
    describe_frames(text, info, indent);
}

static long tree_next(const struct tree *tree, long node)
{
    if (tree->nodes[node].first_child != NOBODY)
        return tree->nodes[node].first_child;
    while (node != NOBODY && tree->nodes[node].next_sibling == NOBODY)
        node = tree->nodes[node].parent;
    return node == NOBODY ? NOBODY : tree->nodes[node].next_sibling;
}

static void write_tree(struct text *text, const struct tree *tree, uint64_t now)
{
    for (size_t i = 0; i < tree->census.count; i++) {
        if (tree->nodes[i].parent != NOBODY)
            continue;
        for (long node = (long)i; node != NOBODY; node = tree_next(tree, node))
            tree_line(text, tree, node, now);
    }
}

/* --- the whole */

static void write_flat(struct text *text, const struct tree *tree, uint64_t now)
{
    for (size_t i = 0; i < tree->census.count; i++) {
        const struct weft_fiber_info *info = &tree->census.looks[i].info;

        describe_fiber(text, info);
        text_add(text, " ");
        describe_state(text, info, now);
        text_add(text, "\n");
        describe_frames(text, info, "   ");
    }
}

static void write_head(struct text *text, const struct weft_runtime *runtime,
                       const struct tree *tree)
{
    size_t counts[WEFT_FIBER_WAITING + 1] = {0};

    for (size_t i = 0; i < tree->census.count; i++)
        counts[tree->census.looks[i].info.state]++;
    text_add(text, "%zu fiber%s on %u worker%s: %zu running, %zu ready, %zu waiting\n",
             tree->census.count, tree->census.count == 1 ? "" : "s", runtime->workers,
             runtime->workers == 1 ? "" : "s", counts[WEFT_FIBER_RUNNING], counts[WEFT_FIBER_READY],
             counts[WEFT_FIBER_WAITING]);
}

int weft_dump(struct weft_runtime *runtime, unsigned flags,
              int (*write)(const char *text, size_t size, void *arg), void *arg)
{
    struct text text = {.write = write, .arg = arg};
    uint64_t now = weft_now_ns();
    struct tree tree = {0};
    int r = census_take(&tree.census, runtime, flags);

    if (r == 0)
        r = tree_link(&tree);
    if (r == 0) {
        write_head(&text, runtime, &tree);
        if (flags & WEFT_DUMP_TREE)
            write_tree(&text, &tree, now);
        else
            write_flat(&text, &tree, now);
        r = text_end(&text);
    }
    census_free(&tree.census);
    free(tree.nodes);
    return r;
}

int weft_dump_fd(struct weft_runtime *runtime, unsigned flags, int fd)
{
    return weft_dump(runtime, flags, text_write_fd, &fd);
}
