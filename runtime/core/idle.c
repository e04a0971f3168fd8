/* SPDX-License-Identifier: MIT */
/* The idle protocol.  Its invariants stand in idle.h; the model is tests/model/park.pml. */
#include "core/idle.h"

#include <errno.h>
#include <stdlib.h>

#include "core/worker.h"

int idle_init(struct idle *idle, unsigned workers)
{
    *idle = (struct idle){.workers = workers};
    atomic_init(&idle->state, workers * IDLE_AWAKE);
    idle->sleeper = calloc(workers, sizeof(struct worker *));
    return idle->sleeper ? 0 : -ENOMEM;
}

void idle_destroy(struct idle *idle)
{
    free(idle->sleeper);
}

struct worker *idle_take_sleeper(struct idle *idle, enum idle_work work)
{
    struct worker *worker = NULL;

    spin_lock(&idle->lock);
    if (idle->sleepers > 0 && idle_needs_wake(idle, atomic_load(&idle->state), work)) {
        worker = idle->sleeper[--idle->sleepers];
        worker->listed = false;
        atomic_fetch_add_explicit(&idle->state, IDLE_AWAKE + IDLE_SEARCHING, memory_order_seq_cst);
    }
    spin_unlock(&idle->lock);
    return worker;
}

bool idle_start_search(struct idle *idle)
{
    unsigned state = atomic_load_explicit(&idle->state, memory_order_relaxed);

    if (2 * (state & IDLE_SEARCHING_MASK) >= idle->workers)
        return false;
    atomic_fetch_add_explicit(&idle->state, IDLE_SEARCHING, memory_order_seq_cst);
    return true;
}

bool idle_stop_search(struct idle *idle)
{
    unsigned before = atomic_fetch_sub_explicit(&idle->state, IDLE_SEARCHING, memory_order_seq_cst);

    shake();
    return (before & IDLE_SEARCHING_MASK) == 1;
}

enum dozer idle_announce(struct idle *idle, struct worker *worker, bool searching, bool doze)
{
    enum dozer dozer = DOZER_NONE;
    unsigned change = IDLE_AWAKE + (searching ? IDLE_SEARCHING : 0);

    spin_lock(&idle->lock);
    idle->sleeper[idle->sleepers++] = worker;
    worker->listed = true;
    if (doze && !idle->dozer) {
        idle->dozer = worker;
        change -= IDLE_DOZING;
    }
    atomic_fetch_sub_explicit(&idle->state, change, memory_order_seq_cst);
    if (idle->dozer)
        dozer = idle->dozer == worker ? DOZER_SELF : DOZER_OTHER;
    spin_unlock(&idle->lock);
#ifndef WITH_TSAN
    atomic_thread_fence(memory_order_seq_cst); /* I3: before the parker's last look */
#endif
    return dozer;
}

static void sleepers_remove(struct idle *idle, struct worker *worker)
{
    for (unsigned i = 0; i < idle->sleepers; i++) {
        if (idle->sleeper[i] == worker) {
            idle->sleeper[i] = idle->sleeper[--idle->sleepers];
            return;
        }
    }
}

bool idle_return(struct idle *idle, struct worker *worker, bool owes_look)
{
    unsigned change = 0;
    bool searching;

    spin_lock(&idle->lock);
    searching = !worker->listed;
    if (worker->listed) {
        sleepers_remove(idle, worker);
        worker->listed = false;
        change += IDLE_AWAKE;
    }
    if (idle->dozer == worker) {
        idle->dozer = NULL;
        change -= IDLE_DOZING;
        owes_look = true;
    }
    if (owes_look && !searching) {
        change += IDLE_SEARCHING;
        searching = true;
    }
    if (change)
        atomic_fetch_add_explicit(&idle->state, change, memory_order_seq_cst);
    spin_unlock(&idle->lock);
    return searching;
}
