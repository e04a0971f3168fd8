/* SPDX-License-Identifier: MIT */
/*
 * The module of handlers for HTTP.
 *   http.fetch {url, method, headers, body, timeout, limit, to, check}
 *     -> {"status", "headers", "body", "encoding"}, or with `to` {"status", "headers", "path", "size"}
 *
 * I1  A call has a session of its own: jobs of different users share neither connections, which may
 *     be authenticated, nor cookies.
 * I2  With `to` the file is there whole or not at all: the body goes into a hidden file of this
 *     attempt beside it, which is renamed over it at the end, and removed on every other way.
 * I3  A cancel, or the job's timeout, aborts the transfer wherever it is: reading suspends.
 * I4  A server that is silent does not hold a job for ever: SILENCE_NS without a byte of the body, or
 *     ANSWER_NS without headers, is a failure.
 *
 * The handler acts as weftd's user, and reaches what weftd reaches.
 */
#include "daemon/modules/modules.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <weft/http.h>
#include <weft/weft.h>

enum { BODY_MAX = 128 * 1024, PIECE = 64 * 1024, HEADERS_MAX = 100, URL_MAX = 8192 };
#define SILENCE_NS (60 * WEFT_SECOND)
#define ANSWER_NS  (300 * WEFT_SECOND)

struct fetch {
    struct weft_attempt *attempt;
    const char *url, *to; /* to NULL: into the result */
    uint64_t limit;
    struct weft_http_session *session;
    struct weft_http_response *response;
    struct weft_http_field headers[HEADERS_MAX];
    struct weft_http_why why;
    char temporary[PATH_MAX];
};

/* ---- what is wrong --------------------------------------------------------------------------- */

/* What would be no other at the next attempt. */
static bool is_final(int err)
{
    return err == -EINVAL || err == -EPROTONOSUPPORT || err == -ELOOP || err == -EMSGSIZE ||
           err == -EFBIG;
}

static int failed(struct fetch *fetch, int err, const char *why)
{
    if (weft_check_cancel() < 0)
        return err; /* whoever stopped us knows why */
    if (is_final(err))
        return weft_attempt_refuse(fetch->attempt, err, "cannot fetch %s: %s", fetch->url, why);
    return weft_attempt_fail(fetch->attempt, err, "cannot fetch %s: %s", fetch->url, why);
}

static int body_failed(struct fetch *fetch, int err)
{
    char why[64];
    if (err != -EMSGSIZE && err != -EFBIG)
        return failed(fetch, err, weft_http_response_error(fetch->response));
    snprintf(why, sizeof(why), "the body is over %" PRIu64 " bytes", fetch->limit);
    return failed(fetch, -EMSGSIZE, why);
}

/* With `check`: 4xx is the request's own fault, but for "too early" and "too many". */
static int check_status(struct fetch *fetch)
{
    int status = weft_http_response_status(fetch->response);
    bool is_final_status = status < 500 && status != 408 && status != 425 && status != 429;
    if (status < 400 || !weft_arg_boolean(fetch->attempt, "check", false))
        return 0;
    if (is_final_status)
        return weft_attempt_refuse(fetch->attempt, -EREMOTEIO, "%s answered with status %d",
                                   fetch->url, status);
    return weft_attempt_fail(fetch->attempt, -EREMOTEIO, "%s answered with status %d", fetch->url,
                             status);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The first HEADERS_MAX of them.  Returns how many. */
static size_t take_headers(const struct weft_attempt *attempt, struct weft_http_field *headers)
{
    const char *name, *value;
    size_t count = 0;
    while (count < HEADERS_MAX && weft_arg_text_at(attempt, "headers", count, &name, &value))
        headers[count++] = (struct weft_http_field){name, value};
    return count;
}

/* What attempts send alike, as far as the arguments tell.  headers: HEADERS_MAX of them. */
static struct weft_http_request request_of(const struct weft_attempt *attempt,
                                           struct weft_http_field *headers)
{
    const char *body = weft_arg_text(attempt, "body", NULL);
    struct weft_http_request request = {
        .method = weft_arg_text(attempt, "method", NULL),
        .url = weft_arg_text(attempt, "url", ""),
        .headers = headers,
        .header_count = take_headers(attempt, headers),
        .total_ns = weft_arg_duration_ns(attempt, "timeout", 0),
    };
    if (body)
        request.body = weft_http_bytes(body, strlen(body), NULL);
    return request;
}

static int begin_session(struct fetch *fetch)
{
    const struct weft_http_session_options options = {
        .total_ns = WEFT_NO_DEADLINE,
        .first_byte_ns = ANSWER_NS,
        .low_speed_ns = SILENCE_NS, /* I4 */
        .no_cookies = true,
    };
    int err = weft_http_session_new(&options, &fetch->session);
    return err < 0 ? failed(fetch, err, "no session") : 0;
}

static int send_request(struct fetch *fetch)
{
    struct weft_http_request request = request_of(fetch->attempt, fetch->headers);
    int err = begin_session(fetch);
    if (err < 0)
        return err;
    request.why = &fetch->why;
    err = weft_http_send(fetch->session, &request, &fetch->response);
    return err < 0 ? failed(fetch, err, fetch->why.text) : check_status(fetch);
}

/* ---- the body -------------------------------------------------------------------------------- */

static int body_to_result(struct fetch *fetch)
{
    void *data;
    size_t size;
    int err = weft_http_response_body(fetch->response, (size_t)fetch->limit, &data, &size);
    if (err < 0)
        return body_failed(fetch, err);
    err = weft_result_bytes(fetch->attempt, "body", data, size);
    free(data);
    return err;
}

static void say_how_far(struct fetch *fetch, uint64_t size)
{
    int64_t length = weft_http_response_length(fetch->response);
    double fraction = length > 0 ? (double)size / (double)length : -1;
    if (length > 0)
        weft_attempt_progress(fetch->attempt, fraction, "%" PRIu64 " of %" PRId64 " bytes", size,
                              length);
    else
        weft_attempt_progress(fetch->attempt, fraction, "%" PRIu64 " bytes", size);
}

/* Returns the size.  What is wrong was said. */
static int copy_body(struct fetch *fetch, struct weft_file *file, char *piece, uint64_t *ret_size)
{
    uint64_t size = 0;
    ssize_t got;
    while ((got = weft_http_response_read(fetch->response, piece, PIECE)) > 0) {
        size += (uint64_t)got;
        int err = size > fetch->limit ? -EFBIG : 0;
        if (err < 0)
            return body_failed(fetch, err);
        err = weft_file_write(file, piece, (size_t)got, NULL);
        if (err < 0)
            return failed(fetch, err, fetch->to);
        say_how_far(fetch, size);
    }
    if (got < 0)
        return body_failed(fetch, (int)got);
    *ret_size = size;
    return 0;
}

/* I2: beside `to`, and no other attempt's. */
static int name_temporary(struct fetch *fetch)
{
    int folder = (int)(strrchr(fetch->to, '/') + 1 - fetch->to);
    int size = snprintf(fetch->temporary, sizeof(fetch->temporary),
                        "%.*s.weft-fetch-%" PRIu64 "-%" PRIu32, folder, fetch->to,
                        weft_attempt_job(fetch->attempt), weft_attempt_number(fetch->attempt));
    return size < (int)sizeof(fetch->temporary) ? 0 : -ENAMETOOLONG;
}

static int write_temporary(struct fetch *fetch, uint64_t *ret_size)
{
    struct weft_file *file;
    char *piece = malloc(PIECE);
    int err = piece ? 0 : -ENOMEM;
    if (!err)
        err = weft_file_open(fetch->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666,
                             &file);
    if (err < 0) {
        fetch->temporary[0] = '\0'; /* nothing is ours */
        free(piece);
        return failed(fetch, err, fetch->to);
    }
    err = copy_body(fetch, file, piece, ret_size);
    int closed = weft_file_close(file);
    free(piece);
    return err == 0 && closed < 0 ? failed(fetch, closed, fetch->to) : err;
}

static int body_to_file(struct fetch *fetch)
{
    uint64_t size = 0;
    int err = name_temporary(fetch);
    if (err < 0)
        return failed(fetch, err, fetch->to);
    err = write_temporary(fetch, &size);
    if (err < 0)
        return err;
    err = weft_path_rename(fetch->temporary, fetch->to);
    if (err < 0)
        return failed(fetch, err, fetch->to);
    fetch->temporary[0] = '\0';
    weft_result_text(fetch->attempt, "path", fetch->to);
    return weft_result_integer(fetch->attempt, "size", (int64_t)size);
}

/* ---- the result ------------------------------------------------------------------------------ */

static bool is_first(const struct weft_http_field *headers, size_t i)
{
    for (size_t before = 0; before < i; before++) {
        if (strcasecmp(headers[before].name, headers[i].name) == 0)
            return false;
    }
    return true;
}

/* Into `to` if that is not NULL.  Returns its length. */
static size_t join(const struct weft_http_response *response, const char *name, char *to)
{
    const char *between = strcasecmp(name, "Set-Cookie") == 0 ? "\n" : ", ", *value;
    size_t size = 0;
    for (size_t i = 0; (value = weft_http_response_header_at(response, name, i)); i++) {
        const char *parts[] = {i ? between : "", value};
        for (size_t part = 0; part < 2; part++) {
            if (to)
                strcpy(to + size, parts[part]);
            size += strlen(parts[part]);
        }
    }
    return size;
}

/* All values of one name, as RFC 9110 joins them; those of Set-Cookie, which it does not, by lines.
 * NULL: out of memory. */
static char *joined(const struct weft_http_response *response, const char *name)
{
    char *text = calloc(1, join(response, name, NULL) + 1);
    if (text)
        join(response, name, text);
    return text;
}

static int add_header(struct fetch *fetch, const char *name)
{
    char lower[256];
    char *text = joined(fetch->response, name);
    size_t size = strnlen(name, sizeof(lower) - 1);
    for (size_t i = 0; i < size; i++)
        lower[i] = (char)tolower((unsigned char)name[i]);
    lower[size] = '\0';
    int err = text ? weft_result_text_in(fetch->attempt, "headers", lower, text) : -ENOMEM;
    free(text);
    return err;
}

static int say_head(struct fetch *fetch)
{
    size_t count;
    const struct weft_http_field *headers = weft_http_response_headers(fetch->response, &count);
    int err =
        weft_result_integer(fetch->attempt, "status", weft_http_response_status(fetch->response));
    for (size_t i = 0; err == 0 && i < count; i++) {
        if (is_first(headers, i))
            err = add_header(fetch, headers[i].name);
    }
    return err;
}

static void clean_up(struct fetch *fetch)
{
    struct weft_scope shield;
    weft_shield_enter(&shield);
    if (fetch->temporary[0])
        (void)weft_path_remove(fetch->temporary);
    weft_http_response_free(fetch->response);
    weft_http_session_free(fetch->session);
    weft_scope_leave(&shield);
}

static int fetch_run(struct weft_attempt *attempt)
{
    const char *to = weft_arg_text(attempt, "to", NULL);
    struct fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        return -ENOMEM;
    fetch->attempt = attempt;
    fetch->url = weft_arg_text(attempt, "url", "");
    fetch->to = to;
    fetch->limit = weft_arg_bytes(attempt, "limit", to ? INT64_MAX : BODY_MAX);
    int err = send_request(fetch);
    if (!err)
        err = say_head(fetch);
    if (!err)
        err = to ? body_to_file(fetch) : body_to_result(fetch);
    clean_up(fetch);
    free(fetch);
    return err;
}

/* ---- the arguments --------------------------------------------------------------------------- */

/* What weft_http_check() says of one of the parameters. */
static int refuse(struct weft_attempt *attempt, int err, const char *name, const char *what,
                  const struct weft_http_why *why)
{
    return err == -ENOMEM ? err
                          : weft_arg_refuse(attempt, name, "cannot be %s: %s", what, why->text);
}

/* Which of url, method and headers it is that no request can have. */
static int check_request(struct weft_attempt *attempt)
{
    struct weft_http_why why;
    struct weft_http_field headers[HEADERS_MAX];
    struct weft_http_request request = request_of(attempt, headers), part = {.url = request.url};
    int err = weft_http_check(&part, &why);
    if (err < 0)
        return refuse(attempt, err, "url", "fetched", &why);
    part.method = request.method;
    part.body = request.body;
    err = weft_http_check(&part, &why);
    if (err < 0)
        return refuse(attempt, err, "method", "used", &why);
    err = weft_http_check(&request, &why);
    return err < 0 ? refuse(attempt, err, "headers", "sent", &why) : 0;
}

static int fetch_check(struct weft_attempt *attempt)
{
    const char *to = weft_arg_text(attempt, "to", NULL), *name, *value;
    if (to && to[strlen(to) - 1] == '/')
        return weft_arg_refuse(attempt, "to", "must name a file, not a folder");
    if (!to && weft_arg_bytes(attempt, "limit", 0) > BODY_MAX)
        return weft_arg_refuse(attempt, "limit",
                               "is at most %d without \"to\": a result is kept with its job",
                               BODY_MAX);
    if (weft_arg_text_at(attempt, "headers", HEADERS_MAX, &name, &value))
        return weft_arg_refuse(attempt, "headers", "are more than %d", HEADERS_MAX);
    return check_request(attempt);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct weft_param fetch_params[] = {
    {"url", WEFT_PARAM_TEXT, .required = true, .min = 1, .max = URL_MAX},
    {"method", WEFT_PARAM_TEXT, .min = 1, .max = 32},
    {"headers", WEFT_PARAM_TEXTS},
    {"body", WEFT_PARAM_TEXT},
    {"timeout", WEFT_PARAM_DURATION, .min = 1, .max = INT64_MAX},
    {"limit", WEFT_PARAM_SIZE, .min = 1, .max = INT64_MAX},
    {"to", WEFT_PARAM_PATH, .min = 1, .max = PATH_MAX - 1},
    {"check", WEFT_PARAM_BOOLEAN},
};

static const struct weft_handler handlers[] = {
    {"http.fetch", "fetch a URL, into the result or a file", fetch_params,
     MODULE_COUNT(fetch_params), fetch_run, fetch_check},
};

const struct weft_module module_http = WEFT_MODULE_INIT("http", WEFT_VERSION, handlers);
