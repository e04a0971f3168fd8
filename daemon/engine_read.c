/* SPDX-License-Identifier: MIT */
/*
 * engine_read: get, list, logs, and where those who listen to events begin.
 *
 * I18  A job that is not in memory is asked for in the store after memory was looked at, never
 *      before: an end is in the store before it leaves memory, so no job is missed.  The store
 *      may then say that it is live: it was retried in between, and is in memory by then (I21).
 * I19  A list walks memory in slices, the store in pieces of its own: the lock is held for SLICE
 *      slots at most, or for as many bytes of specs.  How many of both is bounded too; a page then
 *      ends where both have come to, full or not.
 *
 * Who may call: request fibers.  Reads nothing from disk itself.
 */
#include "daemon/engine_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE = 4096, SLICE_BYTES = 256 << 10, SLICES_MAX = 512, PIECES_MAX = 16 };

void engine_records_free(struct job_record **records, size_t count)
{
    for (size_t i = 0; records && i < count; i++)
        job_record_free(records[i]);
    free(records);
}

void engine_page_destroy(struct engine_page *page)
{
    engine_records_free(page->records, page->count);
    *page = (struct engine_page){0};
}

/* ---- by id ----------------------------------------------------------------------------------- */

int engine_fill_locked(struct engine *engine, const struct peer *peer, const uint64_t *ids,
                       size_t count, struct job_record **records)
{
    for (size_t i = 0; i < count; i++) {
        struct job *job = records[i] ? NULL : engine_find_locked(engine, peer, ids[i]);
        if (job && job_record_copy(&job->record, &records[i]) < 0)
            return -ENOMEM;
    }
    return 0;
}

static bool is_gap(struct job_record *const *records, const struct job_waiters *skip, size_t i)
{
    return !(skip && skip[i].waiter) && !records[i]; /* of who is watched another may write it */
}

/* Ask the store for the n ids in wanted.  The array found is the caller's. */
static int fetch(struct engine *engine, const uint64_t *wanted, size_t n,
                 struct job_record ***ret_found)
{
    struct engine_op op = {.op = {.ids = wanted, .count = n}};
    engine_push(engine, &op, STORE_GET);
    int rc = engine_await(engine, &op);
    if (rc < 0)
        return rc;
    if (op.op.found_count != n) {
        engine_records_free(op.op.found, op.op.found_count);
        return -EBADMSG;
    }
    *ret_found = op.op.found;
    return 0;
}

int engine_fill_stored(struct engine *engine, const struct peer *peer, const uint64_t *ids,
                       size_t count, const struct job_waiters *skip, struct job_record **records)
{
    size_t wanted_count = 0, next = 0;
    struct job_record **found;
    for (size_t i = 0; i < count; i++)
        wanted_count += is_gap(records, skip, i);
    if (wanted_count == 0)
        return 0;
    uint64_t *wanted = malloc(wanted_count * sizeof(*wanted));
    if (!wanted)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (is_gap(records, skip, i))
            wanted[next++] = ids[i];
    int rc = fetch(engine, wanted, wanted_count, &found);
    free(wanted);
    if (rc < 0)
        return rc;
    next = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_gap(records, skip, i))
            continue;
        struct job_record *record = found[next];
        bool shown = record && engine_may_see(peer, record);
        records[i] = shown ? record : NULL;
        found[next++] = shown ? NULL : record;
    }
    engine_records_free(found, wanted_count);
    return 0;
}

int engine_get(struct engine *engine, const struct peer *peer, uint64_t id,
               struct job_record **ret_record, struct rpc_error *error)
{
    struct job_record *record = NULL;
    int rc = engine_lock(engine);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    rc = engine_fill_locked(engine, peer, &id, 1, &record);
    engine_unlock(engine);
    if (rc == 0)
        rc = engine_fill_stored(engine, peer, &id, 1, NULL, &record);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    if (!record)
        return engine_refuse_id(error, id);
    *ret_record = record;
    return 0;
}

/* ---- list ------------------------------------------------------------------------------------ */

#define END_STATES                                                                                 \
    (1u << JOB_SUCCEEDED | 1u << JOB_FAILED | 1u << JOB_CANCELLED | 1u << JOB_TIMED_OUT |          \
     1u << JOB_DEAD)

/* Records in descending order of id. */
struct list {
    struct job_record **records;
    size_t count;
    uint64_t reached; /* it has all that there is from this id on; 0: or as many as it should */
};

struct listing {
    const struct peer *peer;
    const struct engine_filter *filter;
    uint32_t states; /* of the filter, 0 replaced by all */
    size_t want;     /* one more than the limit: tells whether there is a next page */
};

static bool is_in(const char *const *queues, const char *queue)
{
    if (!queues)
        return true;
    while (*queues && strcmp(*queues, queue) != 0)
        queues++;
    return *queues != NULL;
}

static bool matches(const struct listing *listing, const struct job *job)
{
    const struct job_record *record = &job->record;
    const struct engine_filter *filter = listing->filter;
    uint32_t states = record->memory_only ? listing->states : listing->states & ~END_STATES;
    return (states & 1u << record->state) && record->state != JOB_NONE &&
           engine_may_see(listing->peer, record) &&
           (!filter->of_user || filter->uid == record->uid) && is_in(filter->queues, record->queue);
}

/* *bytes grows by what had to be looked at. */
static bool text_matches(const struct listing *listing, const struct job *job, size_t *bytes)
{
    const struct job_match *match = &listing->filter->match;
    if (match->tag)
        *bytes += strlen(job->record.spec);
    return job_match_text(match, job->record.spec);
}

/* Copy what matches of the slots below *before; lowers it.  -ENODATA: there are no more. */
static int copy_slice_locked(struct engine *engine, const struct listing *listing,
                             struct list *list, uint64_t *before)
{
    size_t index = job_table_index(&engine->table, *before);
    size_t stop = index > SLICE ? index - SLICE : 0, bytes = 0;
    while (index > stop && list->count < listing->want && bytes < SLICE_BYTES) {
        const struct job_slot *slot = &engine->table.slots[--index];
        *before = slot->id;
        if (!slot->job || !matches(listing, slot->job) || !text_matches(listing, slot->job, &bytes))
            continue;
        if (job_record_copy(&slot->job->record, &list->records[list->count]) < 0)
            return -ENOMEM;
        list->count++;
    }
    return index == 0 || list->count == listing->want ? -ENODATA : 0;
}

/* Ended jobs that are in memory only. */
static bool has_passed(struct engine *engine)
{
    engine_lock_shielded(engine);
    bool passed = engine->passed > 0;
    engine_unlock(engine);
    return passed;
}

static int list_memory(struct engine *engine, const struct listing *listing, struct list *list)
{
    uint64_t before = listing->filter->before ? listing->filter->before : UINT64_MAX;
    int rc = (listing->states & ~END_STATES) || has_passed(engine) ? 0 : -ENODATA;
    for (int slices = 0; rc == 0 && slices < SLICES_MAX; slices++) {
        rc = engine_lock(engine);
        if (rc < 0)
            return rc;
        rc = copy_slice_locked(engine, listing, list, &before);
        engine_unlock(engine);
    }
    list->reached = rc == 0 ? before : 0;
    return rc == -ENODATA ? 0 : rc;
}

/* What the store may be asked for; false: there is nothing that both want. */
static bool store_filter(const struct listing *listing, struct store_filter *ret_filter)
{
    const struct engine_filter *filter = listing->filter;
    const struct peer *peer = listing->peer;
    *ret_filter = (struct store_filter){
        .all_users = peer->admin && !filter->of_user,
        .uid = filter->of_user ? filter->uid : peer->uid,
        .states = listing->states & END_STATES,
        .queues = filter->queues,
        .match = job_match_any(&filter->match) ? NULL : &filter->match,
        .before = filter->before,
    };
    return ret_filter->states != 0 && (peer->admin || ret_filter->uid == peer->uid);
}

/* The next piece.  Takes over what was found. */
static int list_piece(struct engine *engine, const struct store_filter *filter, struct list *list)
{
    struct engine_op op = {.op.filter = *filter};
    engine_push(engine, &op, STORE_LIST);
    int rc = engine_await(engine, &op);
    if (rc < 0)
        return rc;
    memcpy(list->records + list->count, op.op.found, op.op.found_count * sizeof(*op.op.found));
    list->count += op.op.found_count;
    list->reached = op.op.reached;
    free(op.op.found);
    return 0;
}

static int list_store(struct engine *engine, const struct listing *listing, struct list *list)
{
    struct store_filter filter;
    if (!store_filter(listing, &filter))
        return 0;
    for (int pieces = 0; pieces < PIECES_MAX && list->count < listing->want; pieces++) {
        filter.limit = listing->want - list->count;
        int rc = list_piece(engine, &filter, list);
        if (rc < 0 || list->reached == 0)
            return rc;
        filter.before = list->reached;
    }
    return 0;
}

/* Take the next of a list. */
static struct job_record *pull(struct list *list, size_t *at)
{
    struct job_record *record = list->records[*at];
    list->records[(*at)++] = NULL;
    return record;
}

/* Merge both into page, newest first, as far as both have come; of two with one id the store's
 * stays. */
static void merge(struct list *memory, struct list *store, size_t limit, struct engine_page *page)
{
    size_t m = 0, s = 0;
    uint64_t reached = memory->reached > store->reached ? memory->reached : store->reached;
    while (page->count < limit && (m < memory->count || s < store->count)) {
        uint64_t memory_id = m < memory->count ? memory->records[m]->id : 0;
        uint64_t store_id = s < store->count ? store->records[s]->id : 0;
        if (memory_id < reached && store_id < reached)
            break;
        if (memory_id == store_id)
            job_record_free(pull(memory, &m));
        page->records[page->count++] = store_id >= memory_id ? pull(store, &s) : pull(memory, &m);
    }
    bool more = m < memory->count || s < store->count;
    bool is_full = more && page->count == limit;
    page->next = is_full ? page->records[page->count - 1]->id : reached;
}

static int check_queue(struct engine *engine, const char *name, struct rpc_error *error)
{
    if (!name)
        return 0;
    int rc = engine_lock(engine);
    if (rc < 0)
        return engine_refuse(engine, error, rc);
    if (!queue_set_find(engine->queues, name)) {
        engine_refuse_queue_locked(engine, name, error);
        rc = -EINVAL;
    }
    engine_unlock(engine);
    return rc;
}

/* No job goes back from the ended to the live ones in between, or it would be in neither list.  Who
 * wants only the ones or the others looks at one place, and need not wait for a retry. */
static int look_at_both(struct engine *engine, const struct listing *listing, struct list *memory,
                        struct list *store)
{
    bool both = (listing->states & END_STATES) && (listing->states & ~END_STATES);
    int rc = both ? weft_rwlock_rdlock(&engine->retrying, WEFT_NO_DEADLINE) : 0; /* I22 */
    if (rc < 0)
        return rc;
    rc = list_memory(engine, listing, memory);
    if (rc == 0)
        rc = list_store(engine, listing, store);
    if (both)
        weft_rwlock_unlock(&engine->retrying);
    return rc;
}

static int list_both(struct engine *engine, const struct listing *listing,
                     struct engine_page *ret_page)
{
    struct list memory = {calloc(listing->want, sizeof(struct job_record *)), 0, 0};
    struct list store = {calloc(listing->want, sizeof(struct job_record *)), 0, 0};
    struct engine_page page = {calloc(listing->want, sizeof(struct job_record *)), 0, 0};
    int rc = memory.records && store.records && page.records ? 0 : -ENOMEM;
    if (rc == 0)
        rc = look_at_both(engine, listing, &memory, &store);
    if (rc == 0)
        merge(&memory, &store, listing->want - 1, &page);
    engine_records_free(memory.records, memory.count);
    engine_records_free(store.records, store.count);
    if (rc < 0)
        engine_page_destroy(&page);
    else
        *ret_page = page;
    return rc;
}

int engine_list(struct engine *engine, const struct peer *peer, const struct engine_filter *filter,
                struct engine_page *ret_page, struct rpc_error *error)
{
    size_t limit = filter->limit < ENGINE_LIST_MAX ? filter->limit : ENGINE_LIST_MAX;
    struct listing listing = {
        .peer = peer,
        .filter = filter,
        .states = filter->states ? filter->states : UINT32_MAX,
        .want = limit + 1,
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && filter->queues && filter->queues[i]; i++)
        rc = check_queue(engine, filter->queues[i], error);
    if (rc < 0)
        return rc;
    rc = list_both(engine, &listing, ret_page);
    return rc < 0 ? engine_refuse(engine, error, rc) : 0;
}

/* ---- events ---------------------------------------------------------------------------------- */

int engine_subscribe(struct engine *engine, const char *queue, uint64_t since,
                     struct events_reader *ret_reader, uint64_t *ret_last, struct rpc_error *error)
{
    int rc = check_queue(engine, queue, error);
    if (rc < 0)
        return rc;
    if (events_open(engine->events, since, ret_reader, ret_last) == 0)
        return 0;
    return rpc_error_set_param(error, RPC_INVALID_PARAMS, "since", NULL,
                               "there is no event %" PRIu64 " yet, the newest is %" PRIu64
                               ": numbers begin anew when weftd starts (give its epoch too)",
                               since, *ret_last);
}

/* ---- logs ------------------------------------------------------------------------------------ */

/* Put into words why the output cannot be read. */
static int refuse_output(struct engine *engine, struct rpc_error *error, int rc)
{
    if (rc == -ENOMEM || rc == -ECANCELED || rc == -ETIMEDOUT)
        return engine_refuse(engine, error, rc);
    bool is_busy = rc == -EMFILE || rc == -ENFILE;
    rpc_error_set(error, is_busy ? RPC_BUSY : RPC_INTERNAL_ERROR, "the output cannot be read: %s",
                  strerror(-rc));
    return rc;
}

/* Which attempt's output there is, and whether the job has ended.  To be asked before the files are:
 * then what it wrote is there.  Errors: engine_get()'s. */
static int look_at_attempt(struct engine *engine, const struct peer *peer, uint64_t id,
                           uint32_t *ret_attempt, bool *ret_ended, struct rpc_error *error)
{
    struct job_record *record;
    int rc = engine_get(engine, peer, id, &record, error);
    if (rc < 0)
        return rc;
    *ret_attempt = record->attempt;
    *ret_ended = job_state_is_end(record->state);
    job_record_free(record);
    return 0;
}

int engine_logs(struct engine *engine, const struct peer *peer, const struct engine_piece *piece,
                struct output_chunk *ret_chunk, bool *ret_eof, struct rpc_error *error)
{
    uint32_t attempt;
    bool ended;
    int rc = look_at_attempt(engine, peer, piece->id, &attempt, &ended, error);
    if (rc < 0)
        return rc;
    rc = output_read(engine->outputs, piece->id, attempt, piece->stream, piece->offset,
                     piece->limit, ret_chunk);
    if (rc < 0)
        return refuse_output(engine, error, rc);
    *ret_eof = ended && ret_chunk->at_end;
    return 0;
}

int engine_share_output(struct engine *engine, const struct peer *peer,
                        const struct engine_piece *piece, struct engine_shared *ret_shared,
                        struct rpc_error *error)
{
    struct engine_shared shared = {0};
    bool ended;
    int rc = look_at_attempt(engine, peer, piece->id, &shared.attempt, &ended, error);
    if (rc < 0)
        return rc;
    rc = output_share(engine->outputs, piece->id, shared.attempt, piece->stream, piece->offset,
                      ended, &shared.share);
    if (rc < 0)
        return refuse_output(engine, error, rc);
    shared.eof = ended && shared.share.at_end;
    *ret_shared = shared;
    return 0;
}
