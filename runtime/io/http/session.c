/* SPDX-License-Identifier: MIT */
/*
 * Sessions: making them, ending them, and calls that the driver makes for a fiber.
 *
 *   I1  libcurl is initialised once for the process and never undone: other parts of a program may
 *       use it too.
 *   I2  weft_http_session_free returns when the driver has ended, so that no connection and no
 *       transfer is left; what responses hold then is memory alone (N4 of session.h).
 *
 * For fibers of the runtime that the session was made in.
 */
#include "io/http/session.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "core/watch.h"
#include "weft/fiber.h"
#include "weft/offload.h"
#include "weft/runtime.h"
#include "weft/time.h"

/* ---- libcurl itself --------------------------------------------------------------------- */

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void global_init_once(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* It reads OpenSSL's configuration, so not on a worker. */
static int global_init(void *unused)
{
    (void)unused;
    pthread_once(&global_once, global_init_once);
    return global_result == CURLE_OK ? 0 : -ENOMEM;
}

static int global_ready(void)
{
    static atomic_bool ready; /* atomic: release below, acquire here */
    int result;

    if (atomic_load_explicit(&ready, memory_order_acquire))
        return weft_check_cancel();
    int r = weft_offload(global_init, NULL, &result);
    if (r < 0)
        return r;
    if (result == 0)
        atomic_store_explicit(&ready, true, memory_order_release);
    return result;
}

/* ---- lifetime --------------------------------------------------------------------------- */

struct weft_http_session *session_ref(struct weft_http_session *session)
{
    atomic_fetch_add_explicit(&session->refs, 1, memory_order_relaxed);
    return session;
}

void session_unref(struct weft_http_session *session)
{
    if (atomic_fetch_sub_explicit(&session->refs, 1, memory_order_acq_rel) > 1)
        return;
    config_destroy(&session->config);
    free(session);
}

/* The driver has no other posts than those that are sent. */
static void run_nothing(struct weft_http_session *session, struct http_post *post, unsigned wants)
{
    (void)session;
    (void)post;
    (void)wants;
}

static int session_start(struct weft_http_session *session)
{
    int r = driver_init(session);
    if (r < 0)
        return r;
    r = weft_runtime_spawn(weft_runtime_self(), "http session", driver_main, session);
    if (r < 0)
        driver_destroy(session);
    return r;
}

int weft_http_session_new(const struct weft_http_session_options *options,
                          struct weft_http_session **ret_session)
{
    int r = global_ready();
    if (r < 0)
        return r;
    struct weft_http_session *session = calloc(1, sizeof(*session));
    if (!session)
        return -ENOMEM;
    atomic_init(&session->refs, 1);
    list_init(&session->posted);
    post_init(&session->life, run_nothing);
    r = config_init(&session->config, options);
    if (r < 0) {
        free(session);
        return r;
    }
    r = session_start(session);
    if (r < 0) {
        session_unref(session);
        return r;
    }
    *ret_session = session;
    return 0;
}

void session_wake(struct weft_http_session *session)
{
    struct wait_batch batch = {0};

    watch_deliver(session->wake_tag, EPOLLIN, &batch); /* N2; closed already: nothing happens */
    wait_batch_wake(&batch);
}

void weft_http_session_free(struct weft_http_session *session)
{
    if (!session)
        return;
    spin_lock(&session->lock);
    CHECK(!session->closing);
    session->closing = true;
    spin_unlock(&session->lock);
    session_wake(session);
    post_wait(session, &session->life, POST_DONE, WEFT_NO_DEADLINE, POST_SHIELDED); /* I2 */
    session_unref(session);
}

void weft_http_session_stats(struct weft_http_session *session,
                             struct weft_http_session_stats *ret_stats)
{
    *ret_stats = (struct weft_http_session_stats){
        .active = atomic_load_explicit(&session->active_count, memory_order_relaxed),
        .open = atomic_load_explicit(&session->open_count, memory_order_relaxed),
        .started = atomic_load_explicit(&session->started, memory_order_relaxed),
        .connections = atomic_load_explicit(&session->connections, memory_order_relaxed),
        .turns = atomic_load_explicit(&session->turns, memory_order_relaxed),
    };
}

/* ---- calls ------------------------------------------------------------------------------ */

struct session_call {
    struct http_post post;
    int (*fn)(struct weft_http_session *session, void *arg);
    void *arg;
    int result; /* written by the driver before POST_DONE */
};

static void run_call(struct weft_http_session *session, struct http_post *post, unsigned wants)
{
    struct session_call *call = container_of(post, struct session_call, post);
    (void)wants;

    call->result = call->fn(session, call->arg);
    post_finish(session, post);
}

int session_call(struct weft_http_session *session,
                 int (*fn)(struct weft_http_session *session, void *arg), void *arg)
{
    struct session_call call = {.fn = fn, .arg = arg};

    post_init(&call.post, run_call);
    int r = post_send(session, &call.post, 1);
    if (r < 0)
        return r;
    post_wait(session, &call.post, POST_DONE, WEFT_NO_DEADLINE, POST_SHIELDED);
    return call.result;
}
