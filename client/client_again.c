/* SPDX-License-Identifier: MIT */
/*
 * client_again: requests that outlive a connection, and submits made so.
 *
 * I1  What is asked again is asked in the same words: a job has got its key before the first time.
 * I2  weftd's answer "shutting_down" is no answer: its successor is asked.
 */
#include "client/client_impl.h"
#include "client/clock.h"

#include "protocol/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define MS          UINT64_C(1000000)
#define PAUSE_FIRST (10 * MS)
#define PAUSE_MOST  (1000 * MS)

/* ---- again ---- */

/* Whether weftd, or its socket, may come back. */
static bool is_away(int err)
{
    return err == -ECONNRESET || err == -EPIPE || err == -ECONNREFUSED || err == -ENOENT ||
           err == -EAGAIN;
}

static bool is_lost(int err, const struct weft_client_error *error)
{
    return is_away(err) || (err == -EREMOTEIO && error->code == RPC_SHUTTING_DOWN);
}

/* Errors: the last attempt's, when the deadline has come; -EINTR. */
static int reopen_until(struct weft_client *client, uint64_t deadline_ns, uint64_t *pause_ns)
{
    for (;;) {
        int err = client_sleep(client, *pause_ns);
        if (err)
            return err;
        *pause_ns = *pause_ns * 2 < PAUSE_MOST ? *pause_ns * 2 : PAUSE_MOST;
        err = client_reopen(client);
        if (!is_away(err) || clock_now_ns() >= deadline_ns)
            return err;
    }
}

int weft_client_call_again(struct weft_client *client, const char *method, const json_t *params,
                           json_t **ret_result, struct weft_client_error *error)
{
    uint64_t patience = client_patience(client), pause = PAUSE_FIRST;
    uint64_t deadline = clock_now_ns() + patience;
    int err = weft_client_call(client, method, params, ret_result, error);
    while (patience > 0 && is_lost(err, error) && clock_now_ns() < deadline) {
        err = reopen_until(client, deadline, &pause);
        if (!err)
            err = weft_client_call(client, method, params, ret_result, error);
    }
    return err;
}

/* ---- jobs ---- */

static int make_key(char key[static 48])
{
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return -EIO;
    int at = snprintf(key, 48, "libweftclient-");
    for (size_t i = 0; i < sizeof random; i++)
        at += snprintf(key + at, (size_t)(48 - at), "%02x", random[i]);
    return 0;
}

/* job, with a key if it has to have one; the caller's.  What is no object is weftd's to refuse. */
static int with_key(const struct weft_client *client, const json_t *job, json_t **ret_job)
{
    char key[48];
    bool needs = client_patience(client) > 0 && json_is_object(job) && !json_object_get(job, "key");
    if (!needs) {
        *ret_job = json_incref((json_t *)job);
        return 0;
    }
    int err = make_key(key);
    if (err)
        return err;
    json_t *copy = json_copy((json_t *)job); /* without what it lacked memory for, if so */
    if (!copy || json_object_size(copy) != json_object_size(job) ||
        json_object_set_new(copy, "key", json_string(key)) < 0) {
        json_decref(copy);
        return -ENOMEM;
    }
    *ret_job = copy;
    return 0;
}

int weft_client_submit(struct weft_client *client, const json_t *job, int64_t *ret_id,
                       struct weft_client_error *error)
{
    json_t *keyed, *result;
    int err = with_key(client, job, &keyed);
    if (err)
        return err;
    err = weft_client_call_again(client, "job.submit", keyed, &result, error);
    json_decref(keyed);
    if (err)
        return err;
    const json_t *id = json_object_get(result, "id");
    if (json_is_integer(id))
        *ret_id = json_integer_value(id);
    else
        err = -EBADMSG;
    json_decref(result);
    return err;
}

static int with_keys(const struct weft_client *client, const json_t *jobs, json_t **ret_params)
{
    size_t i;
    json_t *job, *keyed, *all = json_array();
    int err = all ? 0 : -ENOMEM;
    for (i = 0; !err && i < json_array_size(jobs); i++) {
        job = json_array_get(jobs, i);
        err = with_key(client, job, &keyed);
        if (!err && json_array_append_new(all, keyed) < 0)
            err = -ENOMEM;
    }
    json_t *params = err ? NULL : json_pack("{s:O}", "jobs", all);
    json_decref(all);
    if (!params)
        return err ? err : -ENOMEM;
    *ret_params = params;
    return 0;
}

int weft_client_submit_many(struct weft_client *client, const json_t *jobs, json_t **ret_results,
                            struct weft_client_error *error)
{
    json_t *params, *result;
    int err = with_keys(client, jobs, &params);
    if (err)
        return err;
    err = weft_client_call_again(client, "job.submit_many", params, &result, error);
    json_decref(params);
    if (err)
        return err;
    json_t *results = json_object_get(result, "results");
    if (json_array_size(results) == json_array_size(jobs))
        *ret_results = json_incref(results);
    else
        err = -EBADMSG;
    json_decref(result);
    return err;
}
