/* SPDX-License-Identifier: MIT */
/*
 * Floor of the fork-join rows: the same recursion as plain calls, nothing forked.
 *
 * fib_1, fib_2: fib(32), ns per fib() call.  With more workers the tree is cut into pieces of
 *               fib(20) that the threads take from one counter, which is as even as it gets.
 * skynet_join:  the 10-way tree with 1 M leaves on one thread; ms.
 */
#include "peer.h"

#include <pthread.h>
#include <stdatomic.h>

#define FIB_N      32
#define FIB_VALUE  2178309
#define FIB_CALLS  7049155
#define PIECE_N    20
#define PIECES_MAX 1024
#define ROUNDS     8

static int pieces[PIECES_MAX];
static int piece_count;
static atomic_int next_piece;
static atomic_long total;

/* Left to the optimiser, which turns one level of the recursion into a loop and inlines some. */
__attribute__((noinline)) static long fib(long n)
{
    if (n < 2)
        return n;
    return fib(n - 1) + fib(n - 2);
}

static void cut(int n)
{
    if (n <= PIECE_N) {
        pieces[piece_count++] = n;
        return;
    }
    cut(n - 1);
    cut(n - 2);
}

static void *take_pieces(void *unused)
{
    long sum = 0;
    int piece;

    while ((piece = atomic_fetch_add_explicit(&next_piece, 1, memory_order_relaxed)) < piece_count)
        sum += fib(pieces[piece]);
    atomic_fetch_add(&total, sum);
    return unused;
}

static void fib_on_threads(int workers)
{
    pthread_t threads[64];

    atomic_store(&next_piece, 0);
    atomic_store(&total, 0);
    for (int i = 1; i < workers && i < 64; i++)
        peer_check(pthread_create(&threads[i], NULL, take_pieces, NULL) == 0, "pthread_create");
    take_pieces(NULL);
    for (int i = 1; i < workers && i < 64; i++)
        pthread_join(threads[i], NULL);
    peer_check(atomic_load(&total) == FIB_VALUE, "fib");
}

static double measure_fib(int workers)
{
    uint64_t start;

    cut(FIB_N);
    fib_on_threads(workers);
    start = peer_now_ns();
    for (int i = 0; i < ROUNDS; i++)
        fib_on_threads(workers);
    return peer_ns_per(start, (uint64_t)ROUNDS * FIB_CALLS);
}

__attribute__((noinline)) static long skynet(long number, long size)
{
    long sum = 0;

    if (size == 1)
        return number;
    for (long i = 0; i < 10; i++)
        sum += skynet(number + i * (size / 10), size / 10);
    return sum;
}

static double measure_skynet(int workers)
{
    volatile long leaves = 1000000; /* else the sum is moved out of the rounds */
    uint64_t start;

    (void)workers;
    peer_check(skynet(0, leaves) == 499999500000, "skynet");
    start = peer_now_ns();
    for (int i = 0; i < ROUNDS; i++)
        peer_check(skynet(0, leaves) == 499999500000, "skynet");
    return peer_ns_per(start, ROUNDS) / 1e6;
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {
        {"fib_1", measure_fib, "ns"},
        {"fib_2", measure_fib, "ns"},
        {"skynet_join", measure_skynet, "ms"},
    };

    return peer_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
