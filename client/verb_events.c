/* SPDX-License-Identifier: MIT */
/* verb_events: what happens to jobs, a line each, as weftd tells it.  A line is out before the next
 * is waited for, so that a pipe's other end is as up to date as a terminal. */
#include "client/job_text.h"
#include "client/text.h"
#include "client/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_SHOWN  64
#define ERROR_MAX_SHOWN 2560 /* 512 bytes, each an escape of four */

const struct option_spec events_options[] = {
    {"since", 0, "SEQ", "begin behind this one; 0: with all that weftd still has"},
    {"epoch", 0, "NUMBER", "the epoch of --since (else that of weftd now)"},
    {"queue", 'q', "NAME", "only this queue"},
    {"limit", 'l', "COUNT", "end after so many"},
    {0},
};

struct listening {
    struct command *command;
    json_t *params;
    int64_t left; /* records still wanted */
};

/* ---- asking ---- */

static int add_number(struct listening *listening, const char *option)
{
    int64_t number = -1;
    int status = command_number(listening->command, option, 0, (INT64_C(1) << 53) - 1, &number);
    if (!status && number >= 0)
        status = command_put(listening->command, listening->params, option, json_integer(number));
    return status;
}

static int add_ids(struct listening *listening)
{
    int64_t *ids;
    size_t count;
    int status = command_ids(listening->command, &ids, &count);
    if (status)
        return status;
    json_t *list = command_id_list(ids, count);
    free(ids);
    if (!list)
        return command_explain(listening->command, -ENOMEM, NULL);
    return command_put(listening->command, listening->params, "ids", list);
}

static int read_options(struct listening *listening)
{
    struct command *command = listening->command;
    const char *queue = arguments_value(&command->arguments, "queue");
    int status = command_number(command, "limit", 1, INT64_MAX, &listening->left);
    if (!status)
        status = add_number(listening, "since");
    if (!status)
        status = add_number(listening, "epoch");
    if (!status && queue)
        status = command_put_text(command, listening->params, "queue", queue);
    if (!status && command->arguments.words_count > 0)
        status = add_ids(listening);
    return status;
}

/* Then weftd takes --since as 0. */
static void tell_other_epoch(struct command *command, const json_t *given, const json_t *reply)
{
    const json_t *now = json_object_get(reply, "epoch");
    if (given && now && !json_equal(given, now))
        command_fail(command, COMMAND_OK,
                     "epoch %lld is another life of weftd, this is its %lld: the numbers are other "
                     "ones, and what happened before is lost (weft list shows how the jobs are)",
                     (long long)json_integer_value(given), (long long)json_integer_value(now));
}

static int subscribe(struct listening *listening)
{
    json_t *reply;
    struct command *command = listening->command;
    int status = command_connect(command);
    if (status)
        return status;
    int err = weft_client_listen(command->client);
    if (err)
        return command_explain(command, err, NULL);
    status = command_call(command, "events.subscribe", json_incref(listening->params), &reply);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, reply);
    else
        tell_other_epoch(command, json_object_get(listening->params, "epoch"), reply);
    json_decref(reply);
    return COMMAND_OK;
}

/* ---- printing ---- */

static void print_event(FILE *to, const json_t *event)
{
    char name[NAME_MAX_SHOWN], error[ERROR_MAX_SHOWN], time[TEXT_SHORT_MAX];
    const char *before = job_string(event, "before"), *given = job_string(event, "name");
    fprintf(to, "%s  job %lld%s%s: ",
            text_time(json_number_value(json_object_get(event, "time")), time),
            (long long)job_id(event), *given ? " " : "",
            text_safe(given, strlen(given), name, sizeof name));
    if (json_object_get(event, "progress")) {
        fprintf(to, "%s\n", job_progress(event, error, sizeof error));
        return;
    }
    fprintf(to, "%s -> %s (%s", *before ? before : "new", job_string(event, "state"),
            job_string(event, "cause"));
    json_int_t attempt = json_integer_value(json_object_get(event, "attempt"));
    if (attempt > 0)
        fprintf(to, ", attempt %lld", (long long)attempt);
    const char *why = job_string(event, "error");
    fprintf(to, ")%s%s\n", *why ? ": " : "", text_safe(why, strlen(why), error, sizeof error));
}

static void print_record(struct command *command, const json_t *record)
{
    const json_t *gap = json_object_get(record, "gap");
    if (command->json)
        command_print_json(command, record);
    else if (gap)
        command_fail(command, 0, "events %lld to %lld are lost: weft list shows how the jobs are",
                     (long long)json_integer_value(json_object_get(gap, "from")),
                     (long long)json_integer_value(json_object_get(gap, "to")));
    else
        print_event(command->out, record);
}

static int listen_on(struct listening *listening)
{
    struct command *command = listening->command;
    for (; listening->left > 0 && command_flush(command); listening->left--) {
        json_t *record;
        int err = weft_client_hear(command->client, &record);
        if (err == -ECONNRESET)
            return command_fail(command, COMMAND_UNREACHABLE, "weftd has closed the connection");
        if (err)
            return command_explain(command, err, NULL);
        print_record(command, record);
        json_decref(record);
    }
    return COMMAND_OK;
}

int verb_events(struct command *command)
{
    struct listening listening = {.command = command, .params = json_object(), .left = INT64_MAX};
    int status =
        listening.params ? read_options(&listening) : command_explain(command, -ENOMEM, NULL);
    if (!status)
        status = subscribe(&listening);
    if (!status)
        status = listen_on(&listening);
    json_decref(listening.params);
    return status;
}
