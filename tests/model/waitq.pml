/* SPDX-License-Identifier: MIT */
/*
 * Claim and settle: Q1 and Q2 of runtime/sync/waitq.h (spin_settle, waitq_claim_first,
 * waitq_join_as, waitq_finish; waitq_give_up of waitq.c), on top of the park word that wait.pml
 * checks.
 *
 * A fiber waits in a source for an item and, if it gets one, frees the source at once; if its wait
 * is cancelled, its waiter goes away.  A claimer hands the item over, or keeps it if nobody waits
 * any more.  Checked: the item is in the fiber's buffer when it looks, or else still the claimer's,
 * never both; the claimer never touches the source after it was freed, nor a waiter or a buffer
 * that is gone.
 *
 * BROKEN 1: the claimed fiber does not settle.
 * BROKEN 2: the claimer moves the item after its unlock.
 * BROKEN 3: a fiber whose wait ended otherwise does not take the lock before its waiter goes away.
 * BROKEN 4: the claimer wakes the fiber before its unlock, and the fiber settles by not looking at
 *           the lock when it was woken by another (as if being woken meant that it was left).
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define RUNNING 0
#define ARMING 1
#define WAITING 2
#define EVENT 3
#define CANCEL 4

byte word = RUNNING;
byte ready = 0;
bool locked = false;
bool source_alive = true;
bool linked = false, waiter_alive = false;
bool buffer = false;       /* the item is in the fiber's buffer */
bool kept = false;         /* the item is still the source's */
bool claimer_done = false, fiber_done = false;
bool received = false;

inline lock()   { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

inline claim(outcome, won)
{
    atomic {
        if
        :: word == ARMING -> word = outcome; won = 1
        :: word == WAITING -> word = outcome; won = 2
        :: else -> won = 0
        fi
    }
}

proctype fiber()
{
    bool published = false;

    lock();
    if
    :: kept -> /* the claimer was first */
        kept = false;
        buffer = true;
        unlock();
        goto success
    :: else
    fi;
    word = ARMING;
    waiter_alive = true;
    linked = true;
    unlock();
    atomic { /* on the next stack */
        if
        :: word == ARMING -> word = WAITING; published = true
        :: else -> ready++ /* claimed while it armed: made ready by its own publisher */
        fi
    };
    atomic { ready == 1 -> ready = 0 };
    if
    :: word == EVENT ->
#if BROKEN == 1
        skip;
#elif BROKEN == 4
        if
        :: published
        :: else -> !locked
        fi;
#else
        !locked; /* settle: a load that sees 0, or lock and unlock */
#endif
        waiter_alive = false;
        goto success
    :: else
#if BROKEN != 3
        lock();
        linked = false;
        unlock();
#endif
        waiter_alive = false;
        goto done
    fi;
success:
    assert(buffer);
    assert(!kept);
    received = true;
    source_alive = false; /* nobody else uses it: it frees it */
done:
    fiber_done = true
}

proctype claimer()
{
    byte won = 0;

    lock();
    assert(source_alive);
    if
    :: linked ->
#if BROKEN == 3
        skip;
#endif
        assert(waiter_alive); /* it is read, and filled */
        linked = false;
        claim(EVENT, won)
    :: else
    fi;
#if BROKEN == 4
    if
    :: won == 2 -> ready++; won = 1
    :: else
    fi;
#endif
#if BROKEN == 2
    unlock();
    if
    :: won > 0 -> assert(!received); buffer = true
    :: else -> kept = true
    fi;
#else
    if
    :: won > 0 -> assert(!received); buffer = true /* after the claim, before the unlock */
    :: else -> assert(source_alive); kept = true
    fi;
    assert(source_alive);
    unlock();
#endif
    if
    :: won == 2 -> ready++ /* from the batch alone */
    :: else
    fi;
    claimer_done = true
}

proctype canceller()
{
    byte won = 0;

    claim(CANCEL, won);
    if
    :: won == 2 -> ready++
    :: else
    fi
}

/* When all is over, the item is in one place. */
proctype judge()
{
    (claimer_done && fiber_done);
    assert(received != kept)
}

init
{
    atomic {
        run fiber();
        run claimer();
        run canceller();
        run judge()
    }
}
