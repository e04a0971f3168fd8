/* SPDX-License-Identifier: MIT */
/*
 * The Chase-Lev deque: D1 to D4 of runtime/core/deque.c (deque_steal, deque_grow) and deque.h
 * (deque_push, deque_pop, deque_pop_shared).
 *
 * An owner pushes and pops, two thieves steal; every load, store and CAS is a step of its own, in
 * sequentially consistent order, which is what the fences of D3 provide between bottom and top.
 * The first ring has two slots, the one that it grows into four.
 * Checked: each element is taken exactly once, in the end none is left.
 *
 * BROKEN 1: the owner takes the last element without the CAS on top.
 * BROKEN 2: the owner goes by the top that it read before it wrote bottom (the missing fence).
 * BROKEN 3: a ring is freed when it is outgrown (D4).
 * BROKEN 4: a ring is published before the elements are copied into it.
 * BROKEN 5: a thief reads the ring before top.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define ELEMENTS 4
#define SLOTS 2 /* at first */

short top = 0, bottom = 0;
byte slot[6];      /* of the first ring, and of the next */
bool grown;        /* which is in use */
byte taken[ELEMENTS + 1]; /* how often each element was taken; elements are 1..ELEMENTS */

/* Of the ring `second`. */
#define SLOT(second, index) slot[(second -> SLOTS + (index) % 4 : (index) % SLOTS)]

inline take(element)
{
    assert(element > 0);
    taken[element]++;
    assert(taken[element] == 1)
}

proctype owner()
{
    byte next = 1, element;
    short b, t, i;

    do
    :: next <= ELEMENTS ->
        /* push */
        t = top;
        if
        :: !grown && bottom - t == SLOTS ->
#if BROKEN == 4
            grown = true;
#endif
            i = t;
            do
            :: i < bottom -> SLOT(true, i) = SLOT(false, i); i++
            :: else -> break
            od;
            grown = true;
            atomic {
                i = 0;
#if BROKEN == 3
                slot[0] = 0;
                slot[1] = 0
#endif
            }
        :: else
        fi;
        SLOT(grown, bottom) = next;
        bottom = bottom + 1;
        next++
    :: next > 1 ->
        /* pop */
        b = bottom - 1;
        t = top;
        if
        :: t > b ->
            if
            :: next > ELEMENTS -> break
            :: else -> goto again
            fi
        :: else
        fi;
        bottom = b;
#if BROKEN != 2
        t = top;
#endif
        if
        :: t > b -> bottom = b + 1
        :: t < b -> element = SLOT(grown, b); take(element)
        :: t == b ->
            element = SLOT(grown, b);
#if BROKEN == 1
            take(element);
            top = t + 1;
#else
            atomic {
                if
                :: top == t -> top = t + 1; take(element)
                :: else
                fi
            };
#endif
            bottom = b + 1
        fi;
again:
        atomic { b = 0; t = 0; element = 0 }
    od
}

proctype thief()
{
    short t, b;
    byte element, tries = 0;
    bool ring;

    do
    :: tries < 2 ->
        tries++;
#if BROKEN == 5
        ring = grown;
#endif
        t = top;
        b = bottom;
        if
        :: t < b ->
#if BROKEN != 5
            ring = grown;
#endif
            element = SLOT(ring, t);
            atomic {
                if
                :: top == t -> top = t + 1; take(element)
                :: else
                fi
            }
        :: else
        fi;
        atomic { t = 0; b = 0; element = 0; ring = false }
    :: else -> break
    od
}

init
{
    atomic {
        run owner();
        run thief();
        run thief()
    };
    (_nr_pr == 1); /* all have ended */
    assert(top >= bottom);
    assert(taken[1] == 1 && taken[2] == 1 && taken[3] == 1 && taken[4] == 1)
}
