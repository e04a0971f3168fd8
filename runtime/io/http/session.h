/* SPDX-License-Identifier: MIT */
/*
 * The inside of a session.
 *
 *   N1  libcurl's multi handle, its easy handles and its share belong to the driver: a fiber of the
 *       session's own, the only one that calls libcurl for them.  So there is no lock around them,
 *       and none of libcurl's callbacks, which all run inside such a call, ever suspends.
 *   N2  libcurl's sockets are in an epoll set of the session's, which is itself one descriptor of
 *       the runtime's.  A post to the driver delivers a readable event to that descriptor by hand:
 *       that is how the driver is woken, without a system call.
 *   N3  `lock` is held for a few instructions, and never inside a call of libcurl's that could come
 *       back to us.
 *   N4  The memory of a session lives until the last of its responses is freed (`refs`).
 */
#ifndef RUNTIME_IO_HTTP_SESSION_H
#define RUNTIME_IO_HTTP_SESSION_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "core/spin.h"
#include "io/http/post.h"
#include "weft/http.h"

struct weft_descriptor;

/* The options, copied; texts are owned, or NULL. */
struct http_config {
    struct weft_http_session_options options; /* its texts are not used */
    char *base_url, *user_agent, *user, *password, *bearer;
    char *ca_file, *certificate_file, *key_file, *key_password;
    char *proxy, *no_proxy, *unix_path;
    struct weft_http_field *headers;
    size_t header_count;
};

struct http_socket {
    int fd;
    bool two; /* speaks HTTP/2, or may */
};

struct weft_http_session {
    struct http_config config;         /* constant */
    atomic_uint refs;                  /* N4; atomic: release on drop, acquire by the last */
    struct weft_descriptor *readiness; /* of epoll_fd; constant until the driver has ended */
    uint64_t wake_tag;                 /* of it, constant (N2) */

    struct spin lock;
    struct list posted;    /* of http_post; guarded by lock */
    bool closing;          /* the driver is to end; guarded by lock */
    bool closed;           /* it takes no more posts; guarded by lock */
    struct http_post life; /* done when the driver has ended */

    /* The driver's own (N1). */
    CURLM *multi;
    CURLSH *share;
    int epoll_fd;
    uint64_t timer_ns;    /* when libcurl wants to be called without an event */
    uint64_t sweep_ns;    /* when to look for pooled connections that are of no use any more */
    CURL *sweeper;        /* the transfer that makes libcurl look, or NULL */
    uint64_t begun_ns;    /* when the last transfer began */
    struct list active;   /* of http_transfer.active */
    size_t sending_count; /* of them, those that have a body to send */
    uint64_t calls;       /* counts libcurl's calls for heads, bodies and ends */
    bool nudged;          /* nothing has happened since driver_nudge */
    bool lacks_memory;    /* libcurl said so, and not of which transfer (driver.c, D9) */
    struct http_socket *sockets; /* D7 of driver.c */
    size_t socket_count, socket_room;
    size_t two_count;        /* of them, those that speak HTTP/2, or may */
    struct wait_batch batch; /* fibers to wake at the end of the step */

    /* Counters: written by the driver, read by any thread; relaxed. */
    atomic_uint active_count, open_count;
    atomic_uint_fast64_t started, connections, turns;
};

/** Wake the driver.  Any thread. */
void session_wake(struct weft_http_session *session);

struct weft_http_session *session_ref(struct weft_http_session *session);
void session_unref(struct weft_http_session *session);

/** Have fn(session, arg) called by the driver, and wait for its result, whatever the scope says.
 * Errors: -ESHUTDOWN. */
int session_call(struct weft_http_session *session,
                 int (*fn)(struct weft_http_session *session, void *arg), void *arg);

/** Copy and check options, which may be NULL.  Errors: -EINVAL, -ENOMEM; then nothing is left. */
int config_init(struct http_config *config, const struct weft_http_session_options *options);
void config_destroy(struct http_config *config);

/** The driver: makes libcurl's handles, and ends them.  Errors: -ENOMEM, -EMFILE. */
int driver_init(struct weft_http_session *session);
void driver_destroy(struct weft_http_session *session);

/** This socket does not speak HTTP/2. */
void driver_forget_two(struct weft_http_session *session, int fd);

/** Its fiber. */
int driver_main(void *session);

/** Look, now or soon, for pooled connections that the peer has closed or that are too old. */
void sweep_soon(struct weft_http_session *session);
/** The session has become idle: look when what is pooled now will be too old. */
void sweep_later(struct weft_http_session *session);
void sweep_run(struct weft_http_session *session);
/** The sweep's own transfer is over, or must be. */
void sweep_end(struct weft_http_session *session);

/** Nanoseconds in units of `unit_ns`, as libcurl takes them. */
long http_units(uint64_t ns, uint64_t unit_ns);

static inline void http_count(atomic_uint_fast64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

#endif
