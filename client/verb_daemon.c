/* SPDX-License-Identifier: MIT */
/* verb_daemon: drain, reload, backup and ping. */
#include "client/clock.h"
#include "client/job_text.h"
#include "client/verbs.h"

const struct option_spec reload_options[] = {
    {"wait", 0, NULL, "end only when the new settings are in force (weftd answers then anyway)"},
    {0},
};

const struct option_spec drain_options[] = {
    {"wait", 0, NULL, "end only when nothing runs any more"},
    {"timeout", 0, "DURATION", "wait no longer than this: 90, 1.5s, 10m"},
    {"undo", 0, NULL, "start jobs again"},
    {0},
};

static int put_drain(struct command *command, json_t *params)
{
    const struct arguments *arguments = &command->arguments;
    const char *timeout = arguments_value(arguments, "timeout");
    int status = COMMAND_OK;
    if (timeout || arguments_has(arguments, "wait"))
        status = command_put(command, params, "wait", json_true());
    if (!status && timeout)
        status = command_put_text(command, params, "timeout", timeout);
    if (!status && arguments_has(arguments, "undo"))
        status = command_put(command, params, "undo", json_true());
    return status;
}

static void print_drain(FILE *to, const json_t *answer)
{
    long long running = json_integer_value(json_object_get(answer, "running"));
    if (json_is_false(json_object_get(answer, "drained")))
        fputs("jobs are started again\n", to);
    else if (running == 0)
        fputs("drained: nothing runs, nothing is started\n", to);
    else
        fprintf(to, "drained: %lld job%s still run%s, no others are started\n", running,
                running == 1 ? "" : "s", running == 1 ? "s" : "");
}

int verb_drain(struct command *command)
{
    json_t *params = json_object(), *answer;
    int status = put_drain(command, params);
    if (!status)
        status = command_call(command, "daemon.drain", json_incref(params), &answer);
    json_decref(params);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, answer);
    else
        print_drain(command->out, answer);
    json_decref(answer);
    return COMMAND_OK;
}

static void print_report(FILE *to, const json_t *report)
{
    size_t i;
    json_t *name;
    long long changed = json_integer_value(json_object_get(report, "changed"));
    const json_t *restart = json_object_get(report, "restart");
    fprintf(to, "reloaded: %lld setting%s changed\n", changed, changed == 1 ? "" : "s");
    if (json_array_size(restart) == 0)
        return;
    fputs("a restart is needed for:", to);
    json_array_foreach(restart, i, name)
        fprintf(to, " %s", json_is_string(name) ? json_string_value(name) : "?");
    fputc('\n', to);
}

int verb_reload(struct command *command)
{
    json_t *report;
    int status = command_ask(command, "daemon.reload", &report);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, report);
    else
        print_report(command->out, report);
    json_decref(report);
    return COMMAND_OK;
}

int verb_backup(struct command *command)
{
    json_t *params = json_object(), *answer;
    int status = COMMAND_OK;
    if (command->arguments.words_count > 0)
        status = command_put_text(command, params, "name", command->arguments.words[0]);
    if (!status)
        status = command_call(command, "daemon.backup", json_incref(params), &answer);
    json_decref(params);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, answer);
    else
        fprintf(command->out, "%s\n", job_string(answer, "path"));
    json_decref(answer);
    return COMMAND_OK;
}

int verb_ping(struct command *command)
{
    json_t *answer;
    int status = command_connect(command);
    uint64_t before = clock_now_ns();
    if (!status)
        status = command_ask(command, "ping", &answer);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, answer);
    else
        fprintf(command->out, "weftd answered in %.2f ms\n",
                (double)(clock_now_ns() - before) / 1e6);
    json_decref(answer);
    return COMMAND_OK;
}
