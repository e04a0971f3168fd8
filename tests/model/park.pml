/* SPDX-License-Identifier: MIT */
/*
 * Parking, dozing and waking: I1 to I6 of runtime/core/idle.h (idle_needs_wake, idle_notify;
 * idle_take_sleeper, idle_start_search, idle_stop_search, idle_announce, idle_return of idle.c) and
 * worker_notify_slow, worker_pick, worker_search, worker_found, work_visible, worker_park of
 * runtime/core/worker.c.  (Not the slot, for which nobody is woken: Q3 of sched.c.)
 *
 * Three workers; one of them submits work to a queue that all may take from (a deque or ring that
 * can be stolen from).  Whoever takes an item runs it for ever: the rest is for the others.  A lone
 * item is only taken once the submitter has not switched for a while (`still`), which it may do at
 * any time before it is finished, and does for good afterwards; until then a thief leaves it.
 * Checked: no end state in which work is left although a worker sleeps (I3, I5); the counts of
 * searchers and awake workers stay true; nobody is woken twice for one sleep (I1); one worker dozes
 * at most.
 *
 * BROKEN 1: the parker does not look at the queues again after it has announced itself.
 * BROKEN 2: the last searcher that finds work does not wake another.
 * BROKEN 3: a dozer whose timer strikes does not count as searching until it has looked.
 * BROKEN 4: a parker that sees lone work sleeps without a timer although nobody dozes.
 * BROKEN 5: a parker whose last look finds work does not count as searching (I6).
 * BROKEN 6: who queues what was injected, to run it next, and then runs a pinned fiber, tells nobody.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define WORKERS 3
#ifdef PINNED /* the submitter has pinned fibers, too; less of the rest, for the sake of time */
#define ITEMS 1
#else
#define ITEMS 2
#endif
#define NOBODY 255

byte queue = 0;          /* items that may be stolen */
byte inject = 0;         /* what another thread gives to all: taken without a search */
byte events = 0;         /* what makes a fiber of the sleeper itself ready: a timer, a descriptor */
byte busy = 0;           /* workers that have found something to run */
short searching = 0, awake = WORKERS;
bool listed[WORKERS];    /* on the list of sleepers */
byte sleepers = 0;
byte dozer = NOBODY;     /* IDLE_DOZING and idle->dozer change in one section */
bool wake[WORKERS];      /* the async of its loop */
bool still = false;      /* the submitter has not switched for a while */
bool finished = false;   /* all was submitted */

/* Lock, re-check, pop a sleeper, count it: one section. */
inline notify(lone, victim)
{
    if
    :: atomic { searching == 0 && awake < WORKERS && sleepers > 0 && !(lone && dozer != NOBODY) ->
        if
        :: listed[0] -> victim = 0
        :: listed[1] -> victim = 1
        :: listed[2] -> victim = 2
        fi;
        listed[victim] = false;
        sleepers--;
        awake++;
        searching++;
        assert(!wake[victim]);
        wake[victim] = true }
    :: else
    fi
}

proctype worker(byte me)
{
    bool mine_searching = false, took = false, last = false, want_doze = false, slept, own = false;
    bool dozed; /* somebody did, when it announced itself */
    byte victim;

again:
    /* what is its own, or was injected, needs no search */
    atomic {
        if
        :: own -> took = true; goto found
        :: !own && inject > 0 -> inject--; took = true; goto found
        :: else
        fi
    };
    /* search, if allowed to */
    if
    :: mine_searching
    :: atomic { !mine_searching && 2 * searching < WORKERS -> searching++; mine_searching = true }
    :: !mine_searching && 2 * searching >= WORKERS -> goto park
    fi;
    atomic {
        if
        :: queue > 1 || (queue == 1 && still) -> queue--; took = true
        :: else -> took = false
        fi
    };
found:
    if
    :: took ->
        if
        :: mine_searching ->
            atomic { searching--; mine_searching = false; last = (searching == 0) };
            assert(searching >= 0)
        :: else
        fi;
        if
        :: last && BROKEN != 2 -> notify(false, victim)
        :: else
        fi;
        busy++;
endbusy:
        false /* it runs what it took, and does not come back */
    :: else
    fi;
park:
    atomic {
        listed[me] = true;
        sleepers++;
        awake--;
        if
        :: mine_searching -> searching--; mine_searching = false
        :: else
        fi;
        if
        :: want_doze && dozer == NOBODY -> dozer = me
        :: else
        fi;
        dozed = (dozer != NOBODY)
    };
    /* work_visible: one after the other */
    slept = (inject == 0 || BROKEN == 1);
    if
    :: slept ->
        atomic {
            want_doze = (queue == 1 && BROKEN != 1); /* the next time */
            slept = (queue == 0 || BROKEN == 1 || queue == 1 && (dozed || BROKEN == 4))
        }
    :: else -> want_doze = false
    fi;
    if
    :: slept ->
        if
        :: dozer == me ->
            /* woken by its timer, at any time, or by another; an endless row of looks at what is
             * lone and not still is no progress, so it waits for there to be a difference */
            if
            :: wake[me]
            :: still || queue != 1
            :: atomic { events > 0 -> events--; own = true }
            fi
        :: else ->
endsleep:
            if /* blocks in the loop */
            :: wake[me]
            :: atomic { events > 0 -> events--; own = true }
            fi
        fi
    :: else /* work after all: do not block */
    fi;
    atomic {
        wake[me] = false;
        dozed = false;
        if
        :: listed[me] -> listed[me] = false; sleepers--; awake++
        :: else -> mine_searching = true
        fi;
        if
        :: dozer == me ->
            dozer = NOBODY;
            if
            :: !mine_searching && BROKEN != 3 -> searching++; mine_searching = true
            :: else
            fi
        :: else
        fi;
        if
        :: !slept && !mine_searching && BROKEN != 5 -> searching++; mine_searching = true
        :: else
        fi
    };
    goto again
}

/* A worker that is awake and busy all the while: it counts as awake, submits, and never comes back
 * to its own queue. */
proctype submitter()
{
    byte items = 0, victim;

    do
    :: items < ITEMS ->
        queue++;
        items++;
        notify(queue == 1, victim)
#ifdef PINNED
    :: atomic { inject > 0 -> inject-- }; /* worker_queue_injected: alone, it would be next ... */
        queue++;
        if
        :: BROKEN != 6 -> notify(queue == 1, victim) /* ... but for a pinned one (worker_past_queue) */
        :: else
        fi
#endif
    :: still = !still
    :: items > 0 -> break /* or fewer */
    od;
    still = true;
    finished = true
}

/* A plain thread, if it comes. */
proctype outsider()
{
    byte victim;

    if
    :: inject++;
       notify(false, victim)
    :: skip
    fi
}

/* At every end state (all blocked): nothing was left behind. */
proctype judge()
{
    (timeout);
    assert(finished && queue + inject == 0 || busy == WORKERS - 1);
    assert(searching == 0)
}

init
{
    atomic {
#ifndef PINNED
        if
        :: events = 1
        :: skip
        fi;
#endif
        run worker(0);
        run worker(1);
        run submitter(); /* is worker 2 */
        run outsider();
        run judge()
    }
}
