/* SPDX-License-Identifier: MIT */
/*
 * Parking and waking: runtime/core/idle.c and worker_search, worker_found, worker_park of
 * runtime/core/worker.c.
 *
 * Three workers; one of them submits work to a queue that all may take from (a deque or ring that
 * can be stolen from).  Whoever takes an item runs it for ever: the rest is for the others.  Checked: no end state in which work is
 * left although a worker sleeps (I3); the counts of searchers and awake workers stay true; nobody
 * is woken twice for one sleep (I1).
 *
 * BROKEN 1: the parker does not look at the queues again after it has announced itself.
 * BROKEN 2: the last searcher that finds work does not wake another.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define WORKERS 3
#define ITEMS 2

byte queue = 0;          /* items that may be stolen */
byte done = 0;
short searching = 0, awake = WORKERS;
bool listed[WORKERS];    /* on the list of sleepers */
byte sleepers = 0;
bool wake[WORKERS];      /* the async of its loop */
bool finished = false;   /* all was submitted */

/* Lock, re-check, pop a sleeper, count it: one section. */
inline notify(victim)
{
    if
    :: atomic { searching == 0 && awake < WORKERS && sleepers > 0 ->
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
    bool mine_searching = false, took = false, last = false;
    byte victim;

again:
    /* search, if allowed to */
    if
    :: mine_searching
    :: atomic { !mine_searching && 2 * searching < WORKERS -> searching++; mine_searching = true }
    :: !mine_searching && 2 * searching >= WORKERS -> goto park
    fi;
    atomic {
        if
        :: queue > 0 -> queue--; took = true
        :: else -> took = false
        fi
    };
    if
    :: took ->
        atomic { searching--; mine_searching = false; last = (searching == 0) };
        assert(searching >= 0);
        if
        :: last && BROKEN != 2 -> notify(victim)
        :: else
        fi;
        done++;
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
        fi
    };
    if
    :: queue > 0 && BROKEN != 1 -> skip /* work after all: do not block */
    :: else ->
endsleep:
        wake[me] /* blocks in the loop */
    fi;
    atomic {
        wake[me] = false;
        if
        :: listed[me] -> listed[me] = false; sleepers--; awake++
        :: else -> mine_searching = true
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
        notify(victim)
    :: else -> break
    od;
    finished = true
}

/* At every end state (all blocked): nothing was left behind. */
proctype judge()
{
    (timeout);
    assert(finished && queue == 0 && done == ITEMS);
    assert(searching == 0)
}

init
{
    atomic {
        run worker(0);
        run worker(1);
        run submitter(); /* is worker 2 */
        run judge()
    }
}
