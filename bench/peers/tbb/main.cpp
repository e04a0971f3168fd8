/* SPDX-License-Identifier: MIT */
/*
 * The fork-join rows of the benchmark table in oneTBB.  Its tasks are stackless and cannot wait for
 * each other except by joining, so it has no yield and no ping-pong; its bounded queue stands in
 * the channel rows, with a thread for each end.
 * Called as `tbb-peer [--workers N] ROW`; prints `row<TAB>value<TAB>unit`.
 */
#include <tbb/concurrent_queue.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace
{
constexpr long batch_size = 10000;
constexpr long leaves = 1000000;
constexpr long skynet_sum = 499999500000;
constexpr int fib_n = 32;
constexpr long fib_value = 2178309;
constexpr long fib_calls = 7049155;

using clock_type = std::chrono::steady_clock;

double ns_per(clock_type::time_point start, long count)
{
    return std::chrono::duration<double, std::nano>(clock_type::now() - start).count() / count;
}

void check(bool good, const char *what)
{
    if (good)
        return;
    std::fprintf(stderr, "wrong result: %s\n", what);
    std::exit(1);
}

void spawn_join(long rounds)
{
    long ran = 0;

    for (long i = 0; i < rounds; i++) {
        tbb::task_group group;
        group.run([&ran] { ran++; });
        group.wait();
    }
    check(ran == rounds, "spawn_join");
}

double measure_spawn_join()
{
    constexpr long rounds = 1000000;

    spawn_join(rounds / 20);
    auto start = clock_type::now();
    spawn_join(rounds);
    return ns_per(start, rounds);
}

void spawn_batch(long batches)
{
    for (long i = 0; i < batches; i++) {
        tbb::task_group group;
        for (long j = 0; j < batch_size; j++)
            group.run([] {});
        group.wait();
    }
}

double measure_spawn_batch()
{
    constexpr long batches = 100;

    spawn_batch(batches / 10);
    auto start = clock_type::now();
    spawn_batch(batches);
    return ns_per(start, batches * batch_size);
}

long skynet(long number, long size)
{
    long results[10], sum = 0;

    if (size == 1)
        return number;
    tbb::task_group group;
    for (long i = 0; i < 10; i++)
        group.run([&results, number, size, i] {
            results[i] = skynet(number + i * (size / 10), size / 10);
        });
    group.wait();
    for (long result : results)
        sum += result;
    return sum;
}

double measure_skynet()
{
    constexpr int rounds = 5;

    check(skynet(0, leaves) == skynet_sum, "skynet");
    auto start = clock_type::now();
    for (int i = 0; i < rounds; i++)
        check(skynet(0, leaves) == skynet_sum, "skynet");
    return ns_per(start, rounds) / 1e6;
}

long fib(int n)
{
    long left, right;

    if (n < 2)
        return n;
    tbb::task_group group;
    group.run([&left, n] { left = fib(n - 1); });
    right = fib(n - 2);
    group.wait();
    return left + right;
}

double measure_fib()
{
    fib(fib_n - 7);
    auto start = clock_type::now();
    check(fib(fib_n) == fib_value, "fib");
    return ns_per(start, fib_calls);
}

/* `ends` threads push `count` numbers each, as many others pop them. */
void pass(long ends, long count)
{
    tbb::concurrent_bounded_queue<long> queue;
    std::vector<std::thread> threads;
    std::atomic<long> sum{0};
    long all = ends * count;

    queue.set_capacity(1024);
    for (long i = 0; i < ends; i++) {
        threads.emplace_back([&queue, i, count] {
            for (long number = i * count; number < (i + 1) * count; number++)
                queue.push(number);
        });
        threads.emplace_back([&queue, &sum, count] {
            long number, mine = 0;

            for (long left = count; left > 0; left--) {
                queue.pop(number);
                mine += number;
            }
            sum += mine;
        });
    }
    for (auto &thread : threads)
        thread.join();
    check(sum == all * (all - 1) / 2, "the numbers' sum");
}

template <long ends> double measure_channel()
{
    constexpr long messages = 4000000;

    pass(ends, 100000 / ends);
    auto start = clock_type::now();
    pass(ends, messages / ends);
    return 1000 / ns_per(start, messages);
}
} // namespace

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        double (*measure)();
        const char *unit;
    } rows[] = {
        {"spawn_join", measure_spawn_join, "ns"},
        {"spawn_batch", measure_spawn_batch, "ns"},
        {"skynet_join", measure_skynet, "ms"},
        {"fib_1", measure_fib, "ns"},
        {"fib_2", measure_fib, "ns"},
        {"channel_1_1", measure_channel<1>, "M/s"},
        {"channel_4_4", measure_channel<4>, "M/s"},
    };
    int workers = argc == 4 && std::string(argv[1]) == "--workers" ? std::atoi(argv[2]) : 1;
    tbb::global_control limit(tbb::global_control::max_allowed_parallelism, workers);
    tbb::task_arena arena(workers);

    for (const auto &row : rows) {
        if (row.name != std::string(argv[argc - 1]))
            continue;
        double value = arena.execute([&row] { return row.measure(); });
        std::printf("%s\t%.3f\t%s\n", row.name, value, row.unit);
        return 0;
    }
    std::fprintf(stderr, "usage: %s [--workers N] ROW\n", argv[0]);
    return 1;
}
