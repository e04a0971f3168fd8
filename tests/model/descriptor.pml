/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a descriptor: I1 to I4 of runtime/io/descriptor.c (descriptor_enter, direction_link,
 * direction_unlink, descriptor_leave, weft_descriptor_free, descriptor_finish) and I2, I3 of
 * runtime/core/watch.c (watch_new, direction_deliver, watch_deliver).
 *
 * One slot, its reading side.  Fiber 1 reads two items, waiting where there is none; its first wait
 * may time out, and then it waits again, without a look of its own (weft_descriptor_wait_readable).  In some runs the descriptor is freed meanwhile; the slot
 * is then opened anew, as the second generation, for fiber 2, which reads one.  A poller fetches
 * edges and delivers them later.  What a lock guards is one step.  (How a wait is claimed is
 * wait.pml's: here that is a step too.)
 * Checked: no system call meets a closed or recycled fd; the fd is closed once; an event comes to
 * the descriptor that it was about, and to none else; nobody is claimed who does not wait; a fiber
 * that waits finds what came (no end state but one in which all have what they wanted).
 *
 * BROKEN 1: a wait does not look whether an event has come since the last read (I4).
 * BROKEN 2: an event is dropped whose waiter was claimed by another (I3 of watch.c).
 * BROKEN 3: an event is delivered to the slot whatever its generation.
 * BROKEN 4: a free closes the fd although a fiber is inside (I2).
 * BROKEN 5: a free does not leave for the fiber that it claims (I3).
 * BROKEN 6: the fiber that a free has claimed leaves as well.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define NOT_THERE 0 /* wait[]: the fiber does not wait, */
#define WAITS 1     /* it may be claimed, */
#define EVENT 2     /* it was: by an event or a free, */
#define TIMEOUT 3   /* by its timer */

/* the slot */
byte generation = 1;
bool closed, ready, busy;
byte waiter; /* a fiber; 0: none */
bool is_free;

/* fibers 1 and 2, each of its generation */
byte wait[3];
bool was_freed[3]; /* the waiter's result is -EBADF */
byte items[3];

/* the kernel */
byte open_as = 1; /* the generation whose fd is open; 0: none */
byte data[3];
bool edge[3];
bool in_call;
byte closes;

inline finish(self)
{
    atomic {
        assert(open_as == self && !in_call);
        open_as = 0;
        edge[self] = false;
        closes++
    };
    is_free = true
}

inline leave(self)
{
    atomic {
        assert(generation == self || (closed && generation == self + 1));
        assert(busy);
        busy = false;
        over = closed
    };
    if
    :: over -> finish(self)
    :: else
    fi
}

inline read(self)
{
    atomic {
        assert(open_as == self);
        in_call = true
    };
    atomic {
        assert(open_as == self);
        got = data[self] > 0;
        if
        :: got -> data[self]--; items[self]++
        :: else
        fi;
        in_call = false
    }
}

/* linked: whether the fiber is to suspend; inside: whether it is still inside behind it */
inline link(self)
{
    atomic {
        assert(busy && waiter == 0);
        wait[self] = WAITS;
        linked = false;
        inside = true;
        if
        :: closed -> inside = false
#if BROKEN != 1
        :: !closed && ready -> skip
        :: !closed && !ready -> linked = true; waiter = self
#else
        :: !closed -> linked = true; waiter = self
#endif
        fi;
        ready = false;
        if
        :: !linked -> wait[self] = NOT_THERE
        :: else
        fi
    };
    if
    :: !inside -> leave(self)
    :: else
    fi
}

/* again: whether it goes on reading; else it is outside */
inline suspend(self)
{
    atomic {
        wait[self] != WAITS;
        again = (wait[self] == EVENT && !was_freed[self])
    };
    if
    :: again -> wait[self] = NOT_THERE
    :: !again && wait[self] == EVENT ->
        wait[self] = NOT_THERE;
#if BROKEN == 6
        leave(self)
#endif
    :: !again && wait[self] == TIMEOUT ->
        atomic {
            if
            :: waiter == self -> waiter = 0
            :: else
            fi;
            wait[self] = NOT_THERE
        };
        leave(self);
        /* the next call; that nobody calls who was told of the free is its user's promise */
        atomic {
            if
            :: generation == self && !closed -> busy = true; again = true; waits_first = true
            :: else
            fi
        }
    fi
}

proctype fiber(byte self; byte wanted)
{
    bool got, linked, inside, again, over, waits_first;

    do
    :: items[self] == wanted -> leave(self); break
    :: else ->
        if
        :: waits_first -> atomic { waits_first = false; got = false }
        :: else -> read(self)
        fi;
        if
        :: got
        :: else ->
            link(self);
            again = inside;
            if
            :: linked -> suspend(self)
            :: else
            fi;
            if
            :: again
            :: else -> break
            fi
        fi
    od
}

inline claim(outcome, ret_claimed)
{
    ret_claimed = (wait[claimed] == WAITS);
    if
    :: ret_claimed -> wait[claimed] = outcome
    :: else
    fi
}

proctype timer()
{
    atomic {
        if
        :: wait[1] == WAITS -> wait[1] = TIMEOUT
        :: true
        fi
    }
}

proctype poller()
{
    byte tag, claimed;
    bool done;

end:
    do
    :: atomic { edge[1] -> edge[1] = false; tag = 1 };
        goto deliver
    :: atomic { edge[2] -> edge[2] = false; tag = 2 };
deliver:
        atomic {
            if
#if BROKEN == 3
            :: true ->
#else
            :: generation == tag ->
#endif
                assert(generation == tag);
                claimed = waiter;
                waiter = 0;
                done = false;
                if
                :: claimed != 0 ->
                    claim(EVENT, done)
                :: else
                fi;
                if
#if BROKEN == 2
                :: claimed == 0 -> ready = true
#else
                :: !done -> ready = true
#endif
                :: else
                fi
            :: else
            fi;
            tag = 0;
            claimed = 0;
            done = false
        }
    od
}

proctype source(byte self; byte count)
{
    do
    :: count > 0 ->
        atomic {
            data[self]++;
            edge[self] = (open_as == self);
            count--
        }
    :: else -> break
    od
}

proctype user()
{
    byte claimed;
    bool done, over;

    if
    :: true -> goto out /* it is not freed */
    :: true
    fi;
    atomic {
        closed = true;
        generation++;
        claimed = waiter;
        waiter = 0;
        if
        :: claimed != 0 ->
            was_freed[claimed] = true;
            claim(EVENT, done);
            if
#if BROKEN != 5
            :: done -> busy = false
#endif
            :: else
            fi
        :: else
        fi;
#if BROKEN == 4
        over = true
#else
        over = !busy
#endif
    };
    if
    :: over -> finish(1)
    :: else
    fi;
    is_free; /* watch_new; and the second user enters */
    atomic {
        is_free = false;
        closed = false;
        ready = false;
        busy = true;
        waiter = 0;
        open_as = generation;
        run source(2, 1);
        run fiber(2, 1)
    };
    assert(closes == 1);
out:
    skip
}

init
{
    atomic {
        busy = true;
        run poller();
        run source(1, 2);
        run fiber(1, 2);
        run timer();
        run user()
    }
}
