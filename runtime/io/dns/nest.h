/* SPDX-License-Identifier: MIT */
/* A private epoll set as one descriptor: how one fiber waits for several sockets at once. */
#ifndef RUNTIME_IO_DNS_NEST_H
#define RUNTIME_IO_DNS_NEST_H

#include <sys/epoll.h>

#include "weft/descriptor.h"

/* Owned and used by one fiber. */
struct nest {
    int fd; /* the epoll set's; the descriptor's */
    struct weft_descriptor *descriptor;
};

enum { NEST_EVENTS = 16 };

/** Errors: -EMFILE, -ENFILE, -ENOMEM, -ENOSPC. */
int nest_open(struct nest *nest);

/** The sockets in it stay open.  Never suspends. */
void nest_close(struct nest *nest);

/** Watch `fd` for `events`; 0: not any more.  Never suspends.  Errors: -ENOMEM, -ENOSPC. */
int nest_watch(struct nest *nest, int fd, uint32_t events);

/** Wait for an event, until `until_ns` or `deadline_ns`.  Returns: 0; look, until nest_look finds
 * nothing more.  Errors: -EAGAIN until_ns has come, -ETIMEDOUT, -ECANCELED. */
int nest_wait(struct nest *nest, uint64_t until_ns, uint64_t deadline_ns);

/** What is ready now.  Never suspends.  Returns: how many events, 0: none. */
int nest_look(struct nest *nest, struct epoll_event events[NEST_EVENTS]);

#endif
