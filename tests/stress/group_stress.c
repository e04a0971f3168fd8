/* SPDX-License-Identifier: MIT */
/* Groups whose children end, fail and spawn siblings while plain threads, children, deadlines and
 * parents cancel them: the join returns when all have ended, not earlier, with the result that it
 * must have, and nobody touches the group afterwards. */
#include <pthread.h>

#include "support/stress.h"

enum { TEAMS = 8, MATCHES = 40 / STRESS_SLOW + 1, CHILDREN_MAX = 12, FAULTS = 4 };

struct team {
    struct dice dice;
    struct weft_group *group;
    unsigned children; /* spawned by the owner */
    atomic_uint alive, failed_mask;
    atomic_bool cancelled; /* somebody may have cancelled it, not through a failure */
};

struct child {
    struct team *team;
    struct dice dice;
};

static int fail_now(struct team *team, struct dice *dice)
{
    unsigned fault = dice_roll(dice, FAULTS);

    atomic_fetch_or(&team->failed_mask, 1u << fault);
    return -1000 - (int)fault;
}

static int sibling(void *arg)
{
    struct team *team = arg;

    weft_yield();
    atomic_fetch_sub(&team->alive, 1);
    return 0;
}

static int live(struct child *child)
{
    struct team *team = child->team;

    switch (dice_roll(&child->dice, 10)) {
    case 0:
        return fail_now(team, &child->dice);
    case 1:
        weft_sleep(dice_roll(&child->dice, 50) * WEFT_MICROSECOND);
        return fail_now(team, &child->dice);
    case 2:
        atomic_store(&team->cancelled, true);
        weft_group_cancel(team->group);
        return weft_yield();
    case 3:
        atomic_fetch_add(&team->alive, 1);
        EXPECT_EQ(weft_group_spawn(team->group, "sibling", sibling, team), 0);
        return 0;
    case 4:
    case 5:
        return weft_sleep(dice_roll(&child->dice, 100) * WEFT_MICROSECOND);
    case 6:
        return weft_yield();
    default:
        return 0;
    }
}

static int be_child(void *arg)
{
    struct child *child = arg;
    int r = live(child);

    atomic_fetch_sub(&child->team->alive, 1);
    return r;
}

static void *cancel_from_outside(void *arg)
{
    struct team *team = arg;

    weft_group_cancel(team->group);
    return NULL;
}

static void check_result(struct team *team, int r)
{
    unsigned failed = atomic_load(&team->failed_mask);

    EXPECT_EQ(atomic_load(&team->alive), 0);
    if (r <= -1000)
        EXPECT(failed & 1u << (-1000 - r));
    else if (r == 0)
        EXPECT(failed == 0 && !atomic_load(&team->cancelled));
    else
        EXPECT(stress_ended(r) && atomic_load(&team->cancelled));
}

static void play_match(struct team *team)
{
    struct child children[CHILDREN_MAX];
    struct weft_group group;
    pthread_t thread;
    bool threaded = dice_roll(&team->dice, 16) == 0;

    team->children = dice_roll(&team->dice, CHILDREN_MAX + 1);
    team->group = &group;
    atomic_store(&team->failed_mask, 0);
    atomic_store(&team->cancelled, threaded);
    weft_group_init(&group);
    if (threaded)
        EXPECT_EQ(pthread_create(&thread, NULL, cancel_from_outside, team), 0);
    for (unsigned i = 0; i < team->children; i++) {
        children[i] = (struct child){team, {dice_roll(&team->dice, UINT32_MAX) + 1ull}};
        atomic_fetch_add(&team->alive, 1);
        EXPECT_EQ(weft_group_spawn(&group, "child", be_child, &children[i]), 0);
    }
    if (threaded)
        pthread_join(thread, NULL); /* the group stays open until the cancel has returned */
    check_result(team, weft_group_join(&group));
    memset(&group, 0xa5, sizeof(group)); /* whoever still looks at it, falls */
}

/* One child in a scope that ends soon: only what is inside knows. */
static void play_hurried(struct team *team)
{
    struct team inner = {.dice = team->dice, .alive = 1};
    struct child child = {&inner, team->dice};
    struct weft_scope scope;
    struct weft_group group;

    inner.group = &group;
    weft_scope_enter(&scope, weft_deadline_after(dice_roll(&team->dice, 60) * WEFT_MICROSECOND));
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "hurried", be_child, &child), 0);
    EXPECT(weft_group_join(&group) <= 0);
    EXPECT_EQ(atomic_load(&inner.alive), 0);
    memset(&group, 0xa5, sizeof(group));
    int r = weft_scope_leave(&scope);
    EXPECT(r == 0 || r == -ETIMEDOUT);
    memset(&scope, 0xa5, sizeof(scope));
    EXPECT_EQ(weft_check_cancel(), 0);
}

static int be_team(void *arg)
{
    struct team *team = arg;

    for (int i = 0; i < MATCHES; i++) {
        if (dice_roll(&team->dice, 8) == 0)
            play_hurried(team);
        else
            play_match(team);
    }
    return 0;
}

static int play(void *arg)
{
    struct stress_round *round = arg;
    struct team teams[TEAMS];
    struct weft_group group;

    weft_group_init(&group);
    for (unsigned i = 0; i < TEAMS; i++) {
        teams[i] = (struct team){.dice = dice_of(round->seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "team", be_team, &teams[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    return 0;
}

int main(int argc, char **argv)
{
    return stress_main(argc, argv, play);
}
