/* SPDX-License-Identifier: MIT */
/* verb_logs: the output of a job, as it is: bytes, not made safe for a terminal, like cat. */
#include "client/await.h"
#include "client/follow.h"
#include "client/verbs.h"

#include <errno.h>

const struct option_spec logs_options[] = {
    {"stderr", 0, NULL, "what it wrote to standard error, instead of standard output"},
    {"follow", 'f', NULL, "go on until the job has ended"},
    {0},
};

static int print(struct follow *follow, bool until_end, struct weft_client_error *error)
{
    json_t *job;
    if (!until_end)
        return follow_once(follow, error);
    int err = follow_job(follow, &job, error);
    if (!err)
        json_decref(job);
    return err;
}

int verb_logs(struct command *command)
{
    int64_t id;
    struct follow follow;
    struct weft_client_error error;
    const struct arguments *arguments = &command->arguments;
    int status = command_id(command, arguments->words[0], &id);
    if (!status)
        status = command_connect(command);
    if (status)
        return status;
    follow_init(&follow, command, id, arguments_has(arguments, "stderr") ? "stderr" : "stdout");
    follow.json = command->json;
    int err = print(&follow, arguments_has(arguments, "follow"), &error);
    follow_destroy(&follow);
    if (err == -EPIPE)
        return COMMAND_FAILED; /* said at the end, by command.c */
    return err ? await_explain(command, err, &error) : COMMAND_OK;
}
