/* SPDX-License-Identifier: MIT */
/*
 * Recording: see trace.h for the rings.  While nothing records, none of this is reached: the hooks
 * are one load and a branch (core/hooks.h).
 *
 * Starting, stopping and copying are for any thread, one at a time per runtime (runtime->lock).
 * What the records mean to a reader is trace_json.c's.
 */
#include "observe/trace.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/handoff.h"
#include "core/runtime.h"
#include "core/stack.h"
#include "core/worker.h"
#include "weft/time.h"
#include "weft/trace.h"

enum { EVENTS_DEFAULT = 65536, EVENTS_MAX = 1 << 24, EVENTS_MIN = 16 };

struct trace_ring {
    atomic_uint_fast64_t head; /* R1; release by the writer, acquire by readers */
    uint64_t mask;
    atomic_uint_fast64_t words[]; /* TRACE_WORDS for each record; relaxed, see R2 */
};

/* Of one runtime, from its first trace on. */
struct trace {
    bool recording;            /* guarded by runtime->lock */
    struct spin lock;          /* of the shared ring */
    bool shared_records;       /* guarded by lock */
    struct trace_ring *ring[]; /* one per worker, then the shared one; guarded by runtime->lock */
};

_Static_assert(sizeof(struct trace_record) == TRACE_WORDS * sizeof(uint64_t), "R1");

/* --- writing */

static void ring_write(struct trace_ring *ring, const struct trace_record *record)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    atomic_uint_fast64_t *slot = &ring->words[(head & ring->mask) * TRACE_WORDS];
    uint64_t words[TRACE_WORDS];

    memcpy(words, record, sizeof(words));
    hook_barrier(); /* R2: head before the words */
    for (int i = 0; i < TRACE_WORDS; i++)
        atomic_store_explicit(&slot[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

static void worker_write(struct worker *worker, const struct trace_record *record)
{
    struct trace_ring *ring;

    atomic_store_explicit(&worker->trace_busy, true, memory_order_seq_cst); /* R3 */
    ring = atomic_load_explicit(&worker->trace_ring, memory_order_seq_cst);
    if (ring)
        ring_write(ring, record);
    atomic_store_explicit(&worker->trace_busy, false, memory_order_release);
}

/* For plain threads, and for fibers of other runtimes. */
static void shared_write(struct weft_runtime *runtime, const struct trace_record *record)
{
    struct trace *trace = atomic_load_explicit(&runtime->trace, memory_order_acquire);

    if (!trace)
        return;
    spin_lock(&trace->lock);
    if (trace->shared_records)
        ring_write(trace->ring[runtime->workers], record);
    spin_unlock(&trace->lock);
}

static bool records(const struct worker *worker)
{
    return atomic_load_explicit(&worker->trace_ring, memory_order_relaxed) != NULL;
}

static uint64_t id_of(const struct fiber *fiber)
{
    return fiber ? atomic_load_explicit(&fiber->id, memory_order_relaxed) : 0;
}

static uint64_t current_id(const struct worker *worker)
{
    return id_of(atomic_load_explicit(&worker->current, memory_order_relaxed));
}

static void set_text(struct trace_record *record, const char *text)
{
    if (text)
        strncpy(record->text, text, TRACE_TEXT - 1); /* the rest is zeroes already */
}

static void write_out(struct worker *worker, const struct fiber *from, enum leave_reason reason,
                      uint64_t now)
{
    struct trace_record record = {
        .time_ns = now, .kind = TRACE_OUT, .detail = reason, .fiber = id_of(from)};

    if (reason == LEAVE_WAIT)
        set_text(&record, atomic_load_explicit(&from->wait_kind, memory_order_relaxed));
    worker_write(worker, &record);
}

/* One that has no id any more has no name either, but some steps left to go. */
static void write_in(struct worker *worker, const struct fiber *to, bool first, uint64_t now)
{
    struct trace_record record = {
        .time_ns = now, .kind = TRACE_IN, .detail = first, .fiber = id_of(to)};

    if (record.fiber)
        set_text(&record, to->name);
    worker_write(worker, &record);
}

static void write_spawn(struct worker *worker, const struct fiber *from, const struct fiber *child,
                        uint64_t now)
{
    struct trace_record record = {
        .time_ns = now, .kind = TRACE_SPAWN, .fiber = id_of(child), .other = id_of(from)};

    set_text(&record, child->name);
    worker_write(worker, &record);
}

void trace_switch(struct worker *worker, struct fiber *from, struct fiber *to,
                  enum leave_reason reason)
{
    uint64_t now;

    if (!records(worker))
        return;
    now = weft_now_ns();
    if (reason == LEAVE_SPAWN)
        write_spawn(worker, from, to, now);
    if (from)
        write_out(worker, from, reason, now);
    if (to)
        write_in(worker, to, fiber_is_new(to), now);
}

void trace_end(struct worker *worker, uint64_t id)
{
    struct trace_record record = {.kind = TRACE_END, .fiber = id};

    if (!records(worker) || id == 0)
        return;
    record.time_ns = weft_now_ns();
    worker_write(worker, &record);
}

void trace_ready(struct worker *worker, struct fiber *fiber)
{
    struct trace_record record = {.kind = TRACE_READY, .fiber = id_of(fiber)};
    struct weft_runtime *runtime = fiber_worker(fiber)->runtime;

    if (!records(&runtime->worker[0]))
        return;
    record.time_ns = weft_now_ns();
    if (worker && worker->runtime == runtime) {
        record.other = current_id(worker);
        worker_write(worker, &record);
    } else {
        shared_write(runtime, &record);
    }
}

void trace_spawned_outside(struct fiber *fiber)
{
    struct trace_record record = {.kind = TRACE_SPAWN, .fiber = id_of(fiber)};
    struct weft_runtime *runtime = fiber_worker(fiber)->runtime;

    if (!records(&runtime->worker[0]))
        return;
    record.time_ns = weft_now_ns();
    set_text(&record, fiber->name);
    shared_write(runtime, &record);
}

void trace_stolen(struct worker *worker, struct worker *victim, struct fiber *fiber, unsigned taken)
{
    struct trace_record record = {
        .kind = TRACE_STEAL, .detail = victim->index, .fiber = id_of(fiber), .other = taken};

    if (!records(worker))
        return;
    record.time_ns = weft_now_ns();
    worker_write(worker, &record);
}

void trace_polled(struct worker *worker, uint64_t start_ns, bool parked)
{
    struct trace_record record = {.time_ns = start_ns, .kind = parked ? TRACE_PARK : TRACE_POLL};

    if (!records(worker))
        return;
    record.other = weft_now_ns();
    worker_write(worker, &record);
}

void weft_trace_mark(const char *name, int64_t value)
{
    struct trace_record record = {.kind = TRACE_MARK, .other = (uint64_t)value};
    struct fiber *self = fiber_self();
    struct worker *worker;

    if (!self || !records(&fiber_worker(self)->runtime->worker[0]))
        return;
    record.time_ns = weft_now_ns();
    record.fiber = id_of(self);
    set_text(&record, name);
    worker = worker_enter(self);
    if (worker)
        worker_write(worker, &record);
    else
        shared_write(fiber_worker(self)->runtime, &record);
    worker_exit(self);
}

/* --- starting and stopping */

static struct trace_ring *ring_new(size_t events)
{
    size_t size = sizeof(struct trace_ring) + events * sizeof(struct trace_record);
    struct trace_ring *ring = calloc(1, size);

    if (ring)
        ring->mask = events - 1;
    return ring;
}

static size_t round_up(size_t events)
{
    size_t rounded = EVENTS_MIN;

    if (events == 0)
        return EVENTS_DEFAULT;
    while (rounded < events)
        rounded *= 2;
    return rounded;
}

static void rings_free(struct trace *trace, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        free(trace->ring[i]);
        trace->ring[i] = NULL;
    }
}

/* Under runtime->lock, and while nobody records. */
static int rings_renew(struct trace *trace, unsigned count, size_t events)
{
    rings_free(trace, count);
    for (unsigned i = 0; i < count; i++) {
        trace->ring[i] = ring_new(events);
        if (!trace->ring[i]) {
            rings_free(trace, count);
            return -ENOMEM;
        }
    }
    return 0;
}

static void share(struct trace *trace, bool records_now)
{
    spin_lock(&trace->lock);
    trace->shared_records = records_now;
    spin_unlock(&trace->lock);
}

/* Under runtime->lock. */
static int trace_get(struct weft_runtime *runtime, struct trace **ret_trace)
{
    struct trace *trace = atomic_load_explicit(&runtime->trace, memory_order_relaxed);

    if (!trace) {
        trace = calloc(1, sizeof(*trace) + (runtime->workers + 1) * sizeof(struct trace_ring *));
        if (!trace)
            return -ENOMEM;
        atomic_store_explicit(&runtime->trace, trace, memory_order_release);
    }
    *ret_trace = trace;
    return 0;
}

/* Under runtime->lock. */
static int trace_begin(struct weft_runtime *runtime, size_t events)
{
    struct trace *trace;
    int r = trace_get(runtime, &trace);

    if (r < 0)
        return r;
    if (trace->recording)
        return -EALREADY;
    r = rings_renew(trace, runtime->workers + 1, events);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < runtime->workers; i++)
        atomic_store_explicit(&runtime->worker[i].trace_ring, trace->ring[i], memory_order_release);
    share(trace, true);
    trace->recording = true;
    atomic_fetch_add_explicit(&observe_hooks, HOOK_TRACE_ONE, memory_order_relaxed);
    return 0;
}

int weft_trace_start(struct weft_runtime *runtime, size_t events)
{
    int r;

    if (events > EVENTS_MAX)
        return -EINVAL;
    pthread_mutex_lock(&runtime->lock);
    r = trace_begin(runtime, round_up(events));
    pthread_mutex_unlock(&runtime->lock);
    return r;
}

/* R3: afterwards the worker's ring is nobody's. */
static void worker_take_ring(struct worker *worker)
{
    atomic_store_explicit(&worker->trace_ring, NULL, memory_order_seq_cst);
    while (atomic_load_explicit(&worker->trace_busy, memory_order_seq_cst))
        sched_yield();
}

/* Under runtime->lock. */
static void trace_cease(struct weft_runtime *runtime, struct trace *trace)
{
    atomic_fetch_sub_explicit(&observe_hooks, HOOK_TRACE_ONE, memory_order_relaxed);
    trace->recording = false;
    share(trace, false);
    for (unsigned i = 0; i < runtime->workers; i++)
        worker_take_ring(&runtime->worker[i]);
}

void weft_trace_stop(struct weft_runtime *runtime)
{
    struct trace *trace;

    pthread_mutex_lock(&runtime->lock);
    trace = atomic_load_explicit(&runtime->trace, memory_order_relaxed);
    if (trace && trace->recording)
        trace_cease(runtime, trace);
    pthread_mutex_unlock(&runtime->lock);
}

void trace_free(struct weft_runtime *runtime)
{
    struct trace *trace = atomic_load_explicit(&runtime->trace, memory_order_relaxed);

    if (!trace)
        return;
    weft_trace_stop(runtime);
    rings_free(trace, runtime->workers + 1);
    free(trace);
}

/* --- copying */

static uint64_t ring_head(struct trace_ring *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire);
}

static void ring_read(struct trace_ring *ring, uint64_t index, struct trace_record *ret_record)
{
    atomic_uint_fast64_t *slot = &ring->words[(index & ring->mask) * TRACE_WORDS];
    uint64_t words[TRACE_WORDS];

    for (int i = 0; i < TRACE_WORDS; i++)
        words[i] = atomic_load_explicit(&slot[i], memory_order_relaxed);
    memcpy(ret_record, words, sizeof(words));
}

/* Returns: how many; `ret_events` has room for a whole ring. */
static size_t ring_copy(struct trace_ring *ring, unsigned worker, struct trace_event *ret_events)
{
    uint64_t head = ring_head(ring), capacity = ring->mask + 1, now;
    uint64_t first = head < capacity ? 0 : head - capacity, lost;

    for (uint64_t i = first; i < head; i++) {
        ring_read(ring, i, &ret_events[i - first].record);
        ret_events[i - first].worker = worker;
    }
    hook_barrier(); /* R2 */
    now = ring_head(ring);
    if (now < first + capacity)
        return (size_t)(head - first);
    lost = now - capacity + 1 - first;
    if (lost >= head - first)
        return 0;
    memmove(ret_events, ret_events + lost, (size_t)(head - first - lost) * sizeof(*ret_events));
    return (size_t)(head - first - lost);
}

/* Of the same time: as they stand, which qsort does not keep; so the addresses are compared. */
static int by_time(const void *a, const void *b)
{
    const struct trace_event *const *one = a, *const *other = b;

    if ((*one)->record.time_ns != (*other)->record.time_ns)
        return (*one)->record.time_ns < (*other)->record.time_ns ? -1 : 1;
    return *one < *other ? -1 : 1;
}

static int sort_events(struct trace_copy *copy)
{
    struct trace_event *sorted = malloc((copy->count + 1) * sizeof(*sorted));
    struct trace_event **order = malloc((copy->count + 1) * sizeof(*order));
    int r = sorted && order ? 0 : -ENOMEM;

    if (r == 0) {
        for (size_t i = 0; i < copy->count; i++)
            order[i] = &copy->events[i];
        qsort(order, copy->count, sizeof(*order), by_time);
        for (size_t i = 0; i < copy->count; i++)
            sorted[i] = *order[i];
        free(copy->events);
        copy->events = sorted;
        sorted = NULL;
    }
    free(sorted);
    free(order);
    return r;
}

/* Under runtime->lock. */
static int rings_copy(struct weft_runtime *runtime, struct trace_copy *copy)
{
    struct trace *trace = atomic_load_explicit(&runtime->trace, memory_order_relaxed);
    size_t room = 1;

    if (!trace || !trace->ring[0])
        return -ENODATA;
    for (unsigned i = 0; i <= runtime->workers; i++)
        room += trace->ring[i]->mask + 1;
    copy->events = malloc(room * sizeof(*copy->events));
    if (!copy->events)
        return -ENOMEM;
    copy->workers = runtime->workers;
    for (unsigned i = 0; i <= runtime->workers; i++)
        copy->count += ring_copy(trace->ring[i], i, copy->events + copy->count);
    return 0;
}

int trace_copy(struct weft_runtime *runtime, struct trace_copy *ret_copy)
{
    struct trace_copy copy = {0};
    int r;

    pthread_mutex_lock(&runtime->lock);
    r = rings_copy(runtime, &copy);
    pthread_mutex_unlock(&runtime->lock);
    if (r == 0)
        r = sort_events(&copy);
    if (r < 0) {
        free(copy.events);
        return r;
    }
    *ret_copy = copy;
    return 0;
}
