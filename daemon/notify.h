/* SPDX-License-Identifier: MIT */
/*
 * notify: the service manager, if there is one.  Every call does nothing and succeeds without one.
 * One short datagram each: any thread, does not block in practice, never suspends.
 */
#pragma once

#include "daemon/problem.h"

#include <stdint.h>

/* The listening Unix socket that was passed in (LISTEN_FDS), close-on-exec and non-blocking; the
 * environment is cleaned, so that no child inherits it.  Once, from main, before any thread.
 * Returns: 1 and *ret_fd, 0 none was passed.
 * Errors:  -EINVAL more than one, or not a listening Unix stream socket, with problem. */
int notify_inherited_socket(struct problem *problem, int *ret_fd);

void notify_ready(void);         /* READY=1 */
void notify_reloading(void);     /* RELOADING=1 and MONOTONIC_USEC; notify_ready() ends it */
void notify_stopping(void);      /* STOPPING=1 */
void notify_extend(uint64_t ns); /* EXTEND_TIMEOUT_USEC: repeat while draining */
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* 0: no watchdog is asked for (of us); else the interval in which one ping must come. */
uint64_t notify_watchdog_ns(void);
void notify_watchdog(void); /* only while every loop polled and the store answered a PING */
