/* SPDX-License-Identifier: MIT */
/* Fibers in words.  Any thread; it looks at nothing but what it is given. */
#include "observe/describe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/fiber.h"

const char *weft_fiber_id_text(uint64_t id, char ret_text[WEFT_FIBER_ID_TEXT])
{
    uint64_t number = id >> FIBER_ID_SHIFT, spawner = id & FIBER_ID_OUTSIDE;

    if (spawner == FIBER_ID_OUTSIDE)
        snprintf(ret_text, WEFT_FIBER_ID_TEXT, "x.%" PRIu64, number);
    else
        snprintf(ret_text, WEFT_FIBER_ID_TEXT, "%" PRIu64 ".%" PRIu64, spawner, number);
    return ret_text;
}

void describe_fiber(struct text *text, const struct weft_fiber_info *info)
{
    char id[WEFT_FIBER_ID_TEXT];

    text_add(text, "%s [%s]", info->name ? info->name : "(unnamed)",
             weft_fiber_id_text(info->id, id));
}

static void describe_object(struct text *text, const struct weft_fiber_info *info)
{
    char symbol[WEFT_SYMBOL_TEXT];

    if (strcmp(info->wait_kind, "readable") == 0 || strcmp(info->wait_kind, "writable") == 0)
        text_add(text, " fd %d", (int)(intptr_t)info->wait_object);
    else if (strcmp(info->wait_kind, "offload") == 0)
        text_add(text, " %s", weft_symbol_text((const char *)info->wait_object + 1, symbol));
    else if (info->wait_object)
        text_add(text, " %p", info->wait_object);
}

static void describe_since(struct text *text, const struct weft_fiber_info *info, uint64_t now_ns)
{
    uint64_t since = info->since_ns < now_ns ? now_ns - info->since_ns : 0;

    text_add(text, " %" PRIu64 ".%03" PRIu64 " s", since / 1000000000, since / 1000000 % 1000);
}

static void describe_run(struct text *text, const struct weft_fiber_info *info, uint64_t now_ns)
{
    if (!info->without_worker) {
        text_add(text, "runs on worker %u", info->worker);
        return;
    }
    text_add(text, "runs");
    describe_since(text, info, now_ns);
    text_add(text, ", and worker %u goes on without it", info->worker);
}

static void describe_wait(struct text *text, const struct weft_fiber_info *info, uint64_t now_ns)
{
    char owner[WEFT_FIBER_ID_TEXT];

    text_add(text, "waits");
    describe_since(text, info, now_ns);
    if (!info->wait_kind)
        return;
    text_add(text, " for %s", info->wait_kind);
    describe_object(text, info);
    if (info->wait_owner_id)
        text_add(text, strcmp(info->wait_kind, "task") == 0 ? ", which is %s" : ", which %s holds",
                 weft_fiber_id_text(info->wait_owner_id, owner));
}

void describe_state(struct text *text, const struct weft_fiber_info *info, uint64_t now_ns)
{
    switch (info->state) {
    case WEFT_FIBER_RUNNING:
        describe_run(text, info, now_ns);
        return;
    case WEFT_FIBER_READY:
        text_add(text, "is ready");
        return;
    case WEFT_FIBER_WAITING:
        describe_wait(text, info, now_ns);
        return;
    }
}

void describe_frames(struct text *text, const struct weft_fiber_info *info, const char *indent)
{
    char symbol[WEFT_SYMBOL_TEXT];

    for (unsigned i = 0; i < info->frame_count; i++)
        text_add(text, "%s#%-2u %s%s\n", indent, i, info->guesses >> i & 1 ? "? " : "",
                 weft_symbol_text(info->frames[i], symbol));
}
