/* SPDX-License-Identifier: MIT */
/*
 * The trace as JSON of the Trace Event Format, for ui.perfetto.dev and chrome://tracing.
 *
 *   J1  Events are written in the order of time.  A worker's track has one slice at a time: a turn
 *       of a fiber, a poll, or a sleep; so slices never overlap.  A turn whose beginning was
 *       overwritten in the ring is left out; one without an end lasts to the end of the trace.
 *   J2  An arrow ("s" to "f") goes from where a fiber was made ready to its next turn.  Both ends
 *       lie in slices; what a plain thread does gets a slice without length.
 *   J3  Names are the user's bytes: what is not UTF-8 is written as '?'.
 *
 * It works on a copy of what was recorded, so the writer may be slow, and may suspend the fiber.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/runtime.h"
#include "observe/text.h"
#include "observe/trace.h"
#include "weft/dump.h"
#include "weft/trace.h"

enum { PROCESS = 1, NAME_JSON = 6 * TRACE_TEXT };

/* A fiber that was made ready and has not been entered since. */
struct arrow {
    uint64_t fiber; /* 0: a free place */
    uint64_t number;
};

struct json {
    struct text text;
    const struct trace_copy *copy;
    uint64_t start_ns, end_ns;
    const struct trace_record **turn; /* per worker: the IN of the slice that is open, or NULL */
    struct arrow *arrows; /* a hash table; its size is a power of two, its load <= 1/2 */
    size_t arrows_mask;
    uint64_t arrows_drawn;
    bool comma;
};

/* --- words */

/* How many bytes of a valid UTF-8 sequence stand there; 0: none. */
static int utf8_length(const unsigned char *c)
{
    int length = *c < 0x80                 ? 1
                 : *c >= 0xc2 && *c < 0xe0 ? 2
                 : *c >= 0xe0 && *c < 0xf0 ? 3
                 : *c >= 0xf0 && *c < 0xf5 ? 4
                                           : 0;

    for (int i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    if ((*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) || (*c == 0xf0 && c[1] < 0x90) ||
        (*c == 0xf4 && c[1] > 0x8f))
        return 0;
    return length;
}

/* J3.  The text of a record ends in a zero. */
static const char *escape(const char *name, char ret_json[NAME_JSON])
{
    const unsigned char *from = (const unsigned char *)name;
    char *to = ret_json;

    while (*from) {
        int length = utf8_length(from);

        if (length == 0) {
            *to++ = '?';
            from++;
        } else if (*from < 0x20 || *from == '"' || *from == '\\' || *from == 0x7f) {
            to += sprintf(to, "\\u%04x", *from++);
        } else {
            memcpy(to, from, (size_t)length);
            to += length;
            from += length;
        }
    }
    *to = '\0';
    return ret_json;
}

/* The event's beginning, up to its arguments: {"ph":…,"name":…,"pid":…,"tid":…,"ts":… */
static void event_open(struct json *json, const char *phase, const char *name, unsigned worker,
                       uint64_t time_ns)
{
    char escaped[NAME_JSON];
    uint64_t ns = time_ns - json->start_ns;

    text_add(&json->text,
             "%s{\"ph\":\"%s\",\"name\":\"%s\",\"pid\":%d,\"tid\":%u,\"ts\":%" PRIu64 ".%03" PRIu64,
             json->comma ? ",\n" : "", phase, escape(name, escaped), PROCESS, worker, ns / 1000,
             ns % 1000);
    json->comma = true;
}

static void event_duration(struct json *json, uint64_t ns)
{
    text_add(&json->text, ",\"dur\":%" PRIu64 ".%03" PRIu64, ns / 1000, ns % 1000);
}

static void event_close(struct json *json)
{
    text_add(&json->text, "}");
}

static void write_thread_name(struct json *json, unsigned worker)
{
    char name[32];

    if (worker == json->copy->workers)
        snprintf(name, sizeof(name), "other threads");
    else
        snprintf(name, sizeof(name), "worker %u", worker);
    event_open(json, "M", "thread_name", worker, json->start_ns);
    text_add(&json->text, ",\"args\":{\"name\":\"%s\"}", name);
    event_close(json);
    event_open(json, "M", "thread_sort_index", worker, json->start_ns);
    text_add(&json->text, ",\"args\":{\"sort_index\":%u}", worker);
    event_close(json);
}

/* --- arrows (J2) */

static struct arrow *arrow_place(struct json *json, uint64_t fiber)
{
    size_t i = (size_t)(fiber * UINT64_C(0x9E3779B97F4A7C15) >> 20);

    while (json->arrows[i & json->arrows_mask].fiber &&
           json->arrows[i & json->arrows_mask].fiber != fiber)
        i++;
    return &json->arrows[i & json->arrows_mask];
}

static void write_arrow(struct json *json, const char *phase, unsigned worker, uint64_t time_ns,
                        uint64_t number)
{
    event_open(json, phase, "wake", worker, time_ns);
    text_add(&json->text, ",\"cat\":\"wake\",\"id\":%" PRIu64 "%s", number,
             *phase == 'f' ? ",\"bp\":\"e\"" : "");
    event_close(json);
}

static void arrow_begin(struct json *json, const struct trace_event *event)
{
    struct arrow *arrow = arrow_place(json, event->record.fiber);

    if (!event->record.fiber)
        return;
    arrow->fiber = event->record.fiber;
    arrow->number = ++json->arrows_drawn;
    write_arrow(json, "s", event->worker, event->record.time_ns, arrow->number);
}

/* The place stays the fiber's, so that the search for others goes on behind it. */
static void arrow_end(struct json *json, const struct trace_event *event)
{
    struct arrow *arrow = arrow_place(json, event->record.fiber);

    if (!arrow->fiber || !arrow->number)
        return;
    write_arrow(json, "f", event->worker, event->record.time_ns, arrow->number);
    arrow->number = 0;
}

/* --- slices (J1) */

static const char *const reasons[] = {[LEAVE_WAIT] = "wait",
                                      [LEAVE_YIELD] = "yield",
                                      [LEAVE_SPAWN] = "spawn",
                                      [LEAVE_END] = "end",
                                      [LEAVE_HANDOFF] = "hand-off"};

/* `out`: the record of its end, NULL: it has none. */
static void write_turn(struct json *json, unsigned worker, const struct trace_record *out,
                       uint64_t end_ns)
{
    const struct trace_record *in = json->turn[worker];
    char id[WEFT_FIBER_ID_TEXT], waits_for[NAME_JSON];

    json->turn[worker] = NULL;
    if (!in)
        return;
    event_open(json, "X", *in->text ? in->text : "(unnamed)", worker, in->time_ns);
    event_duration(json, end_ns - in->time_ns);
    text_add(&json->text, ",\"args\":{\"id\":\"%s\"", weft_fiber_id_text(in->fiber, id));
    if (in->detail)
        text_add(&json->text, ",\"first\":true");
    if (out)
        text_add(&json->text, ",\"left by\":\"%s\"", reasons[out->detail % LEAVE_REASONS]);
    if (out && *out->text)
        text_add(&json->text, ",\"waits for\":\"%s\"", escape(out->text, waits_for));
    text_add(&json->text, "}");
    event_close(json);
}

static void write_loop(struct json *json, const struct trace_event *event, const char *name)
{
    event_open(json, "X", name, event->worker, event->record.time_ns);
    event_duration(json, event->record.other - event->record.time_ns);
    event_close(json);
}

static void write_instant(struct json *json, const struct trace_event *event, const char *name)
{
    char id[WEFT_FIBER_ID_TEXT];

    event_open(json, "i", name, event->worker, event->record.time_ns);
    text_add(&json->text, ",\"s\":\"t\",\"args\":{\"fiber\":\"%s\"",
             weft_fiber_id_text(event->record.fiber, id));
    if (event->record.kind == TRACE_STEAL)
        text_add(&json->text, ",\"from worker\":%u,\"fibers\":%" PRIu64, event->record.detail,
                 event->record.other);
    if (event->record.kind == TRACE_MARK)
        text_add(&json->text, ",\"value\":%" PRId64, (int64_t)event->record.other);
    text_add(&json->text, "}");
    event_close(json);
}

static void write_mark(struct json *json, const struct trace_event *event)
{
    write_instant(json, event, event->record.text);
    event_open(json, "C", event->record.text, event->worker, event->record.time_ns);
    text_add(&json->text, ",\"args\":{\"value\":%" PRId64 "}", (int64_t)event->record.other);
    event_close(json);
}

/* Plain threads have no turns: a slice without length is what their arrows begin at. */
static void write_outside(struct json *json, const struct trace_event *event, const char *name)
{
    if (event->worker != json->copy->workers)
        return;
    event_open(json, "X", name, event->worker, event->record.time_ns);
    event_duration(json, 0);
    event_close(json);
}

static void write_event(struct json *json, const struct trace_event *event)
{
    switch ((enum trace_kind)event->record.kind) {
    case TRACE_SPAWN:
        write_outside(json, event, "spawn");
        write_instant(json, event, "spawn");
        if (event->worker == json->copy->workers)
            arrow_begin(json, event);
        return;
    case TRACE_IN:
        write_turn(json, event->worker, NULL, event->record.time_ns);
        json->turn[event->worker] = &event->record;
        arrow_end(json, event);
        return;
    case TRACE_OUT:
        write_turn(json, event->worker, &event->record, event->record.time_ns);
        return;
    case TRACE_END:
        write_instant(json, event, "end");
        return;
    case TRACE_READY:
        write_outside(json, event, "wake");
        arrow_begin(json, event);
        return;
    case TRACE_STEAL:
        write_instant(json, event, "steal");
        return;
    case TRACE_POLL:
        write_loop(json, event, "poll");
        return;
    case TRACE_PARK:
        write_loop(json, event, "parked");
        return;
    case TRACE_MARK:
        write_mark(json, event);
        return;
    }
}

/* --- the whole */

static int json_prepare(struct json *json)
{
    const struct trace_copy *copy = json->copy;
    size_t places = 64;

    while (places < 2 * copy->count)
        places *= 2;
    json->turn = calloc(copy->workers + 1, sizeof(*json->turn));
    json->arrows = calloc(places, sizeof(*json->arrows));
    json->arrows_mask = places - 1;
    if (!json->turn || !json->arrows)
        return -ENOMEM;
    json->start_ns = copy->count ? copy->events[0].record.time_ns : 0;
    for (size_t i = 0; i < copy->count; i++) {
        const struct trace_record *record = &copy->events[i].record;
        bool lasts = record->kind == TRACE_POLL || record->kind == TRACE_PARK;
        uint64_t end = lasts ? record->other : record->time_ns;

        json->end_ns = end > json->end_ns ? end : json->end_ns;
    }
    return 0;
}

static void json_write(struct json *json)
{
    const struct trace_copy *copy = json->copy;

    text_add(&json->text, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
    event_open(json, "M", "process_name", 0, json->start_ns);
    text_add(&json->text, ",\"args\":{\"name\":\"weft %ld\"}", (long)getpid());
    event_close(json);
    for (unsigned i = 0; i <= copy->workers; i++)
        write_thread_name(json, i);
    for (size_t i = 0; i < copy->count && !json->text.error; i++)
        write_event(json, &copy->events[i]);
    for (unsigned i = 0; i < copy->workers; i++)
        write_turn(json, i, NULL, json->end_ns);
    text_add(&json->text, "\n]}\n");
}

int weft_trace_export(struct weft_runtime *runtime,
                      int (*write)(const char *text, size_t size, void *arg), void *arg)
{
    struct trace_copy copy;
    struct json json = {.text = {.write = write, .arg = arg}, .copy = &copy};
    int r = trace_copy(runtime, &copy);

    if (r < 0)
        return r;
    r = json_prepare(&json);
    if (r == 0) {
        json_write(&json);
        r = text_end(&json.text);
    }
    free(json.turn);
    free(json.arrows);
    free(copy.events);
    return r;
}

int weft_trace_export_fd(struct weft_runtime *runtime, int fd)
{
    return weft_trace_export(runtime, text_write_fd, &fd);
}
