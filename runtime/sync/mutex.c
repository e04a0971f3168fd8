/* SPDX-License-Identifier: MIT */
/*
 * The mutex: an owner and a queue of fibers that want to be it.
 *
 *   I1  Unlocking hands the mutex to the first waiter that can be claimed; it is never free while
 *       somebody waits, so nobody overtakes and nobody starves.
 *   I2  A waiter that is claimed owns the mutex from that moment, before it runs.  A wait that ends
 *       in an error was not claimed, so it never loses a lock it was given.
 *   I3  Unlock touches the mutex no more once its section is left (Q1), and a locker returns only
 *       after that (Q2).  So the fiber that locked last may free the mutex once it has unlocked,
 *       as POSIX has it.
 *
 * Locking is for fibers.  It does not spin for the mutex, is not recursive, and knows no threads.
 */
#include "weft/mutex.h"

#include <errno.h>

#include "core/stack.h"
#include "sync/owners.h"
#include "sync/waitq.h"
#include "weft/time.h"

struct mutex {
    struct spin lock;
    struct fiber *owner;  /* guarded by lock */
    struct waitq waiters; /* guarded by lock */
};

_Static_assert(sizeof(struct mutex) <= sizeof(struct weft_mutex), "the public mutex is too small");
_Static_assert(_Alignof(struct mutex) <= _Alignof(struct weft_mutex), "and must be as aligned");

static struct mutex *mutex_of(struct weft_mutex *mutex)
{
    return (struct mutex *)(void *)mutex;
}

void weft_mutex_init(struct weft_mutex *mutex)
{
    *mutex = (struct weft_mutex){0};
}

static struct fiber *mutex_caller(void)
{
    struct fiber *self = fiber_self();

    CHECK(self); /* a plain thread owns nothing */
    return self;
}

/* Own the mutex, or be in its queue (-EINPROGRESS).  Under the lock. */
static int mutex_take(struct mutex *mutex, struct waiter *waiter, enum waitq_mode mode)
{
    struct fiber *self = mutex_caller();

    if (mutex->owner == self)
        return -EDEADLK;
    if (mutex->owner) {
        int r = waitq_join(&mutex->waiters, waiter, NULL, mode);
        return r < 0 ? r : -EINPROGRESS;
    }
    mutex->owner = self;
    return 0;
}

static int mutex_lock(struct mutex *mutex, uint64_t deadline_ns, enum waitq_mode mode)
{
    struct waiter waiter;

    spin_lock(&mutex->lock);
    int r = mutex_take(mutex, &waiter, mode);
    spin_unlock(&mutex->lock);
    if (r != -EINPROGRESS)
        return r;
    wait_describe(&waiter, "mutex", mutex);
    return waitq_suspend(&waiter, &mutex->lock, deadline_ns);
}

int weft_mutex_lock_until(struct weft_mutex *mutex, uint64_t deadline_ns)
{
    int r = waitq_check();
    if (r < 0)
        return r;
    return mutex_lock(mutex_of(mutex), deadline_ns, WAITQ_CANCELLABLE);
}

int weft_mutex_lock(struct weft_mutex *mutex)
{
    return weft_mutex_lock_until(mutex, WEFT_NO_DEADLINE);
}

int weft_mutex_lock_shielded(struct weft_mutex *mutex)
{
    return mutex_lock(mutex_of(mutex), WEFT_NO_DEADLINE, WAITQ_SHIELDED);
}

int weft_mutex_trylock(struct weft_mutex *public)
{
    struct mutex *mutex = mutex_of(public);
    int r = -EBUSY;

    spin_lock(&mutex->lock);
    if (!mutex->owner) {
        mutex->owner = mutex_caller();
        r = 0;
    }
    spin_unlock(&mutex->lock);
    return r;
}

void weft_mutex_unlock(struct weft_mutex *public)
{
    struct mutex *mutex = mutex_of(public);
    struct wait_batch batch = {0};
    struct waiter next = {0};

    spin_lock(&mutex->lock);
    CHECK(mutex->owner == mutex_caller());
    waitq_claim_first(&mutex->waiters, &next, &batch);
    mutex->owner = next.fiber; /* I1; NULL if nobody waits */
    spin_unlock(&mutex->lock);
    waitq_wake(&batch);
}

const struct fiber *mutex_owner(const void *public)
{
    struct mutex *mutex = (struct mutex *)public;
    const struct fiber *owner;

    spin_lock(&mutex->lock);
    owner = mutex->owner;
    spin_unlock(&mutex->lock);
    return owner;
}
