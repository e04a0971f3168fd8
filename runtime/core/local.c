/* SPDX-License-Identifier: MIT */
/*
 * Fiber-local values: immutable sets of bindings, shared by reference.
 *
 *   I1  A set does not change after it was made; fiber->locals is the fiber's own (F1), so neither
 *       needs a lock.  What is shared among threads is the two kinds of reference counts.
 *   I2  A value is referred to by each set that has it; the last of them to go releases it, once.
 *   I3  No set is empty: no values is NULL.
 *   I4  The new set is the fiber's before the old one is dropped, so that a release callback sees
 *       what is, and never a value that is gone.
 *
 * Sets are searched and copied whole: they hold a handful of values (a request's id, a user, a
 * logger), and are copied per set, not per spawn.
 */
#include "core/local.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/stack.h"
#include "weft/local.h"

struct value {
    atomic_uint refs;             /* atomic: the sets that have it; acq_rel by whoever drops it */
    const struct weft_local *key; /* constant */
    void (*release)(void *value); /* constant */
    void *pointer;                /* constant */
};

struct locals {
    atomic_uint refs; /* atomic: the fibers that have it; acq_rel by whoever drops it */
    unsigned count;   /* constant */
    struct value *values[];
};

static void value_unref(struct value *value)
{
    if (atomic_fetch_sub_explicit(&value->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (value->release)
        value->release(value->pointer);
    free(value);
}

struct locals *locals_ref_shared(struct locals *locals)
{
    atomic_fetch_add_explicit(&locals->refs, 1, memory_order_relaxed);
    return locals;
}

void locals_unref_shared(struct locals *locals)
{
    if (atomic_fetch_sub_explicit(&locals->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < locals->count; i++)
        value_unref(locals->values[i]);
    free(locals);
}

static struct value *locals_find(const struct locals *locals, const struct weft_local *key)
{
    for (unsigned i = 0; locals && i < locals->count; i++)
        if (locals->values[i]->key == key)
            return locals->values[i];
    return NULL;
}

void *weft_local_get(const struct weft_local *key)
{
    struct fiber *self = fiber_self();
    struct value *value = self ? locals_find(self->locals, key) : NULL;

    return value ? value->pointer : NULL;
}

static struct value *value_new(const struct weft_local *key, void *pointer)
{
    struct value *value = malloc(sizeof(*value));

    if (!value)
        return NULL;
    atomic_init(&value->refs, 1);
    value->key = key;
    value->release = key->release;
    value->pointer = pointer;
    return value;
}

/* A set with all of `from` (or NULL) but `without` (or NULL), and with `added` (or NULL), whose
 * reference it takes over.  *ret_set is NULL if that is nothing (I3).  Errors: -ENOMEM. */
static int locals_copy(const struct locals *from, const struct value *without, struct value *added,
                       struct locals **ret_set)
{
    unsigned before = from ? from->count : 0;
    unsigned count = before - (without != NULL) + (added != NULL);
    struct locals *set = NULL;

    if (count > 0) {
        set = malloc(sizeof(*set) + count * sizeof(struct value *));
        if (!set)
            return -ENOMEM;
        atomic_init(&set->refs, 1);
        set->count = 0;
        for (unsigned i = 0; i < before; i++) {
            if (from->values[i] == without)
                continue;
            atomic_fetch_add_explicit(&from->values[i]->refs, 1, memory_order_relaxed);
            set->values[set->count++] = from->values[i];
        }
        if (added)
            set->values[set->count++] = added;
    }
    *ret_set = set;
    return 0;
}

int weft_local_set(const struct weft_local *key, void *pointer)
{
    struct fiber *self = fiber_self();
    struct locals *before, *after = NULL;
    struct value *known, *value = NULL;

    CHECK(self);
    before = self->locals;
    known = locals_find(before, key);
    if (!pointer && !known)
        return 0;
    if (pointer) {
        value = value_new(key, pointer);
        if (!value)
            return -ENOMEM;
    }
    if (locals_copy(before, known, value, &after) < 0) {
        free(value); /* not released: it is still the caller's */
        return -ENOMEM;
    }
    self->locals = after; /* I4 */
    locals_drop(&before);
    return 0;
}
