/* SPDX-License-Identifier: MIT */
/* verb_submit: submit and call.  Nothing but ids on standard output; of a call that is waited for, its
 * result. */
#include "client/await.h"
#include "client/job_request.h"
#include "client/job_text.h"
#include "client/submit_stream.h"
#include "client/verbs.h"

const struct option_spec from_options[] = {
    {"from", 0, "FILE|-", "submit many: a JSON object a line; - is standard input"},
    {0},
};

const struct option_spec call_options[] = {
    {"wait", 'w', NULL, "wait for its end and print its result instead of its id"},
    {0},
};

static int print_result(struct command *command, const json_t *job)
{
    const json_t *result = json_object_get(job, "result");
    if (command->json)
        command_print_json(command, job);
    else if (!job_has_succeeded(job))
        job_complain(command, job);
    else if (result)
        command_print_json(command, result);
    return job_exit_status(job);
}

static int await_result(struct command *command, int64_t id)
{
    json_t *job;
    struct weft_client_error error;
    int err = await_job(command, id, AWAIT_FOR_EVER, &job, &error);
    if (err)
        return command_explain(command, err, &error);
    int status = print_result(command, job);
    json_decref(job);
    return status;
}

static int submit(struct command *command, json_t *job)
{
    json_t *result;
    int status = command_call(command, "job.submit", job, &result);
    if (status)
        return status;
    if (arguments_has(&command->arguments, "wait"))
        status = await_result(command, json_integer_value(json_object_get(result, "id")));
    else if (command->json)
        command_print_json(command, result);
    else
        fprintf(command->out, "%lld\n",
                (long long)json_integer_value(json_object_get(result, "id")));
    json_decref(result);
    return status;
}

static bool is_stream(const struct command *command)
{
    return arguments_has(&command->arguments, "from");
}

/* Options of one program mean nothing for a file of jobs: say so instead of passing over them. */
static int check_stream(struct command *command)
{
    for (const struct option_spec *option = program_options; option->name; option++) {
        if (arguments_has(&command->arguments, option->name))
            return command_misuse(command, "--%s cannot be combined with --from", option->name);
    }
    if (command->arguments.words_count > 0)
        return command_misuse(command, "a program cannot be combined with --from");
    return COMMAND_OK;
}

int verb_submit(struct command *command)
{
    json_t *job;
    if (is_stream(command)) {
        int status = check_stream(command);
        return status ? status : submit_stream(command, NULL);
    }
    if (command->arguments.words_count == 0)
        return command_misuse(command, "which program?");
    int status = job_request_program(command, &job);
    return status ? status : submit(command, job);
}

int verb_call(struct command *command)
{
    json_t *job;
    const struct arguments *arguments = &command->arguments;
    if (is_stream(command) && arguments_has(arguments, "wait"))
        return command_misuse(command, "--wait cannot be combined with --from: see weft wait");
    if (is_stream(command) && arguments->words_count > 1)
        return command_misuse(command, "JSON arguments cannot be combined with --from");
    if (is_stream(command))
        return submit_stream(command, arguments->words_count ? arguments->words[0] : NULL);
    if (arguments->words_count == 0)
        return command_misuse(command, "which handler?");
    int status = job_request_call(command, &job);
    return status ? status : submit(command, job);
}
