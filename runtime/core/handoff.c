/* SPDX-License-Identifier: MIT */
/*
 * Taking workers from threads that are stuck, giving them to spare ones, and the way home of the
 * fibers that lost them.  The invariants S1 to S6 stand in handoff.h.
 *
 *   I1  Everything here that changes hands does so under the lock of the runtime's threads, which
 *       is held for a membarrier(2) at most, and never while a thread is started.
 *   I2  Between two drivers a worker is the lock holder's, who may do with it what a driver may.
 *   I3  A stray is on its thread's record, and the thread on `strays`, from when the worker was
 *       taken until handoff_arrived.  fiber->stray_on is not NULL for as long, and set before
 *       worker->current tells that the worker is another's: an observer who finds that a fiber is
 *       nobody's current sees that it is a stray.
 *
 * Not here: when a worker is to be taken, which is the monitor's to know (observe/monitor.c).
 */
#include "core/handoff.h"

#include <errno.h>
#include <poll.h>

#include "core/barrier.h"
#include "core/hooks.h"
#include "core/ring.h"
#include "core/runtime.h"
#include "weft/blocking.h"

static struct worker *stray_worker(struct weft_runtime *runtime)
{
    return &runtime->worker[runtime->workers];
}

struct thread *handoff_thread_of(struct worker *worker, const struct fiber *fiber)
{
    struct thread *thread = atomic_load_explicit(&fiber->stray_on, memory_order_relaxed);

    return thread ? thread : worker->thread;
}

static unsigned count_pinned(const struct worker *worker)
{
    return atomic_load_explicit(&worker->pinned, memory_order_relaxed);
}

static void note_pinned(struct worker *worker, int by)
{
    atomic_store_explicit(&worker->pinned, count_pinned(worker) + (unsigned)by,
                          memory_order_relaxed);
}

/* --- changing hands, under the lock */

/* The spare thread drives the worker from here on, and the worker's own thread has but the fiber,
 * which is outside or does nothing inside any more (I2, I3). */
static void change_hands(struct worker *worker, struct fiber *fiber, struct thread *spare,
                         uint64_t since_ns, bool announced)
{
    struct thread *thread = worker->thread;
    struct threads *threads = &worker->runtime->threads;

    thread->worker = NULL;
    thread->lost = worker;
    thread->stray = fiber;
    thread->since_ns = since_ns;
    thread->announced = announced;
    threads->unannounced += !announced;
    list_append(&threads->strays, &thread->link);
    atomic_store_explicit(&fiber->stray_on, thread, memory_order_release);
    /* Release: pairs with the acquire of observers (I3). */
    atomic_store_explicit(&worker->current, NULL, memory_order_release);
    if (hooked())
        hook_switch(worker, fiber, NULL, LEAVE_HANDOFF);
    count(&worker->counters.handoffs, 1);
    worker->budget = -1; /* begin with a tick: see what came meanwhile */
    worker->thread = spare;
    spare->worker = worker;
    spare->reserved = false;
    pthread_cond_signal(&spare->wake);
}

/* S2.  Returns: 1 the fiber has lost the worker for good, 0 not now, -ENOTSUP. */
static int try_to_take(struct worker *worker, struct fiber *fiber)
{
    struct worker *stray = stray_worker(worker->runtime);
    struct worker *expected = worker;
    int r;

    if (!atomic_compare_exchange_strong_explicit(&fiber->worker, &expected, stray,
                                                 memory_order_seq_cst, memory_order_relaxed))
        return 0; /* another worker runs it by now */
    shake();
    r = barrier_everywhere();
    shake();
    /* Acquire: S4; and a resumer's worker was written before its fiber left the section. */
    if (r == 0 && !atomic_load_explicit(&fiber->inside, memory_order_acquire) &&
        fiber_worker(fiber) == stray && count_pinned(worker) == 0)
        return 1;
    expected = stray;
    atomic_compare_exchange_strong_explicit(&fiber->worker, &expected, worker, memory_order_relaxed,
                                            memory_order_relaxed);
    return r;
}

/* Who is to lose the worker, if a try has a chance; or NULL.  A hint. */
static struct fiber *candidate(struct worker *worker)
{
    struct fiber *fiber = atomic_load_explicit(&worker->current, memory_order_acquire);

    if (!fiber || atomic_load_explicit(&fiber->inside, memory_order_relaxed))
        return NULL;
    return fiber;
}

int handoff_take(struct worker *worker, uint64_t since_ns, bool told)
{
    struct threads *threads = &worker->runtime->threads;
    struct thread *spare = candidate(worker) ? threads_reserve(threads) : NULL;
    struct fiber *fiber;
    int r = 0;

    if (!spare)
        return 0;
    pthread_mutex_lock(&threads->lock);
    fiber = candidate(worker);
    if (fiber && threads->unannounced < threads->unannounced_max)
        r = try_to_take(worker, fiber);
    if (r > 0) {
        worker->thread->told = told;
        change_hands(worker, fiber, spare, since_ns, false);
    } else {
        threads_release(threads, spare);
    }
    pthread_mutex_unlock(&threads->lock);
    return r;
}

/* --- the fiber's side */

struct worker *handoff_look_again(struct fiber *self)
{
    struct worker *worker = fiber_worker(self);
    struct threads *threads = &worker->runtime->threads;

    if (likely(!worker->is_stray))
        return worker;
    pthread_mutex_lock(&threads->lock); /* S3 */
    worker = fiber_worker(self);
    pthread_mutex_unlock(&threads->lock);
    return worker->is_stray ? NULL : worker;
}

struct worker *handoff_go_home(struct fiber *self)
{
    struct thread *thread = atomic_load_explicit(&self->stray_on, memory_order_relaxed);

    return sched_leave_thread(self, thread);
}

unsigned handoff_lost_index(struct fiber *self)
{
    /* On its own thread, whose record does not change as long as it is a stray (I3). */
    return atomic_load_explicit(&self->stray_on, memory_order_relaxed)->lost->index;
}

void handoff_arrived(struct thread *thread)
{
    struct threads *threads = &thread->runtime->threads;
    struct fiber *fiber = thread->stray;
    struct worker *lost = thread->lost;

    pthread_mutex_lock(&threads->lock);
    threads->unannounced -= !thread->announced;
    thread->stray = NULL;
    list_remove(&thread->link);
    atomic_store_explicit(&fiber->stray_on, NULL, memory_order_relaxed);
    /* Release: whoever sees that it is no stray any more sees its registers (observe/look.h,
     * O3). */
    atomic_store_explicit(&fiber->worker, lost, memory_order_release);
    pthread_mutex_unlock(&threads->lock);
    sched_ready(NULL, fiber);
}

/* --- announced */

/* Give the own worker away.  Errors: -EAGAIN no thread, -EBUSY. */
static int give_away(struct fiber *self, struct worker *worker)
{
    struct threads *threads = &worker->runtime->threads;
    struct thread *spare;

    if (count_pinned(worker) > 0)
        return -EBUSY; /* S6 */
    spare = threads_reserve(threads);
    if (!spare)
        return -EAGAIN;
    pthread_mutex_lock(&threads->lock);
    /* Under the lock no try to take it is under way; and it is inside, so none can have
     * succeeded. */
    atomic_store_explicit(&self->worker, stray_worker(worker->runtime), memory_order_relaxed);
    change_hands(worker, self, spare, weft_now_ns(), true);
    pthread_mutex_unlock(&threads->lock);
    return 0;
}

/* The monitor was faster than the announcement. */
static void announce_late(struct fiber *self)
{
    struct thread *thread = atomic_load_explicit(&self->stray_on, memory_order_relaxed);
    struct threads *threads = &thread->runtime->threads;

    pthread_mutex_lock(&threads->lock);
    threads->unannounced -= !thread->announced;
    thread->announced = true;
    pthread_mutex_unlock(&threads->lock);
}

int weft_blocking_begin(void)
{
    struct fiber *self = fiber_self();
    struct worker *worker;
    int r = 0;

    if (!self)
        return 0;
    if (self->blocking == UINT16_MAX)
        return -EOVERFLOW;
    if (self->blocking == 0) {
        worker = worker_enter(self);
        if (worker)
            r = give_away(self, worker);
        else
            announce_late(self);
        worker_exit(self);
    }
    self->blocking += r == 0;
    return r;
}

int weft_blocking_end(void)
{
    struct fiber *self = fiber_self();

    if (!self)
        return 0;
    if (self->blocking == 0)
        return -EINVAL;
    if (--self->blocking > 0)
        return 0;
    worker_enter_home(self);
    worker_exit(self);
    return scope_check(self);
}

/* --- pins */

int weft_pin(void)
{
    struct fiber *self = fiber_self();
    struct worker *worker;

    CHECK(self);
    if (self->pins == UINT16_MAX)
        return -EOVERFLOW;
    worker = worker_enter_home(self);
    if (self->pins++ == 0) {
        self->home = worker;
        note_pinned(worker, 1);
    }
    worker_exit(self);
    return 0;
}

static void unpin(struct fiber *self)
{
    struct worker *worker = worker_enter_home(self); /* its home: it stays there */

    ASSERT(worker == self->home);
    self->home = NULL;
    note_pinned(worker, -1);
    worker_exit(self);
}

int weft_unpin(void)
{
    struct fiber *self = fiber_self();

    CHECK(self);
    if (self->pins == 0)
        return -EINVAL;
    if (--self->pins == 0)
        unpin(self);
    return 0;
}

void handoff_forgive(struct fiber *self)
{
    self->blocking = 0;
    self->pins = 0;
    if (self->home)
        unpin(self);
}

/* --- for the monitor */

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, 0) > 0;
}

bool handoff_is_due(struct worker *worker, uint64_t now_ns)
{
    return worker_queued(worker) > 0 || inject_length(&worker->runtime->inject) > 0 ||
           timers_next(&worker->timers) <= now_ns || ring_is_busy(worker) ||
           is_readable(worker->poller.epoll_fd);
}

bool handoff_next_slow(struct threads *threads, uint64_t slow_ns, uint64_t now_ns,
                       struct stray *ret_stray, bool *ret_more)
{
    struct thread *slow = NULL;

    *ret_more = false;
    pthread_mutex_lock(&threads->lock);
    for (struct list *node = threads->strays.next; node != &threads->strays; node = node->next) {
        struct thread *thread = container_of(node, struct thread, link);

        if (thread->announced || thread->told)
            continue;
        *ret_more = true;
        if (!slow && thread->since_ns + slow_ns <= now_ns)
            slow = thread;
    }
    if (slow) {
        slow->told = true;
        *ret_stray = (struct stray){
            .fiber = slow->stray,
            .id = atomic_load_explicit(&slow->stray->id, memory_order_relaxed),
            .since_ns = slow->since_ns,
            .worker = slow->lost->index,
        };
    }
    pthread_mutex_unlock(&threads->lock);
    return slow != NULL;
}

bool handoff_is_stray(struct threads *threads, const struct fiber *fiber, uint64_t since_ns)
{
    bool found = false;

    pthread_mutex_lock(&threads->lock);
    for (struct list *node = threads->strays.next; node != &threads->strays; node = node->next) {
        struct thread *thread = container_of(node, struct thread, link);

        found = found || (thread->stray == fiber && thread->since_ns == since_ns);
    }
    pthread_mutex_unlock(&threads->lock);
    return found;
}
