# SPDX-License-Identifier: MIT
"""What is measured: the rows, and the systems that run them."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table.  `workers` 0: as many as asked for, and once more with one.  `of`: the
    row whose run gives this figure, too.  `greater`: the greater figure is the better one."""

    work: str
    per: str
    workers: int
    goal: str = ""
    of: str = ""
    greater: bool = False


ROWS = {
    "yield": Row("two fibers take turns on one worker", "switch", 1, "10 ns"),
    "spawn_join": Row("spawn and join, one by one", "fiber", 0, "50 ns"),
    "spawn_batch": Row("spawn 10,000, then join all", "fiber", 0, "150 ns"),
    "ping_pong": Row("a message there and back over channels", "round trip", 0, "80 ns"),
    "skynet_join": Row("10-way tree with 1 M leaves, by joins", "tree", 0, "25 ms"),
    "skynet_channel": Row("10-way tree with 1 M leaves, by channels", "tree", 0, "100 ms"),
    "fib_1": Row("fib(32), a fiber per call, 1 worker", "call", 1, "25 ns"),
    "fib_2": Row("fib(32), a fiber per call, 2 workers", "call", 2, "13 ns"),
    "sleepers": Row("1 M sleeping fibers: resident memory", "fiber", 0, "4,600 B"),
    "sleepers_page_table": Row("the same: what the kernel's page tables take", "fiber", 0,
                               of="sleepers"),
    "sleepers_create": Row("the same: until all are asleep", "1 M fibers", 0, "3,000 ms",
                           of="sleepers"),
    "timers": Row("100 k random sleeps of 0 to 1000 ms: lateness, p99", "sleep", 0, "2,500 us"),
    "timers_p50": Row("the same: median lateness", "sleep", 0, "120 us", of="timers"),
    "http_hello": Row("keep-alive hello, 1 worker: the server's CPU", "request", 1,
                      "1.05 × c-libev"),
    "http_hello_p99": Row("the same: latency, p99", "request", 1, "c-libev's", of="http_hello"),
    "http_hello_rps": Row("the same: requests that one wrk thread gets through", "second", 1,
                          of="http_hello", greater=True),
    "copy_small": Row("copy 10,000 files of 4 KiB on tmpfs", "10,000 files", 0, "1.4 × the floor"),
    "copy_big": Row("copy 8 files of 64 MiB on tmpfs", "8 files", 0, "1.15 × the floor"),
    "channel_1_1": Row("a channel of 1024 places, one sender, one receiver", "second", 0,
                       "20 M/s", greater=True),
    "channel_4_4": Row("a channel of 1024 places, four senders, four receivers", "second", 0,
                       "12 M/s", greater=True),
    "fanout": Row("400 fibers of 1 ms of work, from one fiber", "fan-out", 0),
    "process": Row("/bin/true, started and waited for", "process", 1),
    "process_large": Row("the same, from a process of 256 MiB", "process", 1),
    "generator": Row("items from a generator, one asked for at a time", "item", 1),
    "generator_channel": Row("the same from a fiber that sends on a channel of capacity 0", "item",
                             1),
}
SWITCHING = {"yield", "spawn_join", "spawn_batch", "ping_pong"}
SKYNET = {"skynet_join", "skynet_channel"}
FIB = {"fib_1", "fib_2"}
COPY = {"copy_small", "copy_big"}
CHANNEL = {"channel_1_1", "channel_4_4"}
PROCESS = {"process", "process_large"}
SLEEPING = {"sleepers", "timers"}
PYTHON = SWITCHING | SKYNET | SLEEPING | COPY | CHANNEL | {"fib_1", "http_hello"}
SERVER = {"http_hello"}  # rows of a server that the harness drives


@dataclasses.dataclass(frozen=True)
class System:
    """Something that is measured.  `role` is ours, peer, floor or reference: a peer competes, a
    floor is the least that the work can cost, a reference is there to compare with.  `rounds` is
    the most rounds that it gets, for those that take minutes."""

    name: str
    role: str
    rows: frozenset
    program: str
    before_row: tuple = ("--workers", "{workers}")
    takes_workers: bool = True
    rounds: int = 1000


def system(name, role, rows, program, *before_row, **options):
    return System(name, role, frozenset(rows), program,
                  before_row or System.before_row, **options)


def alone(name, role, rows, program, *before_row, **options):
    """A system that knows no workers."""
    return System(name, role, frozenset(rows), program, before_row, False, **options)


SYSTEMS = [
    system("weft", "ours", [row for row in ROWS if not ROWS[row].of], "weft"),
    system("go", "peer", SWITCHING | SKYNET | FIB | SLEEPING | SERVER | COPY | CHANNEL, "go"),
    system("go-nethttp", "peer", SERVER, "go", "-workers", "{workers}", "-net-http"),
    system("tokio", "peer",
           SWITCHING | SKYNET | FIB | SLEEPING | SERVER | COPY | {"channel_1_1"}, "tokio"),
    system("rayon", "peer", {"spawn_join", "spawn_batch", "skynet_join"} | FIB, "rayon"),
    alone("crossbeam", "peer", CHANNEL, "rayon"),
    system("tbb", "peer", {"spawn_join", "spawn_batch", "skynet_join"} | FIB, "tbb"),
    alone("tbb", "peer", CHANNEL, "tbb"),
    system("boost", "peer", SWITCHING | FIB | SLEEPING | CHANNEL, "boost"),
    alone("libuv", "peer", SERVER | COPY, "c/libuv"),
    alone("c-libev", "peer", SERVER, "c/hello_libev"),
    system("nginx", "peer", SERVER, "nginx", "{workers}"),
    alone("asyncio", "peer", PYTHON, "python", rounds=2),
    alone("uvloop", "peer", PYTHON, "uvloop", "--uvloop", rounds=2),
    alone("asyncio-streams", "peer", SERVER, "python", "--streams"),
    alone("uvloop-streams", "peer", SERVER, "uvloop", "--uvloop", "--streams"),
    alone("aiohttp", "peer", SERVER, "aiohttp", "--uvloop", "--aiohttp"),
    alone("aiofiles", "peer", COPY, "aiofiles", "--aiofiles", rounds=2),
    alone("c-switch", "floor", {"yield", "spawn_join", "ping_pong"}, "c/switch"),
    system("c-call", "floor", FIB | {"skynet_join"}, "c/call"),
    system("c-copy", "floor", COPY, "c/copy"),
    alone("c-nanosleep", "floor", {"timers"}, "c/floor"),
    alone("c-page", "floor", {"sleepers"}, "c/floor"),
    alone("c-epoll", "floor", SERVER, "c/hello_epoll"),
    alone("c-io_uring", "floor", SERVER, "c/hello_uring"),
    alone("c-pthread", "reference", SWITCHING, "c/pthread"),
    alone("posix_spawn", "peer", PROCESS, "c/process", "spawn"),
    alone("fork", "peer", PROCESS, "c/process", "fork"),
    alone("libev-feed", "reference", {"yield"}, "c/libev", "feed"),
    alone("libev-idle", "reference", {"yield"}, "c/libev", "idle"),
    alone("libev-async", "reference", {"yield"}, "c/libev", "async"),
]


def companions(row):
    """The rows whose figures a run of `row` gives besides its own."""
    return [name for name, other in ROWS.items() if other.of == row]


def with_companions(rows):
    """The rows that must be run for `rows`, each followed by what else its run gives."""
    wanted = {ROWS[row].of or row for row in rows}
    return [row for row in ROWS if (ROWS[row].of or row) in wanted]
