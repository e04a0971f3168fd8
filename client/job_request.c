/* SPDX-License-Identifier: MIT */
/*
 * job_request: see job_request.h.
 *
 * I1  Only what was given is sent: every default but the folder is weftd's.  The folder is the
 *     caller's own, because a command line means the files of the place where it was typed.
 */
#include "client/job_request.h"

#include "protocol/error.h"
#include "protocol/json_memory.h"
#include "protocol/jsonrpc.h"
#include "protocol/timestamp.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STDIN_MAX ((size_t)1 << 20) /* a request is one line of at most 1 MiB */

const struct option_spec job_options[] = {
    {"queue", 'q', "NAME", "the queue to run in (default: default)"},
    {"name", 'n', "TEXT", "a label for people"},
    {"tag", 0, "TEXT", "a tag; may be repeated"},
    {"key", 0, "TEXT", "if your job of this key has not ended, or only lately, take that one"},
    {"priority", 'p', "NUMBER", "higher runs first (default 0)"},
    {"delay", 0, "DURATION", "not before this long from now: 90, 1.5s, 10m"},
    {"at", 0, "TIME", "not before this time: 2026-11-29T06:30:00Z, or seconds since 1970"},
    {"timeout", 0, "DURATION", "stop an attempt that runs longer"},
    {"timeout-total", 0, "DURATION", "end it, all attempts and waits included, if it takes longer"},
    {"retries", 0, "COUNT", "attempts after the first one failed"},
    {"after", 0, "ID,...", "only once these jobs have succeeded; if one does not, cancel it"},
    {"after-any", 0, "ID,...", "only once these jobs have ended, however they did"},
    {"keep", 0, "DURATION", "forget it, with its output, so long after its end; 0: at once"},
    {"no-durable", 0, NULL, "keep it in memory only: quick, and lost if weftd ends"},
    {"on-crash", 0, "ACTION", "if weftd dies meanwhile: requeue (default) or fail"},
    {0},
};

const struct option_spec program_options[] = {
    {"env", 'e', "NAME=VALUE", "a variable for it; NAME alone passes yours; may be repeated"},
    {"cwd", 'C', "FOLDER", "where it runs (default: here)"},
    {"stdin", 0, "FILE|-", "text that it reads, sent along; - is weft's own standard input"},
    {"stdin-file", 0, "FILE", "a file that it reads, opened when it starts"},
    {"umask", 0, "MASK", "its umask: 0027"},
    {"nice", 0, "NUMBER", "its niceness, -20 to 19"},
    {"ionice", 0, "CLASS", "its I/O priority: idle, best-effort:7, realtime:4"},
    {"limit", 0, "NAME=LIMIT", "a resource limit, SOFT:HARD or both: nofile=1024; may be repeated"},
    {"memory-max", 0, "SIZE", "memory of all its processes together: 64M; over it they are killed"},
    {"tasks-max", 0, "COUNT", "processes and threads that it may have at once"},
    {"cpu-quota", 0, "PERCENT", "CPU time that they get together, of one CPU: 150%"},
    {"output-keep", 0, "END", "of more output than is kept: its head (default) or its tail"},
    {0},
};

static int no_memory(struct command *command)
{
    return command_explain(command, -ENOMEM, NULL);
}

/* jansson did not take it. */
static int refuse_text(struct command *command, const char *what, const char *text)
{
    if (json_memory_refusal(text) == -ENOMEM)
        return no_memory(command);
    return command_misuse(command, "%s: not UTF-8 text", what);
}

/* ---- options ---- */

static int put_text(struct command *command, json_t *job, const char *option, const char *member)
{
    const char *text = arguments_value(&command->arguments, option);
    return text ? command_put_text(command, job, member, text) : COMMAND_OK;
}

static int put_number(struct command *command, json_t *job, const char *option)
{
    int64_t number;
    if (!arguments_has(&command->arguments, option))
        return COMMAND_OK;
    int status = command_number(command, option, INT32_MIN, INT32_MAX, &number);
    return status ? status : command_put(command, job, option, json_integer(number));
}

static int put_duration(struct command *command, json_t *job, const char *option,
                        const char *member)
{
    const char *text = NULL;
    int status = command_duration(command, option, &text);
    return status || !text ? status : command_put_text(command, job, member, text);
}

/* A number is seconds since 1970, as `date +%s` prints them. */
static int put_time(struct command *command, json_t *job, const char *option, const char *member)
{
    char *end;
    int64_t ns;
    const char *text = arguments_value(&command->arguments, option);
    if (!text)
        return COMMAND_OK;
    double seconds = strtod(text, &end);
    if (isdigit((unsigned char)*text) && *end == '\0')
        return command_put(command, job, member, json_real(seconds));
    if (timestamp_parse(text, &ns) == 0)
        return command_put_text(command, job, member, text);
    return command_misuse(command,
                          "--%s: '%s' is no time such as 2026-11-29T06:30:00Z, "
                          "2026-11-29T07:30:00+01:00 or what date +%%s prints",
                          option, text);
}

static int put_tags(struct command *command, json_t *job)
{
    const char *tag;
    int status = COMMAND_OK;
    if (!arguments_has(&command->arguments, "tag"))
        return COMMAND_OK;
    json_t *tags = json_array();
    for (size_t i = 0; !status && (tag = arguments_value_at(&command->arguments, "tag", i)); i++) {
        if (json_array_append_new(tags, json_string(tag)))
            status = refuse_text(command, "tag", tag);
    }
    if (status) {
        json_decref(tags);
        return status;
    }
    return command_put(command, job, "tags", tags);
}

/* Ids with commas between them. */
static int read_ids(struct command *command, const char *text, json_t *ids)
{
    char one[32];
    int status = COMMAND_OK;
    for (;;) {
        int64_t id;
        size_t size = strcspn(text, ",");
        snprintf(one, sizeof one, "%.*s", (int)size, text);
        status = command_id(command, one, &id);
        if (!status && json_array_append_new(ids, json_integer(id)))
            status = no_memory(command);
        if (status || text[size] == '\0')
            return status;
        text += size + 1;
    }
}

static int put_after(struct command *command, json_t *job)
{
    const char *ok = arguments_value(&command->arguments, "after");
    const char *any = arguments_value(&command->arguments, "after-any");
    if (!ok && !any)
        return COMMAND_OK;
    if (ok && any)
        return command_misuse(command, "either --after or --after-any, not both");
    json_t *ids = json_array();
    int status = ids ? read_ids(command, ok ? ok : any, ids) : no_memory(command);
    if (status) {
        json_decref(ids);
        return status;
    }
    json_t *after = ok ? ids : json_pack("{s:o, s:s}", "ids", ids, "when", "end");
    return after ? command_put(command, job, "after", after) : no_memory(command);
}

static int put_no_durable(struct command *command, json_t *job)
{
    if (!arguments_has(&command->arguments, "no-durable"))
        return COMMAND_OK;
    return command_put(command, job, "durable", json_false());
}

static int put_options(struct command *command, json_t *job)
{
    int status = put_text(command, job, "queue", "queue");
    if (!status)
        status = put_text(command, job, "name", "name");
    if (!status)
        status = put_text(command, job, "key", "key");
    if (!status)
        status = put_tags(command, job);
    if (!status)
        status = put_number(command, job, "priority");
    if (!status)
        status = put_number(command, job, "retries");
    if (!status)
        status = put_duration(command, job, "delay", "delay");
    if (!status)
        status = put_time(command, job, "at", "start_at");
    if (!status)
        status = put_duration(command, job, "timeout", "timeout");
    if (!status)
        status = put_duration(command, job, "timeout-total", "timeout_total");
    if (!status)
        status = put_duration(command, job, "keep", "keep");
    if (!status)
        status = put_after(command, job);
    if (!status)
        status = put_no_durable(command, job);
    return status ? status : put_text(command, job, "on-crash", "on_crash");
}

/* ---- a program ---- */

static int put_variable(struct command *command, json_t *env, const char *text)
{
    const char *equals = strchr(text, '=');
    const char *value = equals ? equals + 1 : getenv(text);
    if (!value)
        return command_misuse(command, "--env: there is no variable '%s' to pass on", text);
    char *name = strndup(text, equals ? (size_t)(equals - text) : strlen(text));
    if (!name)
        return no_memory(command);
    int err = json_object_set_new(env, name, json_string(value));
    free(name);
    bool is_named = json_memory_refusal(text) == -EILSEQ;
    return err ? refuse_text(command, "--env", is_named ? text : value) : COMMAND_OK;
}

static int put_env(struct command *command, json_t *job)
{
    const char *text;
    int status = COMMAND_OK;
    if (!arguments_has(&command->arguments, "env"))
        return COMMAND_OK;
    json_t *env = json_object();
    for (size_t i = 0; !status && (text = arguments_value_at(&command->arguments, "env", i)); i++)
        status = put_variable(command, env, text);
    if (status) {
        json_decref(env);
        return status;
    }
    return command_put(command, job, "env", env);
}

/* A path as seen from here; NULL: here. */
static int put_path(struct command *command, json_t *job, const char *member, const char *given)
{
    char here[PATH_MAX], path[2 * PATH_MAX];
    if (given && *given == '/')
        return command_put_text(command, job, member, given);
    if (!getcwd(here, sizeof here))
        return command_fail(command, COMMAND_FAILED,
                            "where is this? %s; name a folder with --cwd, and files from / on",
                            strerrordesc_np(errno));
    snprintf(path, sizeof path, "%s%s%s", here, given ? "/" : "", given ? given : "");
    return command_put_text(command, job, member, path);
}

static int put_cwd(struct command *command, json_t *job)
{
    return put_path(command, job, "cwd", arguments_value(&command->arguments, "cwd"));
}

static int put_stdin_file(struct command *command, json_t *job)
{
    const char *path = arguments_value(&command->arguments, "stdin-file");
    return path ? put_path(command, job, "stdin_file", path) : COMMAND_OK;
}

static int put_limit(struct command *command, json_t *limits, const char *text)
{
    const char *equals = strchr(text, '=');
    char *name = equals ? strndup(text, (size_t)(equals - text)) : NULL;
    if (!equals)
        return command_misuse(command, "--limit: '%s' is not NAME=LIMIT, such as nofile=1024",
                              text);
    int err = name ? json_object_set_new(limits, name, json_string(equals + 1)) : -1;
    int status = !name ? no_memory(command)
                 : err ? refuse_text(command, "--limit", text)
                       : COMMAND_OK;
    free(name);
    return status;
}

static int put_limits(struct command *command, json_t *job)
{
    const char *text;
    int status = COMMAND_OK;
    if (!arguments_has(&command->arguments, "limit"))
        return COMMAND_OK;
    json_t *limits = json_object();
    for (size_t i = 0; !status && (text = arguments_value_at(&command->arguments, "limit", i)); i++)
        status = put_limit(command, limits, text);
    if (status) {
        json_decref(limits);
        return status;
    }
    return command_put(command, job, "limits", limits);
}

/* How it is run. */
static int put_conditions(struct command *command, json_t *job)
{
    int status = put_text(command, job, "umask", "umask");
    if (!status)
        status = put_number(command, job, "nice");
    if (!status)
        status = put_text(command, job, "ionice", "ionice");
    if (!status)
        status = put_text(command, job, "memory-max", "memory_max");
    if (!status)
        status = put_text(command, job, "tasks-max", "tasks_max");
    if (!status)
        status = put_text(command, job, "cpu-quota", "cpu_quota");
    if (!status)
        status = put_text(command, job, "output-keep", "output_keep");
    return status ? status : put_limits(command, job);
}

static int read_text(struct command *command, FILE *file, const char *name, json_t **ret_text)
{
    char *data = malloc(STDIN_MAX + 1);
    if (!data)
        return no_memory(command);
    size_t size = fread(data, 1, STDIN_MAX + 1, file);
    bool failed = ferror(file);
    json_t *text = size <= STDIN_MAX ? json_stringn(data, size) : NULL;
    data[size <= STDIN_MAX ? size : STDIN_MAX] = '\0';
    bool no_room = !text && strlen(data) == size && json_memory_refusal(data) == -ENOMEM;
    free(data);
    if (failed)
        return command_fail(command, COMMAND_FAILED, "%s could not be read", name);
    if (text) {
        *ret_text = text;
        return COMMAND_OK;
    }
    if (no_room)
        return no_memory(command);
    return command_fail(command, COMMAND_FAILED,
                        size > STDIN_MAX ? "--stdin: %s is larger than 1 MiB; let the program "
                                           "open the file itself"
                                         : "--stdin: %s is not UTF-8 text; let the program open "
                                           "the file itself",
                        name);
}

static int put_stdin(struct command *command, json_t *job)
{
    json_t *text = NULL;
    const char *path = arguments_value(&command->arguments, "stdin");
    if (!path)
        return COMMAND_OK;
    bool is_own = strcmp(path, "-") == 0;
    FILE *file = is_own ? command->in : fopen(path, "re");
    if (!file)
        return command_fail(command, COMMAND_FAILED, "--stdin: %s: %s", path,
                            strerrordesc_np(errno));
    int status = read_text(command, file, is_own ? "standard input" : path, &text);
    if (!is_own)
        fclose(file);
    return status ? status : command_put(command, job, "stdin", text);
}

static int put_argv(struct command *command, json_t *job)
{
    const struct arguments *arguments = &command->arguments;
    json_t *argv = json_array();
    for (size_t i = 0; i < arguments->words_count; i++) {
        if (json_array_append_new(argv, json_string(arguments->words[i]))) {
            json_decref(argv);
            return refuse_text(command, "an argument of the program", arguments->words[i]);
        }
    }
    return command_put(command, job, "argv", argv);
}

static int put_program(struct command *command, json_t *job)
{
    int status = put_argv(command, job);
    if (!status)
        status = put_options(command, job);
    if (!status)
        status = put_env(command, job);
    if (!status)
        status = put_cwd(command, job);
    if (!status)
        status = put_conditions(command, job);
    if (!status)
        status = put_stdin_file(command, job);
    return status ? status : put_stdin(command, job);
}

/* ---- a call ---- */

static int put_call(struct command *command, json_t *job)
{
    const struct arguments *arguments = &command->arguments;
    json_t *args;
    struct rpc_error error;
    int status = command_put_text(command, job, "call", arguments->words[0]);
    if (!status)
        status = put_options(command, job);
    if (status || arguments->words_count < 2)
        return status;
    const char *text = arguments->words[1];
    int err = jsonrpc_parse_value(text, strlen(text), &args, &error);
    if (err == -ENOMEM)
        return no_memory(command);
    if (err)
        return command_misuse(command, "the arguments are not JSON: %s", error.message);
    if (!json_is_object(args)) {
        json_decref(args);
        return command_misuse(command, "the arguments must be a JSON object: {\"name\": value}");
    }
    return command_put(command, job, "args", args);
}

/* ---- the three ---- */

static int request(struct command *command, int (*fill)(struct command *, json_t *),
                   json_t **ret_job)
{
    json_t *job = json_object();
    int status = job ? fill(command, job) : no_memory(command);
    if (status) {
        json_decref(job);
        return status;
    }
    *ret_job = job;
    return COMMAND_OK;
}

int job_request_options(struct command *command, json_t **ret_job)
{
    return request(command, put_options, ret_job);
}

int job_request_program(struct command *command, json_t **ret_job)
{
    return request(command, put_program, ret_job);
}

int job_request_call(struct command *command, json_t **ret_job)
{
    return request(command, put_call, ret_job);
}
