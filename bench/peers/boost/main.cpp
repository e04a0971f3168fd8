/* SPDX-License-Identifier: MIT */
/*
 * The rows of the benchmark table in Boost.Fiber, its own scheduler and channels, with stacks of
 * 16 KiB: pooled where fibers come and go, cut from one mapping for the sleepers, which so touch one
 * page less each than with Boost's own allocators.
 *
 * One worker is the round-robin scheduler; more are its work-stealing one.  fib counts to 25 and is
 * given per call; skynet is left out: it holds 8 GB of stacks, since children start first in, first
 * out.  Called as `boost-peer [--workers N] ROW`; prints `row<TAB>value<TAB>unit`.
 */
#include <boost/fiber/all.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace fibers = boost::fibers;

namespace
{
using clock_type = std::chrono::steady_clock;

constexpr std::size_t stack_size = 16 * 1024;
constexpr long batch_size = 10000;
constexpr int fib_n = 25;
constexpr long fib_value = 75025;
constexpr long fib_calls = 242785;

double ns_per(clock_type::time_point start, double count)
{
    return std::chrono::duration<double, std::nano>(clock_type::now() - start).count() / count;
}

void check(bool good, const char *what)
{
    if (good)
        return;
    std::fprintf(stderr, "wrong result: %s\n", what);
    std::_Exit(1);
}

/* The stacks of one thread: Boost's pool is not to be shared. */
fibers::pooled_fixedsize_stack &stacks()
{
    thread_local fibers::pooled_fixedsize_stack pool(stack_size);
    return pool;
}

int workers = 1;

/* A fiber whose stack may be given back on another thread must not come from a thread's pool. */
template <typename Function> fibers::fiber start(Function function)
{
    if (workers == 1)
        return fibers::fiber(std::allocator_arg, stacks(), function);
    return fibers::fiber(std::allocator_arg, fibers::fixedsize_stack(stack_size), function);
}

double measure_yield()
{
    constexpr long rounds = 2000000;
    auto take_turns = [] {
        for (long i = 0; i < rounds; i++)
            boost::this_fiber::yield();
    };
    auto begin = clock_type::now();
    auto one = start(take_turns), two = start(take_turns);

    one.join();
    two.join();
    return ns_per(begin, 2 * rounds);
}

void spawn_join(long rounds)
{
    long ran = 0;

    for (long i = 0; i < rounds; i++)
        start([&ran] { ran++; }).join();
    check(ran == rounds, "spawn_join");
}

double measure_spawn_join()
{
    constexpr long rounds = 500000;

    spawn_join(rounds / 20);
    auto begin = clock_type::now();
    spawn_join(rounds);
    return ns_per(begin, rounds);
}

void spawn_batch(long batches)
{
    std::vector<fibers::fiber> batch;

    for (long i = 0; i < batches; i++) {
        batch.clear();
        for (long j = 0; j < batch_size; j++)
            batch.push_back(start([] {}));
        for (auto &fiber : batch)
            fiber.join();
    }
}

double measure_spawn_batch()
{
    constexpr long batches = 30;

    spawn_batch(3);
    auto begin = clock_type::now();
    spawn_batch(batches);
    return ns_per(begin, batches * batch_size);
}

double measure_ping_pong()
{
    constexpr long rounds = 500000;
    fibers::unbuffered_channel<long> ping, pong;
    auto other = start([&] {
        long value;

        while (ping.pop(value) == fibers::channel_op_status::success)
            pong.push(value + 1);
    });
    auto begin = clock_type::now();

    for (long i = 0; i < rounds; i++) {
        ping.push(i);
        check(pong.value_pop() == i + 1, "ping_pong");
    }
    double value = ns_per(begin, rounds);

    ping.close();
    other.join();
    return value;
}

long fib(int n)
{
    long left;

    if (n < 2)
        return n;
    auto child = start([&left, n] { left = fib(n - 1); });
    long right = fib(n - 2);

    child.join();
    return left + right;
}

double measure_fib()
{
    fib(fib_n - 7);
    auto begin = clock_type::now();

    check(fib(fib_n) == fib_value, "fib");
    return ns_per(begin, fib_calls);
}

double memory_of(const char *field)
{
    FILE *file = std::fopen("/proc/self/status", "r");
    char line[256];
    double value = -1;

    while (file && std::fgets(line, sizeof(line), file))
        if (std::strncmp(line, field, std::strlen(field)) == 0)
            value = std::strtod(line + std::strlen(field), nullptr) * 1024;
    check(value >= 0, field);
    std::fclose(file);
    return value;
}

/* Cuts stacks from one mapping, and takes none back. */
struct mapped_stack {
    char *next;

    boost::context::stack_context allocate()
    {
        boost::context::stack_context context;

        context.size = stack_size;
        context.sp = next += stack_size;
        return context;
    }

    void deallocate(boost::context::stack_context &) {}
};

/* The sleepers are never ended: the process goes with them. */
double measure_sleepers()
{
    constexpr long count = 1000000;
    double resident = memory_of("VmRSS:"), tables = memory_of("VmPTE:");
    static std::atomic<long> begun;
    auto begin = clock_type::now();
    auto stack = static_cast<char *>(mmap(nullptr, count * stack_size, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

    check(stack != MAP_FAILED, "mmap");
    madvise(stack, count * stack_size, MADV_NOHUGEPAGE);
    for (long i = 0; i < count; i++, stack += stack_size)
        fibers::fiber(std::allocator_arg, mapped_stack{stack}, [] {
            begun++;
            boost::this_fiber::sleep_for(std::chrono::hours(1));
        }).detach();
    while (begun < count)
        boost::this_fiber::yield();
    std::printf("sleepers_create\t%.3f\tms\n", ns_per(begin, 1) / 1e6);
    std::printf("sleepers_page_table\t%.3f\tB\n", (memory_of("VmPTE:") - tables) / count);
    double bytes = (memory_of("VmRSS:") - resident) / count;

    std::printf("sleepers\t%.3f\tB\n", bytes);
    std::fflush(nullptr);
    std::_Exit(0);
}

double measure_timers()
{
    constexpr std::size_t count = 100000;
    std::vector<double> late(count);
    std::vector<fibers::fiber> all;

    for (std::size_t i = 0; i < count; i++) {
        std::chrono::nanoseconds duration(random() % 1000000000);

        all.push_back(start([&late, i, duration] {
            auto begin = clock_type::now();

            boost::this_fiber::sleep_for(duration);
            late[i] = (ns_per(begin, 1) - static_cast<double>(duration.count())) / 1000;
        }));
    }
    for (auto &fiber : all)
        fiber.join();
    std::sort(late.begin(), late.end());
    std::printf("timers_p50\t%.3f\tus\n", late[count / 2]);
    return late[count * 99 / 100];
}

void pass(long ends, long count)
{
    fibers::buffered_channel<long> channel(1024);
    std::vector<fibers::fiber> senders, receivers;
    std::atomic<long> sum{0};
    long all = ends * count;

    for (long i = 0; i < ends; i++) {
        receivers.push_back(start([&] {
            long number, mine = 0;

            while (channel.pop(number) == fibers::channel_op_status::success)
                mine += number;
            sum += mine;
        }));
        senders.push_back(start([&channel, i, count] {
            for (long number = i * count; number < (i + 1) * count; number++)
                channel.push(number);
        }));
    }
    for (auto &sender : senders)
        sender.join();
    channel.close();
    for (auto &receiver : receivers)
        receiver.join();
    check(sum == all * (all - 1) / 2, "the numbers' sum");
}

template <long ends> double measure_channel()
{
    constexpr long messages = 4000000;

    pass(ends, 100000 / ends);
    auto begin = clock_type::now();
    pass(ends, messages / ends);
    return 1000 / ns_per(begin, messages);
}

/* Runs `measure` on a thread of the scheduler, and lends it the other workers' threads. */
double run(double (*measure)())
{
    std::vector<std::thread> others;
    fibers::mutex mutex;
    fibers::condition_variable_any ended;
    bool end = false;
    auto lend = [&] {
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers);
        std::unique_lock<fibers::mutex> lock(mutex);
        ended.wait(lock, [&] { return end; });
    };

    if (workers == 1)
        return measure();
    for (int i = 1; i < workers; i++)
        others.emplace_back(lend);
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers);
    double value = measure();
    {
        std::unique_lock<fibers::mutex> lock(mutex);
        end = true;
    }
    ended.notify_all();
    for (auto &other : others)
        other.join();
    return value;
}
} // namespace

int main(int argc, char **argv)
{
    const struct {
        const char *name;
        double (*measure)();
        const char *unit;
    } rows[] = {
        {"yield", measure_yield, "ns"},
        {"spawn_join", measure_spawn_join, "ns"},
        {"spawn_batch", measure_spawn_batch, "ns"},
        {"ping_pong", measure_ping_pong, "ns"},
        {"fib_1", measure_fib, "ns"},
        {"fib_2", measure_fib, "ns"},
        {"sleepers", measure_sleepers, "B"},
        {"timers", measure_timers, "us"},
        {"channel_1_1", measure_channel<1>, "M/s"},
        {"channel_4_4", measure_channel<4>, "M/s"},
    };

    if (argc == 4 && std::string(argv[1]) == "--workers")
        workers = std::atoi(argv[2]);
    for (const auto &row : rows) {
        if (row.name != std::string(argv[argc - 1]))
            continue;
        double value = run(row.measure);

        std::printf("%s\t%.3f\t%s\n", row.name, value, row.unit);
        std::fflush(nullptr);
        std::_Exit(0); /* the static pools outlive nobody that would mind */
    }
    std::fprintf(stderr, "usage: %s [--workers N] ROW\n", argv[0]);
    return 1;
}
