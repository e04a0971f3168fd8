/* SPDX-License-Identifier: MIT */
/*
 * The journal of events: its ring, those who read it, and events.subscribe with its filters, against a
 * model that forgets nothing.
 *
 * Input: operations, a byte each, and the bytes that they take (0 behind the end of the input): a job
 * moves, or is as far as it says; a number is lost for want of memory; the ring is resized; a reader
 * or a subscription comes, reads on, leaves; a batch that was read is kept or given back; a listener
 * comes, which waits on a fiber of its own; the journal is closed.
 *
 * Whatever the order,
 *   E1  every number is given once: as an event that is what the job was then, as long as it is held
 *       and whatever the ring does meanwhile, or in a gap; in order, and a gap only of what the
 *       capacities and the want of memory forced out;
 *   E2  a reader with nothing to read is told so and loses nothing; after the end it is given the
 *       rest, and then -EPIPE;
 *   E3  a number that was not given yet is refused, and no reader is left behind by that;
 *   E4  a subscription shows what its user may see and its filters want of the same, as JSON of the
 *       same words, and each gap;
 *   E5  whoever waits is woken: when all fibers rest, a listener has heard everything;
 *   E6  an error is cut at EVENT_ERROR_MAX bytes, and never within a character.
 */
#include "engine_model.h"
#include "events_journal.h"
#include "on_fiber.h"

enum { READERS = 4, KEPT = 6, SUBSCRIPTIONS = 3, LISTENERS = 2 };

/* ---- want of memory ------------------------------------------------------------------------------ */

static _Thread_local bool out_of_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

/* Linked in place of malloc() (tests/CMakeLists.txt). */
void *__wrap_malloc(size_t size)
{
    return out_of_memory ? NULL : __real_malloc(size);
}

/* ---- who reads --------------------------------------------------------------------------------- */

struct reader {
    bool open;
    uint64_t next; /* as the model has it */
    struct events_reader reader;
};

struct subscription {
    bool open, admin;
    uid_t uid;
    uint64_t next;
    const char *queue; /* NULL: all */
    unsigned ids;      /* bits; 0: all */
    struct request_follow_up follow_up;
};

struct listener {
    bool open;
    uint64_t next;
    struct events_reader reader;
};

static struct world {
    const uint8_t *data;
    size_t size;
    bool closed;
    struct reader readers[READERS];
    struct subscription subscriptions[SUBSCRIPTIONS];
    struct listener listeners[LISTENERS];
    struct weft_group group; /* of the listeners */
    struct events_batch kept[KEPT];
    unsigned reader_count; /* of all kinds */
} world;

static const char *const queues[] = {"default", "night"};
static const char *const specs[] = {"{\"argv\":[\"x\"]}", "{\"name\":\"n\",\"argv\":[\"x\"]}",
                                    "{\"name\":\"\\\"\\u0001\xc3\xa4\",\"call\":\"echo\"}"};
static const char *const names[] = {NULL, "\"n\"", "\"\\\"\\u0001\xc3\xa4\""};
static const char *const progresses[] = {"{\"fraction\":0.5}", "{\"text\":\"half\"}"};

static unsigned take(void)
{
    if (world.size == 0)
        return 0;
    world.size--;
    return *world.data++;
}

/* ---- publishing ------------------------------------------------------------------------------------ */

/* Up to some hundred bytes, of the input's, over and over. */
static char *take_error(void)
{
    size_t unit = take() % 8, times = 1 + take() * 4;
    char *text = calloc(1, unit * times + 1);
    HOLDS(text != NULL);
    for (size_t i = 0; i < unit; i++)
        text[i] = (char)take();
    for (size_t i = unit; i < unit * times; i++)
        text[i] = text[i - unit];
    return text;
}

static int64_t max_time(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void announce(bool heard)
{
    HOLDS(heard == (world.reader_count > 0));
    if (heard)
        events_announce(model.events);
}

/* What the record says, as an event should. */
static void remember(struct happened *happened, const struct job_record *record, unsigned spec,
                     int64_t now)
{
    happened->id = record->id;
    happened->uid = record->uid;
    happened->state = record->state;
    happened->attempt = record->attempt;
    happened->memory_only = record->memory_only;
    happened->time = max_time(now, max_time(record->submitted_at, record->started_at));
    happened->due_at = record->state == JOB_DELAYED ? record->due_at : 0;
    happened->queue = record->queue;
    happened->name = names[spec];
}

static struct job_record take_record(unsigned *ret_spec)
{
    unsigned who = take(), what = take();
    *ret_spec = what % 3;
    return (struct job_record){.id = 1 + who % 4,
                               .uid = who & 4 ? 1000 : 2000,
                               .attempt = what >> 4,
                               .memory_only = who & 8,
                               .exit_code = what & 64 ? (int32_t)what : JOB_NO_EXIT,
                               .term_signal = what & 128 ? 9 : JOB_NO_EXIT,
                               .submitted_at = 1000 * (who >> 5),
                               .started_at = 1000 * (what >> 5),
                               .due_at = 7,
                               .queue = queues[who >> 4 & 1],
                               .spec = specs[*ret_spec]};
}

static void publish(bool lost)
{
    unsigned spec;
    struct job_record record = take_record(&spec);
    const struct job_edge *edge = &job_edges[take() % job_edge_count];
    int64_t now = take() * 100;
    char *error = take_error();
    record.state = edge->to;
    record.error = error;
    struct happened *happened = journal_next();
    remember(happened, &record, spec, now);
    happened->lost = lost;
    happened->before = edge->from;
    happened->cause = edge->cause;
    happened->outcome = edge->from == JOB_RUNNING && edge->cause != JOB_BY_INTERRUPT;
    happened->exit_code = happened->outcome ? record.exit_code : JOB_NO_EXIT;
    happened->term_signal = happened->outcome ? record.term_signal : JOB_NO_EXIT;
    happened->error = error;
    out_of_memory = lost;
    bool heard = events_publish(model.events, &record, edge->from, edge->cause, now);
    out_of_memory = false;
    announce(heard);
}

/* Without listeners it is no event at all; without memory neither: the job still says it. */
static void publish_progress(bool lost)
{
    unsigned spec;
    struct job_record record = take_record(&spec);
    record.state = JOB_RUNNING;
    record.progress = progresses[take() % 2];
    out_of_memory = lost;
    bool heard = events_publish_progress(model.events, &record, 5);
    out_of_memory = false;
    HOLDS(heard == (world.reader_count > 0 && !lost));
    if (!heard)
        return;
    struct happened *happened = journal_next();
    remember(happened, &record, spec, 5);
    happened->before = JOB_RUNNING;
    happened->cause = JOB_BY_DISPATCH;
    happened->exit_code = happened->term_signal = JOB_NO_EXIT;
    happened->progress = record.progress;
    events_announce(model.events);
}

/* Still what it was. */
static void release(struct events_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        check_event(batch->list[i], batch->list[i]->seq);
    events_release(batch);
}

/* ---- readers ---------------------------------------------------------------------------------------- */

/* Now and then the newest, the first, one that is not there yet. */
static uint64_t take_since(void)
{
    unsigned byte = take();
    if (byte == 0)
        return EVENTS_FROM_NOW;
    return byte > 250 ? journal.last + byte - 250 : (byte - 1) % (journal.last + 1);
}

static bool open_reader(struct events_reader *reader, uint64_t *ret_next)
{
    uint64_t since = take_since(), last = 0;
    int err = events_open(model.events, since, reader, &last);
    HOLDS(last == journal.last);
    if (since != EVENTS_FROM_NOW && since > journal.last) { /* E3 */
        HOLDS(err == -ERANGE);
        return false;
    }
    HOLDS(err == 0);
    world.reader_count++;
    *ret_next = (since == EVENTS_FROM_NOW ? journal.last : since) + 1;
    return true;
}

static void leave_reader(struct events_reader *reader)
{
    events_leave(reader);
    world.reader_count--;
}

static void reader_turn(struct reader *reader)
{
    if (reader->open)
        leave_reader(&reader->reader);
    reader->open = !reader->open && open_reader(&reader->reader, &reader->next);
}

static void keep(const struct events_batch *batch, unsigned place)
{
    struct events_batch *kept = &world.kept[place % KEPT];
    release(kept);
    *kept = *batch;
}

/* E2 */
static void read_some(struct reader *reader)
{
    struct events_batch batch;
    unsigned place = take();
    if (!reader->open)
        return;
    int err = events_read(&reader->reader, &batch, weft_now_ns());
    if (reader->next > journal.last) {
        HOLDS(err == (world.closed ? -EPIPE : -ETIMEDOUT));
        HOLDS(batch.count == 0 && batch.gap_to == 0);
        return;
    }
    HOLDS(err == 0);
    reader->next = check_batch(&batch, reader->next);
    if (place & 128)
        keep(&batch, place);
    else
        release(&batch);
}

/* ---- E5: listeners ----------------------------------------------------------------------------------- */

static int listen_main(void *arg)
{
    struct listener *listener = arg;
    struct events_batch batch;
    int err;
    while ((err = events_read(&listener->reader, &batch, WEFT_NO_DEADLINE)) == 0) {
        listener->next = check_batch(&batch, listener->next);
        release(&batch);
    }
    HOLDS(err == -EPIPE && listener->next == journal.last + 1);
    return 0;
}

static void listener_come(struct listener *listener)
{
    if (listener->open || !open_reader(&listener->reader, &listener->next))
        return;
    listener->open = true;
    HOLDS(weft_group_spawn(&world.group, "listener", listen_main, listener) == 0);
}

/* A fiber that can go on does so within a few turns of ours. */
static void rest(void)
{
    for (int i = 0; i < 8; i++)
        HOLDS(weft_yield() == 0);
    for (size_t i = 0; i < LISTENERS; i++)
        HOLDS(!world.listeners[i].open || world.closed ||
              world.listeners[i].next == journal.last + 1);
}

/* ---- E4: subscriptions -------------------------------------------------------------------------------- */

static void put_params(json_t *params, const struct subscription *subscription, uint64_t since)
{
    json_t *ids = json_array();
    if (since != EVENTS_FROM_NOW)
        json_object_set_new(params, "since", json_integer((json_int_t)since));
    if (subscription->queue)
        json_object_set_new(params, "queue", json_string(subscription->queue));
    for (unsigned id = 4; id >= 1; id--) /* any order will do, and twice */
        if (subscription->ids & 1u << id)
            json_array_append_new(ids, json_integer(id));
    if (subscription->ids & 1)
        json_array_append_new(ids, json_integer(4));
    if (subscription->ids)
        json_object_set(params, "ids", ids);
    json_decref(ids);
}

static void subscribe(struct subscription *subscription)
{
    unsigned who = take(), what = take();
    uint64_t since = take_since();
    json_t *params = json_object(), *result = NULL;
    *subscription = (struct subscription){.admin = who & 1,
                                          .uid = who & 2 ? 1000 : 2000,
                                          .queue = who & 4 ? queues[who >> 3 & 1] : NULL,
                                          .ids = what & 31};
    put_params(params, subscription, since);
    struct peer peer = {.uid = subscription->uid, .admin = subscription->admin};
    struct request request = {.context = &model_context,
                              .peer = &peer,
                              .params = params,
                              .follow_up = &subscription->follow_up};
    int err = methods_call(&request, "events.subscribe", &result);
    bool known = since == EVENTS_FROM_NOW || since <= journal.last;
    HOLDS((err == 0) == known && (known || request.error.code == RPC_INVALID_PARAMS));
    if (known)
        HOLDS(json_integer_value(json_object_get(result, "last")) == (json_int_t)journal.last);
    subscription->open = known;
    subscription->next = (since == EVENTS_FROM_NOW ? journal.last : since) + 1;
    world.reader_count += known;
    json_decref(params);
    json_decref(result);
}

static void unsubscribe(struct subscription *subscription)
{
    if (subscription->open)
        subscription->follow_up.free(subscription->follow_up.arg);
    world.reader_count -= subscription->open;
    subscription->open = false;
}

static bool model_wants(const struct subscription *subscription, const struct happened *happened)
{
    unsigned ids = subscription->ids & 1 ? subscription->ids | 1u << 4 : subscription->ids;
    return (subscription->admin || subscription->uid == happened->uid) &&
           (!subscription->queue || strcmp(subscription->queue, happened->queue) == 0) &&
           (ids == 0 || ids & 1u << happened->id);
}

static const char *text_of(const json_t *record, const char *name)
{
    return json_string_value(json_object_get(record, name));
}

static json_int_t number_of(const json_t *record, const char *name, json_int_t fallback)
{
    json_t *value = json_object_get(record, name);
    return value ? json_integer_value(value) : fallback;
}

static void check_words(const json_t *record, const struct happened *happened)
{
    const char *before = happened->before ? job_state_name(happened->before) : NULL;
    HOLDS(same(text_of(record, "state"), job_state_name(happened->state)));
    HOLDS(same(text_of(record, "before"), before));
    HOLDS(same(text_of(record, "queue"), happened->queue));
    HOLDS(same(text_of(record, "cause"),
               happened->progress ? "progress" : job_cause_name(happened->cause)));
    HOLDS((text_of(record, "name") != NULL) == (happened->name != NULL));
    HOLDS((text_of(record, "error") != NULL) == happened->outcome);
    HOLDS(json_is_object(json_object_get(record, "progress")) == (happened->progress != NULL));
    HOLDS(json_is_false(json_object_get(record, "durable")) == happened->memory_only);
}

static void check_record(const json_t *record, uint64_t seq)
{
    const struct happened *happened = &journal.list[seq];
    HOLDS(number_of(record, "seq", 0) == (json_int_t)seq);
    HOLDS(number_of(record, "id", 0) == (json_int_t)happened->id);
    HOLDS(number_of(record, "attempt", -1) == happened->attempt);
    HOLDS(number_of(record, "exit_code", JOB_NO_EXIT) == happened->exit_code);
    HOLDS(number_of(record, "signal", JOB_NO_EXIT) == happened->term_signal);
    HOLDS((json_object_get(record, "due_at") != NULL) == (happened->due_at != 0));
    check_words(record, happened);
}

static void check_records(struct subscription *subscription, const json_t *records)
{
    uint64_t seq = journal_gap_end(subscription->next), end = seq + journal_run(seq);
    size_t at = 0;
    if (seq > subscription->next) {
        const json_t *record = json_array_get(records, at++), *gap = json_object_get(record, "gap");
        HOLDS(number_of(gap, "from", 0) == (json_int_t)subscription->next);
        HOLDS(number_of(gap, "to", 0) == (json_int_t)seq - 1);
        HOLDS(number_of(record, "seq", 0) == (json_int_t)seq - 1);
    }
    for (; seq < end; seq++)
        if (model_wants(subscription, &journal.list[seq]))
            check_record(json_array_get(records, at++), seq);
    HOLDS(at == json_array_size(records));
    subscription->next = end;
}

static void follow(struct subscription *subscription)
{
    json_t *records = NULL;
    if (!subscription->open)
        return;
    int err = subscription->follow_up.next(subscription->follow_up.arg, weft_now_ns(), &records);
    if (subscription->next > journal.last) {
        HOLDS(err == (world.closed ? -EPIPE : -ETIMEDOUT));
        return;
    }
    HOLDS(err == 0);
    check_records(subscription, records);
    json_decref(records);
}

/* ---- operations ------------------------------------------------------------------------------------- */

static void resize(void)
{
    size_t capacity = 1 + take() % 48;
    HOLDS(events_resize(model.events, capacity) == 0);
    journal.capacity = capacity;
    journal_forget();
}

static void check_stats(void)
{
    struct events_stats stats;
    events_stats(model.events, &stats);
    HOLDS(stats.last == journal.last && stats.kept == journal.last - journal.first + 1);
    HOLDS(stats.readers == world.reader_count);
}

static void operate(unsigned operation)
{
    unsigned which = operation >> 4;
    switch (operation & 15) {
    case 0:
    case 1:
        return publish(false);
    case 2:
        return publish(true);
    case 3:
        return publish_progress(which & 1);
    case 4:
        return reader_turn(&world.readers[which % READERS]);
    case 5:
    case 6:
        return read_some(&world.readers[which % READERS]);
    case 7:
        return release(&world.kept[which % KEPT]);
    case 8:
        return resize();
    case 9:
        return listener_come(&world.listeners[which % LISTENERS]);
    case 10:
        return rest();
    case 11:
        unsubscribe(&world.subscriptions[which % SUBSCRIPTIONS]);
        return subscribe(&world.subscriptions[which % SUBSCRIPTIONS]);
    case 12:
    case 13:
        return follow(&world.subscriptions[which % SUBSCRIPTIONS]);
    case 14:
        return check_stats();
    default:
        world.closed = true;
        return events_close(model.events);
    }
}

/* Everybody hears the rest. */
static void finish(void)
{
    events_close(model.events);
    world.closed = true;
    HOLDS(weft_group_join(&world.group) == 0);
    for (size_t i = 0; i < LISTENERS; i++)
        if (world.listeners[i].open)
            leave_reader(&world.listeners[i].reader);
    for (size_t i = 0; i < READERS; i++) {
        struct reader *reader = &world.readers[i];
        while (reader->open && reader->next <= journal.last)
            read_some(reader);
        if (reader->open)
            reader_turn(reader);
    }
    for (size_t i = 0; i < SUBSCRIPTIONS; i++) {
        struct subscription *subscription = &world.subscriptions[i];
        while (subscription->open && subscription->next <= journal.last)
            follow(subscription);
        unsubscribe(subscription);
    }
    check_stats();
}

static int run(void *arg)
{
    (void)arg;
    weft_group_init(&world.group);
    model_begin();
    while (world.size > 0 && journal.last < JOURNAL_MAX)
        operate(take());
    rest();
    finish();
    model_end();
    for (size_t i = 0; i < KEPT; i++)
        release(&world.kept[i]);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world = (struct world){.data = data, .size = size};
    journal_begin(MODEL_EVENTS);
    on_fiber(run, NULL);
    journal_end();
    return 0;
}
