/* SPDX-License-Identifier: MIT */
/*
 * The Chase-Lev deque: runtime/core/deque.c (deque_push, deque_pop, deque_steal).
 *
 * An owner pushes and pops, two thieves steal; every load, store and CAS is a step of its own, in
 * sequentially consistent order, which is what the fences of D3 provide between bottom and top.
 * Checked: each element is taken exactly once, in the end none is left.
 *
 * BROKEN 1: the owner takes the last element without the CAS on top.
 * BROKEN 2: the owner reads top before it writes bottom (the missing fence).
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define ELEMENTS 4
#define SLOTS 4

short top = 0, bottom = 0;
byte slot[SLOTS];
byte taken[ELEMENTS + 1]; /* how often each element was taken; elements are 1..ELEMENTS */

inline take(element)
{
    assert(element > 0);
    taken[element]++;
    assert(taken[element] == 1)
}

proctype owner()
{
    byte next = 1, element;
    short b, t;

    do
    :: next <= ELEMENTS ->
        /* push */
        slot[bottom % SLOTS] = next;
        bottom = bottom + 1;
        next++
    :: next > 1 ->
        /* pop */
        b = bottom - 1;
#if BROKEN == 2
        t = top;
        bottom = b;
#else
        bottom = b;
        t = top;
#endif
        if
        :: t > b -> bottom = b + 1;
            if
            :: next > ELEMENTS -> break
            :: else
            fi
        :: t < b -> element = slot[b % SLOTS]; take(element)
        :: t == b ->
            element = slot[b % SLOTS];
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
        fi
    od
}

proctype thief()
{
    short t, b;
    byte element, tries = 0;

    do
    :: tries < 2 ->
        tries++;
        t = top;
        b = bottom;
        if
        :: t < b ->
            element = slot[t % SLOTS];
            atomic {
                if
                :: top == t -> top = t + 1; take(element)
                :: else
                fi
            }
        :: else
        fi
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
