/* SPDX-License-Identifier: MIT */
/*
 * A lock for many readers or one writer.  Phase-fair: a reader that comes while a writer waits or
 * writes, waits; when a writer leaves, all readers that wait by then enter together, and when the
 * last of them has left, the first waiting writer.  So neither side starves, however busy the
 * other.
 *
 * Not recursive: a reader that locks again may wait for a writer that waits for this very reader.
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_RWLOCK_H
#define WEFT_RWLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Caller-owned; all zeroes is an unlocked lock.  Its content is private. */
struct weft_rwlock {
    uint64_t opaque[8];
};

/** Context: any thread.  Never suspends. */
void weft_rwlock_init(struct weft_rwlock *rwlock);

/** Lock for reading, shared with other readers, waiting until `deadline_ns` at most.
 * Errors: -ETIMEDOUT, -ECANCELED (then it is not locked), -EDEADLK the caller is its writer. */
int weft_rwlock_rdlock(struct weft_rwlock *rwlock, uint64_t deadline_ns);

/** Lock for writing, alone, waiting until `deadline_ns` at most.
 * Errors: -ETIMEDOUT, -ECANCELED (then it is not locked), -EDEADLK the caller is its writer. */
int weft_rwlock_wrlock(struct weft_rwlock *rwlock, uint64_t deadline_ns);

/** Lock for reading if nobody writes or waits to.  Context: any thread.  Never suspends.
 * Errors: -EBUSY. */
int weft_rwlock_tryrdlock(struct weft_rwlock *rwlock);

/** Lock for writing if nobody reads or writes.  Context: any thread.  Never suspends.
 * Errors: -EBUSY. */
int weft_rwlock_trywrlock(struct weft_rwlock *rwlock);

/** Unlock what the caller locked, for reading or writing.  Context: any thread that locked it.
 * Never suspends.  The last user may free the lock afterwards. */
void weft_rwlock_unlock(struct weft_rwlock *rwlock);

#ifdef __cplusplus
}
#endif
#endif
