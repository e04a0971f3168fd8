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
import datetime
import os
import pathlib
import sys

from harness import builders, growth, plots, readme, report, runner
from harness.place import BENCH, ROOT, install, say
from harness.table import ROWS, SYSTEMS, with_companions


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
    parser.add_argument("--quick", action="store_true", help="one round, short; for a first look")
    parser.add_argument("--growth", action="store_true",
                        help="instead: curves for more fibers, connections and workers")
    parser.add_argument("--readme", action="store_true",
                        help="run nothing: show the newest whole report in README.md")
    parser.add_argument("--rounds", type=positive, help="default: 5, with --growth 3, with --quick 1")
    parser.add_argument("--workers", type=positive, default=len(os.sched_getaffinity(0)),
                        help="for rows that do not fix it (default: this machine's CPUs)")
    parser.add_argument("--only", metavar="SYSTEM,…", help=f"of {','.join(s.name for s in SYSTEMS)}")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--peers-dir", type=pathlib.Path, default=ROOT / "build/bench-peers")
    parser.add_argument("--results", type=pathlib.Path, default=BENCH / "results")
    options = parser.parse_args()
    check_names(parser, "row", options.rows, ROWS)
    options.only = options.only.split(",") if options.only else [one.name for one in SYSTEMS]
    check_names(parser, "system", options.only, [one.name for one in SYSTEMS])
    options.whole = not (options.rows or options.quick) and len(options.only) == len(SYSTEMS)
    options.rounds = options.rounds or (1 if options.quick else 3 if options.growth else 5)
    options.server_s = 1 if options.quick else 3
    options.build_dir = options.build_dir.resolve()
    options.peers_dir = options.peers_dir.resolve()
    options.now = datetime.datetime.now(datetime.timezone.utc)
    return options


def check_names(parser, what, given, known):
    unknown = [name for name in given if name not in known]
    if unknown:
        parser.error(f"no such {what}: {' '.join(unknown)}; {what}s: {' '.join(known)}")


def stem(options):
    """Where the report goes, without an ending.  A whole run leaves its date's report; any other
    one, a report that git ignores."""
    options.results.mkdir(parents=True, exist_ok=True)
    return options.results / (f"{options.now:%Y-%m-%d}" if options.whole else "partial")


def write_results(options, table, missing, load_before):
    """Writes the report, the figures and the plots.  Returns the first two as text."""
    path = stem(options)
    title = f"Weft against the best peer of each row, {options.now:%Y-%m-%d}"
    pictures = plots.plot_all(table, path, title)
    markdown = "\n".join(report.report(table, missing, options, load_before, pictures))
    lines = "\n".join(report.tsv(table))
    path.with_suffix(".md").write_text(markdown + "\n", encoding="utf-8")
    path.with_suffix(".tsv").write_text(lines + "\n", encoding="utf-8")
    say(f"wrote {path}.md, .tsv" + "".join(f", {picture.name}" for _, picture in pictures))
    return markdown, lines


def run_growth(options, load_before):
    programs, missing = builders.build_all(options, {"weft", "c/hello_libev"})
    if "weft" in missing:
        return 1
    options.results.mkdir(parents=True, exist_ok=True)
    name = "partial-growth" if options.quick else f"{options.now:%Y-%m-%d}-growth"
    text, good = growth.run(options, programs, load_before, options.results / name)
    print(text)
    return 0 if good else 1


def main():
    options = parse_options()
    if options.readme:
        return readme.update()
    install()
    load_before = os.getloadavg()
    if options.growth:
        return run_growth(options, load_before)
    rows = with_companions(options.rows or ROWS)
    primary = [row for row in rows if not ROWS[row].of]
    wanted = {one.program for one in SYSTEMS if one.name in options.only and one.rows & set(primary)}
    programs, missing = builders.build_all(options, wanted)
    runs = [run for row in primary for run in runner.make_runs(row, options, programs)]
    runner.run_rounds(runs, options)
    table = runner.make_table(rows, runs)
    markdown, lines = write_results(options, table, missing, load_before)
    print(lines if options.tsv else markdown)
    failed = [run for run in runs if run.system.role == "ours" and run.failure]
    return 1 if failed or "weft" in missing else 0


if __name__ == "__main__":
    sys.exit(main())
