/* SPDX-License-Identifier: MIT */
/*
 * libev's loops, made so that they neither end the process nor go deaf.
 *
 *   A1  libev aborts where it gets no memory.  What it may need is set aside before, and where that
 *       cannot be, the caller is told: loops are made, and watchers started, by one thread of the
 *       process at a time, between loop_lock() and loop_unlock(), after a loop_open() or
 *       loop_reserve() there.  A watcher that was started so may be started again without.
 *   A2  A loop that runs takes no memory: loop_open() has it take, before, what it needs for its
 *       events, and its other arrays grow when watchers are started.
 *   A3  libev stops a watcher of a descriptor that the kernel refuses to watch (epoll_ctl: ENOMEM,
 *       ENOSPC), its own for waking up as well, of which it tells nobody: loop_settle() finds out.
 *   A4  libev aborts, too, where it gets no descriptors for waking up: loop_start_wake() does not.
 *
 * libev has one allocator and one callback for errors in the whole process, so a program that uses
 * libev beside us gets ours: malloc's, with the reserve behind it, and what libev does without one.
 */
#ifndef RUNTIME_CORE_LOOP_H
#define RUNTIME_CORE_LOOP_H

struct ev_async;
struct ev_loop;

void loop_lock(void);
void loop_unlock(void);

/** A loop, and room for watchers of descriptors up to `fd`.  Errors: -ENOMEM, epoll_create1(2)'s. */
int loop_open(int fd, struct ev_loop **ret_loop);

/** Room for a few more watchers.  Errors: -ENOMEM. */
int loop_reserve(int fd);

/** ev_async_start() for the first one of a loop, with which it gets its descriptors.
 * Errors: pipe(2)'s. */
int loop_start_wake(struct ev_loop *loop, struct ev_async *wake);

/** The first turn of a loop, when there is nothing to see yet.  Errors: -ENOMEM a watcher was
 * refused; the loop is of no use. */
int loop_settle(struct ev_loop *loop);

#endif
