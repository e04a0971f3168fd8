/* SPDX-License-Identifier: MIT */
/*
 * Select: one of several sends and receives on channels, whichever can be done first.
 *
 *     struct weft_select_case cases[] = {
 *         weft_case_recv(jobs, &job),
 *         weft_case_send(results, &result),
 *     };
 *     int fired = weft_select(cases, 2, weft_deadline_after(WEFT_SECOND));
 *     if (fired == 0 && cases[0].result == 0)
 *         ...                               // a job came
 *
 * Defaults of weft/weft.h apply.
 */
#ifndef WEFT_SELECT_H
#define WEFT_SELECT_H

#include "weft/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Most cases of one select. */
#define WEFT_SELECT_MAX 64

enum weft_select_kind { WEFT_SELECT_RECV, WEFT_SELECT_SEND };

/* Caller-owned, made by weft_case_recv or weft_case_send; may be used again and again. */
struct weft_select_case {
    struct weft_channel *channel; /* NULL: a case that never fires */
    enum weft_select_kind kind;
    int result; /* of the case that fired: 0, or -EPIPE its channel is closed (and empty) */
    void *item; /* where the received item goes; or the one to send, which is only read */
    uint64_t opaque[6];
};

/** A case that receives into *ret_item. */
static inline struct weft_select_case weft_case_recv(struct weft_channel *channel, void *ret_item)
{
    struct weft_select_case recv = {channel, WEFT_SELECT_RECV, 0, ret_item, {0}};

    return recv;
}

/** A case that sends *item. */
static inline struct weft_select_case weft_case_send(struct weft_channel *channel, const void *item)
{
    struct weft_select_case send = {channel, WEFT_SELECT_SEND, 0, (void *)item, {0}};

    return send;
}

/**
 * Do exactly one of the cases: one that can be done now, chosen at random among those; else the
 * first that can be, waiting for it until `deadline_ns` at most.  A closed channel counts as one
 * that can be done: its case fires with -EPIPE (a receiver first gets what is left).  Set a case's
 * channel to NULL to leave it out from then on.  The cases may name one channel more than once, and
 * never match each other.
 * Returns: the index of the case that fired, whose `result` was set.
 * Errors:  -ETIMEDOUT, -ECANCELED: no case was done, no item was moved; -E2BIG too many cases.
 */
int weft_select(struct weft_select_case *cases, size_t count, uint64_t deadline_ns);

/** As weft_select, with a default: if no case can be done now, nothing is.
 * Context: any thread.  Never suspends.  Errors: -EAGAIN the default, -E2BIG too many cases. */
int weft_try_select(struct weft_select_case *cases, size_t count);

#ifdef __cplusplus
}
#endif
#endif
