# SPDX-License-Identifier: MIT
"""The table as Markdown and as lines of tab-separated values."""

import os
import re
import resource

from harness import builders
from harness.place import BENCH, commit, first_line, machine
from harness.table import ROWS

DEBIAN_PEERS = ("libtbb-dev", "libboost-fiber1.74.0", "libuv1", "libev4", "liburing2",
                "nginx-light", "python3.11", "python3-uvloop", "python3-aiohttp",
                "python3-aiofiles", "wrk")
BUSY_LOAD = 0.7  # an idle machine shows less before a run


def number(value):
    """Three significant digits, and no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def figure(series):
    least, greatest = number(min(series.values)), number(max(series.values))
    return f"{number(series.median)} ({least}–{greatest}) {series.unit}"


def ratio(value, other):
    return f"{value / other.median:.2f}×" if other and other.median else "—"


def best(row_series, role):
    """The best of a role; None where nobody has a figure."""
    measured = [series for series in row_series if series.role == role and series.values]
    if not measured:
        return None
    choose = max if ROWS[measured[0].row].greater else min
    return choose(measured, key=lambda series: series.median)


def ours(row_series):
    """Weft's own figure: with the row's number of workers, never the better of two."""
    return next((series for series in row_series
                 if series.name == "weft" and series.values), None)


def goal(row):
    return f"{'≥' if row.greater else '≤'} {row.goal}" if row.goal else ""


def summary(table):
    yield "| Row | Work | Goal | Weft | Best peer | Weft ÷ peer | Floor | Weft ÷ floor |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for name, row_series in table.items():
        weft, peer, floor = ours(row_series), best(row_series, "peer"), best(row_series, "floor")
        row = ROWS[name]
        cells = [f"`{name}`", f"{row.work}; per {row.per}{' (more is better)' * row.greater}",
                 goal(row),
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
            yield f"| {series.name} | failed: {series.run.failure} | | | | | |"
            continue
        workers = series.run.workers if series.run.system.takes_workers else "—"
        yield (f"| {series.name} | {series.role} | {workers} | {figure(series)} "
               f"| {ratio(series.median, peer)} | {ratio(series.median, floor)} "
               f"| {peak(series.run.peak_kb)} |")
    yield ""


def peak(kilobytes):
    """A child counts this program's own pages until its exec, so less cannot be seen."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"< {own / 1024:.0f} MB" if kilobytes <= own * 1.1 else f"{kilobytes / 1024:.0f} MB"


def package(name):
    """The version of a Debian package; empty where it is not installed, or this is not Debian."""
    version = first_line("dpkg-query", "-W", "-f", "${Version}", name)
    return f"{name} {version}" if version[:1].isdigit() else ""


def crate(peer, name):
    """The version of a crate in a peer's Cargo.lock."""
    lock = (BENCH / f"peers/{peer}/Cargo.lock").read_text(encoding="utf-8")
    found = re.search(rf'name = "{name}"\nversion = "([^"]+)"', lock)
    return f"{name} {found.group(1) if found else 'of unknown version'}"


def versions():
    yield first_line(builders.go_tool(), "version")
    crates = [crate("tokio", "tokio"), crate("rayon", "rayon"),
              crate("rayon", "crossbeam-channel")]
    yield f"{', '.join(crates)} by {first_line('rustc', '--version')}"
    yield ", ".join(filter(None, map(package, DEBIAN_PEERS)))
    yield f"C and C++ by {first_line('cc', '--version')}"


def heading(title, options, load_before):
    """What every report begins with."""
    yield f"# {title}, {options.now:%Y-%m-%d %H:%M} UTC"
    yield ""
    yield f"- Machine: {machine()}."
    yield f"- Commit: {commit()}."
    yield f"- Load average {load_before[0]:.1f} before, {os.getloadavg()[0]:.1f} after."
    if load_before[0] > BUSY_LOAD:
        yield "- **Other work was running: read the ratios with care, those of two workers above all.**"


def report(table, missing, options, load_before, plots):
    yield from heading("Benchmarks", options, load_before)
    yield f"- Peers: {'; '.join(versions())}."
    yield (f"- {options.rounds} interleaved rounds; median (min–max). `-1thr`: the same with one "
           "worker.")
    yield "- A floor is the least the work can cost in C, without queue, scheduler or errors."
    yield "- libdill and libfork, fast at some of these rows, have no Debian package: not measured."
    for name, why in missing.items():
        yield f"- Skipped {name}: {why}"
    yield ""
    yield "## Summary"
    yield ""
    yield from summary(table)
    yield ""
    for text, path in plots:
        yield f"![{text}]({path.name})"
        yield ""
    yield "## Rows"
    yield ""
    for row, row_series in table.items():
        yield from details(row, row_series)


def tsv(table):
    for row, row_series in table.items():
        for series in row_series:
            if series.values:
                yield f"{row}\t{series.name}\t{series.median:.3f}\t{series.unit}"
