/* SPDX-License-Identifier: MIT */
/*
 * Weft: fibers on every core.  This header includes the whole of the core library.
 *
 * Unless a function says otherwise:
 *  - pointers are non-NULL and borrowed for the length of the call;
 *  - it may be called only from a fiber, it may suspend the fiber, and the fiber may resume on
 *    another thread: hold no pthread mutex and keep no address of a thread-local across it.
 *    Compilers keep errno's, which the C library calls constant: in a function that looks at errno
 *    both before and after such a call, compile with -D__const__=__unused__ (gcc, clang), or look
 *    at it in functions of their own that are not inlined;
 *  - it returns 0 or more on success and -errno on failure, and leaves `ret_` parameters
 *    untouched on failure.  errno itself is never set, and is the fiber's own across suspensions;
 *  - a suspending call made inside a cancelled scope returns -ECANCELED, or -ETIMEDOUT where a
 *    deadline expired, until the scope is left, and leaves what it was to deliver in place;
 *  - time is monotonic, in nanoseconds (weft_now_ns), and deadlines are points on that clock.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include "weft/address.h"
#include "weft/barrier.h"
#include "weft/blocking.h"
#include "weft/broadcast.h"
#include "weft/channel.h"
#include "weft/cleanup.h"
#include "weft/cond.h"
#include "weft/datagram.h"
#include "weft/descriptor.h"
#include "weft/dump.h"
#include "weft/event.h"
#include "weft/fiber.h"
#include "weft/file.h"
#include "weft/future.h"
#include "weft/gather.h"
#include "weft/generator.h"
#include "weft/group.h"
#include "weft/listener.h"
#include "weft/local.h"
#include "weft/mutex.h"
#include "weft/offload.h"
#include "weft/once.h"
#include "weft/pass.h"
#include "weft/path.h"
#include "weft/pool.h"
#include "weft/process.h"
#include "weft/protocol.h"
#include "weft/queue.h"
#include "weft/reader.h"
#include "weft/report.h"
#include "weft/runtime.h"
#include "weft/rwlock.h"
#include "weft/scope.h"
#include "weft/select.h"
#include "weft/semaphore.h"
#include "weft/server.h"
#include "weft/signal.h"
#include "weft/stats.h"
#include "weft/stream.h"
#include "weft/task.h"
#include "weft/terminal.h"
#include "weft/time.h"
#include "weft/trace.h"
#include "weft/waitgroup.h"
#include "weft/watch.h"
#include "weft/writer.h"

#endif
