/* SPDX-License-Identifier: MIT */
/* share: see share.h, which has the invariants. */
#include "daemon/share.h"

#include <errno.h>
#include <stdlib.h>

/* ---- shares by user -------------------------------------------------------------------------- */

static size_t bucket_of(uid_t uid)
{
    return uid % SHARE_BUCKETS;
}

struct share *shares_find(const struct shares *shares, uid_t uid)
{
    struct share *share = shares->buckets[bucket_of(uid)];
    while (share && share->uid != uid)
        share = share->next;
    return share;
}

static struct share *first_from(const struct shares *shares, size_t bucket)
{
    while (bucket < SHARE_BUCKETS && !shares->buckets[bucket])
        bucket++;
    return bucket < SHARE_BUCKETS ? shares->buckets[bucket] : NULL;
}

struct share *shares_next(const struct shares *shares, const struct share *share)
{
    if (!share)
        return first_from(shares, 0);
    return share->next ? share->next : first_from(shares, bucket_of(share->uid) + 1);
}

static int make(struct shares *shares, uid_t uid, struct share **ret_share)
{
    struct share *share = calloc(1, sizeof(*share));
    if (!share)
        return -ENOMEM;
    share->uid = uid;
    share->next = shares->buckets[bucket_of(uid)];
    shares->buckets[bucket_of(uid)] = share;
    job_heap_init(&share->ready, JOB_HEAP_BY_RANK);
    *ret_share = share;
    return 0;
}

static void drop(struct shares *shares, struct share *share)
{
    struct share **at = &shares->buckets[bucket_of(share->uid)];
    while (*at != share)
        at = &(*at)->next;
    *at = share->next;
    job_heap_destroy(&share->ready);
    free(share);
}

void shares_destroy(struct shares *shares)
{
    struct share *share;
    while ((share = first_from(shares, 0)))
        drop(shares, share);
    shares->turn = NULL;
}

/* ---- the ring -------------------------------------------------------------------------------- */

static bool may_be_served(const struct shares *shares, const struct share *share)
{
    return share->ready.count > 0 && (shares->most == 0 || share->running < shares->most);
}

/* Behind all who are there already. */
static void enter(struct shares *shares, struct share *share)
{
    struct share *first = shares->turn ? shares->turn : share;
    struct share *last = shares->turn ? first->ring_before : share;
    share->ring_next = first;
    share->ring_before = last;
    last->ring_next = share;
    first->ring_before = share;
    shares->turn = first;
}

static void leave(struct shares *shares, struct share *share)
{
    share->ring_before->ring_next = share->ring_next;
    share->ring_next->ring_before = share->ring_before;
    if (shares->turn == share)
        shares->turn = share->ring_next == share ? NULL : share->ring_next;
    share->ring_next = NULL;
    share->ring_before = NULL;
}

/* I1 */
static void settle(struct shares *shares, struct share *share)
{
    bool there = share->ring_next != NULL, may = may_be_served(shares, share);
    if (may && !there)
        enter(shares, share);
    else if (!may && there)
        leave(shares, share);
}

void shares_limit(struct shares *shares, uint32_t most)
{
    struct share *share = NULL;
    if (shares->most == most)
        return;
    shares->most = most;
    while ((share = shares_next(shares, share)))
        settle(shares, share);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

int shares_reserve(struct shares *shares, uid_t uid, size_t more)
{
    struct share *share = shares_find(shares, uid);
    int rc = share ? 0 : make(shares, uid, &share);
    if (rc < 0)
        return rc;
    return job_heap_reserve(&share->ready, share->live + more - share->ready.count); /* I3 */
}

void shares_join(struct shares *shares, struct job *job)
{
    job->share = shares_find(shares, job->record.uid);
    job->share->live++;
}

void shares_leave(struct shares *shares, struct job *job)
{
    struct share *share = job->share;
    job->share = NULL;
    if (--share->live == 0)
        drop(shares, share); /* no job: not in the ring */
    else
        job_heap_trim(&share->ready, share->live);
}

void shares_push(struct shares *shares, struct job *job)
{
    job_heap_push(&job->share->ready, job);
    shares->queued++;
    settle(shares, job->share);
}

void shares_remove(struct shares *shares, struct job *job)
{
    job_heap_remove(&job->share->ready, job);
    shares->queued--;
    settle(shares, job->share);
}

bool shares_ready(const struct shares *shares)
{
    return shares->turn != NULL;
}

struct job *shares_take(struct shares *shares)
{
    struct share *share = shares->turn;
    if (!share)
        return NULL;
    struct job *job = job_heap_pop(&share->ready);
    shares->turn = share->ring_next;
    shares->queued--;
    share->running++;
    settle(shares, share);
    return job;
}

void shares_release(struct shares *shares, struct job *job)
{
    job->share->running--;
    settle(shares, job->share);
}

/* Others who are served before the job's user in a round get a turn more than he needs. */
size_t shares_count_before(const struct shares *shares, const struct job *job, size_t most)
{
    const struct share *own = job->share, *share = shares->turn;
    size_t turns = job_heap_count_before(&own->ready, job, most), count = turns;
    size_t others = turns + 1;
    if (!share)
        return count;
    do {
        if (share == own)
            others = turns; /* who comes behind */
        else
            count += share->ready.count < others ? share->ready.count : others;
        share = share->ring_next;
    } while (share != shares->turn && count < most);
    return count < most ? count : most;
}
