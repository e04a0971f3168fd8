/* SPDX-License-Identifier: MIT */
/* verb_wait: wait, cancel and retry, for any number of jobs: ids go in chunks, all chunks at once,
 * so that a timeout is one for all. */
#include "client/await.h"
#include "client/job_text.h"
#include "client/verbs.h"

#include "protocol/error.h"
#include "protocol/units.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/param.h>

#define CHUNK_IDS 10000

const struct option_spec wait_options[] = {
    {"timeout", 0, "DURATION", "wait no longer than this: 90, 1.5s, 10m"},
    {0},
};

/* A request on many ids, cut into chunks. */
struct batch {
    struct command *command;
    const char *method;
    const char *timeout; /* NULL: none */
    int64_t *ids;
    size_t count;
    /* Print what a chunk's result says; returns the exit status. */
    int (*print)(struct command *command, const json_t *result);
};

static json_t *chunk_params(const struct batch *batch, size_t first)
{
    size_t count = MIN(batch->count - first, CHUNK_IDS);
    json_t *ids = command_id_list(batch->ids + first, count);
    if (!ids)
        return NULL;
    if (batch->timeout)
        return json_pack("{s:o, s:s}", "ids", ids, "timeout", batch->timeout);
    return json_pack("{s:o}", "ids", ids);
}

static int send_chunks(const struct batch *batch, int64_t *ret_last)
{
    int err = 0;
    for (size_t i = 0; !err && i < batch->count; i += CHUNK_IDS) {
        json_t *params = chunk_params(batch, i);
        err = params ? weft_client_send(batch->command->client, batch->method, params, ret_last)
                     : -ENOMEM;
        json_decref(params);
    }
    return err;
}

static int take_reply(const struct batch *batch, int64_t id)
{
    struct weft_reply reply;
    int err = weft_client_receive(batch->command->client, id, &reply);
    if (err || reply.error.code != RPC_OK)
        return await_explain(batch->command, err ? err : -EREMOTEIO, &reply.error);
    int status = batch->print(batch->command, reply.result);
    weft_reply_destroy(&reply);
    return status;
}

static int run_batch(const struct batch *batch)
{
    int64_t last = 0;
    int worst = batch->count ? command_connect(batch->command) : COMMAND_OK;
    if (worst || batch->count == 0)
        return worst;
    int err = send_chunks(batch, &last);
    if (err)
        return command_explain(batch->command, err, NULL);
    int64_t first = last - (int64_t)((batch->count - 1) / CHUNK_IDS);
    for (int64_t id = first; id <= last && worst < COMMAND_UNREACHABLE; id++) {
        int status = take_reply(batch, id);
        worst = status > worst ? status : worst;
    }
    return worst;
}

/* ---- wait ---- */

static int print_ended(struct command *command, const json_t *job)
{
    if (command->json)
        command_print_json(command, job);
    if (job_has_succeeded(job))
        return COMMAND_OK;
    if (!command->json)
        job_complain(command, job);
    return COMMAND_FAILED;
}

static int print_waited(struct command *command, const json_t *result)
{
    size_t i;
    json_t *job;
    int status = COMMAND_OK;
    json_array_foreach(json_object_get(result, "jobs"), i, job)
    {
        if (print_ended(command, job))
            status = COMMAND_FAILED;
    }
    return status;
}

/* With a bar. */
static int await_one(struct command *command, int64_t id, const char *timeout)
{
    json_t *job;
    uint64_t timeout_ns = AWAIT_FOR_EVER;
    struct weft_client_error error;
    int status = command_connect(command);
    if (status)
        return status;
    if (timeout)
        (void)units_parse_duration(timeout, &timeout_ns); /* it was checked */
    int err = await_job(command, id, timeout_ns, &job, &error);
    if (err)
        return await_explain(command, err, &error);
    status = print_ended(command, job);
    json_decref(job);
    return status;
}

int verb_wait(struct command *command)
{
    struct batch batch = {.command = command, .method = "job.wait", .print = print_waited};
    int status = command_duration(command, "timeout", &batch.timeout);
    if (!status)
        status = command_ids(command, &batch.ids, &batch.count);
    if (!status && batch.count == 1 && await_is_shown(command))
        status = await_one(command, batch.ids[0], batch.timeout);
    else if (!status)
        status = run_batch(&batch);
    free(batch.ids);
    return status;
}

/* ---- cancel and retry ---- */

static int print_states(struct command *command, const json_t *result)
{
    size_t i;
    json_t *item;
    int status = COMMAND_OK;
    json_array_foreach(json_object_get(result, "results"), i, item)
    {
        const json_t *error = json_object_get(item, "error");
        if (command->json)
            command_print_json(command, item);
        else if (error)
            command_fail(command, 0, "%s", job_string(error, "message"));
        else
            fprintf(command->out, "%lld %s\n", (long long)job_id(item), job_string(item, "state"));
        if (error)
            status = COMMAND_FAILED;
    }
    return status;
}

static int for_each_id(struct command *command, const char *method)
{
    struct batch batch = {.command = command, .method = method, .print = print_states};
    int status = command_ids(command, &batch.ids, &batch.count);
    if (!status)
        status = run_batch(&batch);
    free(batch.ids);
    return status;
}

int verb_cancel(struct command *command)
{
    return for_each_id(command, "job.cancel");
}

int verb_retry(struct command *command)
{
    return for_each_id(command, "job.retry");
}
