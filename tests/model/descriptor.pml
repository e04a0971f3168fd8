/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a descriptor: I1 to I5 of runtime/io/descriptor.c (descriptor_enter,
 * descriptor_await, direction_link, direction_unlink, descriptor_leave, descriptor_leave_drained,
 * weft_descriptor_free, direction_close, descriptor_finish), I2, I3 of runtime/core/watch.c
 * (watch_new, direction_deliver, watch_deliver), and I4 of runtime/io/stream/stream.c (weft_read).
 *
 * One slot, its reading side, of a TCP socket.  Fiber 1 reads three items, one or two at a time,
 * waiting where there is none; one of its waits may time out, and then it may wait without a look
 * of its own (weft_descriptor_wait_readable).  In some runs the descriptor is freed meanwhile; the
 * slot is then opened anew, as the second generation, for fiber 2, which reads one item, and the
 * end.  A poller fetches edges and delivers them later.  What a lock guards is one step.  (How a
 * wait is claimed is wait.pml's: here that is a step too.)
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
 * BROKEN 7: a side is drained although an event is noted that no wait has taken (I5).
 * BROKEN 8: an event that claims the waiter does not clear `drained` (I5).
 * BROKEN 9: a side is drained although an event has told of the end.
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
bool closed, ready, busy, drained, lasting;
byte waiter; /* a fiber; 0: none */
bool is_free;

/* fibers 1 and 2, each of its generation */
byte wait[3];
bool was_freed[3]; /* the waiter's result is -EBADF */
byte items[3];

/* the kernel */
byte open_as = 1; /* the generation whose fd is open; 0: none */
byte data[3];
bool ended[3]; /* the peer's: the end is read as an item, behind the others */
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
        if /* as much as fits: it has emptied the socket if that is less */
        :: data[self] > 0 -> data[self]--; items[self]++; got = true
        :: data[self] > 0 ->
            emptied = data[self] < 2;
            items[self] = items[self] + (emptied -> 1 : 2);
            data[self] = data[self] - (emptied -> 1 : 2);
            got = true
        :: data[self] == 0 && ended[self] -> items[self]++; got = true
        :: data[self] == 0 && !ended[self] -> got = false
        fi;
        in_call = false
    }
}

inline leave_drained()
{
    atomic {
        assert(busy);
#if BROKEN == 7
        drained = !lasting
#elif BROKEN == 9
        drained = !ready
#else
        drained = !ready && !lasting
#endif
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

/* again: whether the wait is a success; else it is outside */
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
        may_wait = true
    fi
}

/* One call: weft_read, or weft_descriptor_wait_readable, which takes nothing. */
proctype fiber(byte self; byte wanted)
{
    bool got, linked, inside, again, over, emptied, only_waits;
    bool may_wait; /* the last look found nothing */

    do
    :: items[self] == wanted || was_freed[self] -> break
    :: else ->
        /* descriptor_enter; that nobody calls after the free is its user's promise */
        atomic {
            if
            :: generation == self && !closed -> assert(!busy); busy = true
            :: else -> break
            fi
        };
        atomic {
            got = false;
            emptied = false;
            only_waits = false;
            if
            :: may_wait -> only_waits = true
            :: true
            fi;
            may_wait = false
        };
        if
        :: only_waits || drained
        :: else -> read(self)
        fi;
        do
        :: got -> break
        :: else ->
            link(self);
            again = inside;
            if
            :: linked -> suspend(self)
            :: else
            fi;
            if
            :: !again || only_waits -> break
            :: else -> read(self)
            fi
        od;
        if
        :: !got && !again /* it is outside */
        :: else ->
            if
            :: emptied -> leave_drained()
            :: else
            fi;
            leave(self)
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
    bool done, lasts;

end:
    do
    :: atomic { edge[1] -> edge[1] = false; tag = 1; lasts = ended[1] };
        goto deliver
    :: atomic { edge[2] -> edge[2] = false; tag = 2; lasts = ended[2] };
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
                lasting = lasting || lasts;
#if BROKEN != 8
                drained = false;
#endif
                if
                :: claimed != 0 ->
                    claim(EVENT, done)
                :: else
                fi;
                if
#if BROKEN == 2
                :: claimed == 0 -> ready = true
#else
                :: !done ->
                    ready = true;
                    drained = false
#endif
                :: else
                fi
            :: else
            fi;
            tag = 0;
            claimed = 0;
            done = false;
            lasts = false
        }
    od
}

/* To fiber 1: an item, then two at once.  To fiber 2: an item, and the end, with it or later. */
proctype source(byte self)
{
    atomic {
        data[self]++;
        edge[self] = (open_as == self);
        if
        :: self == 2 -> ended[self] = true
        :: true
        fi
    };
    if
    :: self == 1 -> atomic { data[1] = data[1] + 2; edge[1] = (open_as == 1) }
    :: self == 2 && !ended[2] -> atomic { ended[2] = true; edge[2] = (open_as == 2) }
    :: else
    fi
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
        drained = false;
        lasting = false;
        busy = false;
        waiter = 0;
        open_as = generation;
        run source(2);
        run fiber(2, 2)
    };
    assert(closes == 1);
out:
    skip
}

init
{
    atomic {
        run poller();
        run source(1);
        run fiber(1, 3);
        run timer();
        run user()
    }
}
