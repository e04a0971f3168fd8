/* SPDX-License-Identifier: MIT */
/* rate: at most so many in a time, whoever is late. */
#include "daemon/rate.h"

#include "support/test.h"

#include <stdbool.h>

#define S   UINT64_C(1000000000)
#define NOW (1000 * S)

static struct rate rate_of(uint64_t count, uint64_t per_ns)
{
    struct rate rate = {0};
    rate_set(&rate, (struct units_rate){count, per_ns});
    return rate;
}

static bool take(struct rate *rate, uint64_t now_ns)
{
    if (rate_next(rate) > now_ns)
        return false;
    rate_take(rate, now_ns);
    return true;
}

Test(rate, without_one_there_is_always_a_token)
{
    struct rate rate = rate_of(0, 0);
    for (int i = 0; i < 10; i++)
        cr_assert(take(&rate, NOW));
}

Test(rate, a_slow_one_gives_one_at_a_time)
{
    struct rate rate = rate_of(100, 60 * S);
    cr_assert(take(&rate, NOW));
    cr_assert_not(take(&rate, NOW));
    cr_assert_eq(rate_next(&rate), NOW + 600000000);
    cr_assert(take(&rate, NOW + 600000000));
    cr_assert_not(take(&rate, NOW + 600000000 + 599999999));
    cr_assert(take(&rate, NOW + 900 * S));
    cr_assert_not(take(&rate, NOW + 900 * S));
}

/* Whatever the times of asking: in no span are there more than it gives, and the bucket. */
static void never_more(uint64_t count, uint64_t per_ns, uint64_t step_ns)
{
    enum { TAKEN = 4096 };
    static uint64_t taken[TAKEN];
    struct rate rate = rate_of(count, per_ns);
    uint64_t bucket = RATE_SLACK_NS / rate.interval_ns + 1, state = 42;
    uint64_t now = NOW;
    for (size_t i = 0; i < TAKEN;) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (take(&rate, now))
            taken[i++] = now;
        else
            now += (state >> 33) % step_ns;
    }
    for (size_t from = 0; from < TAKEN; from += 7)
        for (size_t to = from; to < TAKEN; to += 13)
            cr_assert_leq(to - from + 1, (taken[to] - taken[from]) / rate.interval_ns + bucket);
}

Test(rate, there_are_never_more_than_it_gives)
{
    never_more(10, S, S);
    never_more(10, S, S / 100);
    never_more(7, S, S / 10);
    never_more(1000, S, S / 100);
    never_more(1000000, S, S / 1000);
}

Test(rate, being_a_little_late_each_time_does_not_make_a_fast_one_slower)
{
    struct rate rate = rate_of(10000, S);
    uint64_t now = NOW;
    for (int i = 0; i < 10000; i++) {
        if (rate_next(&rate) > now)
            now = rate_next(&rate) + 90000; /* nearly an interval */
        rate_take(&rate, now);
    }
    cr_assert_leq(now - NOW, S + RATE_SLACK_NS);
    cr_assert_geq(now - NOW, S - RATE_SLACK_NS - 100000);
}

Test(rate, what_is_given_back_is_there_at_once)
{
    struct rate rate = rate_of(1, 3600 * S);
    rate_give_back(&rate); /* taken when there was no limit */
    cr_assert(take(&rate, NOW));
    rate_give_back(&rate);
    cr_assert(take(&rate, NOW + 1));
    cr_assert_not(take(&rate, NOW + 3600 * S));
    cr_assert(take(&rate, NOW + 3600 * S + 1));
    rate_give_back(&rate);
    rate_set(&rate, (struct units_rate){1, 60 * S});
    cr_assert(take(&rate, NOW + 3600 * S + 2));
}

Test(rate, a_new_one_counts_what_was_taken)
{
    struct rate rate = rate_of(1, 3600 * S);
    cr_assert(take(&rate, NOW));
    rate_set(&rate, (struct units_rate){2, S});
    cr_assert_not(take(&rate, NOW + S / 2 - 1));
    cr_assert(take(&rate, NOW + S / 2));
    rate_set(&rate, (struct units_rate){1, 60 * S});
    cr_assert_not(take(&rate, NOW + 60 * S));
    cr_assert(take(&rate, NOW + S / 2 + 60 * S));
}
