/* SPDX-License-Identifier: MIT */
/*
 * The kinds of waits.  A wait of a kind that is missing here is shown by dumps like any other, but
 * counts as one that may end from outside: then no deadlock is reported.  So every kind that only
 * fibers can end stands here; tests/integration/wait_kinds_test.sh compares it with the sources.
 *
 * It dereferences an object only to ask its owner (look.h, O4).
 */
#include "observe/owner.h"

#include <string.h>

#include "sync/owners.h"

struct kind {
    const char *name;
    const struct fiber *(*owner)(const void *object); /* or NULL */
};

/* clang-format off */
static const struct kind internal_kinds[] = {
    {"barrier", NULL},
    {"broadcast", NULL},
    {"channel recv", NULL},
    {"channel send", NULL},
    {"completions", NULL},
    {"condition", NULL},
    {"event", NULL},
    {"future", NULL},
    {"generator next", NULL},
    {"generator yield", NULL},
    {"group", NULL},
    {"mutex", mutex_owner},
    {"once", once_runner},
    {"queue get", NULL},
    {"queue join", NULL},
    {"queue put", NULL},
    {"rwlock read", rwlock_writer},
    {"rwlock write", rwlock_writer},
    {"select", NULL},
    {"semaphore", NULL},
    {"task", task_fiber},
    {"wait group", NULL},
    {"watch", NULL},
};
/* clang-format on */

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof(internal_kinds) / sizeof(*internal_kinds); i++)
        if (strcmp(internal_kinds[i].name, name) == 0)
            return &internal_kinds[i];
    return NULL;
}

bool wait_is_internal(const char *name)
{
    return kind_of(name) != NULL;
}

const struct fiber *wait_owner_of(const char *name, const void *object)
{
    const struct kind *kind = kind_of(name);

    return kind && kind->owner ? kind->owner(object) : NULL;
}
