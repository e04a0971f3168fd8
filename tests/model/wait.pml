/* SPDX-License-Identifier: MIT */
/*
 * The park word: runtime/core/park.h (park_prepare, park_prepare_shielded, park_claim, park_take),
 * runtime/core/wait.c (park_cancel, leave_claimable, wait_publish, wait_outcome),
 * runtime/core/scope.c (scope_mark), and the source protocol of core/wait.h.
 *
 * One fiber waits twice, shielded or not; one that was claimed before it leaves does not leave.  An
 * event source with a lock, a timer with a lock, and a canceller race for each wait.  Checked: a
 * fiber is made ready once per wait and only with its registers saved (W1), or not at all if it did
 * not leave; a source touches a waiter only while it exists (W2, W3); a wait has one winner, a
 * shielded one not the cancel; and no end state leaves the fiber parked (W4): the cancel is never
 * lost.
 *
 * BROKEN 1: the source claims without the lock that the fiber takes before its waiter goes away.
 * BROKEN 2: the fiber reads the scope's flag before it stores its park word.
 * BROKEN 3: a claim of an arming fiber makes it ready at once.
 * BROKEN 4: a cancel claims a shielded wait.
 * BROKEN 5: a fiber that was claimed goes on, although its publisher has made it ready.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define RUNNING 0
#define ARMING 1
#define WAITING 2
#define EVENT 3
#define TIMEOUT 4
#define CANCEL 5
#define ARMING_SHIELDED 6
#define WAITING_SHIELDED 7
#define ROUNDS 2

byte word = RUNNING;
byte seq = 0;         /* sequence number of the park word */
bool saved = false;   /* the fiber's registers are saved */
byte ready = 0;       /* how often it was made ready and did not run yet */
bool cancelled = false;
bool linked = false, alive = false; /* the waiter in the source's list; its memory exists */
bool timer_on = false;
bool source_locked = false, timer_locked = false;
byte rounds_done = 0;

inline lock(l)   { atomic { !l -> l = true } }
inline unlock(l) { l = false }

inline make_ready()
{
    atomic {
        assert(saved);
        assert(ready == 0);
        ready++
    }
}

/* One compare-and-swap of the claim; `won` is 0 lost, 1 the publisher makes it ready, 2 we do. */
inline claim(outcome, won)
{
    atomic {
        if
        :: word == ARMING || word == ARMING_SHIELDED ->
            word = outcome;
            won = (BROKEN == 3 -> 2 : 1)
        :: word == WAITING || word == WAITING_SHIELDED -> word = outcome; won = 2
        :: else -> won = 0
        fi
    }
}

/* On the next stack; or, where the fiber was claimed before, make it ready. */
inline publish()
{
    atomic {
        if
        :: word == ARMING -> word = WAITING; claimed = false
        :: word == ARMING_SHIELDED -> word = WAITING_SHIELDED; claimed = false
        :: else -> claimed = true
        fi
    };
    if
    :: claimed && BROKEN != 3 -> make_ready()
    :: else
    fi
}

proctype fiber()
{
    byte round = 0, outcome;
    bool was_cancelled, shielded, claimed;

    do
    :: round < ROUNDS ->
        round++;
        was_cancelled = false;
        shielded = false;
#ifndef CANCEL_ONLY
        if
        :: shielded = true; atomic { seq++; word = ARMING_SHIELDED }; goto prepared
        :: true
        fi;
#endif
#if BROKEN == 2
        was_cancelled = cancelled;
        atomic { seq++; word = ARMING };
#else
        atomic { seq++; word = ARMING };
        was_cancelled = cancelled;
#endif
        if
        :: was_cancelled -> word = RUNNING; break
        :: else
        fi;
prepared:
        alive = true;
        lock(source_locked); linked = true; unlock(source_locked);
        lock(timer_locked); timer_on = true; unlock(timer_locked);
#if BROKEN == 5
        saved = true;
        publish();
        if
        :: claimed -> saved = false; goto resumed
        :: else
        fi;
#else
        if
        :: word == EVENT || word == TIMEOUT || word == CANCEL -> goto resumed /* does not leave */
        :: else
        fi;
        saved = true; /* switch away */
        publish();
#endif
        atomic { ready == 1 -> ready = 0; saved = false };
resumed:
        lock(timer_locked); timer_on = false; unlock(timer_locked);
        outcome = word;
        assert(!shielded || outcome != CANCEL);
        word = RUNNING;
        if
        :: outcome != EVENT -> lock(source_locked); linked = false; unlock(source_locked)
        :: else -> assert(!linked)
        fi;
        alive = false
    :: else -> break
    od;
    rounds_done = ROUNDS
}

proctype source()
{
    byte won;

    do
    :: atomic { rounds_done == ROUNDS -> break }
    :: linked ->
        won = 0;
#if BROKEN != 1
        lock(source_locked);
#endif
        if
        :: linked ->
#if BROKEN == 1
            skip;
#endif
            assert(alive); /* it fills the waiter */
            linked = false;
            claim(EVENT, won)
        :: else
        fi;
#if BROKEN != 1
        unlock(source_locked);
#endif
        if
        :: won == 2 -> make_ready()
        :: else
        fi
    od
}

proctype timer()
{
    byte won;

    do
    :: atomic { rounds_done == ROUNDS -> break }
    :: timer_on ->
        won = 0;
        lock(timer_locked);
        if
        :: timer_on -> assert(alive); timer_on = false; claim(TIMEOUT, won)
        :: else
        fi;
        unlock(timer_locked);
        if
        :: won == 2 -> make_ready()
        :: else
        fi
    od
}

/* With CANCEL_ONLY no wait ends by event or timeout: only the cancel can end it. */
proctype canceller()
{
    byte won = 0, looked, looked_seq;

    cancelled = true;
    do
    :: atomic { looked = word; looked_seq = seq };
        if
        :: looked == ARMING || looked == WAITING
#if BROKEN == 4
        :: looked == ARMING_SHIELDED || looked == WAITING_SHIELDED
#endif
        :: else -> break
        fi;
        atomic {
            if
            :: word == looked && seq == looked_seq -> claim(CANCEL, won); break
            :: else /* look again */
            fi
        }
    od;
    if
    :: won == 2 -> make_ready()
    :: else
    fi
}

init
{
    atomic {
        run fiber();
#ifndef CANCEL_ONLY
        run source();
        run timer();
#endif
        run canceller()
    }
}
