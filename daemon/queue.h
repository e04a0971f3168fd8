/* SPDX-License-Identifier: MIT */
/*
 * queue: in which order queued jobs start: the queues by name, and the fair choice of the next job
 * over all queues and, in each, over the users who have jobs there (share.h).
 *
 * I1  A job is in its share's heap exactly while queued, in the delayed heap exactly while delayed.
 * I2  queue.running counts the runs that hold one of its slots; slots are taken by
 *     queue_set_take_next() and given back by queue_release(), nowhere else.  So does share.running.
 * I3  A queue is never freed before the set: jobs borrow its address and its name.
 * I7  `now` is `configured_as` with what `over` gives put over it; queue_settle() alone writes it.
 *     So a reload leaves what an admin has set, and what is given back is the configuration's.
 * Everything is guarded by the engine's lock; never suspends, never logs.
 */
#pragma once

#include "daemon/job.h"
#include "daemon/queue_settings.h"
#include "daemon/rate.h"
#include "daemon/share.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct config_queue;

/* What a job of the queue gets that does not name it. */
struct queue_defaults {
    int32_t priority;
    uint32_t retries;
    enum job_on_crash on_crash;
    uint64_t timeout_ns, timeout_total_ns; /* 0: none */
};

/* Give spec what it does not name. */
void queue_defaults_give(const struct queue_defaults *defaults, struct job_spec *spec);

struct queue {
    struct queue *next; /* in the set, in order of configuration */
    char *name;
    struct shares shares;                /* the queued jobs, by user */
    struct queue_settings now;           /* in force, I7 */
    struct queue_settings configured_as; /* of the configuration, or of an orphan */
    struct queue_change over;            /* set by an admin over it; .reset is empty */
    struct rate rate;                    /* of starts */
    uint32_t running;                    /* I2 */
    size_t live; /* the engine's: its jobs that have not ended, in whatever state; the shares have
                  * room for them all, so going back to queued cannot fail */
    size_t states[JOB_STATE_COUNT]; /* the engine's: `live`, by state */
    uint64_t timeout_ns;            /* for jobs that name none; 0: none */
    struct queue_defaults defaults; /* likewise, given at the submit */
    uint64_t aging_ns;              /* see queue_rank() */
    bool frozen;     /* the engine's: its programs stand still; only while now.paused */
    bool configured; /* false: left out of the configuration since; takes no submits, its
                            * jobs still run with the last settings */
};

/* Strict priority with aging as one fixed number: a step of priority is worth aging_ns of waiting,
 * so rank = since - priority * aging_ns, saturating, and nothing is ever re-sorted; `since` is
 * job_waits_since().  With aging_ns = 0, rank = -priority: strict, then by id. */
int64_t queue_rank(const struct queue *queue, int64_t since, int32_t priority);

struct queue_set; /* the queues, and where the round-robin over them stands */

int queue_set_new(const struct config *config, struct queue_set **ret_set);
void queue_set_free(struct queue_set *set);

/* NULL if there is none of that name. */
struct queue *queue_set_find(const struct queue_set *set, const char *name);

/* Whether a queue has defaults that are worth a look. */
bool queue_set_has_defaults(const struct queue_set *set);

/* First queue; go on with queue->next. */
struct queue *queue_set_first(const struct queue_set *set);

/* An admin's settings, instead of those that were there; I7. */
void queue_set_over(struct queue *queue, const struct queue_change *over);

/* For recovery: a queue that the store names and the configuration no longer has
 * (configured = false, concurrency 1).  Errors: -ENOMEM. */
int queue_set_add_orphan(struct queue_set *set, const char *name, struct queue **ret_queue);

/* New limits; new queues are added, missing ones become configured = false.  A changed aging
 * rebuilds that heap.  Errors: -ENOMEM, nothing changed. */
int queue_set_apply(struct queue_set *set, const struct config *config);

/* Room for `more` further live jobs of uid, who has a share then.  Errors: -ENOMEM. */
int queue_reserve(struct queue *queue, uid_t uid, size_t more);
/* A job of this queue lives, has ended; it has a share in between.  Room was reserved. */
void queue_join(struct queue *queue, struct job *job);
void queue_leave(struct queue *queue, struct job *job);
/* Of a live job: it waits for a slot now; it does not any more, and was not taken.  push gives it
 * its rank. */
void queue_push(struct queue *queue, struct job *job);
void queue_remove(struct queue *queue, struct job *job);
/* Jobs of uid that have not ended, over all queues. */
size_t queue_set_count_of(const struct queue_set *set, uid_t uid);

/* Take the next job that may start: round-robin over the queues with a free slot, a token of their
 * rate and a job, and not paused, then over the users of that queue whose share of the slots is not
 * used up; the job leaves its heap, holds a slot, and the token is spent.
 * NULL: nothing may start at now_ns (monotonic). */
struct job *queue_set_take_next(struct queue_set *set, uint64_t now_ns);

/* When the first of the queues that lacked nothing but a token at now_ns gets one; UINT64_MAX: there
 * is none.  Ask with the time with which the jobs were taken: one that comes in between is not missed
 * then. */
uint64_t queue_set_next_token(const struct queue_set *set, uint64_t now_ns);

/* Give back the slot of a run of job that is over. */
void queue_release(struct job *job);

/* Give back its token too: it did not start after all, or weftd stops and it starts again. */
void queue_return_token(struct job *job);
