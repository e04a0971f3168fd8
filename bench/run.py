# SPDX-License-Identifier: MIT
"""Builds Weft's benchmarks and the peers that are there, runs them side by side, reports.

What is compared was run in one sitting: each round runs every system of a row once, in turn
(A B A B …), so that a slow drift of the machine hits all alike.  A figure is the median over the
rounds, with the least and the greatest beside it.

Every program is called as `PROGRAM [--workers N] ROW`, warms up by itself, checks its own result,
and prints `row<TAB>value<TAB>unit`.  A peer whose tools are missing, or that does not build, is
left out and the report says so.  The exit status is 1 if one of Weft's own programs failed.
"""

import argparse
import dataclasses
import datetime
import os
import pathlib
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import threading

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
RUN_LIMIT_S = 120
BUSY_LOAD = 0.7  # an idle machine shows less before a run


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of the table.  `workers` 0: as many as asked for, and once more with one."""

    work: str
    per: str
    workers: int
    goal: str = ""


ROWS = {
    "yield": Row("two fibers take turns on one worker", "switch", 1, "10 ns"),
    "spawn_join": Row("spawn and join, one by one", "fiber", 0, "50 ns"),
    "spawn_batch": Row("spawn 10,000, then join all", "fiber", 0, "150 ns"),
    "ping_pong": Row("a message there and back over channels", "round trip", 0, "80 ns"),
    "skynet_join": Row("10-way tree with 1 M leaves, by joins", "tree", 0, "25 ms"),
    "skynet_channel": Row("10-way tree with 1 M leaves, by channels", "tree", 0, "100 ms"),
    "fib_1": Row("fib(32), a fiber per call, 1 worker", "call", 1, "25 ns"),
    "fib_2": Row("fib(32), a fiber per call, 2 workers", "call", 2, "13 ns"),
    "copy_small": Row("copy 10,000 files of 4 KiB on tmpfs", "10,000 files", 0, "1.4 × the floor"),
    "copy_big": Row("copy 8 files of 64 MiB on tmpfs", "8 files", 0, "1.15 × the floor"),
    "fanout": Row("400 fibers of 1 ms of work, from one fiber", "fan-out", 0),
    "process": Row("/bin/true, started and waited for", "process", 1),
    "process_large": Row("the same, from a process of 256 MiB", "process", 1),
    "generator": Row("items from a generator, one asked for at a time", "item", 1),
    "generator_channel": Row("the same from a fiber that sends on a channel of capacity 0", "item",
                             1),
}
CHANNEL_ROWS = {"ping_pong", "skynet_channel"}
COPY_ROWS = {"copy_small", "copy_big"}
ALL = frozenset(ROWS)
PROCESS_ROWS = {"process", "process_large"}
GENERATOR_ROWS = {"generator", "generator_channel"}
# fanout: measured against one worker of our own
PEERS = ALL - {"fanout"} - COPY_ROWS - PROCESS_ROWS - GENERATOR_ROWS


@dataclasses.dataclass(frozen=True)
class System:
    """Something that is measured.  `role` is ours, peer, floor or reference: a peer competes, a
    floor is the least that the work can cost, a reference is there to compare with."""

    name: str
    role: str
    rows: frozenset
    program: str
    before_row: tuple = ("--workers", "{workers}")
    takes_workers: bool = True


SYSTEMS = [
    System("weft", "ours", ALL, "weft"),
    System("go", "peer", PEERS, "go"),
    System("tokio", "peer", PEERS, "tokio"),
    System("tbb", "peer", PEERS - {"yield"} - CHANNEL_ROWS, "tbb"),
    System("c-switch", "floor", frozenset({"yield", "spawn_join", "ping_pong"}), "c/switch",
           (), False),
    System("c-call", "floor", frozenset({"fib_1", "fib_2", "skynet_join"}), "c/call"),
    System("c-copy", "floor", frozenset(COPY_ROWS), "c/copy"),
    System("c-pthread", "reference",
           frozenset({"yield", "spawn_join", "spawn_batch", "ping_pong"}), "c/pthread", (), False),
    System("posix_spawn", "peer", frozenset(PROCESS_ROWS), "c/process", ("spawn",), False),
    System("fork", "peer", frozenset(PROCESS_ROWS), "c/process", ("fork",), False),
    System("libev-feed", "reference", frozenset({"yield"}), "c/libev", ("feed",), False),
    System("libev-idle", "reference", frozenset({"yield"}), "c/libev", ("idle",), False),
    System("libev-async", "reference", frozenset({"yield"}), "c/libev", ("async",), False),
]


@dataclasses.dataclass
class Series:
    """The figures of one system, with one number of workers, in one row."""

    row: str
    system: System
    workers: int
    name: str
    argv: list
    values: list = dataclasses.field(default_factory=list)
    unit: str = ""
    peak_kb: int = 0
    failure: str = ""

    @property
    def median(self):
        return statistics.median(self.values)


class BuildError(Exception):
    """A system cannot be measured here; the text says why."""


def run_quietly(argv, **options):
    """Runs a build step; its output is shown only when it fails."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, **options)
    except FileNotFoundError:
        raise BuildError(f"{argv[0]} is not installed") from None
    if done.returncode != 0:
        last = [line for line in done.stdout.splitlines() if line.strip()][-3:]
        raise BuildError(f"`{' '.join(map(str, argv))}` failed: {' / '.join(last)}")


# ---- builders: each leaves a program that answers a row, and returns {program name: path} ----

WEFT_PROGRAMS = {
    "yield": "yield", "spawn_join": "spawn_join", "spawn_batch": "spawn_batch",
    "ping_pong": "ping_pong", "skynet_join": "skynet", "skynet_channel": "skynet",
    "fib_1": "fib", "fib_2": "fib", "fanout": "fanout",
    "process": "process", "process_large": "process",
    "copy_small": "copy", "copy_big": "copy",
    "generator": "generator", "generator_channel": "generator",
}


def build_weft(options):
    folder = options.build_dir
    if not (folder / "CMakeCache.txt").exists():
        run_quietly(["cmake", "-S", ROOT, "-B", folder, "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                     "-DCMAKE_C_STANDARD=17", "-DCMAKE_C_EXTENSIONS=ON"])
    run_quietly(["cmake", "--build", folder, "--target", "weft-bench", "-j",
                 str(os.cpu_count() or 1)])
    programs = {f"weft/{row}": folder / "bench" / f"bench-{program}"
                for row, program in WEFT_PROGRAMS.items()}
    if not all(program.exists() for program in programs.values()):
        raise BuildError(f"{folder} builds without the library")
    return programs


def build_go(options):
    go = shutil.which("go") or "/usr/local/go/bin/go"
    program = options.peers_dir / "go-peer"
    run_quietly([go, "build", "-o", program, "."], cwd=BENCH / "peers/go")
    return {"go": program}


def build_tokio(options):
    target = options.peers_dir / "tokio"
    run_quietly(["cargo", "build", "--release", "--locked"], cwd=BENCH / "peers/tokio",
                env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    return {"tokio": target / "release/tokio-peer"}


def build_tbb(options):
    program = options.peers_dir / "tbb-peer"
    run_quietly([os.environ.get("CXX", "c++"), "-std=c++17", "-O2", "-o", program,
                 BENCH / "peers/tbb/main.cpp", "-ltbb", "-pthread"])
    return {"tbb": program}


def build_c(name, *libraries):
    def build(options):
        program = options.peers_dir / f"c-{name}"
        red_zone = ["-mno-red-zone"] if platform.machine() == "x86_64" else []
        run_quietly([os.environ.get("CC", "cc"), "-std=gnu17", "-O2", "-D_GNU_SOURCE", *red_zone,
                     "-o", program, BENCH / f"peers/c/{name}.c", "-pthread", *libraries])
        return {f"c/{name}": program}
    return build


BUILDERS = {
    "weft": build_weft, "go": build_go, "tokio": build_tokio, "tbb": build_tbb,
    "c/switch": build_c("switch"), "c/call": build_c("call"), "c/pthread": build_c("pthread"),
    "c/process": build_c("process"), "c/copy": build_c("copy"),
    "c/libev": build_c("libev", "-lev", "-lm"),
}


def build_all(options):
    """Returns the programs that are there, and {system: why not} for those that are not."""
    programs, missing = {}, {}
    options.peers_dir.mkdir(parents=True, exist_ok=True)
    for name, build in BUILDERS.items():
        say(f"building {name}")
        try:
            programs.update(build(options))
        except BuildError as why:
            missing[name] = str(why)
            say(f"skipped {name}: {why}")
    return programs, missing


# ---- running ----

def make_series(row, options, programs):
    """Every system of the row that was built, in the order of SYSTEMS."""
    wanted = ROWS[row].workers or options.workers
    for system in SYSTEMS:
        program = programs.get(f"{system.program}/{row}") or programs.get(system.program)
        if row not in system.rows or program is None:
            continue
        counts = [wanted]
        if ROWS[row].workers == 0 and wanted > 1 and system.role in ("ours", "peer"):
            counts.append(1)
        for workers in counts:
            name = system.name if workers == wanted else f"{system.name}-1thr"
            before = [part.format(workers=workers) for part in system.before_row]
            yield Series(row, system, workers, name, [str(program), *before, row])


def parse_line(text, row):
    """The value and the unit of `row<TAB>value<TAB>unit`."""
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 3 and fields[0] == row:
            return float(fields[1]), fields[2]
    raise ValueError(f"no line for {row} in {text!r}")


def measure(series):
    """Runs the program once; notes the figure, or the failure that ends the series."""
    child = subprocess.Popen(series.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True)
    limit = threading.Timer(RUN_LIMIT_S, child.kill)
    limit.start()
    output = child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    limit.cancel()
    try:
        if child.returncode != 0:
            raise ValueError(exit_text(child.returncode, output))
        value, series.unit = parse_line(output, series.row)
    except ValueError as why:
        series.failure = str(why)
        return
    series.values.append(value)
    series.peak_kb = max(series.peak_kb, usage.ru_maxrss)


def exit_text(returncode, output):
    last = (output.strip().splitlines() or ["no output"])[-1]
    if returncode == -signal.SIGKILL:
        return f"killed (over {RUN_LIMIT_S} s?): {last}"
    if returncode < 0:
        return f"ended by {signal.Signals(-returncode).name}: {last}"
    return f"exit status {returncode}: {last}"


def run_rounds(table, rounds):
    """A B A B: every series of every row once a round."""
    runs = [series for row in table.values() for series in row]
    for number in range(rounds):
        for done, series in enumerate(runs):
            progress(number * len(runs) + done, rounds * len(runs), series)
            if not series.failure:
                measure(series)
    progress(1, 1, None)
    for series in runs:
        if series.failure:
            say(f"failed {series.row} {series.name}: {series.failure}")


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def progress(done, total, series):
    if not sys.stderr.isatty():
        return
    filled = 30 * done // total
    what = f"{series.row} {series.name}" if series else ""
    end = "" if series else "\n"
    bar = f"\r[{'#' * filled}{'.' * (30 - filled)}] {100 * done // total:3d} % {what:30.30}"
    print(bar, end=end, file=sys.stderr, flush=True)


# ---- report ----

def number(value):
    """Three significant digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def figure(series):
    least, greatest = number(min(series.values)), number(max(series.values))
    return f"{number(series.median)} ({least}–{greatest}) {series.unit}"


def ratio(value, other):
    return f"{value / other.median:.2f}×" if other else "—"


def best(row_series, role):
    measured = [series for series in row_series if series.system.role == role and series.values]
    return min(measured, key=lambda series: series.median, default=None)


def ours(row_series):
    """Weft's own figure: with the row's number of workers, never the better of two."""
    return next((series for series in row_series
                 if series.name == "weft" and series.values), None)


def summary(table):
    yield "| Row | Work | Goal | Weft | Best peer | Weft ÷ peer | Floor | Weft ÷ floor |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for row, row_series in table.items():
        weft, peer, floor = ours(row_series), best(row_series, "peer"), best(row_series, "floor")
        cells = [f"`{row}`", f"{ROWS[row].work}; per {ROWS[row].per}", f"≤ {ROWS[row].goal}",
                 f"**{figure(weft)}**" if weft else "—",
                 f"{peer.name} {figure(peer)}" if peer else "—",
                 ratio(weft.median, peer) if weft else "—",
                 f"{floor.name} {figure(floor)}" if floor else "—",
                 ratio(weft.median, floor) if weft else "—"]
        yield "| " + " | ".join(cells) + " |"


def details(row, row_series):
    peer, floor = best(row_series, "peer"), best(row_series, "floor")
    yield f"### `{row}`: {ROWS[row].work}"
    yield ""
    yield "| System | Role | Workers | Median (min–max) | ÷ best peer | ÷ floor | Peak RSS |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for series in row_series:
        if not series.values:
            yield f"| {series.name} | failed: {series.failure} | | | | | |"
            continue
        workers = series.workers if series.system.takes_workers else "—"
        yield (f"| {series.name} | {series.system.role} | {workers} | {figure(series)} "
               f"| {ratio(series.median, peer)} | {ratio(series.median, floor)} "
               f"| {peak(series.peak_kb)} |")
    yield ""


def peak(kilobytes):
    """A child counts this program's own pages until its exec, so less cannot be seen."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"< {own / 1024:.0f} MB" if kilobytes <= own * 1.1 else f"{kilobytes / 1024:.0f} MB"


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        return "none"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def machine():
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{len(os.sched_getaffinity(0))} × {cpu}, {memory_gb:.0f} GB, "
            f"Linux {platform.release()}")


def tokio_version():
    lock = (BENCH / "peers/tokio/Cargo.lock").read_text(encoding="utf-8")
    entry = lock.split('name = "tokio"\n', 1)
    return entry[1].split('"', 2)[1] if len(entry) == 2 else "unknown"


def report(table, missing, options, load_before):
    go = shutil.which("go") or "/usr/local/go/bin/go"
    yield f"# Benchmarks, {options.now:%Y-%m-%d %H:%M} UTC"
    yield ""
    yield f"- Machine: {machine()}."
    yield f"- Commit: {first_line('git', 'describe', '--always', '--dirty')}."
    yield (f"- Peers: {first_line(go, 'version')}; tokio {tokio_version()} with "
           f"{first_line('rustc', '--version')}; C by {first_line('cc', '--version')}.")
    yield (f"- {options.rounds} interleaved rounds; median (min–max). `-1thr`: the same with one "
           "worker. Load average "
           f"{load_before[0]:.1f} before, {os.getloadavg()[0]:.1f} after.")
    yield "- A floor is the least the work can cost in C, without queue, scheduler or errors."
    yield "- libdill and libfork, fast at some of these rows, have no Debian package: not measured."
    if load_before[0] > BUSY_LOAD:
        yield "- **Other work was running: read the ratios with care, those of two workers above all.**"
    for name, why in missing.items():
        yield f"- Skipped {name}: {why}"
    yield ""
    yield from summary(table)
    yield ""
    for row, row_series in table.items():
        yield from details(row, row_series)


def tsv(table):
    for row, row_series in table.items():
        for series in row_series:
            if series.values:
                yield f"{row}\t{series.name}\t{series.median:.3f}\t{series.unit}"


def write_results(options, markdown, lines):
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{options.now:%Y-%m-%d}.md"
    path.write_text(markdown + "\n", encoding="utf-8")
    path.with_suffix(".tsv").write_text(lines + "\n", encoding="utf-8")
    say(f"wrote {path} and {path.with_suffix('.tsv').name}")


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def parse_options():
    parser = argparse.ArgumentParser(prog="./dev bench",
                                     description="Measure Weft beside its peers.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {' '.join(ROWS)}; default: all")
    parser.add_argument("--tsv", action="store_true", help="print row, system, median, unit")
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--workers", type=positive, default=len(os.sched_getaffinity(0)),
                        help="for rows that do not fix it (default: this machine's CPUs)")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--peers-dir", type=pathlib.Path, default=ROOT / "build/bench-peers")
    parser.add_argument("--results", type=pathlib.Path, default=BENCH / "results")
    options = parser.parse_args()
    unknown = [row for row in options.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {' '.join(unknown)}; rows: {' '.join(ROWS)}")
    options.build_dir = options.build_dir.resolve()
    options.peers_dir = options.peers_dir.resolve()
    options.now = datetime.datetime.now(datetime.timezone.utc)
    return options


def main():
    options = parse_options()
    load_before = os.getloadavg()
    programs, missing = build_all(options)
    table = {row: list(make_series(row, options, programs)) for row in options.rows or ROWS}
    run_rounds(table, options.rounds)
    markdown, lines = "\n".join(report(table, missing, options, load_before)), "\n".join(tsv(table))
    write_results(options, markdown, lines)
    print(lines if options.tsv else markdown)
    failed = [series for row in table.values() for series in row
              if series.system.role == "ours" and series.failure]
    return 1 if failed or "weft" in missing else 0


if __name__ == "__main__":
    sys.exit(main())
