/* SPDX-License-Identifier: MIT */
/*
 * Linking a scope, leaving it, and cancelling its ancestor: S1 to S4 of runtime/core/scope.h
 * (scope_link_one, scope_inherit, scope_mark, scope_cancel_children and scope_unlink_slow of
 * scope.c), park_prepare of park.h, park_cancel of wait.c and W4 of wait.h; and the look that does
 * not link, fiber_peek_cancel of fiber.h.
 *
 * A fiber enters a scope inside a group's, waits in it or not, then waits within a shield, and
 * leaves both.  A canceller cancels the group's scope meanwhile.  The first wait is ended by the
 * cancel, or in some runs by an event too; the second one by its event only.  Another fiber, a
 * child inside the scope, looks whether it is cancelled.  Checked: both waits end (the cancel is
 * not lost, whether it comes before, during or after the link); the cancel never ends the shielded
 * wait; no scope is touched after it was left; the look sees a cancel that was over before.  (That
 * the canceller's wait is still the one it looked at follows from the locks already: the word's
 * sequence number says it once more.)
 *
 * BROKEN 1: a link does not inherit what its parent was told before.
 * BROKEN 2: it inherits before it takes the parent's lock.
 * BROKEN 3: a scope is left without the parent's lock.
 * BROKEN 4: the canceller does not ask whether the fiber is parked in that scope (S3).
 * BROKEN 5: the fiber reads the flag before it stores its park word (W4).
 * BROKEN 6: a look reads a scope's flag before it asks whether that is linked.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define RUNNING 0
#define ARMING 1
#define WAITING 2
#define EVENT 3
#define CANCEL 4

#define OUTER 1  /* the scope that the fiber enters; 2 is the shield in it */
#define SHIELD 2

byte word = RUNNING, seq = 0, ready = 0;
byte innermost = OUTER;
bool group_locked = false, outer_locked = false;
bool group_cancelled = false, outer_cancelled = false;
bool outer_linked = false, shield_linked = false;
bool outer_alive = true, shield_alive = false;
byte wanted = 0;   /* the sequence number of the wait that an event may end; 0: none */
bool cancel_over = false, child_over = false;

inline lock(l)   { atomic { !l -> l = true } }
inline unlock(l) { l = false }

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

inline suspend()
{
    atomic {
        if
        :: word == ARMING -> word = WAITING
        :: else -> ready++
        fi
    };
    atomic { ready == 1 -> ready = 0; wanted = 0 }
}

proctype fiber()
{
    bool seen, skips = false, eventful = false;

    if
    :: true
    :: eventful = true
    :: skips = true
    fi;

    /* wait_prepare: link the scope, ancestors first; the group's is linked already */
#if BROKEN == 2
    seen = group_cancelled;
#endif
    lock(group_locked);
#if BROKEN != 2
    seen = group_cancelled;
#endif
    if
    :: seen && BROKEN != 1 -> outer_cancelled = true
    :: else
    fi;
    outer_linked = true;
    unlock(group_locked);
    if
    :: skips -> goto shield
    :: else
    fi;
#if BROKEN == 5
    seen = outer_cancelled;
    atomic { seq++; word = ARMING };
#else
    atomic { seq++; word = ARMING };
    seen = outer_cancelled;
#endif
    if
    :: seen -> word = RUNNING
    :: else ->
        if
        :: eventful -> wanted = seq
        :: else
        fi;
        suspend();
        assert(word == CANCEL || eventful);
        word = RUNNING
    fi;
shield: /* and a wait in it */
    shield_alive = true;
    innermost = SHIELD;
    lock(outer_locked);
    shield_linked = true; /* inherits nothing */
    unlock(outer_locked);
    atomic { seq++; word = ARMING };
    wanted = seq;
    suspend();
    assert(word == EVENT);
    word = RUNNING;
    lock(outer_locked);
    shield_linked = false;
    unlock(outer_locked);
    innermost = OUTER;
    shield_alive = false;
    /* leave the scope, after the child */
    child_over;
#if BROKEN == 3
    outer_linked = false;
#else
    lock(group_locked);
    outer_linked = false;
    unlock(group_locked);
#endif
    innermost = 0;
    outer_alive = false
}

proctype canceller()
{
    byte won = 0, looked, looked_seq;

    lock(group_locked);
    group_cancelled = true;
    if
    :: outer_linked ->
        assert(outer_alive);
        lock(outer_locked);
        outer_cancelled = true;
        /* park_cancel */
        do
        :: atomic { looked = word; looked_seq = seq };
            if
            :: looked != ARMING && looked != WAITING -> break
            :: else
            fi;
            if
            :: innermost != OUTER && BROKEN != 4 -> break
            :: else
            fi;
            atomic {
                if
                :: word == looked && seq == looked_seq -> claim(CANCEL, won); break
                :: else /* look again */
                fi
            }
        od;
        assert(outer_alive);
        if
        :: shield_linked -> assert(shield_alive) /* looks at it, and goes by */
        :: else
        fi;
        unlock(outer_locked);
        assert(outer_alive)
    :: else
    fi;
    unlock(group_locked);
    if
    :: won == 2 -> ready++
    :: else
    fi;
    cancel_over = true
}

/* fiber_peek_cancel, on the scope and then on the group's, which is linked. */
proctype child()
{
    bool before, linked, seen;

    before = cancel_over;
#if BROKEN == 6
    seen = outer_cancelled;
    linked = outer_linked;
#else
    linked = outer_linked;
    seen = outer_cancelled;
#endif
    if
    :: !linked && !seen -> seen = group_cancelled
    :: else
    fi;
    assert(seen || !before);
    child_over = true
}

/* Its own lock is left out: wait.pml has it. */
proctype source()
{
    byte won = 0;

    do
    :: atomic {
        wanted != 0 && wanted == seq ->
        wanted = 0;
        claim(EVENT, won)
       };
       if
       :: won == 2 -> ready++
       :: else
       fi
    :: !outer_alive -> break
    od
}

init
{
    atomic {
        run fiber();
        run canceller();
        run child();
        run source()
    }
}
