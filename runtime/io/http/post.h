/* SPDX-License-Identifier: MIT */
/*
 * What fibers and the session's driver tell each other.  A post is a piece of work for the driver:
 * a transfer, or a call that must be made on the driver's fiber because libcurl is in it.
 *
 *   fibers say what they want   `wants`, by post_send; the driver runs post->run for it
 *   the driver says what is so  `events`, by post_raise; fibers wait for it by post_wait
 *
 *   P1  Whatever is here is guarded by the session's lock, unless it says otherwise.
 *   P2  The driver's last touch of a post is post_finish: it takes the post off the queue, refuses
 *       later sends and raises POST_DONE in one locked section.  A fiber that has seen POST_DONE
 *       may free the post, because post_wait returns only after that section was left.
 *   P3  One fiber at a time waits on a post.
 */
#ifndef RUNTIME_IO_HTTP_POST_H
#define RUNTIME_IO_HTTP_POST_H

#include "core/list.h"
#include "core/wait.h"

struct http_post;
struct weft_http_session;

enum post_event {
    POST_DONE = 1 << 0, /* the driver has let go of it */
    POST_HEAD = 1 << 1, /* a transfer: the headers are there */
    POST_DATA = 1 << 2, /* a transfer: there is something to read */
    POST_ROOM = 1 << 3, /* a transfer: there is room for more of the request's body */
    POST_LIVE = 1 << 4, /* a transfer: it has a connection */
};

typedef void http_post_run(struct weft_http_session *session, struct http_post *post,
                           unsigned wants);

struct http_post {
    struct list link;   /* on session->posted */
    http_post_run *run; /* constant */
    unsigned wants;     /* what run is to do; bits of the kind's own */
    unsigned events;    /* enum post_event */
    unsigned awaited;   /* which of them the waiter waits for */
    struct waiter *waiter;
};

enum post_mode { POST_CANCELLABLE, POST_SHIELDED };

static inline void post_init(struct http_post *post, http_post_run *run)
{
    *post = (struct http_post){.run = run};
    list_init(&post->link);
}

/** Have the driver see to `wants`.  Any thread.  Never suspends.
 * Errors: -ESHUTDOWN there is no driver any more, -EALREADY the post is done. */
int post_send(struct weft_http_session *session, struct http_post *post, unsigned wants);

/** Wait until one of `awaited` is so.  Errors, never when shielded: -ETIMEDOUT, -ECANCELED. */
int post_wait(struct weft_http_session *session, struct http_post *post, unsigned awaited,
              uint64_t deadline_ns, enum post_mode mode);

/** Whether one of `events` is so. */
bool post_has(struct weft_http_session *session, const struct http_post *post, unsigned events);

/* ---- for the driver --------------------------------------------------------------------- */

/** The next post that wants something, off the queue; NULL: none. */
struct http_post *post_next(struct weft_http_session *session, unsigned *ret_wants);

/** Under the lock: say that `events` are so. */
void post_raise_locked(struct weft_http_session *session, struct http_post *post, unsigned events);
void post_raise(struct weft_http_session *session, struct http_post *post, unsigned events);

/** P2. */
void post_finish(struct weft_http_session *session, struct http_post *post);

#endif
