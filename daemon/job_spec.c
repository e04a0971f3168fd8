/* SPDX-License-Identifier: MIT */
/*
 * job_spec: what a client asks for, from JSON.  Its stored form is in job_spec_text.c.
 *
 * I1  Everything that is wrong without looking at the engine is refused here, by the member's name.
 * Pure: any thread.  Whether the queue exists is the engine's question.
 */
#include "daemon/job.h"

#include "daemon/native.h"
#include "daemon/program.h"
#include "protocol/params.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CENTURY_NS (INT64_C(36525) * 86400 * 1000000000)

const char *const job_on_crash_names[] = {"requeue", "fail", NULL};
const char *const job_keep_names[] = {"head", "tail", NULL};

enum member {
    ARGV,
    CALL,
    ARGS,
    ENV,
    CWD,
    STDIN,
    STDIN_FILE,
    UMASK,
    NICE,
    IONICE,
    LIMITS,
    MEMORY_MAX,
    TASKS_MAX,
    CPU_QUOTA,
    OUTPUT_KEEP,
    QUEUE,
    NAME,
    KEY,
    TAGS,
    PRIORITY,
    DELAY,
    START_AT,
    TIMEOUT,
    TIMEOUT_TOTAL,
    RETRIES,
    ON_CRASH,
    AFTER,
    DURABLE,
    KEEP,
    MEMBERS
};

static const struct param_spec members[MEMBERS] = {
    [ARGV] = {.name = "argv", .types = PARAM_STRINGS, .length_min = 1},
    [CALL] = {.name = "call", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    [ARGS] = {.name = "args", .types = PARAM_OBJECT},
    [ENV] = {.name = "env", .types = PARAM_STRING_MAP},
    [CWD] = {.name = "cwd", .types = PARAM_STRING, .length_min = 1, .length_max = 4095},
    [STDIN] = {.name = "stdin", .types = PARAM_STRING},
    [STDIN_FILE] = {.name = "stdin_file",
                    .types = PARAM_STRING,
                    .length_min = 1,
                    .length_max = 4095},
    [UMASK] = {.name = "umask", .types = PARAM_STRING},
    [NICE] = {.name = "nice", .types = PARAM_INT, .min = PROGRAM_NICE_MIN, .max = PROGRAM_NICE_MAX},
    [IONICE] = {.name = "ionice", .types = PARAM_STRING},
    [LIMITS] = {.name = "limits", .types = PARAM_OBJECT},
    [MEMORY_MAX] = {.name = "memory_max", .types = PARAM_INT | PARAM_STRING},
    [TASKS_MAX] = {.name = "tasks_max", .types = PARAM_INT | PARAM_STRING},
    [CPU_QUOTA] = {.name = "cpu_quota", .types = PARAM_NUMBER | PARAM_STRING},
    [OUTPUT_KEEP] = {.name = "output_keep", .types = PARAM_STRING, .choices = job_keep_names},
    [QUEUE] = {.name = "queue", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    [NAME] = {.name = "name", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    [KEY] = {.name = "key", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    [TAGS] = {.name = "tags", .types = PARAM_STRINGS, .length_max = JOB_TAGS_MAX},
    [PRIORITY] = {.name = "priority",
                  .types = PARAM_INT,
                  .min = -JOB_PRIORITY_MAX,
                  .max = JOB_PRIORITY_MAX},
    [DELAY] = {.name = "delay", .types = PARAM_DURATION, .min = 0, .max = CENTURY_NS},
    [START_AT] = {.name = "start_at", .types = PARAM_TIME},
    [TIMEOUT] = {.name = "timeout", .types = PARAM_DURATION, .min = 0, .max = CENTURY_NS},
    [TIMEOUT_TOTAL] = {.name = "timeout_total",
                       .types = PARAM_DURATION,
                       .min = 0,
                       .max = CENTURY_NS},
    [RETRIES] = {.name = "retries", .types = PARAM_INT, .min = 0, .max = JOB_RETRIES_MAX},
    [ON_CRASH] = {.name = "on_crash", .types = PARAM_STRING, .choices = job_on_crash_names},
    [AFTER] = {.name = "after",
               .types = PARAM_INTS | PARAM_OBJECT,
               .min = 1,
               .max = JOB_ID_MAX,
               .length_min = 1,
               .length_max = JOB_AFTER_MAX},
    [DURABLE] = {.name = "durable", .types = PARAM_BOOL},
    [KEEP] = {.name = "keep", .types = PARAM_DURATION, .min = 0, .max = CENTURY_NS},
};

/* The long form of "after". */
static const char *const when_names[] = {"ok", "end", NULL};

static const struct param_spec after_members[] = {
    {.name = "ids",
     .types = PARAM_INTS,
     .required = true,
     .min = 1,
     .max = JOB_ID_MAX,
     .length_min = 1,
     .length_max = JOB_AFTER_MAX},
    {.name = "when", .types = PARAM_STRING, .choices = when_names},
};

static int refuse(struct rpc_error *error, const char *param, const char *text)
{
    return rpc_error_set_param(error, RPC_INVALID_PARAMS, param, NULL, "parameter \"%s\" %s", param,
                               text);
}

static int no_memory(struct rpc_error *error)
{
    rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
    return -ENOMEM;
}

static bool has_nul(const json_t *string)
{
    return json_is_string(string) &&
           strlen(json_string_value(string)) != json_string_length(string);
}

/* A NUL inside would cut the string where a program or path begins to matter.  stdin may. */
static bool is_cut(const json_t *value, enum member member)
{
    const char *key;
    json_t *item;
    size_t index;
    bool bad = has_nul(value);
    json_array_foreach(value, index, item) bad |= has_nul(item);
    if (member == ENV)
        json_object_foreach((json_t *)value, key, item) bad |= has_nul(item);
    return bad;
}

static int check_nul(const json_t *const *given, struct rpc_error *error)
{
    for (enum member i = 0; i < MEMBERS; i++)
        if (given[i] && i != STDIN && is_cut(given[i], i))
            return refuse(error, members[i].name, "contains a NUL character");
    return 0;
}

static int check_env(const json_t *env, struct rpc_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)env, name, value)
    {
        if (*name == '\0' || strchr(name, '='))
            return rpc_error_set_param(error, RPC_INVALID_PARAMS, "env", NULL,
                                       "parameter \"env\": \"%.64s\" cannot be the name of a "
                                       "variable",
                                       name);
    }
    return 0;
}

static int check_program(const json_t *const *given, struct rpc_error *error)
{
    const char *cwd = param_string(given[CWD], "/");
    const char *program = json_string_value(json_array_get(given[ARGV], 0));
    if (given[ARGS])
        return refuse(error, "args", "belongs to \"call\", not to \"argv\"");
    if (!program || *program == '\0')
        return refuse(error, "argv", "begins with an empty program name");
    if (*cwd != '/')
        return refuse(error, "cwd", "is not an absolute path");
    if (*param_string(given[STDIN_FILE], "/") != '/')
        return refuse(error, "stdin_file", "is not an absolute path");
    if (given[STDIN] && given[STDIN_FILE])
        return refuse(error, "stdin_file", "and \"stdin\" are two inputs: give one");
    return check_env(given[ENV], error);
}

static int check_call(const json_t *const *given, struct rpc_error *error)
{
    static const enum member program_only[] = {ENV,        CWD,       STDIN,     STDIN_FILE,
                                               UMASK,      NICE,      IONICE,    LIMITS,
                                               MEMORY_MAX, TASKS_MAX, CPU_QUOTA, OUTPUT_KEEP};
    for (size_t i = 0; i < PARAMS_COUNT(program_only); i++)
        if (given[program_only[i]])
            return refuse(error, members[program_only[i]].name,
                          "belongs to \"argv\", not to \"call\"");
    return 0;
}

static int check_kind(const json_t *const *given, struct rpc_error *error)
{
    bool program = given[ARGV] != NULL, call = given[CALL] != NULL;
    if (program && call)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "call", NULL,
                                   "a job has either \"argv\" or \"call\", not both");
    if (!program && !call)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "argv", NULL,
                                   "a job needs \"argv\" (a program) or \"call\" (a handler)");
    return program ? check_program(given, error) : check_call(given, error);
}

static int check_after(const json_t *const *given, struct rpc_error *error)
{
    const json_t *after = given[AFTER];
    if (!json_is_object(after))
        return 0;
    int rc = params_check(after, after_members, PARAMS_COUNT(after_members), error);
    if (rc < 0) { /* the name is that of the inner one */
        char param[sizeof error->param + 8];
        snprintf(param, sizeof param, "after.%s", error->param);
        snprintf(error->param, sizeof error->param, "%.*s", (int)sizeof error->param - 1, param);
    }
    return rc;
}

static int check_start(const json_t *const *given, struct rpc_error *error)
{
    if (given[DELAY] && given[START_AT])
        return refuse(error, "start_at", "and \"delay\" are two ways to say when: give one");
    return 0;
}

static int check_keep(const json_t *const *given, struct rpc_error *error)
{
    if (given[KEEP] && !param_bool(given[DURABLE], true))
        return refuse(error, "keep", "is for durable jobs: of others the last ended ones are kept");
    return 0;
}

static int check(const json_t *params, const json_t **ret_given, struct rpc_error *error)
{
    int rc = params_take(params, members, MEMBERS, ret_given, error);
    if (rc == 0)
        rc = check_start(ret_given, error);
    if (rc == 0)
        rc = check_keep(ret_given, error);
    if (rc == 0)
        rc = check_after(ret_given, error);
    if (rc == 0)
        rc = check_nul(ret_given, error);
    return rc == 0 ? check_kind(ret_given, error) : rc;
}

/* ---- copies; each takes what is absent for nothing to do ------------------------------------- */

static int copy_string(const json_t *value, char **ret_text)
{
    if (!value)
        return 0;
    *ret_text = strdup(json_string_value(value));
    return *ret_text ? 0 : -ENOMEM;
}

static int copy_bytes(const json_t *value, char **ret_data, size_t *ret_size)
{
    if (!value)
        return 0;
    size_t size = json_string_length(value);
    char *data = malloc(size + 1);
    if (!data)
        return -ENOMEM;
    memcpy(data, json_string_value(value), size + 1);
    *ret_data = data;
    *ret_size = size;
    return 0;
}

static int copy_list(const json_t *value, char ***ret_list)
{
    size_t count = json_array_size(value);
    if (!value)
        return 0;
    char **list = calloc(count + 1, sizeof(*list));
    *ret_list = list;
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (copy_string(json_array_get(value, i), &list[i]) < 0)
            return -ENOMEM;
    return 0;
}

static char *join_variable(const char *name, const char *value)
{
    size_t name_size = strlen(name), value_size = strlen(value);
    char *variable = malloc(name_size + value_size + 2);
    if (!variable)
        return NULL;
    memcpy(variable, name, name_size);
    variable[name_size] = '=';
    memcpy(variable + name_size + 1, value, value_size + 1);
    return variable;
}

static int copy_env(const json_t *env, char ***ret_list)
{
    const char *name;
    json_t *value;
    size_t i = 0;
    if (!env)
        return 0;
    char **list = calloc(json_object_size(env) + 1, sizeof(*list));
    *ret_list = list;
    if (!list)
        return -ENOMEM;
    json_object_foreach((json_t *)env, name, value)
    {
        list[i] = join_variable(name, json_string_value(value));
        if (!list[i++])
            return -ENOMEM;
    }
    return 0;
}

/* Shared: nobody changes them. */
static int share_args(const json_t *const *given, json_t **ret_args)
{
    if (!given[CALL])
        return 0;
    *ret_args = given[ARGS] ? json_incref((json_t *)given[ARGS]) : json_object();
    return *ret_args ? 0 : -ENOMEM;
}

static int copy_after(const json_t *after, struct job_spec *spec)
{
    const json_t *ids = json_is_object(after) ? json_object_get(after, "ids") : after;
    size_t count = json_array_size(ids);
    if (count == 0)
        return 0;
    spec->after = malloc(count * sizeof(*spec->after));
    if (!spec->after)
        return -ENOMEM;
    spec->after_count = count;
    for (size_t i = 0; i < count; i++)
        spec->after[i] = (uint64_t)json_integer_value(json_array_get(ids, i));
    spec->after_any_end =
        json_is_object(after) && strcmp(params_string(after, "when", "ok"), "end") == 0;
    return 0;
}

static int copy_texts(const json_t *const *given, struct job_spec *spec)
{
    int rc = copy_list(given[ARGV], &spec->argv);
    rc |= copy_string(given[CALL], &spec->call);
    rc |= share_args(given, &spec->args);
    rc |= copy_env(given[ENV], &spec->env);
    rc |= copy_string(given[CWD], &spec->cwd);
    rc |= copy_bytes(given[STDIN], &spec->stdin_data, &spec->stdin_size);
    rc |= copy_string(given[STDIN_FILE], &spec->stdin_file);
    rc |= copy_string(given[NAME], &spec->name);
    rc |= copy_string(given[KEY], &spec->key);
    rc |= copy_list(given[TAGS], &spec->tags);
    rc |= copy_after(given[AFTER], spec);
    spec->queue = strdup(param_string(given[QUEUE], "default"));
    return rc < 0 || !spec->queue ? -ENOMEM : 0;
}

static enum job_keep keep_of(const json_t *value)
{
    if (!value)
        return JOB_KEEP_DEFAULT;
    return strcmp(json_string_value(value), job_keep_names[0]) == 0 ? JOB_KEEP_HEAD : JOB_KEEP_TAIL;
}

static void copy_numbers(const json_t *const *given, struct job_spec *spec)
{
    const char *on_crash = param_string(given[ON_CRASH], job_on_crash_names[JOB_CRASH_REQUEUE]);
    spec->output_keep = keep_of(given[OUTPUT_KEEP]);
    spec->memory_only = !param_bool(given[DURABLE], true);
    spec->priority = (int32_t)param_int(given[PRIORITY], 0);
    spec->retries = (uint32_t)param_int(given[RETRIES], 0);
    spec->delay_ns = param_duration_ns(given[DELAY], 0);
    spec->start_at = param_time_ns(given[START_AT], 0);
    spec->timeout_ns = param_duration_ns(given[TIMEOUT], 0);
    spec->timeout_total_ns = param_duration_ns(given[TIMEOUT_TOTAL], 0);
    spec->keeps = given[KEEP];
    spec->keep_ns = param_duration_ns(given[KEEP], 0);
    spec->on_crash = strcmp(on_crash, job_on_crash_names[JOB_CRASH_FAIL]) == 0 ? JOB_CRASH_FAIL
                                                                               : JOB_CRASH_REQUEUE;
}

static unsigned find_named(const json_t *const *given)
{
    return (given[PRIORITY] ? JOB_NAMED_PRIORITY : 0) | (given[RETRIES] ? JOB_NAMED_RETRIES : 0) |
           (given[ON_CRASH] ? JOB_NAMED_ON_CRASH : 0) | (given[TIMEOUT] ? JOB_NAMED_TIMEOUT : 0) |
           (given[TIMEOUT_TOTAL] ? JOB_NAMED_TIMEOUT_TOTAL : 0);
}

static bool has_options(const json_t *const *given)
{
    return given[UMASK] || given[NICE] || given[IONICE] || given[LIMITS] || given[MEMORY_MAX] ||
           given[TASKS_MAX] || given[CPU_QUOTA];
}

static int copy_spec(const json_t *params, const json_t *const *given, struct job_spec **ret_spec,
                     struct rpc_error *error)
{
    struct job_spec *spec = calloc(1, sizeof(*spec));
    if (!spec || copy_texts(given, spec) < 0) {
        job_spec_free(spec);
        return no_memory(error);
    }
    int rc = has_options(given) ? program_options_from_json(params, &spec->program, error) : 0;
    if (rc < 0) {
        job_spec_free(spec);
        return rc;
    }
    copy_numbers(given, spec);
    spec->named = find_named(given);
    *ret_spec = spec;
    return 0;
}

int job_spec_from_json(const json_t *params, struct job_spec **ret_spec, struct rpc_error *error)
{
    const json_t *given[MEMBERS];
    struct job_spec *spec;
    int rc = check(params, given, error);
    if (rc < 0)
        return rc;
    rc = copy_spec(params, given, &spec, error);
    if (rc < 0)
        return rc;
    rc = spec->call ? native_check(spec->call, spec->args, error) : 0;
    if (rc < 0) {
        job_spec_free(spec);
        return rc;
    }
    *ret_spec = spec;
    return 0;
}

static void free_list(char **list)
{
    for (char **at = list; at && *at; at++)
        free(*at);
    free(list);
}

void job_spec_free(struct job_spec *spec)
{
    if (!spec)
        return;
    free_list(spec->argv);
    free(spec->call);
    json_decref(spec->args);
    free_list(spec->env);
    free(spec->cwd);
    free(spec->stdin_data);
    free(spec->stdin_file);
    free(spec->program);
    free(spec->queue);
    free(spec->name);
    free(spec->key);
    free_list(spec->tags);
    free(spec->after);
    free(spec);
}
