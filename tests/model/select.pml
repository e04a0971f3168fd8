/* SPDX-License-Identifier: MIT */
/*
 * Select: runtime/sync/select.c (select_lock, select_try, select_wait, select_join, select_leave;
 * L1, L2) against itself, on two channels of capacity 0 (channel_put and channel_take of
 * sync/channel.h, waitq_claim_first of sync/waitq.h; Q3).
 *
 * Three fibers: 0 selects over "receive from A, send to B" and may be cancelled; 1 faces it; 2
 * selects over both sides of A.  Each has one wait (park word) and a waiter for each case.
 * Checked: each item is received exactly as often as its sender's case fired, that is once or
 * never; a select finds exactly one case fired if it was claimed, none else; no waiter is touched
 * that is gone; nobody hangs in a lock; and in no end state do a sender and a receiver wait on one
 * channel without meeting.
 *
 * BROKEN 1: a select looks at its channels and joins their queues one after the other.
 * BROKEN 2: a claimer that loses leaves no mark in the waiter.
 * BROKEN 3: the channels are locked in the order of the cases.
 * BROKEN 4: a select whose wait was claimed does not leave the other queues.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define RUNNING 0
#define ARMING 1
#define WAITING 2
#define EVENT 3
#define CANCEL 4

#define FIBERS 3
#define CASES 2
#define W(f, c) ((f) * CASES + (c)) /* the waiter of a case */
#define LOST 1

byte word[FIBERS];
byte ready[FIBERS];
bool locked[2];
/* The cases: constant. */
byte channel[6];
bool sends[6];
/* The waiters. */
bool linked[6];
bool alive[6];
bool result[6];        /* LOST, or 0 */
bool delivered[6];     /* a receive's buffer was filled */
byte taken[6];         /* how often a send's item was taken */
byte fired[FIBERS];    /* 0 none, else case + 1 */
bool finished[FIBERS];
bool cancelled = false;

inline lock(c)   { atomic { !locked[c] -> locked[c] = true } }
inline unlock(c) { locked[c] = false }

inline claim(f, outcome, won)
{
    atomic {
        if
        :: word[f] == ARMING -> word[f] = outcome; won = 1
        :: word[f] == WAITING -> word[f] = outcome; won = 2
        :: else -> won = 0
        fi
    }
}

/* Try one case: claim a waiter of the other side, any of them. */
inline try_case(me, w)
{
    do
    :: fired[me] == 0 ->
        if /* the queue's order does not matter here */
        :: linked[0] && channel[0] == channel[w] && sends[0] != sends[w] -> other = 0
        :: linked[1] && channel[1] == channel[w] && sends[1] != sends[w] -> other = 1
        :: linked[2] && channel[2] == channel[w] && sends[2] != sends[w] -> other = 2
        :: linked[3] && channel[3] == channel[w] && sends[3] != sends[w] -> other = 3
        :: linked[4] && channel[4] == channel[w] && sends[4] != sends[w] -> other = 4
        :: linked[5] && channel[5] == channel[w] && sends[5] != sends[w] -> other = 5
        :: else -> break
        fi;
        assert(alive[other]);
#if BROKEN == 1
        if
        :: other / CASES == me -> break /* not with itself */
        :: else
        fi;
#endif
        assert(other / CASES != me);
        linked[other] = false;
        result[other] = 0;
        claim(other / CASES, EVENT, won);
        if
        :: won > 0 ->
            d_step { /* the item moves */
                if
                :: sends[w] -> taken[w]++; delivered[other] = true
                :: else -> taken[other]++; delivered[w] = true
                fi;
                fired[me] = w % CASES + 1
            };
            if
            :: won == 2 -> wake = other / CASES + 1
            :: else
            fi
        :: else ->
            assert(alive[other]);
#if BROKEN != 2
            result[other] = LOST
#endif
        fi
    :: else -> break
    od
}

inline join_case(w)
{
    d_step { alive[w] = true; result[w] = LOST; linked[w] = true }
}

inline wake_other()
{
    if
    :: wake > 0 -> ready[wake - 1]++; wake = 0
    :: else
    fi
}

/* Leave one queue, and look whether this case was the one. */
inline leave_case(me, w)
{
    lock(channel[w]);
    if
    :: linked[w] -> linked[w] = false
    :: else ->
        if
        :: result[w] != LOST -> assert(fired[me] == 0); fired[me] = w % CASES + 1
        :: else
        fi
    fi;
    unlock(channel[w]);
    alive[w] = false
}

proctype selector(byte me)
{
    byte other = 0, won = 0, wake = 0, low, high;

    d_step {
        low = channel[W(me, 0)];
        high = channel[W(me, 1)];
        if
        :: low > high && BROKEN != 3 -> low = channel[W(me, 1)]; high = channel[W(me, 0)]
        :: else
        fi
    };
#if BROKEN == 1
    word[me] = ARMING;
    lock(channel[W(me, 0)]);
    try_case(me, W(me, 0));
    join_case(W(me, 0));
    unlock(channel[W(me, 0)]);
    wake_other();
    lock(channel[W(me, 1)]);
    try_case(me, W(me, 1));
    join_case(W(me, 1));
    unlock(channel[W(me, 1)]);
    wake_other();
    if
    :: fired[me] > 0 -> word[me] = RUNNING; goto leave
    :: else
    fi;
#else
    lock(low);
    if
    :: high != low -> lock(high)
    :: else
    fi;
    if /* in any order */
    :: true -> try_case(me, W(me, 0)); try_case(me, W(me, 1))
    :: true -> try_case(me, W(me, 1)); try_case(me, W(me, 0))
    fi;
    if
    :: fired[me] == 0 ->
        word[me] = ARMING;
        join_case(W(me, 0));
        join_case(W(me, 1))
    :: else
    fi;
    if
    :: high != low -> unlock(high)
    :: else
    fi;
    unlock(low);
    wake_other();
    if
    :: fired[me] > 0 -> goto done
    :: else
    fi;
#endif
    atomic { /* on the next stack */
        if
        :: word[me] == ARMING -> word[me] = WAITING
        :: else -> ready[me]++
        fi
    };
endwait:
    atomic { ready[me] == 1 -> ready[me] = 0 };
leave:
#if BROKEN == 4
    if
    :: word[me] == EVENT -> alive[W(me, 0)] = false; alive[W(me, 1)] = false; goto done
    :: else
    fi;
#endif
    leave_case(me, W(me, 0));
    leave_case(me, W(me, 1));
    assert((fired[me] > 0) == (word[me] == EVENT || word[me] == RUNNING));
done:
    finished[me] = true
}

proctype canceller()
{
    byte won = 0;

    claim(0, CANCEL, won);
    if
    :: won == 2 -> ready[0]++
    :: else
    fi;
    cancelled = true
}

/* One case: what its owner says is what happened to its item. */
inline judge_case(w)
{
    assert(taken[w] == (sends[w] && finished[w / CASES] && fired[w / CASES] == w % CASES + 1));
    assert(delivered[w] == (!sends[w] && finished[w / CASES] && fired[w / CASES] == w % CASES + 1))
}

proctype judge()
{
    (timeout);
    assert(!locked[0] && !locked[1] && cancelled);
    judge_case(0); judge_case(1); judge_case(2); judge_case(3); judge_case(4); judge_case(5);
    /* Receivers of A: 0's case 0, 2's case 1.  Senders to A: 1's case 1, 2's case 0. */
    assert(!(linked[W(0, 0)] && linked[W(1, 1)]));
    assert(!(linked[W(0, 0)] && linked[W(2, 0)]));
    assert(!(linked[W(2, 1)] && linked[W(1, 1)]));
    assert(!(linked[W(0, 1)] && linked[W(1, 0)])); /* B */
    assert(ready[0] == 0 && ready[1] == 0 && ready[2] == 0)
}

init
{
    atomic {
        channel[W(0, 0)] = 0; sends[W(0, 0)] = false; /* receive from A */
        channel[W(0, 1)] = 1; sends[W(0, 1)] = true;  /* send to B */
        channel[W(1, 0)] = 1; sends[W(1, 0)] = false; /* receive from B */
        channel[W(1, 1)] = 0; sends[W(1, 1)] = true;  /* send to A */
        channel[W(2, 0)] = 0; sends[W(2, 0)] = true;  /* send to A */
        channel[W(2, 1)] = 0; sends[W(2, 1)] = false; /* receive from A */
        run selector(0);
        run selector(1);
        run selector(2);
        run canceller();
        run judge()
    }
}
