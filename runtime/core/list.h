/* SPDX-License-Identifier: MIT */
/* An intrusive, circular, doubly linked list.  A node that is on no list points at itself, so that
 * list_linked() can be asked and list_remove() repeated.  No locking of its own. */
#ifndef RUNTIME_CORE_LIST_H
#define RUNTIME_CORE_LIST_H

#include "core/base.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *node)
{
    node->next = node->prev = node;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_prepend(struct list *head, struct list *node)
{
    list_append(head->next, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

#endif
