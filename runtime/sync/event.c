/* SPDX-License-Identifier: MIT */
/*
 * The event: a flag, and a queue of fibers that wait for it to be set.
 *
 *   I1  Setting claims every waiter in the same section that sets the flag; so while the flag is
 *       set nobody waits, and a wait that began before a set ends with it, even if the flag is
 *       cleared at once.
 *   I2  A fiber whose wait returned 0 may free the event, although the setter may still be inside
 *       weft_event_set.  The setter's last touch of the event is its unlock; the waiting fiber
 *       returns only when that has happened: it settles (Q2) after it was claimed, and also when it
 *       merely sees the flag, which the setter stores inside its section.
 *
 * Waiting is for fibers; all else for any thread.
 */
#include "weft/event.h"

#include "sync/waitq.h"
#include "weft/time.h"

struct event {
    struct spin lock;
    atomic_bool set;      /* atomic: stored under lock with release, pairs with event_seen */
    struct waitq waiters; /* guarded by lock */
};

_Static_assert(sizeof(struct event) <= sizeof(struct weft_event), "the public event is too small");
_Static_assert(_Alignof(struct event) <= _Alignof(struct weft_event), "and must be as aligned");

static struct event *event_of(struct weft_event *event)
{
    return (struct event *)(void *)event;
}

void weft_event_init(struct weft_event *event)
{
    *event = (struct weft_event){0};
}

void weft_event_set(struct weft_event *public)
{
    struct event *event = event_of(public);
    struct wait_batch batch = {0};

    spin_lock(&event->lock);
    atomic_store_explicit(&event->set, true, memory_order_release);
    waitq_claim_all(&event->waiters, 0, &batch);
    spin_unlock(&event->lock);
    waitq_wake(&batch);
}

void weft_event_clear(struct weft_event *public)
{
    struct event *event = event_of(public);

    spin_lock(&event->lock);
    atomic_store_explicit(&event->set, false, memory_order_relaxed);
    spin_unlock(&event->lock);
}

/* Whether the flag is set; if so, its setter has left the event (I2). */
static bool event_seen(struct event *event)
{
    if (!atomic_load_explicit(&event->set, memory_order_acquire))
        return false;
    spin_settle(&event->lock);
    return true;
}

bool weft_event_is_set(struct weft_event *event)
{
    return event_seen(event_of(event));
}

static int event_wait(struct event *event, uint64_t deadline_ns, enum waitq_mode mode)
{
    struct waiter waiter;

    if (event_seen(event))
        return 0;

    spin_lock(&event->lock);
    if (atomic_load_explicit(&event->set, memory_order_relaxed)) {
        spin_unlock(&event->lock);
        return 0;
    }
    int r = waitq_join(&event->waiters, &waiter, NULL, mode);
    spin_unlock(&event->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, "event", event);
    return waitq_suspend(&waiter, &event->lock, deadline_ns);
}

int weft_event_wait(struct weft_event *event, uint64_t deadline_ns)
{
    int r = waitq_check();
    if (r < 0)
        return r;
    return event_wait(event_of(event), deadline_ns, WAITQ_CANCELLABLE);
}

void weft_event_wait_shielded(struct weft_event *event)
{
    int r = event_wait(event_of(event), WEFT_NO_DEADLINE, WAITQ_SHIELDED);
    CHECK(r == 0);
}
