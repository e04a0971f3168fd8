/* SPDX-License-Identifier: MIT */
/*
 * The observer: see look.h for what makes it safe.
 *
 * look_begin costs a membarrier(2), which interrupts the processors that run this process for about
 * a microsecond; the fibers pay a few instructions per switch while it lasts.  Nobody is stopped.
 */
#include "observe/look.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/barrier.h"
#include "core/group.h"
#include "core/handoff.h"
#include "core/hooks.h"
#include "core/park.h"
#include "core/runtime.h"
#include "core/stack.h"
#include "core/worker.h"
#include "observe/code.h"
#include "observe/frames.h"
#include "observe/interrupt.h"
#include "observe/owner.h"

enum { SWITCH_TRIES = 2000, CHUNK = 64 };

_Atomic(struct fiber *) observe_pinned;

static pthread_mutex_t observer = PTHREAD_MUTEX_INITIALIZER;

int look_begin(void)
{
    int r;

    pthread_mutex_lock(&observer);
    atomic_fetch_or_explicit(&observe_hooks, HOOK_PIN, memory_order_seq_cst);
    r = barrier_everywhere();
    if (r < 0)
        look_end();
    return r;
}

void look_end(void)
{
    atomic_store_explicit(&observe_pinned, NULL, memory_order_release);
    atomic_fetch_and_explicit(&observe_hooks, ~(unsigned)HOOK_PIN, memory_order_release);
    pthread_mutex_unlock(&observer);
}

/* --- one fiber, which is pinned */

static struct worker *runner_of(struct weft_runtime *runtime, const struct fiber *fiber)
{
    for (unsigned i = 0; i < runtime->workers; i++)
        if (atomic_load_explicit(&runtime->worker[i].current, memory_order_acquire) == fiber)
            return &runtime->worker[i];
    return NULL;
}

/* Who ran it last; NULL if that was another runtime's worker, before the stack became this
 * fiber's, or if it is a stray, or somebody tries to make it one. */
static struct worker *last_worker_of(struct weft_runtime *runtime, const struct fiber *fiber)
{
    /* Acquire: a stray that came home has its registers saved (handoff_arrived). */
    struct worker *worker = atomic_load_explicit(&fiber->worker, memory_order_acquire);
    uintptr_t offset = (uintptr_t)worker - (uintptr_t)runtime->worker;

    return offset < runtime->workers * sizeof(struct worker) ? worker : NULL;
}

static bool is_waiting(const struct fiber *fiber)
{
    unsigned state = atomic_load_explicit(&fiber->park, memory_order_acquire) & PARK_STATE_MASK;

    return state == PARK_WAITING || state == PARK_WAITING_SHIELDED;
}

static bool is_switching(const struct worker *worker)
{
    return worker && atomic_load_explicit(&worker->after, memory_order_acquire) != NULL;
}

/* Whether a try to take its worker is under way, after which fiber->worker is right again; or it
 * has become a stray since it was asked about that. */
static bool is_being_tried(struct weft_runtime *runtime, const struct fiber *fiber)
{
    struct worker *worker = atomic_load_explicit(&fiber->worker, memory_order_acquire);

    return worker == &runtime->worker[runtime->workers];
}

/* A stray: it runs, on the thread of a worker that goes on without it. */
static bool look_stray(struct weft_runtime *runtime, const struct fiber *fiber,
                       struct weft_fiber_info *info)
{
    struct threads *threads = &runtime->threads;
    struct thread *thread;

    if (!atomic_load_explicit(&fiber->stray_on, memory_order_acquire))
        return false;
    pthread_mutex_lock(&threads->lock);
    thread = atomic_load_explicit(&fiber->stray_on, memory_order_relaxed);
    if (thread) {
        info->state = WEFT_FIBER_RUNNING;
        info->without_worker = true;
        info->worker = thread->lost->index;
        info->since_ns = thread->since_ns;
    }
    pthread_mutex_unlock(&threads->lock);
    return thread != NULL;
}

/* Returns: whether its registers are saved (O3). */
static bool look_state(struct weft_runtime *runtime, const struct fiber *fiber,
                       struct weft_fiber_info *info)
{
    for (unsigned try = 0; try < SWITCH_TRIES; try++) {
        struct worker *worker = last_worker_of(runtime, fiber);
        struct worker *runner;

        info->worker = worker ? worker->index : 0;
        info->state = WEFT_FIBER_WAITING;
        if (is_waiting(fiber))
            return true;
        info->state = WEFT_FIBER_RUNNING;
        runner = runner_of(runtime, fiber);
        if (runner) {
            info->worker = runner->index;
            return false;
        }
        if (look_stray(runtime, fiber, info))
            return false;
        info->state = WEFT_FIBER_READY;
        if (!is_being_tried(runtime, fiber) && !is_switching(last_worker_of(runtime, fiber)))
            return true;
        if (try > SWITCH_TRIES / 2)
            sched_yield();
    }
    return false;
}

static uint64_t id_of(const struct fiber *fiber)
{
    return fiber ? atomic_load_explicit(&fiber->id, memory_order_relaxed) : 0;
}

static void look_wait(const struct fiber *fiber, struct weft_fiber_info *info)
{
    info->wait_kind = atomic_load_explicit(&fiber->wait_kind, memory_order_relaxed);
    info->wait_object = atomic_load_explicit(&fiber->wait_object, memory_order_relaxed);
    info->since_ns = fiber->since_ns;
    if (info->wait_kind)
        info->wait_owner_id = id_of(wait_owner_of(info->wait_kind, info->wait_object));
}

/* Whoever joins it; for one that nobody joins, whoever spawned it. */
static uint64_t parent_of(const struct fiber *fiber)
{
    const struct fiber *owner = fiber->group->scope.owner;

    return owner ? id_of(owner) : fiber->spawner_id;
}

static void look_name(const struct fiber *fiber, struct look *look)
{
    if (!fiber->name)
        return;
    strncpy(look->name, fiber->name, LOOK_NAME - 1);
    look->info.name = look->name; /* of this copy: look_more's caller owns it */
}

static void look_frames(struct weft_fiber_info *info, const struct frames *frames)
{
    info->frame_count = frames->count;
    info->guesses = frames->guesses;
    memcpy(info->frames, frames->at, frames->count * sizeof(*frames->at));
}

static void look_fill(struct weft_runtime *runtime, struct fiber *fiber, const struct code_map *map,
                      struct look *look)
{
    struct weft_fiber_info *info = &look->info;
    bool saved = look_state(runtime, fiber, info);
    struct frames frames = {.map = map};

    look->fiber = info->address = fiber;
    info->parent_id = parent_of(fiber);
    look->group = fiber->group;
    info->stack_size = (size_t)1 << stack_shift(fiber->stack_class);
    look_name(fiber, look);
    if (info->state == WEFT_FIBER_WAITING)
        look_wait(fiber, info);
    if (!map)
        return;
    if (saved)
        frames_suspended(fiber, &frames);
    else
        frames_own(fiber, &frames);
    look_frames(info, &frames);
}

bool look_at(struct weft_runtime *runtime, struct fiber *fiber, const struct code_map *map,
             struct look *ret_look)
{
    bool found;

    if (id_of(fiber) == 0)
        return false;
    atomic_store_explicit(&observe_pinned, fiber, memory_order_seq_cst);
    hook_barrier(); /* O2 */
    memset(ret_look, 0, sizeof(*ret_look));
    ret_look->info.id = atomic_load_explicit(&fiber->id, memory_order_acquire);
    found = ret_look->info.id != 0 && fiber->group->runtime == runtime;
    if (found)
        look_fill(runtime, fiber, map, ret_look);
    atomic_store_explicit(&observe_pinned, NULL, memory_order_release);
    return found;
}

/* --- all of them */

/* The next slot that was carved, or NULL. */
static struct fiber *cursor_next(struct look_cursor *cursor)
{
    for (; cursor->class < STACK_CLASSES; cursor->class ++, cursor->index = 0)
        if (cursor->index < stack_carved((enum stack_class)cursor->class))
            return stack_slot((enum stack_class)cursor->class, cursor->index++);
    return NULL;
}

void look_interrupt(struct weft_runtime *runtime, const struct code_map *map, struct look *look)
{
    struct weft_fiber_info *info = &look->info;
    struct frames frames = {.map = map};

    if (info->state != WEFT_FIBER_RUNNING || info->frame_count > 0)
        return;
    interrupt_frames(&runtime->worker[info->worker], look->fiber, info->id, &frames);
    look_frames(info, &frames);
}

int look_more(struct weft_runtime *runtime, unsigned flags, struct look_cursor *cursor,
              struct look *ret_looks, int most)
{
    struct code_map code;
    const struct code_map *map = flags & WEFT_DUMP_BACKTRACE ? &code : NULL;
    struct fiber *fiber;
    int count = 0, r;

    if (flags)
        code_map_read(&code);
    r = look_begin();
    if (r < 0)
        return r;
    while (count < most && (fiber = cursor_next(cursor)))
        count += look_at(runtime, fiber, map, &ret_looks[count]);
    look_end();
    for (int i = 0; i < count && flags & WEFT_DUMP_INTERRUPT; i++)
        look_interrupt(runtime, &code, &ret_looks[i]);
    return count;
}

int weft_fibers_each(struct weft_runtime *runtime, unsigned flags,
                     int (*each)(const struct weft_fiber_info *info, void *arg), void *arg)
{
    struct look *looks = malloc(CHUNK * sizeof(*looks));
    struct look_cursor cursor = {0};
    int count, r = 0;

    if (!looks)
        return -ENOMEM;
    while (r == 0 && (count = look_more(runtime, flags, &cursor, looks, CHUNK)) != 0) {
        if (count < 0)
            r = count;
        for (int i = 0; i < count && r == 0; i++)
            r = each(&looks[i].info, arg);
    }
    free(looks);
    return r;
}
