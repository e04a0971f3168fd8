/* SPDX-License-Identifier: MIT */
/*
 * The first failure of a group: group_note_failure of runtime/core/group.c, between a child's end
 * and its subtraction (fiber_end of sched.c; group.pml), and what weft_group_join returns.
 *
 * Four children: two fail on their own, or do not; two wait until they are cancelled, and pass that
 * on as their result, or end by themselves where nobody cancels.  In some runs a deadline outside
 * cancels the group, with a reason of its own.  (That a cancel reaches a wait is scope.pml's.)
 * Checked: a failure cancels the others, so all end; the join returns a failure that was a cause,
 * the first one that was noted, if there is one, else why the group was cancelled, else 0; the
 * group is not touched after its last child's subtraction.
 *
 * BROKEN 1: a consequence counts as a failure.
 * BROKEN 2: a later failure takes the first one's place.
 * BROKEN 3: a failure does not cancel the group.
 * BROKEN 4: a child is subtracted before its failure is noted.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define CHILDREN 4
#define ECANCELED 10
#define ETIMEDOUT 20

bool alive = true;   /* the group's memory */
byte error;          /* the field; 0: none */
byte cancelled;      /* scope.cancelled: the reason, set once */
byte balance = CHILDREN;
byte first;          /* the cause that was noted first */
bool failed;         /* some child failed on its own */
bool deadline;       /* the group was cancelled from outside */
bool outside_over;

inline cancel(reason)
{
    atomic {
        assert(alive);
        if
        :: cancelled == 0 -> cancelled = reason
        :: else /* what was said first stays */
        fi
    }
}

inline note(result)
{
    assert(alive);
    is_consequence = ((result == ECANCELED || result == ETIMEDOUT) && cancelled != 0);
#if BROKEN == 1
    is_consequence = false;
#endif
    if
    :: is_consequence
    :: else ->
        atomic {
            assert(alive);
            noted = (error == 0);
#if BROKEN == 2
            noted = true;
#endif
            if
            :: noted -> error = result
            :: else
            fi;
            if
            :: noted && first == 0 -> first = result
            :: else
            fi
        };
#if BROKEN != 3
        if
        :: noted -> cancel(ECANCELED)
        :: else
        fi
#endif
    fi
}

inline subtract()
{
    atomic { assert(alive); balance-- }
}

inline end(result)
{
#if BROKEN == 4
    subtract();
#endif
    if
    :: result != 0 -> note(result)
    :: else
    fi;
#if BROKEN != 4
    subtract()
#endif
}

/* 1 and 2: the error that it returns */
proctype fails(byte own)
{
    bool is_consequence, noted;
    byte result;

    if
    :: result = 0
    :: result = own; failed = true
    fi;
    end(result)
}

proctype waits()
{
    bool is_consequence, noted;
    byte result;

    if
    :: cancelled != 0 -> result = cancelled
    :: !failed && !deadline -> result = 0
    fi;
    end(result)
}

proctype outside()
{
    if
    :: deadline = true; cancel(ETIMEDOUT)
    :: true
    fi;
    outside_over = true
}

init
{
    byte returned;

    atomic {
        run outside();
        run fails(1);
        run fails(2);
        run waits();
        run waits()
    };
    (balance == 0);
    outside_over; /* scope_unlink stops its timer */
    if
    :: error != 0 -> returned = error
    :: else -> returned = cancelled
    fi;
    alive = false;
    assert(!failed || (returned == first && (returned == 1 || returned == 2)));
    assert(failed || !deadline || returned == ETIMEDOUT || returned == 0);
    assert(failed || deadline || returned == 0)
}
