# SPDX-License-Identifier: MIT
"""The rows of the benchmark table in asyncio, on its own loop or on uvloop's.

Called as `main.py [--uvloop] [--streams | --aiohttp | --aiofiles] ROW`; prints
`row<TAB>value<TAB>unit`.  What would take minutes does less of the same work and is scaled: fib(20),
a skynet of 100,000 leaves, 100,000 sleepers.
"""

import argparse
import asyncio
import concurrent.futures
import os
import random
import shutil
import sys
import tempfile
import time

ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\n"
          b"Hello, world!\n")
AT_ONCE = 64
CAPACITY = 1024


def ns_per(start, count):
    return (time.perf_counter_ns() - start) / count


def check(good, what):
    if not good:
        sys.exit(f"wrong result: {what}")


def show(row, value, unit):
    print(f"{row}\t{value:.3f}\t{unit}", flush=True)


async def nothing():
    pass


# ---- switching, spawning ----

async def take_turns(rounds):
    for _ in range(rounds):
        await asyncio.sleep(0)


async def measure_yield():
    rounds = 200_000
    start = time.perf_counter_ns()
    await asyncio.gather(take_turns(rounds), take_turns(rounds))
    return ns_per(start, 2 * rounds), "ns"


async def measure_spawn_join():
    rounds = 100_000
    start = time.perf_counter_ns()
    for _ in range(rounds):
        await asyncio.create_task(nothing())
    return ns_per(start, rounds), "ns"


async def measure_spawn_batch():
    batches, batch = 10, 10_000
    start = time.perf_counter_ns()
    for _ in range(batches):
        await asyncio.gather(*[asyncio.create_task(nothing()) for _ in range(batch)])
    return ns_per(start, batches * batch), "ns"


async def answer_numbers(ping, pong):
    while (value := await ping.get()) is not None:
        await pong.put(value + 1)


async def measure_ping_pong():
    rounds = 50_000
    ping, pong = asyncio.Queue(1), asyncio.Queue(1)
    other = asyncio.create_task(answer_numbers(ping, pong))
    start = time.perf_counter_ns()
    for i in range(rounds):
        await ping.put(i)
        check(await pong.get() == i + 1, "ping_pong")
    value = ns_per(start, rounds)
    await ping.put(None)
    await other
    return value, "ns"


# ---- trees ----

async def skynet_join(number, size):
    if size == 1:
        return number
    child = size // 10
    return sum(await asyncio.gather(
        *[asyncio.create_task(skynet_join(number + i * child, child)) for i in range(10)]))


async def skynet_channel(number, size, parent):
    if size == 1:
        await parent.put(number)
        return
    child = size // 10
    queue = asyncio.Queue()
    tasks = [asyncio.create_task(skynet_channel(number + i * child, child, queue))
             for i in range(10)]
    total = 0
    for _ in tasks:
        total += await queue.get()
    await parent.put(total)


async def measure_skynet_join():
    start = time.perf_counter_ns()
    check(await skynet_join(0, 100_000) == 4_999_950_000, "skynet")
    return ns_per(start, 1) / 1e6 * 10, "ms"


async def measure_skynet_channel():
    root = asyncio.Queue()
    start = time.perf_counter_ns()
    await skynet_channel(0, 100_000, root)
    check(await root.get() == 4_999_950_000, "skynet")
    return ns_per(start, 1) / 1e6 * 10, "ms"


async def fib(n):
    if n < 2:
        return n
    left = asyncio.create_task(fib(n - 1))
    right = await fib(n - 2)
    return await left + right


async def measure_fib():
    start = time.perf_counter_ns()
    check(await fib(20) == 6765, "fib")
    return ns_per(start, 21_891), "ns"


# ---- memory, timers ----

def memory_of(field):
    with open("/proc/self/status", encoding="utf-8") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


async def measure_sleepers():
    count, begun = 100_000, 0

    async def sleep_long():
        nonlocal begun
        begun += 1
        await asyncio.sleep(3600)

    resident, tables = memory_of("VmRSS:"), memory_of("VmPTE:")
    start = time.perf_counter_ns()
    tasks = [asyncio.create_task(sleep_long()) for _ in range(count)]
    while begun < count:
        await asyncio.sleep(0)
    create_ms = ns_per(start, 1) / 1e6 * 10
    figures = memory_of("VmRSS:") - resident, memory_of("VmPTE:") - tables
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    show("sleepers_create", create_ms, "ms")
    show("sleepers_page_table", figures[1] / count, "B")
    return figures[0] / count, "B"


async def sleep_once(duration):
    start = time.perf_counter_ns()
    await asyncio.sleep(duration)
    return (time.perf_counter_ns() - start) / 1000 - duration * 1e6


async def measure_timers():
    count = 100_000
    durations = [random.random() for _ in range(count)]
    late = sorted(await asyncio.gather(*[sleep_once(duration) for duration in durations]))
    show("timers_p50", late[count // 2], "us")
    return late[count * 99 // 100], "us"


# ---- channels ----

async def send_all(queue, count):
    for i in range(count):
        await queue.put(i)


async def receive_all(queue):
    total = 0
    while (number := await queue.get()) is not None:
        total += number
    return total


async def measure_channel(ends):
    count = 400_000 // ends
    queue = asyncio.Queue(CAPACITY)
    start = time.perf_counter_ns()
    receivers = [asyncio.create_task(receive_all(queue)) for _ in range(ends)]
    await asyncio.gather(*[send_all(queue, count) for _ in range(ends)])
    for _ in range(ends):
        await queue.put(None)
    total = sum(await asyncio.gather(*receivers))
    check(total == ends * count * (count - 1) // 2, "the numbers' sum")
    return 1000 / ns_per(start, ends * count), "M/s"


# ---- hello servers, which SIGTERM ends ----

class Hello(asyncio.Protocol):
    """The lowest of asyncio's interfaces."""

    def __init__(self):
        self.transport = None
        self.request = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.request += data
        if self.request.endswith(b"\r\n\r\n"):
            self.request = b""
            self.transport.write(ANSWER)


async def hello_streams(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def show_port(server):
    print(f"port\t{server.sockets[0].getsockname()[1]}\thttp_hello", flush=True)


async def serve_protocol():
    server = await asyncio.get_running_loop().create_server(Hello, "127.0.0.1", 0)
    show_port(server)
    await server.serve_forever()


async def serve_streams():
    server = await asyncio.start_server(hello_streams, "127.0.0.1", 0)
    show_port(server)
    await server.serve_forever()


async def serve_aiohttp():
    from aiohttp import web

    async def handle(_):
        return web.Response(text="Hello, world!\n")

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    show_port(site._server)
    await asyncio.Event().wait()


# ---- files ----

def copy_plainly(source, target):
    with open(source, "rb") as file:
        data = file.read()
    with open(target, "wb") as file:
        file.write(data)
    return len(data)


async def copy_in_pool(source, target):
    return await asyncio.get_running_loop().run_in_executor(None, copy_plainly, source, target)


async def copy_aiofiles(source, target):
    import aiofiles

    async with aiofiles.open(source, "rb") as file:
        data = await file.read()
    async with aiofiles.open(target, "wb") as file:
        await file.write(data)
    return len(data)


async def copy_all(copy, folder, count, size):
    numbers = iter(range(count))

    async def copier():
        for number in numbers:
            copied = await copy(f"{folder}/from-{number}", f"{folder}/to-{number}")
            check(copied == size, "copy")

    start = time.perf_counter_ns()
    await asyncio.gather(*[copier() for _ in range(AT_ONCE)])
    return ns_per(start, 1) / 1e6


async def measure_copy(copy, count, size):
    """A warm-up, and the best of two."""
    folder = tempfile.mkdtemp(prefix="weft-bench-", dir="/dev/shm")
    try:
        for i in range(count):
            with open(f"{folder}/from-{i}", "wb") as file:
                file.write(b"w" * size)
        values = []
        for _ in range(3):
            values.append(await copy_all(copy, folder, count, size))
            for i in range(count):
                os.remove(f"{folder}/to-{i}")
        return min(values[1:]), "ms"
    finally:
        shutil.rmtree(folder)


def choose(options):
    copy = copy_aiofiles if options.aiofiles else copy_in_pool
    serve = (serve_streams if options.streams else
             serve_aiohttp if options.aiohttp else serve_protocol)
    return {
        "yield": measure_yield, "spawn_join": measure_spawn_join,
        "spawn_batch": measure_spawn_batch, "ping_pong": measure_ping_pong,
        "skynet_join": measure_skynet_join, "skynet_channel": measure_skynet_channel,
        "fib_1": measure_fib, "sleepers": measure_sleepers, "timers": measure_timers,
        "channel_1_1": lambda: measure_channel(1), "channel_4_4": lambda: measure_channel(4),
        "http_hello": serve,
        "copy_small": lambda: measure_copy(copy, 10_000, 4096),
        "copy_big": lambda: measure_copy(copy, 8, 64 << 20),
    }[options.row]


async def run(measure):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(AT_ONCE))
    return await measure()


def main():
    parser = argparse.ArgumentParser()
    for flag in ("uvloop", "streams", "aiohttp", "aiofiles"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("row")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop
        uvloop.install()
    show(options.row, *asyncio.run(run(choose(options))))


if __name__ == "__main__":
    main()
