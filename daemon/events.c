/* SPDX-License-Identifier: MIT */
/*
 * events: see events.h.
 *
 *   engine: publish (lock: number, slot) ... unlock, announce (fresh) -> readers that wait
 *   reader: take (lock: references to some slots) -> nothing? wait for fresh, take again
 *
 * I4  The number n is in slots[n % capacity] while first <= n <= last; NULL there: lost for want of
 *     memory.  Each slot of the ring that holds no such number is NULL.
 * I5  No wake-up is lost.  A reader is counted before it first takes, under the lock.  So an event
 *     is either in the ring when it takes, or published after it was counted, and then announced:
 *     `fresh` has another version than the reader saw before it took.
 *
 * The lock is one of threads, not of fibers: a fiber's would go from hand to hand in the order of
 * arrival, and a publisher would wait behind every reader that an event before has woken.
 */
#include "daemon/events.h"

#include "weft/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct events {
    struct weft_watch *fresh; /* its version counts announcements; constant */

    pthread_mutex_t lock; /* leaf; guards all that follows; no call of the runtime under it */
    const struct event **slots;
    size_t capacity;
    uint64_t first, last; /* I4; first = last + 1: empty */
    unsigned readers;
};

/* ---- events ---------------------------------------------------------------------------------- */

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *put_text(char **end, const char *text, size_t size)
{
    if (!text)
        return NULL;
    char *at = *end;
    memcpy(at, text, size);
    at[size] = '\0';
    *end = at + size + 1;
    return at;
}

/* The error's first bytes, whole characters of UTF-8. */
static size_t error_size(const char *error)
{
    size_t size = error ? strnlen(error, EVENT_ERROR_MAX + 1) : 0;
    if (size <= EVENT_ERROR_MAX)
        return size;
    for (size = EVENT_ERROR_MAX; size > EVENT_ERROR_MAX - 4; size--)
        if (((unsigned char)error[size] & 0xC0) != 0x80)
            break;
    return size;
}

static int64_t latest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Whether the move ended an attempt that counts: only then do exit and error belong to it, and are
 * not those of an attempt before. */
static bool has_outcome(enum job_state before, enum job_cause cause)
{
    return before == JOB_RUNNING && cause != JOB_BY_INTERRUPT;
}

/* Errors: NULL, out of memory. */
static struct event *event_new(const struct job_record *record, enum job_state before,
                               enum job_cause cause, const char *progress, int64_t now)
{
    bool outcome = !progress && has_outcome(before, cause);
    const char *error = outcome ? record->error : NULL;
    size_t name_size, error_bytes = error_size(error);
    const char *name = job_spec_text_name(record->spec, &name_size);
    size_t size = text_size(record->queue) + name_size + 1 + error_bytes + 1 + text_size(progress);
    struct event *event = malloc(sizeof(*event) + size);
    if (!event)
        return NULL;
    char *end = (char *)(event + 1);
    *event = (struct event){
        .refs = 1,
        .id = record->id,
        .uid = record->uid,
        .before = before,
        .state = record->state,
        .cause = cause,
        .attempt = record->attempt,
        .memory_only = record->memory_only,
        .exit_code = outcome ? record->exit_code : JOB_NO_EXIT,
        .term_signal = outcome ? record->term_signal : JOB_NO_EXIT,
        .time = latest(now, latest(record->submitted_at, record->started_at)), /* as job_move() */
        .due_at = record->state == JOB_DELAYED ? record->due_at : 0,
        .queue = put_text(&end, record->queue, strlen(record->queue)),
        .name = put_text(&end, name, name_size),
        .error = put_text(&end, error, error_bytes),
        .progress = put_text(&end, progress, progress ? strlen(progress) : 0),
    };
    return event;
}

static void event_unref(const struct event *event)
{
    struct event *mine = (struct event *)event; /* what is shared is constant but for the count */
    if (mine && atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) == 1)
        free(mine);
}

/* Under the lock, where the ring's own reference keeps it: relaxed is enough. */
static const struct event *event_ref(const struct event *event)
{
    atomic_fetch_add_explicit(&((struct event *)event)->refs, 1, memory_order_relaxed);
    return event;
}

/* ---- the ring -------------------------------------------------------------------------------- */

int events_new(size_t capacity, struct events **ret_events)
{
    uint64_t nothing = 0;
    struct events *events = calloc(1, sizeof(*events));
    int rc = events ? weft_watch_new(sizeof(nothing), &nothing, &events->fresh) : -ENOMEM;
    if (rc == 0)
        events->slots = calloc(capacity, sizeof(*events->slots));
    if (rc < 0 || !events->slots) {
        weft_watch_free(events ? events->fresh : NULL);
        free(events);
        return -ENOMEM;
    }
    pthread_mutex_init(&events->lock, NULL);
    events->capacity = capacity;
    events->first = 1;
    *ret_events = events;
    return 0;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    for (size_t i = 0; i < events->capacity; i++)
        event_unref(events->slots[i]);
    weft_watch_free(events->fresh);
    pthread_mutex_destroy(&events->lock);
    free(events->slots);
    free(events);
}

/* Move the newest into slots, of which there are `capacity`, and take those; what did not fit stays
 * in the old ones, which are returned with their number. */
static const struct event **exchange_locked(struct events *events, const struct event **slots,
                                            size_t capacity, size_t *ret_capacity)
{
    const struct event **old = events->slots;
    if (events->last - events->first + 1 > capacity)
        events->first = events->last - capacity + 1;
    for (uint64_t seq = events->first; seq <= events->last; seq++) {
        slots[seq % capacity] = old[seq % events->capacity];
        old[seq % events->capacity] = NULL;
    }
    *ret_capacity = events->capacity;
    events->slots = slots;
    events->capacity = capacity;
    return old;
}

int events_resize(struct events *events, size_t capacity)
{
    const struct event **slots = calloc(capacity, sizeof(*slots));
    size_t old_capacity;
    if (!slots)
        return -ENOMEM;
    pthread_mutex_lock(&events->lock);
    const struct event **old = exchange_locked(events, slots, capacity, &old_capacity);
    pthread_mutex_unlock(&events->lock);
    for (size_t i = 0; i < old_capacity; i++)
        event_unref(old[i]);
    free(old);
    return 0;
}

/* event NULL: its number is lost. */
static bool put(struct events *events, struct event *event)
{
    pthread_mutex_lock(&events->lock);
    uint64_t seq = ++events->last;
    const struct event **slot = &events->slots[seq % events->capacity];
    const struct event *oldest = *slot;
    if (event)
        event->seq = seq;
    *slot = event;
    if (seq - events->first == events->capacity)
        events->first++;
    bool heard = events->readers > 0;
    pthread_mutex_unlock(&events->lock);
    event_unref(oldest);
    return heard;
}

bool events_publish(struct events *events, const struct job_record *record, enum job_state before,
                    enum job_cause cause, int64_t now)
{
    return put(events, event_new(record, before, cause, NULL, now));
}

bool events_publish_progress(struct events *events, const struct job_record *record, int64_t now)
{
    pthread_mutex_lock(&events->lock);
    bool heard = events->readers > 0;
    pthread_mutex_unlock(&events->lock);
    if (!heard)
        return false;
    struct event *event = event_new(record, record->state, JOB_BY_DISPATCH, record->progress, now);
    return event ? put(events, event) : false; /* the job still says it */
}

void events_announce(struct events *events)
{
    uint64_t nothing = 0;
    (void)weft_watch_set(events->fresh, &nothing); /* only the version counts; closed is fine */
}

void events_close(struct events *events)
{
    weft_watch_close(events->fresh);
}

void events_stats(struct events *events, struct events_stats *ret_stats)
{
    pthread_mutex_lock(&events->lock);
    *ret_stats = (struct events_stats){
        .last = events->last,
        .kept = events->last - events->first + 1,
        .readers = events->readers,
    };
    pthread_mutex_unlock(&events->lock);
}

/* ---- reading --------------------------------------------------------------------------------- */

int events_open(struct events *events, uint64_t since, struct events_reader *ret_reader,
                uint64_t *ret_last)
{
    pthread_mutex_lock(&events->lock);
    uint64_t last = events->last;
    if (since == EVENTS_FROM_NOW)
        since = last;
    bool known = since <= last;
    events->readers += known; /* I5 */
    pthread_mutex_unlock(&events->lock);
    *ret_last = last;
    if (!known)
        return -ERANGE;
    *ret_reader = (struct events_reader){.events = events, .next = since + 1};
    return 0;
}

void events_leave(struct events_reader *reader)
{
    pthread_mutex_lock(&reader->events->lock);
    reader->events->readers--;
    pthread_mutex_unlock(&reader->events->lock);
}

static const struct event *at_locked(const struct events *events, uint64_t seq)
{
    return events->slots[seq % events->capacity];
}

/* Returns the number behind the gap that begins at `seq`, or seq if none does. */
static uint64_t pass_gap_locked(const struct events *events, uint64_t seq)
{
    if (seq < events->first)
        seq = events->first;
    while (seq <= events->last && !at_locked(events, seq))
        seq++;
    return seq;
}

static void take_locked(struct events_reader *reader, struct events_batch *batch)
{
    const struct events *events = reader->events;
    uint64_t seq = pass_gap_locked(events, reader->next);
    if (seq > reader->next) {
        batch->gap_from = reader->next;
        batch->gap_to = seq - 1;
    }
    while (seq <= events->last && batch->count < EVENTS_BATCH && at_locked(events, seq))
        batch->list[batch->count++] = event_ref(at_locked(events, seq++));
    reader->next = seq;
}

/* Returns whether there was something. */
static bool take(struct events_reader *reader, struct events_batch *batch)
{
    batch->gap_from = 0;
    batch->gap_to = 0;
    batch->count = 0;
    pthread_mutex_lock(&reader->events->lock);
    take_locked(reader, batch);
    pthread_mutex_unlock(&reader->events->lock);
    return batch->count > 0 || batch->gap_to > 0;
}

int events_read(struct events_reader *reader, struct events_batch *ret_batch, uint64_t deadline_ns)
{
    uint64_t nothing;
    int rc = 0;
    while (!take(reader, ret_batch)) {
        if (rc < 0)
            return rc; /* closed, and looked at once more */
        rc = weft_watch_changed(reader->events->fresh, &reader->version, &nothing, deadline_ns);
        if (rc < 0 && rc != -EPIPE)
            return rc;
    }
    return 0;
}

void events_release(struct events_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        event_unref(batch->list[i]);
    batch->count = 0;
}
