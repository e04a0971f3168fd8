/* SPDX-License-Identifier: MIT */
/*
 * rate: see rate.h.
 *
 * I1  next_ns == last_ns + interval_ns once a token was taken; unless last_ns is 0.
 * I2  last_ns is at most the time of the last take, and at most RATE_SLACK_NS before it: what was
 *     not taken while nobody wanted it is not saved up.
 *
 * Who may call: the owner of the struct, under its lock.
 */
#include "daemon/rate.h"

/* A token that was taken counts for the time when it was due, as long as that is not long ago, so
 * that being late now and then does not add up. */
void rate_take(struct rate *rate, uint64_t now_ns)
{
    uint64_t slack = rate->interval_ns < RATE_SLACK_NS ? RATE_SLACK_NS : 0;
    uint64_t oldest = now_ns > slack ? now_ns - slack : 0;
    rate->last_ns = rate->next_ns > oldest ? rate->next_ns : oldest;
    if (__builtin_add_overflow(rate->last_ns, rate->interval_ns, &rate->next_ns))
        rate->next_ns = UINT64_MAX;
}

void rate_give_back(struct rate *rate)
{
    rate->next_ns = rate->last_ns;
    rate->last_ns = rate->last_ns > rate->interval_ns ? rate->last_ns - rate->interval_ns : 0;
}

void rate_set(struct rate *rate, struct units_rate limit)
{
    rate->interval_ns = limit.count ? (limit.per_ns + limit.count - 1) / limit.count : 0;
    rate->next_ns = rate->last_ns ? rate->last_ns + rate->interval_ns : 0;
}
