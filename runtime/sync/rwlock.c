/* SPDX-License-Identifier: MIT */
/*
 * The lock for many readers or one writer: who is inside, and two queues.
 *
 *   I1  Inside are readers, or one writer, or nobody.
 *   I2  A writer waits only while somebody is inside; a reader only while a writer is inside or
 *       stands in its queue.  Whoever changes that (the last one out, the last writer to give up)
 *       lets in whom it held back.
 *   I3  Phase-fair: a writer that leaves lets in all readers that wait by then, before the next
 *       writer; the last reader that leaves lets in one writer, before further readers.
 *   I4  A waiter that is claimed is inside from that moment, before it runs.  A wait that ends in
 *       an error was not claimed, so it never loses a lock it was given.
 *   I5  Unlock touches the lock no more once its section is left (Q1), and a locker returns only
 *       after that (Q2).  So the last user may free it once it has unlocked.
 *
 * Locking with a wait is for fibers, the rest for any thread.  It does not know its readers, so it
 * cannot tell a reader that locks twice, or unlocks what it has not locked while others read.
 */
#include "weft/rwlock.h"

#include <errno.h>

#include "sync/owners.h"
#include "sync/waitq.h"
#include "weft/time.h"

struct rwlock {
    struct spin lock;
    uint32_t readers;     /* guarded by lock: inside */
    const void *writer;   /* guarded by lock: inside; a fiber or `a_thread` */
    struct waitq reading; /* guarded by lock: readers that wait */
    struct waitq writing; /* guarded by lock: writers that wait */
};

_Static_assert(sizeof(struct rwlock) <= sizeof(struct weft_rwlock), "too small in public");
_Static_assert(_Alignof(struct rwlock) <= _Alignof(struct weft_rwlock), "or less aligned");

/* Stands for any plain thread: they are not told apart. */
static const char a_thread;

static struct rwlock *rwlock_of(struct weft_rwlock *rwlock)
{
    return (struct rwlock *)(void *)rwlock;
}

static const void *rwlock_caller(void)
{
    const struct fiber *self = fiber_self();

    return self ? (const void *)self : &a_thread;
}

void weft_rwlock_init(struct weft_rwlock *rwlock)
{
    *rwlock = (struct weft_rwlock){0};
}

/* Be inside as a reader.  Under the lock.  Errors: -EBUSY. */
static int rwlock_read(struct rwlock *rwlock)
{
    if (rwlock->writer || !waitq_empty(&rwlock->writing))
        return -EBUSY;
    rwlock->readers++;
    return 0;
}

/* Be inside as the writer.  Under the lock.  Errors: -EBUSY. */
static int rwlock_write(struct rwlock *rwlock)
{
    if (rwlock->writer || rwlock->readers)
        return -EBUSY;
    rwlock->writer = rwlock_caller();
    return 0;
}

static void rwlock_admit_readers(struct rwlock *rwlock, struct wait_batch *batch)
{
    struct waiter reader;

    while (waitq_claim_first(&rwlock->reading, &reader, batch))
        rwlock->readers++;
}

static void rwlock_admit_writer(struct rwlock *rwlock, struct wait_batch *batch)
{
    struct waiter writer = {0};

    waitq_claim_first(&rwlock->writing, &writer, batch);
    rwlock->writer = writer.fiber; /* NULL if nobody waits */
}

/* A writer has given up.  If it was the last that waited, it holds nobody back any more (I2). */
static void rwlock_writer_gone(struct rwlock *rwlock)
{
    struct wait_batch batch = {0};

    spin_lock(&rwlock->lock);
    if (!rwlock->writer && waitq_empty(&rwlock->writing))
        rwlock_admit_readers(rwlock, &batch);
    spin_unlock(&rwlock->lock);
    waitq_wake(&batch);
}

/* Wait in `queue`.  Entered with the lock, which it drops. */
static int rwlock_wait(struct rwlock *rwlock, struct waitq *queue, const char *kind,
                       uint64_t deadline_ns)
{
    struct waiter waiter;
    int r = rwlock->writer == rwlock_caller() ? -EDEADLK : 0;

    if (r == 0)
        r = waitq_join(queue, &waiter, NULL, WAITQ_CANCELLABLE);
    spin_unlock(&rwlock->lock);
    if (r < 0)
        return r;
    wait_describe(&waiter, kind, rwlock);
    return waitq_suspend(&waiter, &rwlock->lock, deadline_ns);
}

int weft_rwlock_rdlock(struct weft_rwlock *public, uint64_t deadline_ns)
{
    struct rwlock *rwlock = rwlock_of(public);
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&rwlock->lock);
    if (rwlock_read(rwlock) < 0)
        return rwlock_wait(rwlock, &rwlock->reading, "rwlock read", deadline_ns);
    spin_unlock(&rwlock->lock);
    return 0;
}

int weft_rwlock_wrlock(struct weft_rwlock *public, uint64_t deadline_ns)
{
    struct rwlock *rwlock = rwlock_of(public);
    int r = waitq_check();
    if (r < 0)
        return r;

    spin_lock(&rwlock->lock);
    if (rwlock_write(rwlock) < 0) {
        r = rwlock_wait(rwlock, &rwlock->writing, "rwlock write", deadline_ns);
        if (r == -ETIMEDOUT || r == -ECANCELED)
            rwlock_writer_gone(rwlock);
        return r;
    }
    spin_unlock(&rwlock->lock);
    return 0;
}

int weft_rwlock_tryrdlock(struct weft_rwlock *public)
{
    struct rwlock *rwlock = rwlock_of(public);

    spin_lock(&rwlock->lock);
    int r = rwlock_read(rwlock);
    spin_unlock(&rwlock->lock);
    return r;
}

int weft_rwlock_trywrlock(struct weft_rwlock *public)
{
    struct rwlock *rwlock = rwlock_of(public);

    spin_lock(&rwlock->lock);
    int r = rwlock_write(rwlock);
    spin_unlock(&rwlock->lock);
    return r;
}

/* Under the lock. */
static void rwlock_leave(struct rwlock *rwlock, struct wait_batch *batch)
{
    if (rwlock->writer) {
        CHECK(rwlock->writer == rwlock_caller());
        rwlock->writer = NULL;
        rwlock_admit_readers(rwlock, batch);
    } else {
        CHECK(rwlock->readers > 0);
        rwlock->readers--;
    }
    if (rwlock->readers > 0)
        return;
    rwlock_admit_writer(rwlock, batch);
    if (!rwlock->writer)
        rwlock_admit_readers(rwlock, batch); /* those that had stood behind one who gave up */
}

void weft_rwlock_unlock(struct weft_rwlock *public)
{
    struct rwlock *rwlock = rwlock_of(public);
    struct wait_batch batch = {0};

    spin_lock(&rwlock->lock);
    rwlock_leave(rwlock, &batch);
    spin_unlock(&rwlock->lock);
    waitq_wake(&batch);
}

const struct fiber *rwlock_writer(const void *public)
{
    struct rwlock *rwlock = (struct rwlock *)public;
    const void *writer;

    spin_lock(&rwlock->lock);
    writer = rwlock->writer;
    spin_unlock(&rwlock->lock);
    return writer == &a_thread ? NULL : writer;
}
