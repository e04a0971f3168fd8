/* SPDX-License-Identifier: MIT */
/*
 * The join of a group: G1 to G4 of runtime/core/group.h (group_child_ended, group_wait and
 * weft_group_join of group.c) and the fork-join fast path of runtime/core/sched.c (count_child,
 * uncount), where a child that ends pops its spawner's continuation and is uncounted without an
 * atomic.
 *
 * An owner spawns three children, whose spawns leave its continuation to be stolen or to be popped
 * by a child, not always the newest: one that waited may end where a later spawn was.  The first
 * child spawns one more, counted by the atomic.  Then the owner joins, and the group goes away.
 * Checked: the join returns when all children have ended, and not before; the owner is woken once;
 * no child touches the group after that.
 *
 * BROKEN 1: a child that brings the balance to 0 wakes the owner, joining or not.
 * BROKEN 2: a child of the owner is uncounted in `local` also when the continuation was stolen.
 * BROKEN 3: a child looks at the group once more after its subtraction.
 * BROKEN 4: the join folds before it has prepared its wait.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define CHILDREN 3
#define ALL 4
#define JOINING 64

short owned = 0;               /* the field `local` */
short balance = 0;
bool alive = true;             /* the group's memory */
byte ended = 0;                /* children that do no more */
bool continuation = false;     /* of the owner, on the deque of some worker */
bool runs = true;              /* the owner's execution is somebody's: its own, after a spawn */
bool prepared = false, claimed = false; /* the owner's wait */

inline uncount()
{
    ended++;
    assert(alive);
    atomic { before = balance; balance-- };
#if BROKEN == 3
    assert(alive);
#endif
#if BROKEN == 1
    if
    :: before == JOINING + 1 || before == 1 ->
#else
    if
    :: before == JOINING + 1 ->
#endif
        /* claim: finds a wait that is prepared, or is too late for nobody */
        atomic {
            if
            :: prepared -> assert(alive); assert(!claimed); claimed = true
            :: else
            fi
        }
    :: else
    fi
}

proctype grandchild()
{
    short before;

    uncount()
}

proctype child(byte me)
{
    short before;
    bool popped = false;

    if
    :: me == 0 -> balance++; run grandchild() /* by the atomic; it is counted itself still */
    :: else
    fi;
    atomic {
        if
        :: continuation -> continuation = false; popped = true
        :: true /* it is on another worker's, or the budget of turns is used up */
        fi
    };
#if BROKEN == 2
    if
    :: true ->
#else
    if
    :: popped ->
#endif
        /* nobody else can reach `local`: it need not be atomic */
        ended++;
        before = owned;
        owned = before - 1;
        if
        :: popped -> runs = true
        :: else
        fi
#if BROKEN != 2
    :: else -> uncount()
#endif
    fi
}

/* Another worker steals the continuation, or its own takes it in its turn, at any time. */
proctype thief()
{
endsteal:
    do
    :: atomic { continuation -> continuation = false };
        runs = true
    od
}

proctype owner()
{
    byte spawned = 0;
    short before;

    do
    :: spawned < CHILDREN ->
        before = owned;
        owned = before + 1;
        atomic { runs = false; continuation = true; run child(spawned) };
        spawned++;
        runs /* popped or stolen */
    :: else -> break
    od;
    /* join */
    if
    :: owned + balance == 0 -> goto joined
    :: else
    fi;
#if BROKEN != 4
    prepared = true;
#endif
    atomic { before = balance; balance = balance + owned + JOINING };
#if BROKEN == 4
    prepared = true;
#endif
    if
    :: before + owned == 0 -> prepared = false
    :: else -> claimed
    fi;
joined:
    assert(ended == ALL);
    alive = false
}

init
{
    atomic {
        run thief();
        run owner()
    }
}
