/* SPDX-License-Identifier: MIT */
/**
 * client: a connection to weftd, for C programs that submit jobs and ask about them.
 *
 * Link with weftclient (and jansson).  No runtime is needed: calls block, and a client is for one
 * thread at a time.  Requests go out as they are sent and replies come in any order, so many may be
 * on their way at once: send them all, then receive each by its id.
 *
 * docs/protocol.md has the methods, their parameters and results, which are JSON objects here as
 * there.  The short way:
 *
 *     struct weft_client *client;
 *     struct weft_client_error error;
 *     int64_t id;
 *     json_t *job = json_pack("{s:[s, s]}", "argv", "echo", "hello");
 *     int err = weft_client_open(NULL, &client);
 *     if (!err)
 *         err = weft_client_submit(client, job, &id, &error);
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_client;

#define WEFT_CLIENT_MESSAGE_MAX 384
#define WEFT_CLIENT_PARAM_MAX   64

/** Why weftd refused a request; filled where -EREMOTEIO is returned. */
struct weft_client_error {
    int code;                              /* as docs/protocol.md numbers them; 0: none */
    char message[WEFT_CLIENT_MESSAGE_MAX]; /* what was wrong and what to do; UTF-8 */
    char param[WEFT_CLIENT_PARAM_MAX];     /* the parameter at fault, or "" */
    char nearest[WEFT_CLIENT_PARAM_MAX];   /* the valid name that was perhaps meant, or "" */
};

/** Its name, stable and for programs: "no_such_queue", "busy", …; of 0: "ok".  Static. */
const char *weft_client_error_name(const struct weft_client_error *error);

struct weft_reply {
    int64_t id;     /* of the request; 0: weftd could not tell which line was meant */
    json_t *result; /* owned; NULL: see error */
    int fd;         /* came with the result (job.output), owned, close-on-exec; -1: none */
    struct weft_client_error error;
};

/** NULL result is fine; the struct may be used again. */
void weft_reply_destroy(struct weft_reply *reply);

/* ---- connections ----------------------------------------------------------------------------- */

/**
 * Connect.  path NULL: $WEFT_SOCKET if it is set, else the user's weftd, else the system's.
 * Errors: -ENAMETOOLONG the path does not fit a socket address; connect(2)'s; -ENOMEM.
 */
int weft_client_open(const char *path, struct weft_client **ret_client);

/** Around a connected stream socket, which becomes the client's also on failure; it cannot
 * reconnect.  Errors: -ENOMEM. */
int weft_client_open_fd(int fd, struct weft_client **ret_client);

void weft_client_close(struct weft_client *client); /* NULL is fine */

/**
 * How long weft_client_submit…() and weft_client_call_again() go on when weftd is gone, or stopping:
 * they connect anew and ask again, at growing intervals of up to a second.  0, as at the beginning:
 * they do not.
 */
void weft_client_set_patience(struct weft_client *client, uint64_t ns);

/** From now on a wait returns -EINTR as soon as fd (a signalfd, say) can be read; -1: no more. */
void weft_client_interrupt_on(struct weft_client *client, int fd);

/* ---- jobs ------------------------------------------------------------------------------------ */

/**
 * Submit a job: an object as job.submit takes it.  It is on disk when this returns 0.
 *
 * With patience it survives a restart of weftd: a job without a `key` is given one of its own (job is
 * borrowed, and not changed), so that asking again is answered with the job that is there already,
 * also if it has ended meanwhile: a job keeps its key for [daemon] key_keep after its end (an hour,
 * unless the operator says otherwise).  A job that is not durable is lost with weftd, and its key with
 * its end: it may be run a second time.
 * Errors: -EREMOTEIO weftd refused, error says why; as weft_client_call().
 */
int weft_client_submit(struct weft_client *client, const json_t *job, int64_t *ret_id,
                       struct weft_client_error *error);

/**
 * Submit an array of jobs by one request, at most 10,000: those that are refused do not hold up the
 * others.  *ret_results: an array with {"id": …} or {"error": {…}} for each, in order; the caller's.
 * The rest is as for weft_client_submit().
 */
int weft_client_submit_many(struct weft_client *client, const json_t *jobs, json_t **ret_results,
                            struct weft_client_error *error);

/* ---- any request ----------------------------------------------------------------------------- */

/**
 * Send and receive.  params is borrowed, NULL: none.  *ret_result is the caller's.
 * Errors: as both, and -EREMOTEIO: weftd refused, error says why.
 */
int weft_client_call(struct weft_client *client, const char *method, const json_t *params,
                     json_t **ret_result, struct weft_client_error *error);

/**
 * The same, and again on a new connection while there is patience: for requests that may be carried
 * out twice (get, wait, list, cancel, …).  Other requests that are under way are lost when it
 * connects anew: their receive is -ECONNRESET.
 */
int weft_client_call_again(struct weft_client *client, const char *method, const json_t *params,
                           json_t **ret_result, struct weft_client_error *error);

/**
 * Queue a request and write what the socket takes; the rest goes out during receives, so the caller
 * bounds what is in flight.
 * Errors: -ENOMEM, -EINVAL text that is not UTF-8.  A weftd that is gone shows at the receive.
 */
int weft_client_send(struct weft_client *client, const char *method, const json_t *params,
                     int64_t *ret_id);

/**
 * The reply to request id (0: whichever is next).  A reply without an id is taken for any.
 * Returns: 0 with a result or with error.code set.
 * Errors:  -ECONNRESET weftd is gone, -EBADMSG it spoke something else, -EINTR, -ENOMEM.
 */
int weft_client_receive(struct weft_client *client, int64_t id, struct weft_reply *ret_reply);

/** The same, for ns at most.  Errors: also -ETIMEDOUT, after which it may still be received. */
int weft_client_receive_within(struct weft_client *client, int64_t id, uint64_t ns,
                               struct weft_reply *ret_reply);

/* ---- output ---------------------------------------------------------------------------------- */

/** A file of a job's output, to be read without weftd; docs/protocol.md, job.output, says how. */
struct weft_client_output {
    int fd;          /* for reading, close-on-exec, the caller's; -1: there is nothing (yet) */
    bool eof;        /* the job has ended, and the rest is in fd, if that is not -1 */
    int64_t attempt; /* whose output it is; 0: none has begun */
    int64_t begin;   /* offset in the stream of the file's first byte */
    int64_t gap;     /* bytes from the offset asked for on that are not kept any more */
    int64_t dropped; /* with eof: bytes that were written behind the last one and not kept */
};

/**
 * Ask for the file of stream ("stdout", "stderr") that holds offset, or the first one behind it.
 * Errors: -EREMOTEIO weftd refused, error says why; -EOPNOTSUPP a descriptor was sent and did not
 *         come through (a proxy between, no number free): job.logs does; as weft_client_call().
 */
int weft_client_output(struct weft_client *client, int64_t id, const char *stream, int64_t offset,
                       struct weft_client_output *ret_output, struct weft_client_error *error);

/**
 * Whether nothing will be appended to the file of such a descriptor: 1, 0.  Ask before you read to
 * its end: then that is the end.  Errors: fstat(2)'s.
 */
int weft_client_output_is_complete(int fd);

/* ---- events ---------------------------------------------------------------------------------- */

/** Keep the notifications that come from now on (those of events.subscribe) for weft_client_hear();
 * before, they are passed over.  Errors: -ENOMEM. */
int weft_client_listen(struct weft_client *client);

/** The next notification's params, waiting for it; the caller's.  Replies that come meanwhile are
 * kept.  Errors: as weft_client_receive(). */
int weft_client_hear(struct weft_client *client, json_t **ret_params);

#ifdef __cplusplus
}
#endif
