/* SPDX-License-Identifier: MIT */
/*
 * job_record: copies of a record, and how a client sees it.
 *
 * I1  A copy is one block: the struct, then its strings.
 * I2  The wire's object never shows env or stdin, and leaves out what has no value.
 * Pure: any thread.
 */
#include "daemon/job.h"
#include "protocol/json_memory.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Append text at *end; returns where it lies now. */
static const char *put_text(char **end, const char *text)
{
    if (!text)
        return NULL;
    char *at = *end;
    *end = stpcpy(at, text) + 1;
    return at;
}

int job_record_copy(const struct job_record *record, struct job_record **ret_copy)
{
    size_t size = text_size(record->queue) + text_size(record->spec) + text_size(record->result) +
                  text_size(record->error);
    struct job_record *copy = malloc(sizeof(*copy) + size);
    if (!copy)
        return -ENOMEM;
    char *end = (char *)(copy + 1);
    *copy = *record;
    copy->queue = put_text(&end, record->queue);
    copy->spec = put_text(&end, record->spec);
    copy->result = put_text(&end, record->result);
    copy->error = put_text(&end, record->error);
    *ret_copy = copy;
    return 0;
}

void job_record_free(struct job_record *record)
{
    free(record);
}

/* Of the spec; the rest (env, stdin, delay, start_at) is not shown. */
static const char *const shown[] = {
    "argv",        "call",    "args",     "cwd",        "stdin_file", "umask",
    "nice",        "ionice",  "limits",   "memory_max", "tasks_max",  "cpu_quota",
    "output_keep", "tags",    "priority", "retries",    "timeout",    "timeout_total",
    "on_crash",    "durable", "after",    "key",        "keep"};

static int add_time(json_t *job, const char *name, int64_t at)
{
    return at == 0 ? 0 : json_object_set_new_nocheck(job, name, json_real((double)at / 1e9));
}

static int add_exit(json_t *job, const char *name, int32_t value)
{
    return value == JOB_NO_EXIT ? 0 : json_object_set_new_nocheck(job, name, json_integer(value));
}

json_t *job_text_to_json(const char *text)
{
    json_t *json = json_string(text);
    if (json || json_memory_refusal(text) == -ENOMEM)
        return json;
    char *plain = strdup(text);
    if (!plain)
        return NULL;
    for (char *at = plain; *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    json = json_string(plain);
    free(plain);
    return json;
}

json_t *job_base64_to_json(const void *data, size_t size)
{
    unsigned char *base64 = malloc(4 * ((size + 2) / 3) + 1);
    if (!base64)
        return NULL;
    int length = EVP_EncodeBlock(base64, data, (int)size);
    json_t *json = json_stringn_nocheck((char *)base64, (size_t)length);
    free(base64);
    return json;
}

static int add_result(json_t *job, const char *text)
{
    if (!text)
        return 0;
    json_t *result;
    int rc = json_memory_load(text, strlen(text), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL, &result);
    if (rc == -EINVAL)
        result = job_text_to_json(text);
    return rc == -ENOMEM ? -1 : json_object_set_new_nocheck(job, "result", result);
}

static int add_state(json_t *job, const struct job_record *record)
{
    const char *state = job_state_name(record->state);
    int rc = json_object_set_new_nocheck(job, "queue", json_string(record->queue));
    rc |= json_object_set_new_nocheck(job, "state", json_string_nocheck(state ? state : "unknown"));
    rc |= json_object_set_new_nocheck(job, "attempt", json_integer(record->attempt));
    rc |= add_time(job, "submitted_at", record->submitted_at);
    if (record->state == JOB_DELAYED)
        rc |= add_time(job, "due_at", record->due_at);
    if (!job_state_is_end(record->state))
        rc |= add_time(job, "expires_at", record->expires_at);
    rc |= add_time(job, "started_at", record->started_at);
    rc |= add_time(job, "finished_at", record->finished_at);
    if (record->state == JOB_RUNNING && record->progress)
        rc |= json_object_set_new_nocheck(job, "progress", json_memory_value(record->progress));
    return rc;
}

static int add_outcome(json_t *job, const struct job_record *record)
{
    int rc = add_exit(job, "exit_code", record->exit_code);
    rc |= add_exit(job, "signal", record->term_signal);
    if (record->state != JOB_RUNNING)
        rc |= add_result(job, record->result);
    if (record->error)
        rc |= json_object_set_new_nocheck(job, "error", job_text_to_json(record->error));
    return rc;
}

static bool is_shown(const char *name)
{
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        if (strcmp(shown[i], name) == 0)
            return true;
    return false;
}

static int add_spec(json_t *job, const json_t *spec)
{
    const char *name;
    json_t *value;
    int rc = 0;
    json_object_foreach((json_t *)spec, name, value)
    {
        if (is_shown(name))
            rc |= json_object_set_nocheck(job, name, value);
    }
    return rc;
}

/* The store's text of a spec that cannot be read is shown as no spec: the job itself still is. */
int job_record_to_json(const struct job_record *record, json_t **ret_json)
{
    json_t *spec = NULL;
    const char *text = record->spec;
    if (text && json_memory_load(text, strlen(text), JSON_ALLOW_NUL, NULL, &spec) == -ENOMEM)
        return -ENOMEM;
    json_t *job = json_object();
    json_t *name = json_object_get(spec, "name"); /* goes first */
    int rc = json_object_set_new_nocheck(job, "id", json_integer((json_int_t)record->id));
    if (name)
        rc |= json_object_set_nocheck(job, "name", name);
    rc |= add_state(job, record);
    rc |= add_spec(job, spec);
    rc |= add_outcome(job, record);
    json_decref(spec);
    if (rc != 0) {
        json_decref(job);
        return -ENOMEM;
    }
    *ret_json = job;
    return 0;
}
