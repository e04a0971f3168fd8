/* SPDX-License-Identifier: MIT */
/*
 * A clock that goes by how often it is read, for counting instructions: preloaded into a benchmark
 * by tools/check-instructions.sh.  The scheduler polls its loop by the clock, so by the real one a
 * program would poll more often the slower it runs, and under callgrind it runs fifty times slower.
 * A reading moves it as far as a benchmark gets between two readings without callgrind.
 *
 * It stands still while nobody reads it, so a wait for a time on it lasts until it is ended: by the
 * kernel's clock, which is far ahead, the monitor would not wait at all, and be counted, too.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define STEP_NS   2000
#define SECOND_NS 1000000000

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    static atomic_long now_ns; /* atomic: read by every thread; relaxed, it orders nothing */
    long now = atomic_fetch_add_explicit(&now_ns, STEP_NS, memory_order_relaxed);

    (void)clock;
    ret_now->tv_sec = 1 + now / SECOND_NS;
    ret_now->tv_nsec = now % SECOND_NS;
    return 0;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                           const struct timespec *deadline)
{
    (void)deadline;
    return pthread_cond_wait(cond, mutex);
}
