/* SPDX-License-Identifier: MIT */
/*
 * rate: at most so many starts in so much time: a token bucket on a monotonic clock, without a
 * timer of its own.
 *
 * A token comes every interval_ns, and the bucket holds what comes in RATE_SLACK_NS, at least one.
 * So starts are spread evenly, as far as whoever takes the tokens is not late by more than that;
 * in any span of time t there are at most t / interval_ns + the bucket's content of them.
 *
 * Never suspends, never looks at a clock: the caller says what time it is.
 */
#pragma once

#include "protocol/units.h"

#include <stdint.h>

#define RATE_SLACK_NS UINT64_C(10000000)

struct rate {
    uint64_t interval_ns; /* between two tokens, rounded up; 0: no limit */
    uint64_t last_ns;     /* the time that the last token counts for … */
    uint64_t next_ns;     /* … and from when on there is one; 0: none was taken yet */
};

/* A new limit; what was taken before counts at the new one. */
void rate_set(struct rate *rate, struct units_rate limit);

/* From when on there is a token; not later than now: there is one. */
static inline uint64_t rate_next(const struct rate *rate)
{
    return rate->interval_ns ? rate->next_ns : 0;
}

/* Take a token, which is there. */
void rate_take(struct rate *rate, uint64_t now_ns);

/* What was taken a moment ago was not used: it is there again. */
void rate_give_back(struct rate *rate);
