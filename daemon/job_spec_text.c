/* SPDX-License-Identifier: MIT */
/*
 * job_spec_text: the stored form of what a client asks for, which is JSON too.
 *
 * I2  job_spec_from_text(job_spec_to_text(spec)) equals spec: what is written here has the member
 *     names of job_spec.c's table, and a text from disk is checked as hard as a client's.
 * I3  What a spec holds came out of JSON: its texts are UTF-8, which is not checked again here.
 * Pure: any thread.
 */
#include "daemon/job.h"

#include "daemon/program.h"
#include "protocol/json_memory.h"
#include "protocol/timestamp.h"
#include "protocol/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* I3 */
static int put(json_t *json, const char *name, json_t *value)
{
    return json_object_set_new_nocheck(json, name, value);
}

static json_t *list_json(char *const *list)
{
    json_t *json = json_array();
    for (; json && *list; list++) {
        if (json_array_append_new(json, json_string_nocheck(*list)) < 0) {
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
    int rc = name ? put(env, name, json_string_nocheck(equals + 1)) : -1;
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
    return text ? put(json, name, json_string_nocheck(text)) : 0;
}

static int put_integer(json_t *json, const char *name, int64_t value)
{
    return value == 0 ? 0 : put(json, name, json_integer(value));
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
    return put(json, "after", ids);
}

static int put_what(json_t *json, const struct job_spec *spec)
{
    int rc = put_string(json, "call", spec->call);
    if (spec->argv)
        rc |= put(json, "argv", list_json(spec->argv));
    if (json_object_size(spec->args) > 0)
        rc |= json_object_set(json, "args", spec->args);
    if (spec->env)
        rc |= put(json, "env", env_json(spec->env));
    rc |= put_string(json, "cwd", spec->cwd);
    if (spec->stdin_data)
        rc |= put(json, "stdin", json_stringn_nocheck(spec->stdin_data, spec->stdin_size));
    rc |= put_string(json, "stdin_file", spec->stdin_file);
    if (spec->output_keep != JOB_KEEP_DEFAULT)
        rc |= put_string(json, "output_keep", job_keep_names[spec->output_keep - 1]);
    return rc | program_options_to_json(spec->program, json);
}

static int put_how(json_t *json, const struct job_spec *spec)
{
    char text[UNITS_TEXT_MAX];
    int rc = strcmp(spec->queue, "default") ? put_string(json, "queue", spec->queue) : 0;
    if (spec->tags)
        rc |= put(json, "tags", list_json(spec->tags));
    rc |= put_string(json, "key", spec->key);
    rc |= put_integer(json, "priority", spec->priority);
    rc |= put_integer(json, "retries", spec->retries);
    rc |= put_duration(json, "delay", spec->delay_ns);
    rc |= put_time(json, "start_at", spec->start_at);
    rc |= put_duration(json, "timeout", spec->timeout_ns);
    rc |= put_duration(json, "timeout_total", spec->timeout_total_ns);
    if (spec->keeps) /* 0 too */
        rc |= put_string(json, "keep", units_format_duration(spec->keep_ns, text));
    rc |= put_after(json, spec);
    if (spec->on_crash != JOB_CRASH_REQUEUE)
        rc |= put_string(json, "on_crash", job_on_crash_names[spec->on_crash]);
    if (spec->memory_only)
        rc |= put(json, "durable", json_false());
    return rc;
}

static char *dump(const json_t *json)
{
    char text[512]; /* enough for most */
    size_t size = json_dumpb(json, text, sizeof(text), JSON_COMPACT);
    return size > 0 && size < sizeof(text) ? strndup(text, size)
                                           : json_memory_dumps(json, JSON_COMPACT);
}

int job_spec_to_text(const struct job_spec *spec, char **ret_text)
{
    json_t *json = json_object();
    int rc = put_string(json, "name", spec->name); /* first, for job_spec_text_name() */
    rc |= put_what(json, spec) | put_how(json, spec);
    char *text = rc == 0 ? dump(json) : NULL;
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

/* *ret_spec NULL: it cannot be read.  Errors: -ENOMEM. */
static int load(const char *text, json_t **ret_spec)
{
    *ret_spec = NULL;
    int rc = json_memory_load(text, strlen(text), JSON_ALLOW_NUL, NULL, ret_spec);
    return rc == -ENOMEM ? rc : 0;
}

int job_spec_text_key(const char *text, char **ret_key)
{
    json_t *spec;
    int rc = load(text, &spec);
    if (rc < 0)
        return rc;
    const char *key = json_string_value(json_object_get(spec, "key"));
    char *copy = key ? strdup(key) : NULL;
    json_decref(spec);
    if (key && !copy)
        return -ENOMEM;
    *ret_key = copy;
    return 0;
}

int job_spec_text_same_key(const char *a, const char *b)
{
    char *key = NULL, *other = NULL;
    int rc = job_spec_text_key(a, &key);
    if (rc == 0)
        rc = job_spec_text_key(b, &other);
    if (rc == 0)
        rc = key && other && strcmp(key, other) == 0;
    free(key);
    free(other);
    return rc;
}

int job_spec_from_text(const char *text, struct job_spec **ret_spec, struct rpc_error *error)
{
    json_error_t where;
    json_t *json;
    int rc = json_memory_load(text, strlen(text), JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where,
                              &json);
    if (rc == -ENOMEM)
        rpc_error_set(error, RPC_INTERNAL_ERROR, "out of memory");
    else if (rc < 0)
        rpc_error_set(error, RPC_INTERNAL_ERROR, "the stored job cannot be read: %s", where.text);
    if (rc < 0)
        return rc;
    rc = job_spec_from_json(json, ret_spec, error);
    json_decref(json);
    return rc;
}
