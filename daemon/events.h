/* SPDX-License-Identifier: MIT */
/*
 * events: what happened to jobs, numbered, for those who listen.
 *
 * The engine publishes each move of a job, under its lock, once it is made.  The last `capacity`
 * events are kept in a ring, whether anybody listens or not, so that a reader who comes back can be
 * told what it missed.  A reader is a place in the ring: it goes at its own pace on a fiber of its
 * own, and holds nobody back.  One that falls behind the ring is told which numbers it has lost.
 *
 * I1  Numbers count from 1 since this start of weftd, and none is given twice.  Every number up to
 *     the last is an event in the ring, or lost; a reader is given each event once and in order, and
 *     each lost number once, in a gap.
 * I2  Events of one job are in the order of its moves, and those of different jobs in the order in
 *     which they became visible: who was told an event finds it, or what came after it, in job.get.
 * I3  A publisher waits for no reader: what it and the readers lock is held for a copy of some
 *     pointers, and never over a suspension.
 */
#pragma once

#include "daemon/job.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events;
struct weft_watch;

/* One block on the heap, immutable, shared by the ring and those who read it just now. */
struct event {
    atomic_uint refs; /* acq_rel: who drops the last one frees */
    uint64_t seq;
    uint64_t id; /* of the job */
    uid_t uid;   /* the job's submitter */
    enum job_state before, state;
    enum job_cause cause;
    uint32_t attempt;
    bool memory_only;               /* the job is not durable */
    int32_t exit_code, term_signal; /* of the attempt that ended; JOB_NO_EXIT: none */
    int64_t time;                   /* when it happened, on the wall clock */
    int64_t due_at;                 /* delayed: until then; else 0 */
    const char *queue;
    const char *name;     /* as JSON, with its quotes; NULL: the job has none */
    const char *error;    /* of the attempt that ended; NULL: none; cut at EVENT_ERROR_MAX bytes */
    const char *progress; /* as JSON: no move, but how far the attempt is; NULL: it is a move */
};

#define EVENT_ERROR_MAX 512

/* Errors: -ENOMEM. */
int events_new(size_t capacity, struct events **ret_events);
void events_free(struct events *events); /* nobody reads any more; NULL is fine */

/* Keep so many from now on.  Any thread.  Errors: -ENOMEM, and all stays as it is. */
int events_resize(struct events *events, size_t capacity);

/**
 * A job has moved.  Without memory the number is lost, and readers are told so.
 * Context: under the engine's lock, the record as it is now.  Never suspends.
 * Returns: whether somebody listens; then call events_announce() soon, outside the lock.
 */
bool events_publish(struct events *events, const struct job_record *record, enum job_state before,
                    enum job_cause cause, int64_t now);

/**
 * A running job is as far as record->progress says.  Whoever comes later finds that in the job: where
 * nobody listens, no event is made of it.  Context and return: as events_publish().
 */
bool events_publish_progress(struct events *events, const struct job_record *record, int64_t now);

/* Wake the readers that have seen all.  Any thread.  Never suspends. */
void events_announce(struct events *events);

/* No more will come: readers are given what is left for them, then -EPIPE.  Any thread. */
void events_close(struct events *events);

struct events_stats {
    uint64_t last; /* number of the newest; 0: none yet */
    uint64_t kept; /* in the ring */
    unsigned readers;
};
void events_stats(struct events *events, struct events_stats *ret_stats);

/* ---- reading --------------------------------------------------------------------------------- */

/* Of one fiber.  Its content is events.c's. */
struct events_reader {
    struct events *events;
    uint64_t next;    /* number of the next event for it */
    uint64_t version; /* of events.fresh, as last seen */
};

#define EVENTS_FROM_NOW UINT64_MAX

/* Read what comes after number `since` (0: all that is kept; EVENTS_FROM_NOW: what happens from now
 * on).  *ret_last: the newest number by now.
 * Errors: -ERANGE there was no number `since` yet (*ret_last is set all the same). */
int events_open(struct events *events, uint64_t since, struct events_reader *ret_reader,
                uint64_t *ret_last);
void events_leave(struct events_reader *reader);

#define EVENTS_BATCH 32

/* A gap (gap_to 0: none), and the events that came after it. */
struct events_batch {
    uint64_t gap_from, gap_to; /* numbers that are lost, both included */
    const struct event *list[EVENTS_BATCH];
    size_t count;
};

/**
 * What is next, waiting for it until deadline_ns.  The batch is to be released.
 * Errors: -EPIPE all was told, and no more will come; -ETIMEDOUT, -ECANCELED.  Nothing is in the
 *         batch then, and nothing was skipped.
 */
int events_read(struct events_reader *reader, struct events_batch *ret_batch, uint64_t deadline_ns);
void events_release(struct events_batch *batch);
