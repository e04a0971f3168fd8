/* SPDX-License-Identifier: MIT */
/*
 * http_impl: what the files of HTTP share.  Private to them.
 *
 *   http.c          the connection: runs libmicrohttpd, waits, keeps the times
 *   http_request.c  libmicrohttpd's callbacks: a request comes in, its reply goes out
 *   http_access.c   who may speak
 *   http_route.c    which handler, by method and path; query to parameters; errors to status
 *   http_jobs.c     the handlers
 *   http_logs.c     a job's output, piece by piece
 *   http_events.c   events, as they come
 *   http_metrics.c  daemon.stats as Prometheus reads it
 */
#pragma once

#include "daemon/methods.h"
#include "protocol/error.h"
#include "protocol/jsonrpc.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_connection;
struct http_request;
struct peer;
struct session_limits;
struct session_totals;

/* HTTP_READING -> HTTP_WORK -> HTTP_REPLYING [-> HTTP_WORK -> HTTP_REPLYING …] -> freed.  In
 * HTTP_WORK, and only there, the MHD connection is suspended and it is the fiber's turn. */
enum http_state {
    HTTP_READING, /* its body comes in */
    HTTP_WORK,    /* complete, or the next piece of the reply is wanted */
    HTTP_REPLYING /* the reply goes out */
};

/* A body that is made piece by piece. */
struct http_source {
    /* Put the next piece into request->text; nothing there after it: the end.  Suspends.
     * Errors: the reply ends without its proper end, so that the client knows. */
    int (*next)(struct http_request *request);
    uint64_t offset;   /* logs: of the next piece; events: the number of the last one */
    uint64_t id, left; /* http_logs.c's own */
    uint64_t gap;      /* logs: bytes that are gone before the first piece */
    uint32_t attempt;
    int stream;
    bool follow;
    struct request_follow_up follow_up; /* http_events.c's own */
    uint64_t epoch;
};

struct http_request {
    struct http_connection *connection;
    struct MHD_Connection *mhd;
    enum http_state state;
    char *method, *path;
    json_t *query; /* object: name to text, or to an array of texts if it came more than once */
    char *body;    /* size bytes, not NUL-terminated */
    size_t size, capacity;
    bool too_large; /* over line_max: what came of it was dropped */
    int err;        /* of what was noted in a callback: -ENOMEM */
    uint64_t id;    /* of the job that the path names */
    char *last_id;  /* the header Last-Event-ID, or NULL */

    unsigned status; /* of the reply; 0: none yet */
    const char *type;
    char allow[64];            /* header Allow, or "" */
    char location[64];         /* header Location, or "" */
    bool close;                /* end the connection after this reply */
    struct jsonrpc_text text;  /* the reply's body, or its next piece */
    size_t text_sent;          /* of the piece */
    struct http_source source; /* .next NULL: the body is text, whole */
    bool is_broken;            /* the source failed */
};

/* ---- http.c: what a request knows of its connection ---- */

const struct session_limits *http_limits(const struct http_request *request);
const struct peer *http_peer(const struct http_request *request);
struct daemon_context *http_context(const struct http_request *request);
struct session_totals *http_totals(const struct http_request *request);
const struct http_access *http_access(const struct http_request *request); /* NULL: Unix socket */

/* A request begins or ends to be the one under way (I3), called in MHD_run(). */
void http_set_current(struct http_connection *connection, struct http_request *request);

/* ---- http_request.c: callbacks of libmicrohttpd; cls is the connection ---- */

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *data_size, void **request);
void http_on_completed(void *cls, struct MHD_Connection *mhd, void **request,
                       enum MHD_RequestTerminationCode how);

/* ---- http_route.c ---- */

/* Carry out a complete request, or make the next piece of its reply.  Suspends. */
void http_work(struct http_request *request);

/* The reply is this JSON, whose reference is taken over (NULL: out of memory). */
void http_reply_json(struct http_request *request, unsigned status, json_t *body);

/* The reply is {"error": …}, with the status that suits its code. */
void http_reply_error(struct http_request *request, const struct rpc_error *error);
void http_reply_error_as(struct http_request *request, unsigned status,
                         const struct rpc_error *error);
unsigned http_status_of(int code);

/* Returns -EINVAL, as rpc_error_set(). */
int http_refuse_memory(struct rpc_error *error);

/* The query as parameters of a method; numbers where a number is meant.  All of it, or NULL: out of
 * memory. */
json_t *http_query_params(const struct http_request *request);

/* Call a method; params are taken over.  On failure the reply is made, or there is none: what it
 * changed cannot be told.  Errors: methods_call()'s. */
int http_call(struct http_request *request, const char *method, json_t *params,
              json_t **ret_result);

/* The same for one that may leave a follow-up. */
int http_call_following(struct http_request *request, const char *method, json_t *params,
                        struct request_follow_up *ret_follow_up, json_t **ret_result);

/* ---- handlers ---- */

void http_rpc(struct http_request *request);
void http_jobs_list(struct http_request *request);
void http_jobs_submit(struct http_request *request);
void http_job_get(struct http_request *request);
void http_job_cancel(struct http_request *request);
void http_job_retry(struct http_request *request);
void http_job_explain(struct http_request *request);
void http_job_logs(struct http_request *request);
void http_events(struct http_request *request);
void http_metrics(struct http_request *request);

/* The text of /metrics of a result of daemon.stats.  Errors: -ENOMEM.  Pure. */
int http_metrics_text(const json_t *stats, struct jsonrpc_text *text);
