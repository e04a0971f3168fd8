/* SPDX-License-Identifier: MIT */
/*
 * Select: one wait of one fiber, standing in the queues of several channels.
 *
 *   L1  A select locks all its channels, each once and in the order of their addresses, and then
 *       looks and, if nothing can be done, joins all the queues in one section.  So it misses
 *       nothing that happens between two looks, two selects that face each other on the same
 *       channels meet, and while it claims another's wait nobody can claim its own.
 *   L2  All its waiters share one park word, so one claim wins and the others go by; those leave
 *       WAITQ_LOST in the waiter they found (Q3).  After the wait the select locks each channel
 *       once more, takes out what still stands there, and so lets every claimer finish (Q2).  The
 *       waiter that is on no queue and is not lost is the one that was claimed.
 *   L3  A case of a closed channel is ready, with -EPIPE.  A close claims as an item does.
 *   L4  What is ready is tried in random order, so that no case starves another.
 *
 * The waiters live in the cases, so nothing is allocated.  weft_select is for fibers,
 * weft_try_select for any thread.  The channels must outlive the call.
 */
#include "weft/select.h"

#include "core/handoff.h"
#include "sync/channel.h"
#include "weft/time.h"

_Static_assert(sizeof(struct waiter) <= sizeof(((struct weft_select_case *)NULL)->opaque),
               "the public case is too small");
_Static_assert(WEFT_SELECT_MAX <= UINT8_MAX, "cases are numbered in bytes");

struct select {
    struct weft_select_case *cases;
    unsigned count;                 /* cases that have a channel */
    uint8_t order[WEFT_SELECT_MAX]; /* those, by the address of their channel */
};

static struct waiter *case_waiter(struct weft_select_case *chosen)
{
    return (struct waiter *)(void *)chosen->opaque;
}

static struct weft_channel *select_channel(const struct select *select, unsigned place)
{
    return select->cases[select->order[place]].channel;
}

/* Whether the case at this place is the first with its channel. */
static bool select_first(const struct select *select, unsigned place)
{
    return place == 0 || select_channel(select, place) != select_channel(select, place - 1);
}

static void select_insert(struct select *select, uint8_t number)
{
    uintptr_t address = (uintptr_t)select->cases[number].channel;
    unsigned place = select->count++;

    for (; place > 0 && (uintptr_t)select_channel(select, place - 1) > address; place--)
        select->order[place] = select->order[place - 1];
    select->order[place] = number;
}

/* Errors: -E2BIG. */
static int select_init(struct select *select, struct weft_select_case *cases, size_t count)
{
    if (count > WEFT_SELECT_MAX)
        return -E2BIG;
    select->cases = cases;
    select->count = 0;
    for (size_t i = 0; i < count; i++)
        if (cases[i].channel)
            select_insert(select, (uint8_t)i);
    return 0;
}

static void select_lock(const struct select *select)
{
    for (unsigned i = 0; i < select->count; i++)
        if (select_first(select, i))
            spin_lock(&select_channel(select, i)->lock);
}

static void select_unlock(const struct select *select)
{
    for (unsigned i = 0; i < select->count; i++)
        if (select_first(select, i))
            spin_unlock(&select_channel(select, i)->lock);
}

/* Where there is no worker to ask.  Not inlined: the variable is the thread's, and a fiber may be
 * on another one the next time. */
static __attribute__((noinline)) uint64_t thread_random(void)
{
    static _Thread_local uint64_t random;

    if (!random)
        random = (uintptr_t)&random | 1;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
}

static uint64_t select_random(void)
{
    struct fiber *self = fiber_self();
    struct worker *worker = self ? worker_enter(self) : NULL;
    uint64_t random = worker ? worker_random(worker) : thread_random();

    if (self)
        worker_exit(self);
    return random >> 16;
}

static int case_try(struct weft_select_case *chosen, struct wait_batch *batch)
{
    if (chosen->kind == WEFT_SELECT_SEND)
        return channel_put(chosen->channel, chosen->item, batch);
    return channel_take(chosen->channel, chosen->item, batch);
}

/* Do one of the cases that can be done, under all locks.  Returns: its index.  Errors: -EAGAIN. */
static int select_try(const struct select *select, struct wait_batch *batch)
{
    uint8_t left[WEFT_SELECT_MAX];

    memcpy(left, select->order, select->count);
    for (unsigned count = select->count; count > 0; count--) {
        unsigned drawn = count > 1 ? (unsigned)(select_random() % count) : 0; /* L4 */
        int index = left[drawn];
        struct weft_select_case *chosen = &select->cases[index];

        left[drawn] = left[count - 1];
        int r = case_try(chosen, batch);
        if (r != -EAGAIN) {
            chosen->result = r;
            return index;
        }
    }
    return -EAGAIN;
}

/* Stand in the queue of each case, under all locks. */
static void select_join(const struct select *select, const struct waiter *prepared)
{
    for (unsigned i = 0; i < select->count; i++) {
        struct weft_select_case *one = &select->cases[select->order[i]];
        struct weft_channel *channel = one->channel;
        struct waiter *waiter = case_waiter(one);

        *waiter =
            (struct waiter){.fiber = prepared->fiber, .slot = one->item, .result = WAITQ_LOST};
        waitq_append(one->kind == WEFT_SELECT_SEND ? &channel->senders : &channel->receivers,
                     waiter);
    }
}

/* Leave all queues (L2).  Returns: the index of the case that was claimed, or -EAGAIN. */
static int select_leave(const struct select *select)
{
    int fired = -EAGAIN;

    for (unsigned i = 0; i < select->count; i++) {
        struct weft_select_case *one = &select->cases[select->order[i]];
        struct waiter *waiter = case_waiter(one);

        spin_lock(&one->channel->lock);
        if (list_linked(&waiter->link)) {
            list_remove(&waiter->link);
        } else if (waiter->result != WAITQ_LOST) {
            one->result = waiter->result;
            fired = select->order[i];
        }
        spin_unlock(&one->channel->lock);
    }
    return fired;
}

/* Entered with all locks, which it drops. */
static int select_wait(const struct select *select, uint64_t deadline_ns)
{
    struct waiter waiter;
    int r = wait_prepare(&waiter);
    if (r < 0) {
        select_unlock(select);
        return r;
    }

    select_join(select, &waiter);
    select_unlock(select);
    wait_describe(&waiter, "select", select->count ? select_channel(select, 0) : NULL);
    r = wait_suspend(&waiter, deadline_ns);
    int fired = select_leave(select);
    ASSERT((fired >= 0) == (r == 0));
    return r < 0 ? r : fired;
}

int weft_select(struct weft_select_case *cases, size_t count, uint64_t deadline_ns)
{
    struct wait_batch batch = {0};
    struct select select;
    int r = waitq_check();
    if (r < 0)
        return r;
    r = select_init(&select, cases, count);
    if (r < 0)
        return r;

    select_lock(&select);
    r = select_try(&select, &batch);
    if (r == -EAGAIN)
        return select_wait(&select, deadline_ns);
    select_unlock(&select);
    waitq_wake(&batch);
    return r;
}

int weft_try_select(struct weft_select_case *cases, size_t count)
{
    struct wait_batch batch = {0};
    struct select select;
    int r = select_init(&select, cases, count);
    if (r < 0)
        return r;

    select_lock(&select);
    r = select_try(&select, &batch);
    select_unlock(&select);
    waitq_wake(&batch);
    return r;
}
