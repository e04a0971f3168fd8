/* SPDX-License-Identifier: MIT */
/*
 * One io_uring per worker.
 *
 *   I1  Only the thread that drives the worker touches the ring: fibers that run there (inside,
 *       handoff.h S1), and the loop's callbacks.  A fiber that was resumed elsewhere, and wants its
 *       operation cancelled, puts it on `cancels` and wakes the home loop by `call`.
 *   I2  An operation lives on the stack of its fiber, which does not return before every completion
 *       that names it has been reaped: its own, and that of its cancellation.  So no completion,
 *       and no cancellation, finds another operation at the same address.
 *   I3  `lock` guards what both sides touch of an operation.  The reaper drops it before it wakes
 *       anybody, and does not touch an operation after its last completion was counted.
 *   I4  At most OPS_MAX operations are in flight, each with at most two completions, and the
 *       completion queue holds as many: it does not overflow.
 *   I5  The first of several operations is submitted at once, and what it brings at once is reaped
 *       without a suspension.  While others are in flight, requests are gathered: they go out with
 *       the next turn of the loop, or when there are BATCH of them.
 *   I6  Another thread may drive the worker later.  The kernel completes an operation on the thread
 *       that submitted it, which need not be the one that reaps it: if it is blocked it is
 *       interrupted for that, without its call's notice; if it computes, the next timer tick does.
 *       If it ends before, the operation is cancelled, and done in another way (RING_REFUSED).
 *   I7  libev stops a watcher that the kernel refuses to watch (epoll_ctl: ENOMEM, ENOSPC).  While
 *       operations are in flight it is started again in each turn, which reaps, and does not sleep:
 *       libev asks the kernel, and hears that it refuses, when it has looked for a reason not to.
 *       When none are, it waits for the next one.
 *
 * The ring's descriptor is an ev_io of the worker's loop, which wakes it; the completions are read
 * in the check phase of each turn, because a completion that the kernel brings by task work ends
 * the loop's wait with EINTR, before the descriptor is seen to be readable.  No eventfd is needed.
 *
 * ring_free comes after the last fiber has ended, and with it the last operation (I2).
 */
#include "core/ring.h"

#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <stdlib.h>

#include "core/fiber.h"
#include "core/handoff.h"
#include "core/loop.h"
#include "core/runtime.h"
#include "core/wait.h"
#include "core/worker.h"

enum {
    REQUESTS = 128,
    COMPLETIONS = 1024,
    OPS_MAX = COMPLETIONS / 2,
    BATCH = 16,
    REAP = 64,
    RETRY_AFTER = 4096, /* operations, until a ring that was refused for want of something (memory,
                         * descriptors) is asked for again */
    OPCODES = 64,
};

/* Flags in the low bits of user_data. */
enum { OF_CANCEL = 1 };

struct ring_op {
    struct list link; /* on ring->cancels; guarded by the ring's lock */
    struct ring *ring;
    struct waiter waiter; /* the fiber; the reaper's while `waiting` */
    bool waiting;         /* guarded by the ring's lock */
    unsigned expected;    /* completions to come; guarded by the ring's lock */
    int32_t result;       /* guarded by the ring's lock */
};

struct ring {
    struct io_uring uring;
    struct worker *worker; /* constant */
    bool watched;          /* by the loop; the driving thread's */
    uint64_t known;        /* opcodes that the kernel has, by bit */
    uint64_t submitted;    /* operations, ever */
    atomic_uint in_flight; /* operations whose result has not come; the driving thread's, and
                              relaxed: others read it as a hint */
    struct spin lock;
    struct list cancels; /* operations to be cancelled; guarded by lock */
    struct ev_io io;
    struct ev_prepare prepare;
    struct ev_check check;
    struct ev_async call; /* the only watcher that other threads touch */
};

static unsigned ring_in_flight(struct ring *ring)
{
    return atomic_load_explicit(&ring->in_flight, memory_order_relaxed);
}

static void ring_count(struct ring *ring, int by)
{
    atomic_store_explicit(&ring->in_flight, ring_in_flight(ring) + (unsigned)by,
                          memory_order_relaxed);
}

/* ---- completions ------------------------------------------------------------------------ */

/* One completion of `op`.  Under the lock. */
static void op_complete(struct ring_op *op, const struct io_uring_cqe *cqe, bool cancel,
                        struct wait_batch *batch)
{
    if (!cancel) {
        op->result = cqe->res;
        ring_count(op->ring, -1);
    }
    if (--op->expected > 0)
        return;
    if (list_linked(&op->link))
        list_remove(&op->link); /* too late to cancel it */
    if (!op->waiting)
        return;
    op->waiting = false;
    wait_claim(&op->waiter, batch); /* lost to a cancel: the fiber comes and finds it done */
}

static unsigned ring_reap_some(struct ring *ring)
{
    struct io_uring_cqe *cqes[REAP];
    struct wait_batch batch = {0};
    unsigned count = io_uring_peek_batch_cqe(&ring->uring, cqes, REAP);
    if (count == 0)
        return 0;
    spin_lock(&ring->lock);
    for (unsigned i = 0; i < count; i++) {
        uintptr_t data = (uintptr_t)cqes[i]->user_data;
        op_complete((struct ring_op *)(data & ~(uintptr_t)OF_CANCEL), cqes[i], data & OF_CANCEL,
                    &batch);
    }
    spin_unlock(&ring->lock);
    io_uring_cq_advance(&ring->uring, count);
    wait_batch_wake_on(ring->worker, &batch);
    return count;
}

static void ring_reap(struct ring *ring)
{
    while (ring_reap_some(ring) == REAP)
        ;
}

/* ---- requests --------------------------------------------------------------------------- */

/* What the kernel does not take now (-EAGAIN, -EBUSY) stays queued for the next turn. */
static void ring_submit(struct ring *ring)
{
    if (io_uring_sq_ready(&ring->uring) == 0)
        return;
    io_uring_submit(&ring->uring);
    if (unlikely(io_uring_sq_ready(&ring->uring) > 0))
        ev_async_send(ring->worker->loop, &ring->call);
}

/* The next operation to be cancelled; its cancellation's completion is expected from now on. */
static struct ring_op *ring_next_cancel(struct ring *ring)
{
    struct ring_op *op = NULL;
    spin_lock(&ring->lock);
    struct list *node = list_first(&ring->cancels);
    if (node) {
        list_remove(node);
        op = container_of(node, struct ring_op, link);
        op->expected++;
    }
    spin_unlock(&ring->lock);
    return op;
}

/* Whether there is room for a request, after a submit if need be. */
static bool ring_has_room(struct ring *ring)
{
    if (likely(io_uring_sq_space_left(&ring->uring) > 0))
        return true;
    ring_submit(ring);
    return io_uring_sq_space_left(&ring->uring) > 0;
}

static void ring_cancel_some(struct ring *ring)
{
    struct ring_op *op;
    while (ring_has_room(ring) && (op = ring_next_cancel(ring))) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
        io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
        io_uring_sqe_set_data64(sqe, (uintptr_t)op | OF_CANCEL);
    }
}

/* The loop's watch on the ring, for what is in flight (I7).  Not under loop_lock(): there is room for
 * the watcher since it was started first. */
static void ring_watch(struct ring *ring)
{
    if (likely(ring->watched))
        return;
    ev_io_set(&ring->io, ring->uring.ring_fd, EV_READ); /* or libev would not ask the kernel */
    ev_io_start(ring->worker->loop, &ring->io);
    ev_async_send(ring->worker->loop, &ring->call);
    ring->watched = true;
}

/* Give the request to the kernel, now or with the next turn of the loop (I5).  False: no room. */
static bool ring_start(struct ring *ring, struct ring_op *op, const struct io_uring_sqe *request)
{
    unsigned others = ring_in_flight(ring);
    if (others >= OPS_MAX || !ring_has_room(ring))
        return false;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    *sqe = *request;
    io_uring_sqe_set_data64(sqe, (uintptr_t)op);
    ring->submitted++;
    ring_count(ring, 1);
    ring_watch(ring);
    if (others == 0 || io_uring_sq_ready(&ring->uring) >= BATCH) {
        ring_submit(ring);
        ring_reap(ring);
    }
    return true;
}

/* ---- the loop's callbacks --------------------------------------------------------------- */

static void on_readable(struct ev_loop *loop, struct ev_io *watcher, int events)
{
    struct ring *ring = container_of(watcher, struct ring, io);
    (void)loop;
    if (!(events & EV_ERROR))
        return; /* on_check reaps */
    ring->watched = false;
    if (ring_in_flight(ring) > 0)
        ring_watch(ring);
}

static void on_prepare(struct ev_loop *loop, struct ev_prepare *watcher, int events)
{
    (void)loop, (void)events;
    ring_submit(container_of(watcher, struct ring, prepare));
}

static void on_check(struct ev_loop *loop, struct ev_check *watcher, int events)
{
    (void)loop, (void)events;
    ring_reap(container_of(watcher, struct ring, check));
}

static void on_call(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    struct ring *ring = container_of(watcher, struct ring, call);
    (void)loop, (void)events;
    ring_cancel_some(ring);
    ring_submit(ring);
    ring_reap(ring);
}

/* ---- making and unmaking ---------------------------------------------------------------- */

static int uring_open(struct io_uring *uring)
{
    static const unsigned flags[] = {
        IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_CQSIZE, /* Linux before 5.19 */
    };
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS; /* Linux 5.6 */
    struct io_uring_params params;
    int r = -EINVAL;
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags) && r == -EINVAL; i++) {
        params = (struct io_uring_params){.flags = flags[i], .cq_entries = COMPLETIONS};
        r = io_uring_queue_init_params(REQUESTS, uring, &params);
    }
    if (r < 0)
        return r;
    if ((params.features & needed) == needed)
        return 0;
    io_uring_queue_exit(uring);
    return -ENOSYS;
}

int ring_probe(void)
{
    struct io_uring uring;
    int r = uring_open(&uring);
    if (r == 0)
        io_uring_queue_exit(&uring);
    return r;
}

/* The opcodes that the kernel has. */
static int uring_opcodes(struct io_uring *uring, uint64_t *ret_known)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(uring);
    uint64_t known = 0;
    if (!probe)
        return -ENOMEM;
    for (int opcode = 0; opcode < OPCODES; opcode++)
        if (io_uring_opcode_supported(probe, opcode))
            known |= UINT64_C(1) << opcode;
    io_uring_free_probe(probe);
    *ret_known = known;
    return 0;
}

static int ring_open(struct ring *ring)
{
    int r = uring_open(&ring->uring);
    if (r < 0)
        return r;
    r = uring_opcodes(&ring->uring, &ring->known);
    if (r < 0)
        io_uring_queue_exit(&ring->uring);
    return r;
}

static int ring_join_loop(struct ring *ring, struct ev_loop *loop)
{
    int r;
    loop_lock();
    r = loop_reserve(ring->uring.ring_fd);
    if (r < 0) {
        loop_unlock();
        return r;
    }
    ev_io_init(&ring->io, on_readable, ring->uring.ring_fd, EV_READ);
    ev_prepare_init(&ring->prepare, on_prepare);
    ev_check_init(&ring->check, on_check);
    ev_async_init(&ring->call, on_call);
    ev_io_start(loop, &ring->io);
    ring->watched = true;
    ev_prepare_start(loop, &ring->prepare);
    ev_check_start(loop, &ring->check);
    ev_async_start(loop, &ring->call);
    ev_async_send(loop, &ring->call); /* I7 */
    loop_unlock();
    return 0;
}

static int ring_new(struct worker *worker)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    int r = ring_open(ring);
    if (r < 0) {
        free(ring);
        return r;
    }
    ring->worker = worker;
    list_init(&ring->cancels);
    r = ring_join_loop(ring, worker->loop);
    if (r < 0) {
        io_uring_queue_exit(&ring->uring);
        free(ring);
        return r;
    }
    atomic_store_explicit(&worker->ring, ring, memory_order_release);
    return 0;
}

static struct ring *worker_ring(struct worker *worker)
{
    return atomic_load_explicit(&worker->ring, memory_order_acquire);
}

bool ring_is_busy(struct worker *worker)
{
    struct ring *ring = worker_ring(worker);
    return ring && ring_in_flight(ring) > 0;
}

void ring_free(struct worker *worker)
{
    struct ring *ring = worker_ring(worker);
    if (!ring)
        return;
    CHECK(ring_in_flight(ring) == 0 && list_empty(&ring->cancels));
    ev_async_stop(worker->loop, &ring->call);
    ev_check_stop(worker->loop, &ring->check);
    ev_prepare_stop(worker->loop, &ring->prepare);
    ev_io_stop(worker->loop, &ring->io);
    io_uring_queue_exit(&ring->uring);
    free(ring);
    atomic_store_explicit(&worker->ring, NULL, memory_order_relaxed);
}

/* The worker's ring, made if need be; or NULL.  The driving thread. */
static struct ring *ring_of(struct worker *worker)
{
    struct ring *ring = worker_ring(worker);
    if (likely(ring))
        return ring;
    if (worker->runtime->file_backend == WEFT_FILE_OFFLOAD)
        return NULL;
    if (worker->ring_retry > 0) {
        worker->ring_retry--;
        return NULL;
    }
    int r = ring_new(worker);
    if (r == 0)
        return worker_ring(worker);
    worker->ring_retry = r == -ENOSYS || r == -EPERM || r == -EACCES ? UINT_MAX : RETRY_AFTER;
    return NULL;
}

/* ---- the fiber's side ------------------------------------------------------------------- */

/* Wait for the last completion.  Errors: -ECANCELED, -ETIMEDOUT, unless it is shielded; then the
 * operation goes on. */
static int op_await(struct ring_op *op, bool shielded)
{
    struct spin *lock = &op->ring->lock;
    int r = 0;
    if (shielded)
        wait_prepare_shielded(&op->waiter);
    else
        r = wait_prepare(&op->waiter);
    if (r < 0)
        return r;
    wait_describe(&op->waiter, "file", op);
    spin_lock(lock);
    bool waiting = op->expected > 0;
    op->waiting = waiting;
    spin_unlock(lock);
    if (!waiting) {
        wait_abandon(&op->waiter);
        return 0;
    }
    r = wait_suspend(&op->waiter, WEFT_NO_DEADLINE);
    if (r < 0) {
        spin_lock(lock);
        op->waiting = false;
        spin_unlock(lock);
    }
    return r;
}

/* Ask for its end, and wait for it (I2). */
static void op_cancel(struct ring_op *op)
{
    struct ring *ring = op->ring;
    spin_lock(&ring->lock);
    bool pending = op->expected > 0;
    if (pending)
        list_append(&ring->cancels, &op->link);
    spin_unlock(&ring->lock);
    if (!pending)
        return;
    ev_async_send(ring->worker->loop, &ring->call); /* I1 */
    op_await(op, true);
}

static bool ring_knows(const struct ring *ring, unsigned opcode)
{
    return opcode < OPCODES && ring->known >> opcode & 1;
}

/* Give the operation to the ring of the fiber's worker.  *ret_pending: false if it was reaped on
 * this thread, just now (I5).  False: there is no ring for it. */
static bool op_start(struct fiber *self, struct ring_op *op, const struct io_uring_sqe *request,
                     bool *ret_pending)
{
    struct worker *worker = worker_enter_home(self);
    op->ring = ring_of(worker);
    bool started =
        op->ring && ring_knows(op->ring, request->opcode) && ring_start(op->ring, op, request);
    *ret_pending = op->expected > 0; /* afterwards the reaper may be on another thread */
    worker_exit(self);
    return started;
}

/* Cancelled, interrupted, or nothing for this descriptor (-EAGAIN).  But close(2) closes even where
 * it is interrupted. */
static bool was_not_done(const struct io_uring_sqe *request, int32_t result)
{
    if (result == -EINTR)
        return request->opcode != IORING_OP_CLOSE;
    return result == -ECANCELED || result == -EAGAIN;
}

int ring_run(const struct io_uring_sqe *request, int32_t *ret_result)
{
    struct fiber *self = fiber_self();
    struct ring_op op = {.expected = 1};
    bool pending;
    int r = fiber_peek_cancel(self);
    if (r < 0)
        return r;
    list_init(&op.link);
    if (!op_start(self, &op, request, &pending))
        return RING_REFUSED;
    if (pending)
        r = op_await(&op, false);
    if (r < 0)
        op_cancel(&op);
    if (was_not_done(request, op.result))
        return r < 0 ? r : RING_REFUSED;
    *ret_result = op.result;
    return 0;
}

void ring_forget_opcode(unsigned opcode)
{
    struct fiber *self = fiber_self();
    struct ring *ring = ring_of(worker_enter_home(self));
    if (ring)
        ring->known &= ~(UINT64_C(1) << opcode);
    worker_exit(self);
}

uint64_t ring_submitted(void)
{
    struct fiber *self = fiber_self();
    struct ring *ring = worker_ring(worker_enter_home(self));
    uint64_t submitted = ring ? ring->submitted : 0;
    worker_exit(self);
    return submitted;
}
