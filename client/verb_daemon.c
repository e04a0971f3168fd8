/* SPDX-License-Identifier: MIT */
/* verb_daemon: reload and ping. */
#include "client/verbs.h"

#include <time.h>

const struct option_spec reload_options[] = {
    {"wait", 0, NULL, "end only when the new settings are in force (weftd answers then anyway)"},
    {0},
};

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
    int status = command_call(command, "daemon.reload", NULL, &report);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, report);
    else
        print_report(command->out, report);
    json_decref(report);
    return COMMAND_OK;
}

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int verb_ping(struct command *command)
{
    json_t *answer;
    int status = command_connect(command);
    double before = now_ms();
    if (!status)
        status = command_call(command, "ping", NULL, &answer);
    if (status)
        return status;
    if (command->json)
        command_print_json(command, answer);
    else
        fprintf(command->out, "weftd answered in %.2f ms\n", now_ms() - before);
    json_decref(answer);
    return COMMAND_OK;
}
