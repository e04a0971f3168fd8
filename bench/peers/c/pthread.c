/* SPDX-License-Identifier: MIT */
/*
 * What the kernel's own threads cost: the price that fibers are there to avoid.
 *
 * yield:       sched_yield between two threads on one core; ns per switch.
 * spawn_join:  pthread_create and pthread_join, one by one; ns per pair.
 * spawn_batch: 1,000 threads started, then all joined; ns per thread.
 * ping_pong:   two threads and a futex each way, left to the kernel's scheduler; ns per round trip.
 */
#include "peer.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BATCH 1000

static atomic_ulong started;
static atomic_uint ball; /* even: the main thread's turn */
static atomic_uint running;

static void *count_up(void *unused)
{
    atomic_fetch_add_explicit(&started, 1, memory_order_relaxed);
    return unused;
}

static double measure_spawn_join(int workers)
{
    const uint64_t rounds = 10000, warm = 500;
    uint64_t start = 0;
    pthread_t thread;

    (void)workers;
    for (uint64_t i = 0; i < warm + rounds; i++) {
        if (i == warm)
            start = peer_now_ns();
        peer_check(pthread_create(&thread, NULL, count_up, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
    peer_check(atomic_load(&started) == warm + rounds, "threads started");
    return peer_ns_per(start, rounds);
}

static void spawn_batch(void)
{
    static pthread_t threads[BATCH];

    for (int i = 0; i < BATCH; i++)
        peer_check(pthread_create(&threads[i], NULL, count_up, NULL) == 0, "pthread_create");
    for (int i = 0; i < BATCH; i++)
        pthread_join(threads[i], NULL);
}

static double measure_spawn_batch(int workers)
{
    const uint64_t rounds = 10;
    uint64_t start;

    (void)workers;
    spawn_batch();
    start = peer_now_ns();
    for (uint64_t i = 0; i < rounds; i++)
        spawn_batch();
    peer_check(atomic_load(&started) == (rounds + 1) * BATCH, "threads started");
    return peer_ns_per(start, rounds * BATCH);
}

static void pin_to_one_core(void)
{
    cpu_set_t cores;

    CPU_ZERO(&cores);
    CPU_SET(sched_getcpu(), &cores);
    sched_setaffinity(0, sizeof(cores), &cores);
}

static void *yield_along(void *unused)
{
    while (atomic_load_explicit(&running, memory_order_relaxed))
        sched_yield();
    return unused;
}

static double measure_yield(int workers)
{
    const uint64_t rounds = 400000;
    uint64_t start;
    pthread_t other;
    double per_turn;

    (void)workers;
    pin_to_one_core();
    atomic_store(&running, 1);
    peer_check(pthread_create(&other, NULL, yield_along, NULL) == 0, "pthread_create");
    for (int i = 0; i < 10000; i++)
        sched_yield();
    start = peer_now_ns();
    for (uint64_t i = 0; i < rounds; i++)
        sched_yield();
    per_turn = peer_ns_per(start, 2 * rounds);
    atomic_store(&running, 0);
    pthread_join(other, NULL);
    return per_turn;
}

static void ball_wait_for(unsigned turn)
{
    while (atomic_load(&ball) != turn)
        syscall(SYS_futex, &ball, FUTEX_WAIT_PRIVATE, turn - 1, NULL, NULL, 0);
}

static void ball_pass(unsigned turn)
{
    atomic_store(&ball, turn);
    syscall(SYS_futex, &ball, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#define PING_WARM   1000u
#define PING_ROUNDS 50000u

static void *pong(void *unused)
{
    for (unsigned i = 0; i < PING_WARM + PING_ROUNDS; i++) {
        ball_wait_for(2 * i + 1);
        ball_pass(2 * i + 2);
    }
    return unused;
}

static double measure_ping_pong(int workers)
{
    uint64_t start = 0;
    pthread_t other;
    double per_round;

    (void)workers;
    peer_check(pthread_create(&other, NULL, pong, NULL) == 0, "pthread_create");
    for (unsigned i = 0; i < PING_WARM + PING_ROUNDS; i++) {
        if (i == PING_WARM)
            start = peer_now_ns();
        ball_pass(2 * i + 1);
        ball_wait_for(2 * i + 2);
    }
    per_round = peer_ns_per(start, PING_ROUNDS);
    pthread_join(other, NULL);
    return per_round;
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {
        {"yield", measure_yield, "ns"},
        {"spawn_join", measure_spawn_join, "ns"},
        {"spawn_batch", measure_spawn_batch, "ns"},
        {"ping_pong", measure_ping_pong, "ns"},
    };

    return peer_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
