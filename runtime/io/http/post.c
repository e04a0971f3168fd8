/* SPDX-License-Identifier: MIT */
/* Posts between fibers and the driver.  The invariants stand in post.h. */
#include "io/http/post.h"

#include <errno.h>

#include "io/http/session.h"
#include "sync/waitq.h"

int post_send(struct weft_http_session *session, struct http_post *post, unsigned wants)
{
    int r = 0;

    spin_lock(&session->lock);
    if (post->events & POST_DONE) {
        r = -EALREADY;
    } else if (session->closed) {
        r = -ESHUTDOWN;
    } else {
        post->wants |= wants;
        if (!list_linked(&post->link))
            list_append(&session->posted, &post->link);
    }
    spin_unlock(&session->lock);
    if (r == 0)
        session_wake(session);
    return r;
}

struct http_post *post_next(struct weft_http_session *session, unsigned *ret_wants)
{
    struct http_post *post = NULL;

    spin_lock(&session->lock);
    struct list *node = list_first(&session->posted);
    if (node) {
        list_remove(node);
        post = container_of(node, struct http_post, link);
        *ret_wants = post->wants;
        post->wants = 0;
    }
    spin_unlock(&session->lock);
    return post;
}

bool post_has(struct weft_http_session *session, const struct http_post *post, unsigned events)
{
    spin_lock(&session->lock);
    bool has = post->events & events;
    spin_unlock(&session->lock);
    return has;
}

/* Returns: whether there is something to wait for. */
static bool post_enlist(struct weft_http_session *session, struct http_post *post, unsigned awaited,
                        struct waiter *waiter)
{
    spin_lock(&session->lock);
    bool wait = !(post->events & awaited);
    if (wait) {
        post->awaited = awaited;
        post->waiter = waiter;
    }
    spin_unlock(&session->lock);
    return wait;
}

int post_wait(struct weft_http_session *session, struct http_post *post, unsigned awaited,
              uint64_t deadline_ns, enum post_mode mode)
{
    struct waiter waiter;
    int r = 0;

    if (mode == POST_SHIELDED)
        wait_prepare_shielded(&waiter);
    else
        r = wait_prepare(&waiter);
    if (r < 0)
        return r;
    if (!post_enlist(session, post, awaited, &waiter)) {
        wait_abandon(&waiter);
        return 0;
    }
    wait_describe(&waiter, "http", post);
    r = wait_suspend(&waiter, deadline_ns);
    if (r == 0) {
        spin_settle(&session->lock); /* P2 */
        return 0;
    }
    spin_lock(&session->lock);
    post->waiter = NULL;
    spin_unlock(&session->lock);
    return r;
}

void post_raise_locked(struct weft_http_session *session, struct http_post *post, unsigned events)
{
    struct waiter *waiter = post->waiter;

    post->events |= events;
    if (!waiter || !(post->events & post->awaited))
        return;
    post->waiter = NULL;
    wait_claim(waiter, &session->batch); /* lost to a cancel: the fiber finds the events anyway */
}

void post_raise(struct weft_http_session *session, struct http_post *post, unsigned events)
{
    spin_lock(&session->lock);
    post_raise_locked(session, post, events);
    spin_unlock(&session->lock);
}

void post_finish(struct weft_http_session *session, struct http_post *post)
{
    spin_lock(&session->lock);
    list_remove(&post->link);
    post_raise_locked(session, post, POST_DONE);
    spin_unlock(&session->lock);
}
