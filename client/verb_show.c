/* SPDX-License-Identifier: MIT */
/* verb_show: one job, a line per member.  The order and the reading of the members that are known
 * is a table; a member that is not in it is shown as JSON, so that a newer weftd loses nothing. */
#include "client/job_text.h"
#include "client/text.h"
#include "client/verbs.h"
#include "protocol/json_memory.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 4096

enum member_kind { MEMBER_PLAIN, MEMBER_TIME, MEMBER_COMMAND, MEMBER_PROGRESS, MEMBER_HIDDEN };

static const struct member {
    const char *name;
    enum member_kind kind;
} members[] = {
    {"id", MEMBER_PLAIN},          {"name", MEMBER_PLAIN},        {"queue", MEMBER_PLAIN},
    {"state", MEMBER_PLAIN},       {"attempt", MEMBER_PLAIN},     {"argv", MEMBER_COMMAND},
    {"call", MEMBER_COMMAND},      {"args", MEMBER_HIDDEN},       {"cwd", MEMBER_PLAIN},
    {"submitted_at", MEMBER_TIME}, {"due_at", MEMBER_TIME},       {"expires_at", MEMBER_TIME},
    {"started_at", MEMBER_TIME},   {"finished_at", MEMBER_TIME},  {"exit_code", MEMBER_PLAIN},
    {"signal", MEMBER_PLAIN},      {"progress", MEMBER_PROGRESS}, {"result", MEMBER_PLAIN},
    {"error", MEMBER_PLAIN},
};

static const struct member *find(const char *name)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    }
    return NULL;
}

/* As it is to be seen; the caller's.  NULL: out of memory. */
static char *plain(const json_t *value)
{
    if (!json_is_string(value))
        return json_memory_dumps(value, JSON_ENCODE_ANY);
    size_t size = json_string_length(value), room = size * 4 + 8;
    char *safe = malloc(room);
    return safe ? text_safe(json_string_value(value), size, safe, room) : NULL;
}

static void print_plain(struct command *command, const json_t *value)
{
    char *text = plain(value);
    fputs(text ? text : "(out of memory)", command->out);
    command->unprinted |= !text;
    free(text);
}

static void print_time(FILE *to, const json_t *value)
{
    char text[TEXT_SHORT_MAX];
    fputs(text_time(json_number_value(value), text), to);
}

static void print_member(struct command *command, const json_t *job, const char *name,
                         enum member_kind kind)
{
    FILE *to = command->out;
    char text[VALUE_MAX];
    const json_t *value = json_object_get(job, name);
    if (!value || kind == MEMBER_HIDDEN)
        return;
    fprintf(to, "%-13s ", kind == MEMBER_COMMAND ? "command" : name);
    if (kind == MEMBER_COMMAND)
        fputs(job_command(job, text, sizeof text), to);
    else if (kind == MEMBER_PROGRESS)
        fputs(job_progress(job, text, sizeof text), to);
    else if (kind == MEMBER_TIME)
        print_time(to, value);
    else
        print_plain(command, value);
    fputc('\n', to);
}

static void print_job(struct command *command, json_t *job)
{
    const char *name;
    json_t *value;
    char time[TEXT_SHORT_MAX];
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        print_member(command, job, members[i].name, members[i].kind);
    json_object_foreach(job, name, value)
    {
        if (!find(name))
            print_member(command, job, name, MEMBER_PLAIN);
    }
    if (job_run_time(job) >= 0)
        fprintf(command->out, "%-13s %s\n", "time", text_duration(job_run_time(job), time));
}

static int show(struct command *command, int64_t id, bool is_first)
{
    json_t *job;
    int status = command_call(command, "job.get", json_pack("{s:I}", "id", (json_int_t)id), &job);
    if (status)
        return status;
    if (command->json) {
        command_print_json(command, job);
    } else {
        fputs(is_first ? "" : "\n", command->out);
        print_job(command, job);
    }
    json_decref(job);
    return COMMAND_OK;
}

/* Every id is tried; the worst status counts. */
int verb_show(struct command *command)
{
    size_t count = 0;
    int64_t *ids = NULL;
    int worst = command_ids(command, &ids, &count);
    for (size_t i = 0; i < count && worst < COMMAND_UNREACHABLE; i++) {
        int status = show(command, ids[i], i == 0);
        worst = status > worst ? status : worst;
    }
    free(ids);
    return worst;
}
