/* SPDX-License-Identifier: MIT */
/*
 * job_spec: what a client asks for, from JSON and to text and back.
 *
 * I1  Everything that is wrong without looking at the engine is refused here, by the member's name.
 * I2  job_spec_from_text(job_spec_to_text(spec)) equals spec: both directions use the member names
 *     of one table, and a text from disk is checked as hard as a client's.
 * Pure: any thread.  Whether the queue exists is the engine's question.
 */
#include "daemon/job.h"

#include "daemon/native.h"
#include "daemon/program.h"
#include "protocol/params.h"
#include "protocol/timestamp.h"
#include "protocol/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CENTURY_NS (INT64_C(36525) * 86400 * 1000000000)

static const char *const on_crash_names[] = {"requeue", "fail", NULL}; /* as enum job_on_crash */

static const struct param_spec members[] = {
    {.name = "argv", .types = PARAM_STRINGS, .length_min = 1},
    {.name = "call", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    {.name = "args", .types = PARAM_OBJECT},
    {.name = "env", .types = PARAM_STRING_MAP},
    {.name = "cwd", .types = PARAM_STRING, .length_min = 1, .length_max = 4095},
    {.name = "stdin", .types = PARAM_STRING},
    {.name = "stdin_file", .types = PARAM_STRING, .length_min = 1, .length_max = 4095},
    {.name = "umask", .types = PARAM_STRING},
    {.name = "nice", .types = PARAM_INT, .min = PROGRAM_NICE_MIN, .max = PROGRAM_NICE_MAX},
    {.name = "ionice", .types = PARAM_STRING},
    {.name = "limits", .types = PARAM_OBJECT},
    {.name = "queue", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    {.name = "name", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    {.name = "key", .types = PARAM_STRING, .length_min = 1, .length_max = JOB_NAME_MAX},
    {.name = "tags", .types = PARAM_STRINGS, .length_max = JOB_TAGS_MAX},
    {.name = "priority", .types = PARAM_INT, .min = -JOB_PRIORITY_MAX, .max = JOB_PRIORITY_MAX},
    {.name = "delay", .types = PARAM_DURATION, .min = 0, .max = CENTURY_NS},
    {.name = "start_at", .types = PARAM_TIME},
    {.name = "timeout", .types = PARAM_DURATION, .min = 0, .max = CENTURY_NS},
    {.name = "timeout_total", .types = PARAM_DURATION, .min = 0, .max = CENTURY_NS},
    {.name = "retries", .types = PARAM_INT, .min = 0, .max = JOB_RETRIES_MAX},
    {.name = "on_crash", .types = PARAM_STRING, .choices = on_crash_names},
    {.name = "after",
     .types = PARAM_INTS | PARAM_OBJECT,
     .min = 1,
     .max = JOB_ID_MAX,
     .length_min = 1,
     .length_max = JOB_AFTER_MAX},
    {.name = "durable", .types = PARAM_BOOL},
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
static int check_nul(const json_t *params, struct rpc_error *error)
{
    const char *name, *key;
    json_t *value, *item;
    size_t index;
    json_object_foreach((json_t *)params, name, value)
    {
        bool bad = has_nul(value) && strcmp(name, "stdin") != 0;
        if (json_is_array(value))
            json_array_foreach(value, index, item) bad |= has_nul(item);
        if (json_is_object(value) && strcmp(name, "env") == 0)
            json_object_foreach(value, key, item) bad |= has_nul(item);
        if (bad)
            return refuse(error, name, "contains a NUL character");
    }
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

static int check_program(const json_t *params, struct rpc_error *error)
{
    const char *cwd = params_string(params, "cwd", "/");
    const char *program = json_string_value(json_array_get(params_get(params, "argv"), 0));
    if (params_has(params, "args"))
        return refuse(error, "args", "belongs to \"call\", not to \"argv\"");
    if (!program || *program == '\0')
        return refuse(error, "argv", "begins with an empty program name");
    if (*cwd != '/')
        return refuse(error, "cwd", "is not an absolute path");
    if (*params_string(params, "stdin_file", "/") != '/')
        return refuse(error, "stdin_file", "is not an absolute path");
    if (params_has(params, "stdin") && params_has(params, "stdin_file"))
        return refuse(error, "stdin_file", "and \"stdin\" are two inputs: give one");
    return check_env(params_get(params, "env"), error);
}

static int check_call(const json_t *params, struct rpc_error *error)
{
    static const char *const program_only[] = {"env",   "cwd",  "stdin",  "stdin_file",
                                               "umask", "nice", "ionice", "limits"};
    for (size_t i = 0; i < sizeof(program_only) / sizeof(program_only[0]); i++)
        if (params_has(params, program_only[i]))
            return refuse(error, program_only[i], "belongs to \"argv\", not to \"call\"");
    return 0;
}

static int check_kind(const json_t *params, struct rpc_error *error)
{
    bool program = params_has(params, "argv"), call = params_has(params, "call");
    if (program && call)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "call", NULL,
                                   "a job has either \"argv\" or \"call\", not both");
    if (!program && !call)
        return rpc_error_set_param(error, RPC_INVALID_PARAMS, "argv", NULL,
                                   "a job needs \"argv\" (a program) or \"call\" (a handler)");
    return program ? check_program(params, error) : check_call(params, error);
}

static int check_after(const json_t *params, struct rpc_error *error)
{
    const json_t *after = params_get(params, "after");
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

static int check_start(const json_t *params, struct rpc_error *error)
{
    if (params_has(params, "delay") && params_has(params, "start_at"))
        return refuse(error, "start_at", "and \"delay\" are two ways to say when: give one");
    return 0;
}

static int check(const json_t *params, struct rpc_error *error)
{
    int rc = params_check(params, members, PARAMS_COUNT(members), error);
    if (rc == 0)
        rc = check_start(params, error);
    if (rc == 0)
        rc = check_after(params, error);
    if (rc == 0)
        rc = check_nul(params, error);
    return rc == 0 ? check_kind(params, error) : rc;
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

static int copy_args(const json_t *params, json_t **ret_args)
{
    json_t *args = params_get(params, "args");
    if (!params_has(params, "call"))
        return 0;
    *ret_args = args ? json_deep_copy(args) : json_object();
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

static int copy_texts(const json_t *params, struct job_spec *spec)
{
    int rc = copy_list(params_get(params, "argv"), &spec->argv);
    rc |= copy_string(params_get(params, "call"), &spec->call);
    rc |= copy_args(params, &spec->args);
    rc |= copy_env(params_get(params, "env"), &spec->env);
    rc |= copy_string(params_get(params, "cwd"), &spec->cwd);
    rc |= copy_bytes(params_get(params, "stdin"), &spec->stdin_data, &spec->stdin_size);
    rc |= copy_string(params_get(params, "stdin_file"), &spec->stdin_file);
    rc |= copy_string(params_get(params, "name"), &spec->name);
    rc |= copy_string(params_get(params, "key"), &spec->key);
    rc |= copy_list(params_get(params, "tags"), &spec->tags);
    rc |= copy_after(params_get(params, "after"), spec);
    spec->queue = strdup(params_string(params, "queue", "default"));
    return rc < 0 || !spec->queue ? -ENOMEM : 0;
}

static void copy_numbers(const json_t *params, struct job_spec *spec)
{
    const char *on_crash = params_string(params, "on_crash", on_crash_names[JOB_CRASH_REQUEUE]);
    spec->memory_only = !params_bool(params, "durable", true);
    spec->priority = (int32_t)params_int(params, "priority", 0);
    spec->retries = (uint32_t)params_int(params, "retries", 0);
    spec->delay_ns = params_duration_ns(params, "delay", 0);
    spec->start_at = params_time_ns(params, "start_at", 0);
    spec->timeout_ns = params_duration_ns(params, "timeout", 0);
    spec->timeout_total_ns = params_duration_ns(params, "timeout_total", 0);
    spec->on_crash =
        strcmp(on_crash, on_crash_names[JOB_CRASH_FAIL]) == 0 ? JOB_CRASH_FAIL : JOB_CRASH_REQUEUE;
}

static unsigned find_named(const json_t *params)
{
    static const struct {
        const char *name;
        enum job_named bit;
    } rows[] = {
        {"priority", JOB_NAMED_PRIORITY},           {"retries", JOB_NAMED_RETRIES},
        {"on_crash", JOB_NAMED_ON_CRASH},           {"timeout", JOB_NAMED_TIMEOUT},
        {"timeout_total", JOB_NAMED_TIMEOUT_TOTAL},
    };
    unsigned named = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        named |= params_has(params, rows[i].name) ? rows[i].bit : 0;
    return named;
}

static int copy_spec(const json_t *params, struct job_spec **ret_spec, struct rpc_error *error)
{
    struct job_spec *spec = calloc(1, sizeof(*spec));
    if (!spec || copy_texts(params, spec) < 0) {
        job_spec_free(spec);
        return no_memory(error);
    }
    int rc = program_options_from_json(params, &spec->program, error);
    if (rc < 0) {
        job_spec_free(spec);
        return rc;
    }
    copy_numbers(params, spec);
    spec->named = find_named(params);
    *ret_spec = spec;
    return 0;
}

int job_spec_from_json(const json_t *params, struct job_spec **ret_spec, struct rpc_error *error)
{
    struct job_spec *spec;
    int rc = check(params, error);
    if (rc < 0)
        return rc;
    rc = copy_spec(params, &spec, error);
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

/* ---- the stored form ------------------------------------------------------------------------- */

static json_t *list_json(char *const *list)
{
    json_t *json = json_array();
    for (; json && *list; list++) {
        if (json_array_append_new(json, json_string(*list)) < 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static int put_variable(json_t *env, const char *variable)
{
    const char *equals = strchr(variable, '=');
    char *name = equals ? strndup(variable, (size_t)(equals - variable)) : NULL;
    int rc = name ? json_object_set_new(env, name, json_string(equals + 1)) : -1;
    free(name);
    return rc;
}

static json_t *env_json(char *const *env)
{
    json_t *json = json_object();
    for (; json && *env; env++) {
        if (put_variable(json, *env) < 0) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static int put_string(json_t *json, const char *name, const char *text)
{
    return text ? json_object_set_new(json, name, json_string(text)) : 0;
}

static int put_integer(json_t *json, const char *name, int64_t value)
{
    return value == 0 ? 0 : json_object_set_new(json, name, json_integer(value));
}

static int put_duration(json_t *json, const char *name, uint64_t ns)
{
    char text[UNITS_TEXT_MAX];
    return ns == 0 ? 0 : put_string(json, name, units_format_duration(ns, text));
}

static int put_time(json_t *json, const char *name, int64_t at)
{
    char text[TIMESTAMP_TEXT_MAX];
    return at == 0 ? 0 : put_string(json, name, timestamp_format(at, text));
}

static int put_after(json_t *json, const struct job_spec *spec)
{
    if (spec->after_count == 0)
        return 0;
    json_t *ids = json_array();
    for (size_t i = 0; ids && i < spec->after_count; i++) {
        if (json_array_append_new(ids, json_integer((json_int_t)spec->after[i])) < 0) {
            json_decref(ids);
            return -1;
        }
    }
    if (spec->after_any_end)
        ids = json_pack("{s:o, s:s}", "ids", ids, "when", "end");
    return json_object_set_new(json, "after", ids);
}

static int put_what(json_t *json, const struct job_spec *spec)
{
    int rc = put_string(json, "call", spec->call);
    if (spec->argv)
        rc |= json_object_set_new(json, "argv", list_json(spec->argv));
    if (json_object_size(spec->args) > 0)
        rc |= json_object_set(json, "args", spec->args);
    if (spec->env)
        rc |= json_object_set_new(json, "env", env_json(spec->env));
    rc |= put_string(json, "cwd", spec->cwd);
    if (spec->stdin_data)
        rc |= json_object_set_new(json, "stdin", json_stringn(spec->stdin_data, spec->stdin_size));
    rc |= put_string(json, "stdin_file", spec->stdin_file);
    return rc | program_options_to_json(spec->program, json);
}

static int put_how(json_t *json, const struct job_spec *spec)
{
    int rc = strcmp(spec->queue, "default") ? put_string(json, "queue", spec->queue) : 0;
    if (spec->tags)
        rc |= json_object_set_new(json, "tags", list_json(spec->tags));
    rc |= put_string(json, "key", spec->key);
    rc |= put_integer(json, "priority", spec->priority);
    rc |= put_integer(json, "retries", spec->retries);
    rc |= put_duration(json, "delay", spec->delay_ns);
    rc |= put_time(json, "start_at", spec->start_at);
    rc |= put_duration(json, "timeout", spec->timeout_ns);
    rc |= put_duration(json, "timeout_total", spec->timeout_total_ns);
    rc |= put_after(json, spec);
    if (spec->on_crash != JOB_CRASH_REQUEUE)
        rc |= put_string(json, "on_crash", on_crash_names[spec->on_crash]);
    if (spec->memory_only)
        rc |= json_object_set_new(json, "durable", json_false());
    return rc;
}

int job_spec_to_text(const struct job_spec *spec, char **ret_text)
{
    json_t *json = json_object();
    int rc = put_string(json, "name", spec->name); /* first, for job_spec_text_name() */
    rc |= put_what(json, spec) | put_how(json, spec);
    char *text = rc == 0 ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}

const char *job_spec_text_name(const char *text, size_t *ret_size)
{
    static const char head[] = "{\"name\":\"";
    *ret_size = 0;
    if (!text || strncmp(text, head, sizeof(head) - 1) != 0)
        return NULL;
    const char *name = text + sizeof(head) - 2; /* from its quote on */
    size_t size = 1;
    while (name[size] != '"' && name[size] != '\0')
        size += name[size] == '\\' && name[size + 1] ? 2 : 1;
    if (name[size] != '"')
        return NULL; /* the store has spoilt it: whoever parses it will say so */
    *ret_size = size + 1;
    return name;
}

int job_spec_from_text(const char *text, struct job_spec **ret_spec, struct rpc_error *error)
{
    json_error_t where;
    json_t *json = json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where);
    if (!json && json_error_code(&where) == json_error_out_of_memory)
        return no_memory(error);
    if (!json)
        return rpc_error_set(error, RPC_INTERNAL_ERROR, "the stored job cannot be read: %s",
                             where.text);
    int rc = job_spec_from_json(json, ret_spec, error);
    json_decref(json);
    return rc;
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
