/* SPDX-License-Identifier: MIT */
/* All fibers of a runtime: who they are, what they wait for, where they stand in the code.
 * Defaults of weft/weft.h apply, but for this: nothing here suspends. */
#ifndef WEFT_DUMP_H
#define WEFT_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weft_runtime;

enum weft_fiber_state {
    WEFT_FIBER_RUNNING, /* on a worker's thread, or about to be */
    WEFT_FIBER_READY,   /* queued: new, woken, or it let others run first */
    WEFT_FIBER_WAITING
};

enum { WEFT_FRAMES_MAX = 48 };

/* One fiber as it was at one moment. */
struct weft_fiber_info {
    uint64_t id;         /* never given twice in a runtime's life; see weft_fiber_id_text */
    uint64_t parent_id;  /* the fiber that joins it, or if none does, that spawned it; 0: none */
    const void *address; /* its control block: what gdb's `weft bt` takes */
    const char *name;    /* a copy, valid like the struct; NULL: it has none */
    enum weft_fiber_state state;
    unsigned worker;         /* that runs it, or ran it last */
    bool without_worker;     /* it runs, but another thread drives its worker (weft/blocking.h) */
    const char *wait_kind;   /* static text: "mutex", "channel send"...; NULL: it does not wait */
    const void *wait_object; /* which one: an address, or the number of a file descriptor */
    uint64_t wait_owner_id;  /* the fiber that holds what it waits for; 0: nobody, or not known */
    uint64_t since_ns;       /* when the wait began, by its worker's clock; or since when it has run
                                at least, `without_worker`; else 0 */
    size_t stack_size;
    unsigned frame_count; /* 0: not asked for, or it could not be had */
    uint64_t guesses;     /* bit i: frames[i] is a guess ("?"), made where code without frame
                             pointers breaks the chain: it may be left over from earlier */
    const void *frames[WEFT_FRAMES_MAX]; /* return addresses, innermost first */
};

/* What weft_dump and weft_fibers_each are to find out. */
enum weft_dump_flags {
    WEFT_DUMP_BACKTRACE = 1, /* of the fibers that do not run */
    WEFT_DUMP_INTERRUPT = 2, /* and of those that do, by a signal to their threads, so that a
                                system call in which one blocks may return EINTR */
    WEFT_DUMP_TREE = 4       /* weft_dump only: children below their parents, as pstree does */
};

/**
 * Call each(info, arg) for every fiber of the runtime, in no order.  `info` is valid during the
 * call.  A value other than 0 ends it and is returned.  Every entry is exact for its own moment;
 * together they are not one moment: a fiber that starts or ends meanwhile may be in it or not.
 * Nobody is stopped, but a fiber that is being looked at does not go on until that is done
 * (microseconds); never during each(), which may do what it likes, suspend too.
 * Context: any thread, while the runtime is not freed.
 * Errors:  -ENOMEM; -ENOTSUP where the kernel has no membarrier(2); or each()'s.
 */
int weft_fibers_each(struct weft_runtime *runtime, unsigned flags,
                     int (*each)(const struct weft_fiber_info *info, void *arg), void *arg);

/**
 * Write the same as text: a line per fiber, its backtrace below it.  write(text, size, arg) is
 * called with pieces; a negative result ends the dump and is returned.
 * Context, errors: as weft_fibers_each.
 */
int weft_dump(struct weft_runtime *runtime, unsigned flags,
              int (*write)(const char *text, size_t size, void *arg), void *arg);

/** weft_dump to a file descriptor; blocks as write(2) does.  Errors: also write(2)'s. */
int weft_dump_fd(struct weft_runtime *runtime, unsigned flags, int fd);

enum { WEFT_FIBER_ID_TEXT = 32 };

/** The id as dumps, reports and gdb print it: WORKER.NUMBER, the worker being the one on which it
 * was spawned (x: a plain thread did).  Returns: text.  Context: any thread. */
const char *weft_fiber_id_text(uint64_t id, char ret_text[WEFT_FIBER_ID_TEXT]);

enum { WEFT_SYMBOL_TEXT = 256 };

/** A return address as text, naming the call before it: "function+0x12 (module+0x3456)"; the latter
 * suits addr2line.  Static functions have names if the program was not stripped.
 * Returns: text.  Context: any thread, but no signal handler. */
const char *weft_symbol_text(const void *address, char ret_text[WEFT_SYMBOL_TEXT]);

#ifdef __cplusplus
}
#endif
#endif
