# SPDX-License-Identifier: MIT
"""Growth: what Weft costs with more fibers, more connections, more workers.

Each point is the median of a few rounds, and a round takes every point once.  What must not be seen
is a cost that grows with the number of fibers or descriptors where only a few of them do anything;
what may be seen are caches that get too small.  Where there are fewer CPUs than workers the times
say little, so the counters stand beside them: how often a worker stole, looked for work, went to
sleep or woke another, for each thousand units of work."""

import contextlib
import resource
import socket
import statistics

from harness import plots, report, runner, server
from harness.place import progress, say

FIBERS = (1_000, 10_000, 100_000, 1_000_000)
CONNECTIONS = (10, 100, 1_000, 10_000)
WORKERS = (1, 2, 4, 8, 16)
ACTIVE = 10  # connections that ask, while others are idle
COUNTERS = ("steals", "searches", "parks", "wakes", "polls")
AMID = {"amid_yield": "a switch, amid sleepers",
        "amid_spawn_join": "spawn and join, amid sleepers",
        "amid_deadline": "a round trip with deadlines, amid sleepers",
        "among_yield": "a switch, all take turns"}
# row: (program, what one unit is, how many units a run has in all, warm-up included)
SCALING = {"fib": ("fib", "fiber", None), "skynet_join": ("skynet", "fiber", None),
           "skynet_channel": ("skynet", "fiber", None),
           "channel_1_1": ("channel", "message", 8_200_000),
           "channel_4_4": ("channel", "message", 8_200_000)}


class Points:
    """Figures by name and x: a list for each, of which the median counts."""

    def __init__(self):
        self.values = {}

    def add(self, name, x, value):
        self.values.setdefault(name, {}).setdefault(x, []).append(value)

    def curve(self, name):
        return [(x, statistics.median(values)) for x, values in self.values.get(name, {}).items()]

    def at(self, name, x):
        values = self.values.get(name, {}).get(x)
        return statistics.median(values) if values else None


def program(options, name):
    return str(options.build_dir / "bench" / f"bench-{name}")


def figures_of(argv):
    """The lines of one run as {name: value}."""
    return {name: value for name, (value, _) in runner.run_program(argv)[0].items()}


# ---- fibers ----

def measure_sleepers(options, points, count):
    got = figures_of([program(options, "sleepers"), "--workers", "1", "--size", str(count)])
    points.add("memory", count, got["sleepers"])
    points.add("page tables", count, got["sleepers_page_table"])
    points.add("create", count, got["sleepers_create"] * 1e6 / count)


def measure_amid(row):
    def measure(options, points, count):
        got = figures_of([program(options, "amid"), "--workers", "1", "--size", str(count), row])
        points.add(row, count, got[row])
    return measure


# ---- connections ----

@contextlib.contextmanager
def idle_connections(port, count):
    """Opens them, and lets the server accept them all before the measurement: each asks once."""
    clients = []
    try:
        for _ in range(count):
            clients.append(socket.create_connection(("127.0.0.1", port), 20))
            clients[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        for client in clients:
            if not client.recv(4096):
                raise server.ServerError("an idle connection was closed")
        yield
    finally:
        for client in clients:
            client.close()


def measure_server(options, points, name, argv, x, idle, active):
    """One server under wrk: CPU per request, p99, and memory."""
    more_s = active // 1000  # wrk opens them all before it asks
    with server.Server(argv, 1) as running, idle_connections(running.port, idle):
        server.drive(running, 1 + more_s, active)
        before = server.cpu_ns(running.child.pid)
        count, _, p99_us = server.drive(running, options.server_s + more_s, active)
        spent_us = (server.cpu_ns(running.child.pid) - before) / 1000
        memory_kb = server.peak_kb(running.child.pid)
    points.add(f"{name}, CPU", x, spent_us / count)
    points.add(f"{name}, p99", x, p99_us)
    points.add(f"{name}, memory", x, memory_kb / 1024)


def measure_idle(name, argv):
    def measure(options, points, count):
        measure_server(options, points, f"{name} idle", argv, count, count, ACTIVE)
    return measure


def measure_active(name, argv):
    def measure(options, points, count):
        measure_server(options, points, f"{name} active", argv, count, 0, count)
    return measure


# ---- workers ----

def add_counters(points, row, workers, got, units):
    for counter in COUNTERS:
        points.add(f"{row} {counter}", workers, got[f"counter.{counter}"] * 1000 / units)


def measure_scaling(row):
    name, _, units = SCALING[row]

    def measure(options, points, workers):
        got = figures_of([program(options, name), "--workers", str(workers), "--counters", row])
        points.add(row, workers, got[row])
        add_counters(points, row, workers, got, units or got["counter.spawned"])
    return measure


def measure_http_scaling(options, points, workers):
    """The server and wrk share the CPUs, so it is the CPU per request that should stay."""
    argv = [program(options, "http_hello"), "--workers", str(workers), "--counters", "http_hello"]
    with server.Server(argv, 0) as running:
        warm, _, _ = server.drive(running, 1)
        before = server.cpu_ns(running.child.pid)
        count, _, p99_us = server.drive(running, options.server_s)
        spent_us = (server.cpu_ns(running.child.pid) - before) / 1000
    got = {name: value for name, (value, _) in runner.parse_lines(running.output).items()}
    points.add("http_hello", workers, spent_us / count)
    points.add("http_hello p99", workers, p99_us)
    add_counters(points, "http_hello", workers, got, warm + count)


# ---- all of them ----

def tasks(options, programs):
    """(what, measure, x) of every point.  The connections come last: for seconds after a million
    fibers have ended, their memory goes back to the machine below, and the next p99 is its."""
    quick = options.quick
    for count in FIBERS[:3] if quick else FIBERS:
        yield "sleepers", measure_sleepers, count
        for row in AMID:
            yield row, measure_amid(row), count
    for workers in WORKERS:
        for row in SCALING:
            yield row, measure_scaling(row), workers
        yield "http_hello", measure_http_scaling, workers
    servers = {"weft": [program(options, "http_hello"), "--workers", "1", "http_hello"]}
    if "c/hello_libev" in programs:
        servers["libev"] = [str(programs["c/hello_libev"]), "http_hello"]
    for count in CONNECTIONS[:3] if quick else CONNECTIONS:
        for name, argv in servers.items():
            yield f"{name} idle", measure_idle(name, argv), count
            yield f"{name} active", measure_active(name, argv), count


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure_all(options, programs):
    points, failures = Points(), {}
    work = list(tasks(options, programs))
    raise_descriptor_limit()
    for number in range(options.rounds):
        for done, (what, measure, x) in enumerate(work):
            progress(number * len(work) + done, options.rounds * len(work), f"{what} {x}")
            if (what, x) in failures:
                continue
            try:
                measure(options, points, x)
            except (runner.Failure, server.ServerError, OSError, KeyError) as why:
                failures[what, x] = " ".join(str(why).split())
                say(f"failed {what} at {x}: {why}")
    progress(1, 1, "")
    return points, failures


# ---- report ----

def table(head, xs, rows):
    """rows: (label, {x: value})."""
    yield f"| {head} | " + " | ".join(f"{x:,}" for x in xs) + " |"
    yield "|---|" + "---:|" * len(xs)
    for label, values in rows:
        cells = [report.number(values[x]) if x in values else "—" for x in xs]
        yield f"| {label} | " + " | ".join(cells) + " |"
    yield ""


def rows_of(points, names):
    """(label, {x: median}) for each of {label: name} that was measured."""
    return [(label, dict(points.curve(name))) for label, name in names.items()
            if points.curve(name)]


def speed_up(points, row):
    """Against one worker; more is better."""
    first = points.at(row, 1)
    return {x: (value / first if row.startswith("channel") else first / value)
            for x, value in points.curve(row) if first and value}


FIBER_ROWS = {"resident memory of a sleeper, B": "memory",
              "page tables of a sleeper, B": "page tables",
              "create a sleeper, ns": "create",
              **{f"{what}, ns": row for row, what in AMID.items()}}


def connection_rows():
    for kind in ("idle", "active"):
        for figure, unit in (("CPU", "CPU per request, us"), ("p99", "p99, us"),
                             ("memory", "peak memory, MB")):
            for name in ("weft", "libev"):
                yield f"{kind}: {name}, {unit}", f"{name} {kind}, {figure}"


def plot(points, stem):
    def panel(title, xlabel, ylabel, names, log=False):
        curves = {label: points.curve(name) for label, name in names.items() if points.curve(name)}
        return {"title": title, "xlabel": xlabel, "ylabel": ylabel, "curves": curves, "log": log}

    scaling = {row: list(speed_up(points, row).items()) for row in SCALING}
    figures = {
        "fibers": [
            panel("memory of a sleeper", "fibers", "bytes", {"resident": "memory",
                                                             "page tables": "page tables"}),
            panel("time to create a sleeper", "fibers", "ns", {"create": "create"}),
            panel("cost amid sleepers", "fibers", "ns", {row: row for row in AMID}, log=True)],
        "connections": [
            panel(f"{title}, {kind} connections", "connections", unit,
                  {name: f"{name} {kind}, {figure}" for name in ("weft", "libev")}, figure == "p99")
            for kind in ("idle", "active")
            for figure, title, unit in (("CPU", "CPU per request", "us"), ("p99", "p99", "us"))],
        "workers": [
            {"title": "speed-up", "xlabel": "workers", "ylabel": "times", "curves": scaling},
            panel("hello: CPU per request", "workers", "us", {"weft": "http_hello"}),
            panel("searches per 1000 units", "workers", "searches",
                  {row: f"{row} searches" for row in (*SCALING, "http_hello")})],
    }
    for name, panels in figures.items():
        path = stem.parent / f"{stem.name}-{name}.svg"
        panels = [one for one in panels if any(one["curves"].values())]
        if panels and plots.plot_curves(path, f"Growth: {name}", panels):
            yield name, path


def write(points, failures, options, load_before, pictures):
    shown = {name: f"![Growth: {name}]({path.name})" for name, path in pictures}
    yield from report.heading("Growth", options, load_before)
    yield f"- {options.rounds} rounds; medians.  One worker where nothing else is said."
    for (what, x), why in failures.items():
        yield f"- Failed: {what} at {x:,}: {why}"
    yield ""
    yield "## Fibers"
    yield ""
    yield from table("With so many fibers", FIBERS, rows_of(points, FIBER_ROWS))
    yield shown.get("fibers", "")
    yield ""
    yield "## Connections"
    yield ""
    yield f"Idle: so many connections are open, and {ACTIVE} others ask.  Active: so many ask."
    yield ""
    yield from table("With so many connections", CONNECTIONS,
                     rows_of(points, dict(connection_rows())))
    yield shown.get("connections", "")
    yield ""
    yield "## Workers"
    yield ""
    yield "Speed-up against one worker; for the server, its CPU per request and wrk's p99."
    yield ""
    rows = [(f"{row}, speed-up", speed_up(points, row)) for row in SCALING]
    yield from table("With so many workers", WORKERS, rows + rows_of(
        points, {"http_hello, us CPU": "http_hello", "http_hello, p99 us": "http_hello p99"}))
    yield shown.get("workers", "")
    yield ""
    yield "Counters for each thousand units: fibers of fib and skynet, messages, requests."
    yield ""
    for row in (*SCALING, "http_hello"):
        yield from table(f"`{row}`", WORKERS, rows_of(
            points, {counter: f"{row} {counter}" for counter in COUNTERS}))


def run(options, programs, load_before, stem):
    """Measures, and leaves stem.md and its plots.  Returns the report and whether all went well."""
    points, failures = measure_all(options, programs)
    pictures = list(plot(points, stem))
    text = "\n".join(write(points, failures, options, load_before, pictures))
    stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    say(f"wrote {stem}.md" + "".join(f", {path.name}" for _, path in pictures))
    return text, not failures
