/* SPDX-License-Identifier: MIT */
/*
 * Taking a worker from a thread that is stuck: S1 to S6 of runtime/core/handoff.h (worker_enter,
 * worker_exit; try_to_take, change_hands, handoff_look_again, handoff_arrived, give_away, weft_pin
 * and unpin of handoff.c), and that a fiber is handed its worker when it is resumed (turn_enter and
 * turn_arrive of turn.h).
 *
 * One fiber, two workers with a driving thread each, one more thread to spare, a monitor that tries
 * to take whichever worker the fiber was seen on.  The fiber runs its own code, and enters sections
 * in which it uses its worker's state, and in which it may suspend: then another worker, or the
 * same, resumes it; or it pins itself to the worker, or gives it away.  Stores of `inside` wait in
 * a store buffer until the thread drains it: at any time, at the monitor's barrier, or when the
 * fiber takes the lock or is left.  Checked: nobody uses a worker's state while another does, or
 * after it lost the worker; a fiber that was left for another thread keeps its new worker; who lost
 * a worker, or gave it away, finds that out at its next entry, and comes through; a worker with a
 * pinned fiber is not taken.
 *
 * BROKEN 1: the monitor executes no barrier.
 * BROKEN 2: the monitor does not look at fiber->worker again after it found the fiber outside.
 * BROKEN 3: a fiber that finds the stray worker takes it as the truth, without the lock.
 * BROKEN 4: a fiber that is resumed asks fiber->worker for its worker.
 * BROKEN 5: a fiber that is suspended counts as outside.
 * BROKEN 6: the monitor looks for pins before it asks whether the fiber is outside (S6).
 * BROKEN 7: a fiber gives its worker away without the lock.
 */
#ifndef BROKEN
#define BROKEN 0
#endif

#define STRAY 2          /* the runtime's stray worker; 0 and 1 are real */
#define SECTIONS 3
#define TRIES 3

byte fiber_worker = 0;
bool inside = true;      /* as memory has it */
bool buffered = false;   /* the fiber's thread has a store of `inside` under way... */
bool buffer;             /* ...of this */
bool lock = false;       /* of the threads */
bool lost = false;       /* what change_hands says: the fiber is a stray for good */
bool pinned = false;     /* to the worker that it is on */
bool running = true;     /* the fiber runs; else it waits for a worker to resume it */
bool queued = false;     /* it may be resumed: its registers are saved */
byte given;              /* the worker that resumed it */
byte seen_on = 0;        /* worker->current: whose fiber it is */
byte users[2];           /* threads that use the worker's state now */
bool driverless[2];      /* between two drivers it must not be used */
bool over = false;

/* The thread's own view of `inside` is not needed: it only stores it. */
inline store_inside(value)
{
    atomic {
        if
        :: buffered -> inside = buffer /* in order */
        :: else
        fi;
        buffer = value;
        buffered = true
    }
}

inline drain()
{
    atomic {
        if
        :: buffered -> inside = buffer; buffered = false
        :: else
        fi
    }
}

/* The hardware, at any time. */
proctype store_buffer()
{
end:
    do
    :: atomic { buffered -> inside = buffer; buffered = false }
    od
}

/* The worker's state, by the fiber in a section. */
inline use(w)
{
    atomic { assert(w < 2 && !lost); users[w]++; assert(users[w] == 1) };
    atomic { users[w]-- }
}

inline look_again()
{
#if BROKEN == 3
    mine = STRAY;
#else
    atomic { !lock -> lock = true };
    drain(); /* a locked instruction */
    mine = fiber_worker;
    lock = false
#endif
}

/* Leave the worker, and be resumed: by whom is the other process's choice. */
inline suspend()
{
#if BROKEN == 5
    store_inside(false);
#endif
    atomic {
        drain(); /* the scheduler publishes with a release; the next runner's thread is another */
        running = false;
        seen_on = STRAY;
        queued = true
    };
    running;
#if BROKEN == 4
    mine = fiber_worker
#else
    mine = given
#endif
}

/* The worker is nobody's, and then a spare thread's; its own thread has the fiber alone. */
inline change_hands(worker)
{
    atomic {
        assert(!pinned);
        lost = true;
        if
        :: seen_on == worker -> seen_on = STRAY
        :: else
        fi;
        driverless[worker] = true;
        users[worker]++;
        assert(users[worker] == 1)
    };
    atomic { users[worker]--; driverless[worker] = false }
}

/* Its user is in it still, but does no more. */
inline give_away()
{
#if BROKEN != 7
    atomic { !lock -> lock = true };
    drain();
#endif
    fiber_worker = STRAY;
    change_hands(mine);
#if BROKEN != 7
    lock = false
#endif
}

proctype fiber()
{
    byte mine = 0, section = 0;

    /* It was resumed on worker 0, and goes to its own code. */
    use(mine);
    store_inside(false);
    do
    :: section < SECTIONS ->
        section++;
        store_inside(true);
        mine = fiber_worker;
        if
        :: mine == STRAY ->
            look_again();
            if
            :: mine == STRAY ->
                assert(lost && !pinned);
                if
                :: true -> goto outside /* what needs no worker it does without one */
                :: true
                fi;
                /* go home: its thread queues it, and the worker that it gets is a new one */
                atomic { !lock -> lock = true };
                atomic {
                    drain();
                    lost = false;
                    fiber_worker = 0; /* the lost one, whichever: it does not run */
                    running = false
                };
                lock = false;
                queued = true;
                running;
                mine = given
            :: else
            fi
        :: else
        fi;
        use(mine);
        if
        :: suspend(); use(mine)
        :: pinned = !pinned
        :: !pinned -> give_away()
        :: skip
        fi;
outside:
        store_inside(false)
    :: else -> break
    od;
    over = true
}

/* Either worker may resume it, or its home if it is pinned: turn_enter, whose stores come before
 * what the fiber does. */
proctype resumer()
{
end:
    do
    :: atomic { queued && !driverless[0] && users[0] == 0 && !(pinned && given != 0) ->
        queued = false; given = 0; users[0]++ };
        goto enter
    :: atomic { queued && !driverless[1] && users[1] == 0 && !(pinned && given != 1) ->
        queued = false; given = 1; users[1]++ };
enter:
        fiber_worker = given;
        atomic { users[given]--; seen_on = given; running = true }
    od
}

proctype monitor()
{
    byte tries = 0, target;
    bool was_inside, was_pinned, taken;

    do
    :: tries < TRIES && !over ->
        tries++;
        atomic { !lock -> lock = true };
        target = seen_on;
        if
        :: target == STRAY -> goto unlock
        :: else
        fi;
        /* compare and swap */
        atomic {
            if
            :: fiber_worker == target -> fiber_worker = STRAY; taken = true
            :: else -> taken = false
            fi
        };
        if
        :: !taken -> goto unlock
        :: else
        fi;
#if BROKEN != 1
        drain();
#endif
#if BROKEN == 6
        was_pinned = pinned;
#endif
        was_inside = inside;
#if BROKEN == 2
        taken = !was_inside;
#else
        taken = (!was_inside && fiber_worker == STRAY);
#endif
#if BROKEN != 6
        was_pinned = pinned;
#endif
        if
        :: taken && !was_pinned -> change_hands(target)
        :: else ->
            atomic {
                if
                :: fiber_worker == STRAY -> fiber_worker = target
                :: else
                fi
            }
        fi;
unlock:
        lock = false
    :: else -> break
    od
}

/* At every end state the fiber is through. */
proctype judge()
{
    (timeout);
    assert(over);
    assert(users[0] == 0 && users[1] == 0)
}

init
{
    atomic {
        run fiber();
        run resumer();
        run monitor();
        run store_buffer();
        run judge()
    }
}
