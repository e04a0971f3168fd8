/* SPDX-License-Identifier: MIT */
/*
 * HTTP, from the first byte of a connection to the last of its replies: libmicrohttpd with our
 * callbacks, routes, queries, headers, bodies, the methods behind them (over engine_model.h), streams
 * of events and of output.
 *
 * Input: a byte of flags (1 over TCP, where a token is needed; 2 the client is an admin; 4 two jobs
 * are there already), a byte that seeds the cuts, and what the client sends.
 *
 * Whatever is sent,
 *   H1  the conversation ends, and all that comes back are whole replies, none of which has a header
 *       that we do not know (what a client sent never becomes one);
 *   H2  each reply of ours keeps its promises: JSON that parses, an error with the name of its code
 *       and a status that is one, 405 with Allow, 201 with the job's Location, events as
 *       Server-Sent Events with ids that only grow, metrics as Prometheus reads them;
 *   H3  over TCP nothing is carried out for a client that does not have the token;
 *   H4  the cuts do not matter: the same replies come back, and as many jobs are there;
 *   H5  nothing is left: no request in flight, no subscription, no memory.
 */
#include "daemon/http.h"

#include "daemon/http_access.h"
#include "engine_model.h"
#include "on_fiber.h"
#include "talk.h"

#include <ctype.h>
#include <stdio.h>

#define TOKEN "s3cret-token-of-the-fuzzer"

enum { OVER_TCP = 1, ADMIN = 2, WITH_JOBS = 4, REPLIES_MAX = 512, HEADERS_MAX = 16 };

struct reply {
    int status;
    const char *headers[HEADERS_MAX]; /* "Name: value\r\n…", inside of the text */
    size_t header_count;
    char *body; /* without its chunks; the reply's own, NUL-terminated */
    size_t body_size;
};

struct replies {
    struct reply list[REPLIES_MAX];
    size_t count;
};

static struct session_totals totals;
static struct http_access tcp_access;
static struct peer peer;
static unsigned flags;

/* ---- H1: replies ------------------------------------------------------------------------------- */

static const char *header_of(const struct reply *reply, const char *name)
{
    for (size_t i = 0; i < reply->header_count; i++)
        if (strncasecmp(reply->headers[i], name, strlen(name)) == 0 &&
            reply->headers[i][strlen(name)] == ':')
            return reply->headers[i] + strlen(name) + 2;
    return NULL;
}

static bool header_is(const struct reply *reply, const char *name, const char *value)
{
    const char *found = header_of(reply, name);
    return found && strncmp(found, value, strlen(value)) == 0 &&
           strncmp(found + strlen(value), "\r\n", 2) == 0;
}

static void check_header(const char *line, const char *end)
{
    static const char *const known[] = {
        "Date",        "Content-Type",           "Content-Length",  "Connection",
        "Allow",       "Transfer-Encoding",      "Location",        "Cache-Control",
        "Retry-After", "X-Content-Type-Options", "WWW-Authenticate"};
    size_t i = 0, size = strcspn(line, ":");
    while (i < sizeof known / sizeof known[0] &&
           !(strlen(known[i]) == size && strncasecmp(known[i], line, size) == 0))
        i++;
    HOLDS(i < sizeof known / sizeof known[0]);
    HOLDS(line[size + 1] == ' ');
    for (const char *at = line; at < end; at++)
        HOLDS((unsigned char)*at >= ' ' && *at != 0x7f);
}

/* Returns where the body begins. */
static const char *read_head(const char *text, struct reply *reply)
{
    char *rest;
    HOLDS(strncmp(text, "HTTP/1.0 ", 9) == 0 || strncmp(text, "HTTP/1.1 ", 9) == 0);
    reply->status = (int)strtol(text + 9, &rest, 10);
    HOLDS(rest == text + 12 && *rest == ' ');
    const char *line = strstr(text, "\r\n");
    HOLDS(line != NULL);
    for (line += 2; strncmp(line, "\r\n", 2) != 0;) {
        const char *end = strstr(line, "\r\n");
        HOLDS(end != NULL && reply->header_count < HEADERS_MAX);
        check_header(line, end);
        reply->headers[reply->header_count++] = line;
        line = end + 2;
    }
    return line + 2;
}

static void add_body(struct reply *reply, const char *bytes, size_t size)
{
    HOLDS((reply->body = realloc(reply->body, reply->body_size + size + 1)) != NULL);
    memcpy(reply->body + reply->body_size, bytes, size);
    reply->body_size += size;
    reply->body[reply->body_size] = '\0';
}

static const char *read_chunks(const char *at, const char *end, struct reply *reply)
{
    for (;;) {
        char *digits_end;
        HOLDS(isxdigit((unsigned char)*at));
        unsigned long size = strtoul(at, &digits_end, 16);
        HOLDS(strncmp(digits_end, "\r\n", 2) == 0);
        at = digits_end + 2;
        HOLDS(size + 2 <= (size_t)(end - at));
        add_body(reply, at, size);
        at += size;
        HOLDS(strncmp(at, "\r\n", 2) == 0);
        at += 2;
        if (size == 0)
            return at;
    }
}

/* The reply to HEAD has no body, whatever its headers say; no body of ours looks like a reply. */
static bool has_no_body(const struct reply *reply, const char *at, const char *end)
{
    return reply->status / 100 == 1 || reply->status == 204 || at == end ||
           strncmp(at, "HTTP/1.", 7) == 0;
}

/* Returns where the next reply begins. */
static const char *read_reply(const char *at, const char *end, struct reply *reply)
{
    *reply = (struct reply){0};
    at = read_head(at, reply);
    add_body(reply, "", 0);
    if (has_no_body(reply, at, end))
        return at;
    if (header_is(reply, "Transfer-Encoding", "chunked"))
        return read_chunks(at, end, reply);
    const char *length = header_of(reply, "Content-Length");
    if (!length) { /* to a client of HTTP/1.0: up to the end */
        HOLDS(header_is(reply, "Connection", "close"));
        add_body(reply, at, (size_t)(end - at));
        return end;
    }
    size_t size = strtoul(length, NULL, 10);
    HOLDS(size <= (size_t)(end - at));
    add_body(reply, at, size);
    return at + size;
}

static void read_replies(const char *text, size_t size, struct replies *replies)
{
    const char *at = text, *end = text + size;
    replies->count = 0;
    while (at < end) {
        HOLDS(replies->count < REPLIES_MAX);
        at = read_reply(at, end, &replies->list[replies->count]);
        if (replies->list[replies->count].status / 100 != 1)
            replies->count++;
        else
            free(replies->list[replies->count].body); /* "go on and send the body" */
    }
}

static void free_replies(struct replies *replies)
{
    for (size_t i = 0; i < replies->count; i++)
        free(replies->list[i].body);
}

/* ---- H2: what they promise ----------------------------------------------------------------------- */

static void check_error(const struct reply *reply, const json_t *error)
{
    int code = (int)json_integer_value(json_object_get(error, "code"));
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *name = json_string_value(json_object_get(json_object_get(error, "data"), "name"));
    HOLDS(message && message[0]);
    HOLDS(name && strcmp(name, rpc_code_info(code)->name) == 0);
    HOLDS(reply->status >= 400 && reply->status != 500);
}

static void check_json(const struct reply *reply)
{
    json_t *json =
        json_loadb(reply->body, reply->body_size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    HOLDS(json != NULL);
    HOLDS(memchr(reply->body, '\n', reply->body_size) == reply->body + reply->body_size - 1);
    json_t *error = json_object_get(json, "error");
    if (reply->status >= 400)
        check_error(reply, error);
    else if (error)
        HOLDS(json_object_get(json, "jsonrpc") || json_object_get(json, "id"));
    if (reply->status == 201) {
        char location[64];
        snprintf(location, sizeof location, "/v1/jobs/%lld",
                 (long long)json_integer_value(json_object_get(json, "id")));
        HOLDS(header_is(reply, "Location", location));
    }
    json_decref(json);
}

/* "5-17", a place in this life of weftd that is not before the last one. */
static void check_id(const char *text, uint64_t *last)
{
    char *rest;
    HOLDS(strtoull(text, &rest, 10) == MODEL_EPOCH && *rest == '-');
    uint64_t seq = strtoull(rest + 1, &rest, 10);
    HOLDS(*rest == '\0' && seq >= *last);
    *last = seq;
}

/* One message: an id, a name that we know, an object. */
static void check_message(char *text, uint64_t *last)
{
    bool has_id = false;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "id: ", 4) == 0) {
            check_id(line + 4, last);
            has_id = true;
        } else if (strncmp(line, "event: ", 7) == 0) {
            HOLDS(strcmp(line, "event: subscribed") == 0 || strcmp(line, "event: gap") == 0);
        } else if (strncmp(line, "data: ", 6) == 0) {
            json_t *data = json_loads(line + 6, 0, NULL);
            HOLDS(json_is_object(data));
            json_decref(data);
        } else {
            HOLDS(strcmp(line, ":") == 0);
        }
    }
    HOLDS(has_id);
}

static void check_events(const struct reply *reply)
{
    uint64_t last = 0;
    char *copy = strdup(reply->body), *at = copy, *end;
    HOLDS(copy && strlen(copy) == reply->body_size);
    for (; (end = strstr(at, "\n\n")); at = end + 2) {
        end[1] = '\0';
        check_message(at, &last);
    }
    HOLDS(*at == '\0');
    free(copy);
}

/* NAME{LABEL="VALUE"} NUMBER */
static void check_value(const char *line)
{
    char *rest;
    line += strspn(line, "abcdefghijklmnopqrstuvwxyz_");
    if (*line == '{')
        line += strcspn(line, "}\n") + 1;
    HOLDS(*line == ' ');
    (void)strtod(line + 1, &rest);
    HOLDS(rest > line + 1 && *rest == '\n');
}

static void check_metrics(const struct reply *reply)
{
    for (const char *line = reply->body; *line; line = strchr(line, '\n') + 1) {
        HOLDS(strchr(line, '\n') != NULL);
        if (line[0] == '#')
            HOLDS(strncmp(line, "# HELP weft_", 12) == 0 || strncmp(line, "# TYPE weft_", 12) == 0);
        else
            check_value(line);
    }
}

static void check_body(const struct reply *reply)
{
    if (header_is(reply, "Content-Type", "application/json"))
        check_json(reply);
    else if (header_is(reply, "Content-Type", "text/event-stream"))
        check_events(reply);
    else if (header_is(reply, "Content-Type", "text/plain; version=0.0.4; charset=utf-8"))
        check_metrics(reply);
    else if (header_of(reply, "Content-Type"))
        HOLDS(header_is(reply, "Content-Type", "text/plain; charset=utf-8"));
    else
        HOLDS(reply->body_size == 0);
}

/* Without our header it is libmicrohttpd's own: this is no HTTP, or has too long headers. */
static bool is_ours(const struct reply *reply)
{
    return header_is(reply, "Cache-Control", "no-store");
}

static void check_reply(const struct reply *reply)
{
    if (!is_ours(reply)) {
        HOLDS(reply->status >= 400 && header_is(reply, "Connection", "close"));
        return;
    }
    HOLDS(header_is(reply, "X-Content-Type-Options", "nosniff"));
    HOLDS((reply->status == 405) == (header_of(reply, "Allow") != NULL));
    HOLDS((reply->status == 201) == (header_of(reply, "Location") != NULL));
    HOLDS((reply->status == 401) == (header_of(reply, "WWW-Authenticate") != NULL));
    HOLDS((reply->status == 503) == (header_of(reply, "Retry-After") != NULL));
    if (reply->body_size > 0)
        check_body(reply);
}

/* ---- H3 -------------------------------------------------------------------------------------------- */

static void check_access(const struct replies *replies, const struct talk *talk)
{
    if (!(flags & OVER_TCP) || memmem(talk->data, talk->size, TOKEN, strlen(TOKEN)))
        return;
    HOLDS(model.calls == 0);
    for (size_t i = 0; i < replies->count; i++)
        HOLDS(!is_ours(&replies->list[i]) || replies->list[i].status == 401 ||
              replies->list[i].status == 403);
}

/* ---- H4 -------------------------------------------------------------------------------------------- */

/* What is measured, and not said by the input. */
static bool is_measured(const struct reply *reply)
{
    return strstr(reply->body, "uptime") != NULL;
}

static void check_same(const struct reply *one, const struct reply *other)
{
    HOLDS(one->status == other->status);
    if (!is_ours(one) || is_measured(one) || is_measured(other))
        return;
    if (header_is(one, "Content-Type", "text/event-stream"))
        return; /* how far it came when all was sent is the cuts' doing */
    HOLDS(one->body_size == other->body_size);
    HOLDS(memcmp(one->body, other->body, one->body_size) == 0);
}

/* ---- the conversation -------------------------------------------------------------------------- */

static int serve(struct weft_stream *stream, void *arg)
{
    const struct http_client client = {.stream = stream,
                                       .peer = &peer,
                                       .access = flags & OVER_TCP ? &tcp_access : NULL,
                                       .limits = &model_limits,
                                       .totals = &totals,
                                       .context = &model_context};
    (void)arg;
    return http_serve(&client);
}

static void end_events(void)
{
    events_close(model.events);
}

static void add_jobs(void)
{
    struct rpc_error error;
    for (int i = 0; i < 2; i++) {
        struct job_spec *spec;
        json_t *json = json_pack("{s:[s], s:s}", "argv", "true", "name", i ? "b\xc3\xa4" : "a");
        HOLDS(job_spec_from_json(json, &spec, &error) == 0);
        model_add(&peer, spec);
        job_spec_free(spec);
        json_decref(json);
    }
}

/* Returns how many jobs are there at the end.  The replies point into talk->reply. */
static size_t converse(struct talk *talk, struct replies *replies)
{
    memset(&totals, 0, sizeof totals);
    model_begin();
    model_context.runtime = weft_runtime_self();
    if (flags & WITH_JOBS)
        add_jobs();
    talk->serve = serve;
    talk->ended = end_events;
    talk_run(talk);
    HOLDS(talk->served == 0);
    HOLDS(atomic_load(&totals.in_flight) == 0);
    read_replies(talk->reply, talk->reply_size, replies);
    check_access(replies, talk);
    for (size_t i = 0; i < replies->count; i++)
        check_reply(&replies->list[i]);
    size_t jobs = model.count;
    model_end();
    return jobs;
}

static int both(void *arg)
{
    static struct replies whole, cut;
    const struct talk *input = arg;
    struct talk at_once = *input, in_pieces = *input;
    at_once.seed = 0;
    size_t jobs = converse(&at_once, &whole), jobs_cut = converse(&in_pieces, &cut);
    HOLDS(whole.count == cut.count && jobs == jobs_cut);
    for (size_t i = 0; i < whole.count; i++)
        check_same(&whole.list[i], &cut.list[i]);
    free_replies(&whole);
    free_replies(&cut);
    free(at_once.reply);
    free(in_pieces.reply);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 8192)
        return 0;
    flags = data[0];
    peer = (struct peer){.uid = 1000, .gid = 1000, .admin = flags & ADMIN};
    HOLDS(config_token_digest(TOKEN, strlen(TOKEN), tcp_access.digest) == 0);
    struct talk talk = {.data = data + 2, .size = size - 2, .seed = data[1] + 1U};
    on_fiber(both, &talk);
    return 0;
}
