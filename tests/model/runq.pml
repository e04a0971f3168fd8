/* SPDX-License-Identifier: MIT */
/*
 * The ring of woken fibers: R1 to R3 of runtime/core/runq.c (runq_push, runq_pop in runq.h;
 * runq_steal, runq_take_half).
 *
 * Three workers with a ring each, of 4 slots.  Worker 0 pushes, pops, and hands on half of its ring
 * when that is full (append_full of sched.c).  Worker 1 steals half of 0's into its own ring, which
 * has room for just that; worker 2 steals from either into its empty one; both pop theirs.  Indices
 * wrap at 16.  Each load, store and CAS is a step of its own, in an order that all agree on: of a
 * slot and its tail the release and acquire of R2 provide it, of a slot and its head those of R3.
 * Checked: each fiber is taken once; nobody writes into a slot of its ring that holds one; in the
 * end all that are not taken are in the rings.
 *
 * BROKEN 1: tail is advanced before the slot is written.
 * BROKEN 2: a thief advances head before it reads the slots.
 * BROKEN 3: a thief takes a head and a tail of different moments for a length.
 * BROKEN 4: the owner pops without a CAS, as if it were alone.
 * BROKEN 5: half a ring is handed on without a CAS.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define FIBERS 5 /* that worker 0 pushes, 1 to 5 */
#define ALL 8    /* worker 1 has 6 to 8 from the start */
#define SLOTS 4
#define HALF 2
#define WRAP 16
#define FIRST 14 /* where all begin, so that indices wrap */

#define SLOT(ring, index) slot[(ring) * SLOTS + (index) % SLOTS]
#define LENGTH(from, to) (((to) + WRAP - (from)) % WRAP)
#define AFTER(index, count) (((index) + (count)) % WRAP)

byte head[3] = FIRST;
byte tail[3] = FIRST;
byte slot[12];
byte taken[ALL + 1];

inline take(fiber)
{
    assert(fiber > 0);
    taken[fiber]++;
    assert(taken[fiber] == 1)
}

/* Nobody else writes there, so a slot that holds a fiber must not be written. */
inline put(ring, index, fiber)
{
    atomic {
        assert(LENGTH(head[ring], index) < SLOTS);
        SLOT(ring, index) = fiber
    }
}

/* done: whether it was there still */
inline cas_head(ring, expected, next)
{
    atomic {
        done = (head[ring] == expected);
        if
        :: done -> head[ring] = next
        :: else
        fi
    }
}

inline pop(ring)
{
    h = head[ring];
    done = false;
    do
    :: done || h == tail[ring] -> break /* the tail is ours */
    :: else ->
        fiber = SLOT(ring, h);
#if BROKEN == 4
        head[ring] = AFTER(h, 1);
        done = true;
#else
        cas_head(ring, h, AFTER(h, 1));
#endif
        if
        :: done -> take(fiber)
        :: else -> h = head[ring]
        fi
    od;
    atomic { fiber = 0; h = 0; done = false }
}

proctype owner()
{
    byte next = 1, h, fiber, other;
    bool done;

    do
    :: next <= FIBERS && LENGTH(head[0], tail[0]) < SLOTS -> /* runq_push */
#if BROKEN == 1
        tail[0] = AFTER(tail[0], 1);
        put(0, AFTER(tail[0], WRAP - 1), next);
#else
        put(0, tail[0], next);
        tail[0] = AFTER(tail[0], 1);
#endif
        next++
    :: next == FIBERS && LENGTH(head[0], tail[0]) == SLOTS -> /* runq_take_half */
        h = head[0];
        if
        :: LENGTH(h, tail[0]) < SLOTS
        :: else ->
            fiber = SLOT(0, h);
            other = SLOT(0, AFTER(h, 1));
#if BROKEN == 5
            head[0] = AFTER(h, HALF);
            done = true;
#else
            cas_head(0, h, AFTER(h, HALF));
#endif
            if
            :: done -> take(fiber); take(other)
            :: else
            fi
        fi;
        atomic { fiber = 0; other = 0; h = 0; done = false }
    :: next == FIBERS -> pop(0)
    :: next > FIBERS -> break
    od
}

inline steal(victim, mine)
{
    done = false;
    h = head[victim];
    do
    :: done -> break
    :: else ->
        atomic {
            t = tail[victim];
            count = LENGTH(h, t);
            count = count - count / 2
        };
        if
        :: count == 0 -> break
#if BROKEN != 3
        :: count > HALF -> h = head[victim]
        :: count > 0 && count <= HALF ->
#else
        :: count > 0 ->
#endif
#if BROKEN == 2
            cas_head(victim, h, AFTER(h, count));
            if
            :: !done -> h = head[victim]
            :: else
            fi;
#else
            done = true;
#endif
            if
            :: done ->
                fiber = SLOT(victim, h);
                i = 1;
                do
                :: i < count ->
                    put(mine, AFTER(tail[mine], i - 1), SLOT(victim, AFTER(h, i)));
                    i++
                :: else -> break
                od;
#if BROKEN != 2
                cas_head(victim, h, AFTER(h, count));
#endif
                if
                :: done ->
                    tail[mine] = AFTER(tail[mine], count - 1);
                    take(fiber)
                :: else -> h = head[victim]
                fi
            :: else
            fi
        fi
    od;
    atomic { fiber = 0; i = 0; count = 0; h = 0; t = 0; done = false }
}

proctype thief(byte self)
{
    byte h, t, fiber, count, i, victim;
    bool done;

    if
    :: self == 2 -> victim = 1
    :: victim = 0
    fi;
    steal(victim, self);
    pop(self)
}

init
{
    byte ring = 0, i;

    atomic {
        put(1, tail[1], 6);
        put(1, AFTER(tail[1], 1), 7);
        put(1, AFTER(tail[1], 2), 8);
        tail[1] = AFTER(tail[1], 3);
        run owner();
        run thief(1);
        run thief(2)
    };
    (_nr_pr == 1); /* all have ended */
    d_step {
        do
        :: ring < 3 ->
            do
            :: head[ring] != tail[ring] ->
                take(SLOT(ring, head[ring]));
                head[ring] = AFTER(head[ring], 1)
            :: else -> break
            od;
            ring++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= ALL -> assert(taken[i] == 1); i++
        :: else -> break
        od
    }
}
