/* SPDX-License-Identifier: MIT */
/* verb_explain: why a job is not running: weftd's own sentence, made safe for the terminal. */
#include "client/job_text.h"
#include "client/text.h"
#include "client/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int print_reason(struct command *command, const json_t *explanation)
{
    const char *reason = job_string(explanation, "reason");
    size_t size = strlen(reason);
    char *safe = malloc(size * 4 + 8);
    if (!safe)
        return command_explain(command, -ENOMEM, NULL);
    fprintf(command->out, "job %lld (%s): %s\n", (long long)job_id(explanation),
            job_string(explanation, "state"), text_safe(reason, size, safe, size * 4 + 8));
    free(safe);
    return COMMAND_OK;
}

int verb_explain(struct command *command)
{
    int64_t id;
    json_t *explanation;
    int status = command_id(command, command->arguments.words[0], &id);
    if (!status)
        status = command_call(command, "job.explain", json_pack("{s:I}", "id", (json_int_t)id),
                              &explanation);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, explanation);
    else
        status = print_reason(command, explanation);
    json_decref(explanation);
    return status;
}
