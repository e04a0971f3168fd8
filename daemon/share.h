/* SPDX-License-Identifier: MIT */
/*
 * share: what one user has in a queue, and whose turn it is there.
 *
 * Users take turns, one start each, whatever they have waiting: a thousand jobs of one hold up
 * another's first by one start.  Priorities order the jobs of one user, and nobody else's.
 *
 * I1  A share is in the ring exactly while it may be served: it has a queued job, and fewer runs
 *     than each user may have at once.
 * I2  A share is there while a job of its user has not ended.  One that was reserved for a job that
 *     was refused then stays, empty, until the user's next job has come and gone.
 * I3  ready has room for `live` jobs.
 * Guarded by the engine's lock; never suspends, never logs.
 */
#pragma once

#include "daemon/job_heap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SHARE_BUCKETS = 64 };

struct share {
    struct share *next;                    /* in its bucket */
    struct share *ring_next, *ring_before; /* NULL: not in the ring */
    struct job_heap ready;                 /* the queued jobs */
    size_t live;                           /* jobs that have not ended */
    uid_t uid;
    uint32_t running; /* runs that hold a slot */
};

struct shares {
    struct share *buckets[SHARE_BUCKETS]; /* by uid */
    struct share *turn;                   /* in the ring, the next to be served; NULL: empty */
    size_t queued;                        /* jobs in all heaps */
    uint32_t most;                        /* runs of one user at once; 0: no limit */
};

void shares_destroy(struct shares *shares);                        /* the jobs are not its own */
struct share *shares_find(const struct shares *shares, uid_t uid); /* NULL: there is none */
/* All of them, in no order: NULL is before the first, and behind the last. */
struct share *shares_next(const struct shares *shares, const struct share *share);

/* Another limit for each user.  O(users). */
void shares_limit(struct shares *shares, uint32_t most);

/* Room for `more` further jobs of uid.  Errors: -ENOMEM. */
int shares_reserve(struct shares *shares, uid_t uid, size_t more);
/* job lives and has a share: job->share is set; it has ended, the share may be gone. */
void shares_join(struct shares *shares, struct job *job);
void shares_leave(struct shares *shares, struct job *job);

void shares_push(struct shares *shares, struct job *job);   /* it is queued, with its rank */
void shares_remove(struct shares *shares, struct job *job); /* not any more, and was not taken */

bool shares_ready(const struct shares *shares);              /* somebody may be served */
struct job *shares_take(struct shares *shares);              /* who is; it counts as running */
void shares_release(struct shares *shares, struct job *job); /* its run is over */

/* How many jobs would start before `job`, which is queued, if each took as long; at most `most` are
 * counted.  Costs what job_heap_count_before() does, and a step for each user. */
size_t shares_count_before(const struct shares *shares, const struct job *job, size_t most);
