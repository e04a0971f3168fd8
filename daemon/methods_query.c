/* SPDX-License-Identifier: MIT */
/* methods_query: the requests that only look: get, list, wait, logs, output. */
#include "daemon/accounts.h"
#include "daemon/engine.h"
#include "daemon/methods_impl.h"
#include "protocol/json_memory.h"
#include "weft/fiber.h"
#include "weft/offload.h"
#include "weft/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN 16 /* jobs of a list that are put into words at a time */

int method_job_get(struct request *request, json_t **ret_result)
{
    struct job_record *record;
    uint64_t id = (uint64_t)params_int(request->params, "id", 0);
    int err = engine_get(request->context->engine, request->peer, id, &record, &request->error);
    if (err)
        return err;
    err = job_record_to_json(record, ret_result);
    job_record_free(record);
    return err;
}

/* Long lists are work for many milliseconds: others get their turn in between. */
static int page_json(const struct engine_page *page, json_t **ret_jobs)
{
    json_t *jobs = json_array();
    int err = jobs ? 0 : -ENOMEM;
    for (size_t i = 0; !err && i < page->count; i++) {
        json_t *job;
        err = job_record_to_json(page->records[i], &job);
        if (!err && json_array_append_new(jobs, job))
            err = -ENOMEM;
        if (!err && i % TURN == TURN - 1)
            err = weft_yield();
    }
    if (err) {
        json_decref(jobs);
        return err;
    }
    *ret_jobs = jobs;
    return 0;
}

static uint32_t state_bit(const json_t *name)
{
    enum job_state state = JOB_NONE;
    if (job_state_from_name(json_string_value(name), &state))
        return 0; /* the table's choices let none of these pass */
    return UINT32_C(1) << state;
}

static uint32_t wanted_states(const json_t *states)
{
    if (json_is_string(states))
        return state_bit(states);
    uint32_t bits = 0;
    for (size_t i = 0; i < json_array_size(states); i++)
        bits |= state_bit(json_array_get(states, i));
    return bits;
}

/* ---- list ---- */

#define QUEUES_MAX 32

struct user_search {
    const char *name;
    uid_t uid;
};

static int find_user(void *arg)
{
    struct user_search *search = arg;
    gid_t unused;
    return accounts_user(search->name, &search->uid, &unused);
}

/* The user database may be on a network: off the loops. */
static int user_of_name(struct request *request, const char *name, uid_t *ret_uid)
{
    struct user_search search = {.name = name};
    int result, err = weft_offload(find_user, &search, &result);
    if (err)
        return err;
    if (result == -ENOENT)
        return rpc_error_set_param(&request->error, RPC_INVALID_PARAMS, "user", NULL,
                                   "there is no user \"%.64s\"", name);
    if (result < 0)
        return rpc_error_set(&request->error, RPC_INTERNAL_ERROR,
                             "cannot look for user \"%.64s\" now: %s", name, strerror(-result));
    *ret_uid = search.uid;
    return 0;
}

static int read_user(struct request *request, struct engine_filter *filter)
{
    const char *name = params_string(request->params, "user", NULL);
    filter->of_user = params_has(request->params, "user");
    filter->uid = (uid_t)params_int(request->params, "user", 0);
    int err = name ? user_of_name(request, name, &filter->uid) : 0;
    if (err || !filter->of_user || request->peer->admin || filter->uid == request->peer->uid)
        return err;
    return rpc_error_set_param(&request->error, RPC_PERMISSION_DENIED, "user", NULL,
                               "only admins see the jobs of others");
}

/* queues: room for QUEUES_MAX and a NULL; the names are the parameters'. */
static int read_queues(struct request *request, const char **queues, struct engine_filter *filter)
{
    const json_t *value = params_get(request->params, "queue");
    size_t count = json_is_array(value) ? json_array_size(value) : 0;
    if (count > QUEUES_MAX)
        return rpc_error_set_param(&request->error, RPC_INVALID_PARAMS, "queue", NULL,
                                   "parameter \"queue\": %zu queues are more than %d", count,
                                   QUEUES_MAX);
    if (json_is_string(value))
        queues[count++] = json_string_value(value);
    else
        for (size_t i = 0; i < count; i++)
            queues[i] = json_string_value(json_array_get(value, i));
    filter->queues = count > 0 ? queues : NULL;
    return 0;
}

static int list_jobs(struct request *request, const struct engine_filter *filter,
                     json_t **ret_result)
{
    struct engine_page page;
    json_t *jobs;
    int err = engine_list(request->context->engine, request->peer, filter, &page, &request->error);
    if (err)
        return err;
    err = page_json(&page, &jobs);
    if (!err)
        *ret_result = json_pack("{s:o, s:o}", "jobs", jobs, "next",
                                page.next ? json_integer((json_int_t)page.next) : json_null());
    engine_page_destroy(&page);
    return err;
}

int method_job_list(struct request *request, json_t **ret_result)
{
    const json_t *params = request->params;
    const char *queues[QUEUES_MAX + 1] = {NULL};
    struct engine_filter filter = {
        .states = wanted_states(params_get(params, "state")),
        .before = (uint64_t)params_int(params, "before", 0),
        .limit = (size_t)params_int(params, "limit", METHODS_LIST_DEFAULT),
    };
    int err = read_queues(request, queues, &filter);
    if (!err)
        err = read_user(request, &filter);
    if (!err)
        err = job_match_init(&filter.match, params_string(params, "name", NULL),
                             params_string(params, "tag", NULL));
    if (err)
        return err;
    err = list_jobs(request, &filter, ret_result);
    job_match_destroy(&filter.match);
    return err;
}

/* ---- wait ---- */

uint64_t request_deadline(const struct request *request)
{
    if (!params_has(request->params, "timeout"))
        return WEFT_NO_DEADLINE;
    return weft_deadline_after(params_duration_ns(request->params, "timeout", 0));
}

int method_job_wait(struct request *request, json_t **ret_result)
{
    uint64_t *ids;
    size_t count;
    int err = request_ids(request, &ids, &count);
    if (err)
        return err;
    struct engine_page page;
    err = engine_wait(request->context->engine, request->peer, ids, count,
                      request_deadline(request), &page, &request->error);
    free(ids);
    if (err)
        return err;
    json_t *jobs;
    err = page_json(&page, &jobs);
    if (!err)
        *ret_result = json_pack("{s:o}", "jobs", jobs);
    engine_page_destroy(&page);
    return err;
}

/* ---- logs ---- */

/* How many bytes at the end of data are the beginning of a UTF-8 character that is cut off: 0–3. */
static size_t cut_character(const char *data, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char byte = (unsigned char)data[size - back];
        if (byte < 0x80)
            return 0;
        if (byte < 0xC0)
            continue; /* inside a character */
        size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
        return length > back ? back : 0;
    }
    return 0;
}

/* Text as it is if it is UTF-8 without NUL, else base64.  `size` may shrink by a cut character, so
 * that a text file read piece by piece stays text. */
static int encode(const struct output_chunk *chunk, size_t *size, const char **ret_encoding,
                  json_t **ret_data)
{
    size_t whole = *size - (chunk->at_end ? 0 : cut_character(chunk->data, *size));
    json_t *text = NULL;
    if (whole == 0 || !memchr(chunk->data, '\0', whole))
        text = json_stringn(chunk->data ? chunk->data : "", whole);
    if (text && (whole > 0 || *size == 0)) {
        *size = whole;
        *ret_encoding = "utf-8";
        *ret_data = text;
        return 0;
    }
    json_decref(text);
    *ret_encoding = "base64";
    *ret_data = job_base64_to_json(chunk->data, *size);
    return *ret_data ? 0 : -ENOMEM;
}

static int logs_json(const struct output_chunk *chunk, bool eof, json_t **ret_result)
{
    size_t size = chunk->size;
    const char *encoding;
    json_t *data;
    int err = encode(chunk, &size, &encoding, &data);
    if (err)
        return err;
    json_t *result = json_pack("{s:o, s:s, s:I, s:b}", "data", data, "encoding", encoding, "next",
                               (json_int_t)(chunk->next - (chunk->size - size)), "eof", (int)eof);
    if (chunk->gap > 0)
        result = json_memory_set(result, "gap", json_integer((json_int_t)chunk->gap));
    if (chunk->dropped > 0)
        result = json_memory_set(result, "dropped", json_integer((json_int_t)chunk->dropped));
    *ret_result = result;
    return 0;
}

static struct engine_piece read_piece(const json_t *params)
{
    bool is_stderr = strcmp(params_string(params, "stream", "stdout"), "stderr") == 0;
    return (struct engine_piece){
        .id = (uint64_t)params_int(params, "id", 0),
        .stream = is_stderr ? OUTPUT_STDERR : OUTPUT_STDOUT,
        .offset = (uint64_t)params_int(params, "offset", 0),
    };
}

int method_job_logs(struct request *request, json_t **ret_result)
{
    struct engine_piece piece = read_piece(request->params);
    piece.limit = params_size(request->params, "limit", METHODS_LOGS_DEFAULT);
    struct output_chunk chunk;
    bool eof;
    int err =
        engine_logs(request->context->engine, request->peer, &piece, &chunk, &eof, &request->error);
    if (err)
        return err;
    err = logs_json(&chunk, eof, ret_result);
    free(chunk.data);
    return err;
}

/* ---- output ---- */

static json_t *shared_json(const struct engine_shared *shared)
{
    const struct output_share *share = &shared->share;
    json_t *json = json_pack("{s:I, s:b, s:b}", "attempt", (json_int_t)shared->attempt,
                             "descriptor", share->fd >= 0, "eof", (int)shared->eof);
    if (share->fd >= 0)
        json = json_memory_set(json, "begin", json_integer((json_int_t)share->begin));
    if (share->gap > 0)
        json = json_memory_set(json, "gap", json_integer((json_int_t)share->gap));
    if (shared->eof && share->dropped > 0)
        json = json_memory_set(json, "dropped", json_integer((json_int_t)share->dropped));
    return json;
}

int method_job_output(struct request *request, json_t **ret_result)
{
    struct request_pass *pass = request->pass;
    if (!pass)
        return rpc_error_set(&request->error, RPC_INVALID_REQUEST,
                             "job.output cannot be part of a batch, nor a request of HTTP, which "
                             "pass no descriptor: send it alone on a line, or ask job.logs");
    struct engine_piece piece = read_piece(request->params);
    struct engine_shared shared;
    int err = pass->begin(pass->arg);
    if (!err)
        err = engine_share_output(request->context->engine, request->peer, &piece, &shared,
                                  &request->error);
    if (err)
        return err;
    json_t *result = shared_json(&shared);
    if (result)
        pass->fd = shared.share.fd;
    else if (shared.share.fd >= 0)
        close(shared.share.fd);
    *ret_result = result;
    return 0;
}
