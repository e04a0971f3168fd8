/* SPDX-License-Identifier: MIT */
/* config_diff: what a reload changes, and what of it must wait for a restart.  Values are compared
 * in their text form, which is exact (config_value.c, I1). */
#include "daemon/config_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Returns 1 they differ, 0 they do not, -ENOMEM. */
static int differs(const struct config_key *key, const void *a, const void *b)
{
    char *text_a = config_value_text(key, a);
    char *text_b = config_value_text(key, b);
    int result = text_a && text_b ? strcmp(text_a, text_b) != 0 : -ENOMEM;
    free(text_a);
    free(text_b);
    return result;
}

static int pending_add(struct config_pending *pending, const struct config_key *key)
{
    char **keys = realloc(pending->keys, (pending->count + 2) * sizeof *keys);
    if (!keys)
        return -ENOMEM;
    pending->keys = keys;
    char *name;
    if (asprintf(&name, "%s.%s", key->section, key->name) < 0)
        return -ENOMEM;
    keys[pending->count++] = name;
    keys[pending->count] = NULL;
    return 0;
}

static const struct config_queue *find_queue(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->queues_count; i++) {
        if (strcmp(config->queues[i].name, name) == 0)
            return &config->queues[i];
    }
    return NULL;
}

static int diff_queue(const struct config_queue *running, const struct config_queue *fresh,
                      size_t *changed)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        if (strcmp(config_keys[i].section, "queue") != 0)
            continue;
        int result = differs(&config_keys[i], running, fresh);
        if (result < 0)
            return result;
        *changed += (size_t)result;
    }
    return 0;
}

/* A queue that came or went counts as one change. */
static int diff_queues(const struct config *running, const struct config *fresh, size_t *changed)
{
    for (size_t i = 0; i < running->queues_count; i++) {
        const struct config_queue *other = find_queue(fresh, running->queues[i].name);
        int err = other ? diff_queue(&running->queues[i], other, changed) : 0;
        if (err)
            return err;
        *changed += !other;
    }
    for (size_t i = 0; i < fresh->queues_count; i++)
        *changed += !find_queue(running, fresh->queues[i].name);
    return 0;
}

static int diff_keys(const struct config *running, const struct config *fresh, size_t *changed,
                     struct config_pending *pending)
{
    for (size_t i = 0; i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strcmp(key->section, "queue") == 0)
            continue;
        int result = differs(key, running, fresh);
        if (result < 0)
            return result;
        if (result && key->live)
            *changed += 1;
        else if (result && pending_add(pending, key))
            return -ENOMEM;
    }
    return 0;
}

int config_diff(const struct config *running, const struct config *fresh, size_t *ret_changed_live,
                struct config_pending *ret_pending)
{
    struct config_pending pending = {0};
    size_t changed = 0;
    int err = diff_keys(running, fresh, &changed, &pending);
    if (!err)
        err = diff_queues(running, fresh, &changed);
    if (err) {
        config_pending_destroy(&pending);
        return err;
    }
    *ret_changed_live = changed;
    *ret_pending = pending;
    return 0;
}

void config_pending_destroy(struct config_pending *pending)
{
    for (size_t i = 0; i < pending->count; i++)
        free(pending->keys[i]);
    free(pending->keys);
    *pending = (struct config_pending){0};
}
