/* SPDX-License-Identifier: MIT */
/* Users' turns, against a plain model of them. */
#include "daemon/share.h"

#include "support/test.h"

enum { COUNT = 600, USERS = 130 };

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct shares shares;
static struct job jobs[COUNT];

static struct job *add(size_t i, uid_t uid)
{
    jobs[i] = (struct job){.record.id = i + 1, .record.uid = uid, .heap_index = JOB_NOT_IN_HEAP};
    cr_assert_eq(shares_reserve(&shares, uid, 1), 0);
    shares_join(&shares, &jobs[i]);
    shares_push(&shares, &jobs[i]);
    return &jobs[i];
}

static void end(struct job *job)
{
    shares_release(&shares, job);
    shares_leave(&shares, job);
}

static void takes(const struct job *job)
{
    cr_assert_eq(shares_take(&shares), job);
}

Test(share, users_take_turns)
{
    for (size_t i = 0; i < 4; i++)
        add(i, 1);
    add(10, 2);
    add(20, 3);
    add(11, 2);
    takes(&jobs[0]);
    takes(&jobs[10]);
    add(30, 4); /* behind all who wait */
    takes(&jobs[20]);
    takes(&jobs[1]);
    takes(&jobs[11]);
    takes(&jobs[30]);
    takes(&jobs[2]);
    takes(&jobs[3]);
    takes(NULL);
    shares_destroy(&shares);
}

Test(share, a_removed_job_takes_no_turn)
{
    add(0, 1);
    add(1, 2);
    add(2, 3);
    shares_remove(&shares, &jobs[0]);
    shares_leave(&shares, &jobs[0]);
    cr_assert_null(shares_find(&shares, 1));
    takes(&jobs[1]);
    shares_remove(&shares, &jobs[2]);
    takes(NULL);
    cr_assert_not(shares_ready(&shares));
    shares_destroy(&shares);
}

Test(share, a_limit_holds_for_each_user_and_changes_at_once)
{
    shares_limit(&shares, 1);
    add(0, 1);
    add(1, 1);
    add(2, 2);
    takes(&jobs[0]);
    takes(&jobs[2]);
    takes(NULL);
    end(&jobs[0]);
    takes(&jobs[1]);
    add(3, 2);
    takes(NULL);
    shares_limit(&shares, 0);
    takes(&jobs[3]);
    shares_destroy(&shares);
}

Test(share, counts_whom_is_served_before_a_job)
{
    for (size_t i = 0; i < 3; i++)
        add(i, 1);
    for (size_t i = 10; i < 20; i++)
        add(i, 2);
    add(20, 3);
    for (size_t turn = 0; turn < 14; turn++) { /* each job in turn is the one that is asked about */
        struct job *all[] = {&jobs[0],  &jobs[1],  &jobs[2], &jobs[10],
                             &jobs[15], &jobs[19], &jobs[20]};
        size_t before[sizeof all / sizeof all[0]];
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
            before[k] = all[k]->heap_index == JOB_NOT_IN_HEAP
                            ? SIZE_MAX
                            : shares_count_before(&shares, all[k], SIZE_MAX);
        struct job *taken = shares_take(&shares);
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
            if (before[k] == SIZE_MAX)
                continue;
            if (all[k] == taken)
                cr_assert_eq(before[k], 0);
            else
                cr_assert_eq(before[k], shares_count_before(&shares, all[k], SIZE_MAX) + 1);
        }
    }
    add(30, 1);
    add(31, 2);
    cr_assert_eq(shares_count_before(&shares, &jobs[31], SIZE_MAX), 1);
    cr_assert_eq(shares_count_before(&shares, &jobs[31], 0), 0);
    shares_destroy(&shares);
}

/* Whoever waits is served before anybody else gets a second turn. */
Test(share, nobody_gets_two_turns_while_another_waits)
{
    size_t waits_since[USERS];
    size_t added = 0, turns = 0;
    for (size_t user = 0; user < USERS; user++)
        waits_since[user] = SIZE_MAX;
    while (added < COUNT || shares_ready(&shares)) {
        if (added < COUNT && (next_random() % 3 || !shares_ready(&shares))) {
            uid_t user = (uid_t)(next_random() % USERS);
            if (waits_since[user] == SIZE_MAX)
                waits_since[user] = turns;
            add(added++, user);
            continue;
        }
        struct job *job = shares_take(&shares);
        uid_t user = job->record.uid;
        cr_assert_leq(turns - waits_since[user], USERS, "user %u", (unsigned)user);
        turns++;
        const struct share *share = shares_find(&shares, user);
        waits_since[user] = share->ready.count > 0 ? turns : SIZE_MAX;
        end(job);
    }
    cr_assert_eq(turns, COUNT);
    cr_assert_eq(shares.queued, 0);
    cr_assert_null(shares_next(&shares, NULL)); /* all are gone */
}
