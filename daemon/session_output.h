/* SPDX-License-Identifier: MIT */
/*
 * session_output: the writing side of one connection.  Private to session.c.
 *
 * Whoever has a reply appends it; the first one to come writes, and goes on writing what others
 * append meanwhile, so that many replies become one write.
 *
 * I1  One fiber writes at a time, and never under the lock.
 * I2  `sent` is called with the tokens of a reply once it is written, or dropped after an error.
 * I3  After the first error nothing more is written: a line may have been cut.
 * I4  A descriptor goes with the first byte of its reply, in one sendmsg(2), which sends nothing but
 *     that reply: so the reply is the last line of what its recvmsg(2) gets, and no other's.
 * I5  From before it is opened until it is sent or dropped, a descriptor has the one place that there
 *     is.  So a client that does not read costs one, whatever it asks for.
 */
#pragma once

#include "protocol/jsonrpc.h"
#include "weft/cond.h"
#include "weft/mutex.h"
#include "weft/semaphore.h"

#include <stdbool.h>
#include <stdint.h>

struct weft_stream;

struct session_output {
    struct weft_stream *stream;
    uint64_t write_timeout;                     /* ns, 0: none */
    void (*sent)(void *owner, unsigned tokens); /* any fiber of the session; no lock is held */
    void *owner;
    struct weft_mutex lock;      /* never held over a write */
    struct jsonrpc_text waiting; /* guarded by lock: appended, not being written */
    unsigned waiting_tokens;     /* guarded by lock */
    uint64_t appended, gone;   /* guarded by lock: bytes ever; written, or dropped after an error */
    struct weft_cond progress; /* with lock: `gone` has grown */
    bool writing;              /* guarded by lock: a fiber is in output_write() */
    struct weft_semaphore place; /* I5; one permit */
    int fd;                      /* guarded by lock: goes with a reply of waiting; -1: none does */
    size_t fd_at, fd_size;       /* guarded by lock: where that reply is in waiting */
    int err;                     /* guarded by lock: I3, first -errno */
};

void session_output_init(struct session_output *output, struct weft_stream *stream,
                         uint64_t write_timeout, void (*sent)(void *owner, unsigned tokens),
                         void *owner);
void session_output_destroy(struct session_output *output); /* nobody writes any more */

/* Append whole lines (none is fine: only the tokens count).  fd: goes with them, which are one reply,
 * and is taken over with its place (I5); -1: none.  Suspends while it writes.
 * Returns 0 if it was written or left to the fiber that writes now; else the -errno of I3. */
int session_output_put(struct session_output *output, const struct jsonrpc_text *text,
                       unsigned tokens, int fd);

/* Wait until all that was appended by now is written: for who writes much and holds no token, which
 * would bound it.  Errors: the -errno of I3, -ECANCELED. */
int session_output_flush(struct session_output *output);
