# SPDX-License-Identifier: MIT
"""Runs programs and keeps what they print.

A run is one program with one number of workers; it may give the figures of several rows, which are
a series each.  Every round does every run once, in turn, so that a slow drift of the machine hits
all alike."""

import dataclasses
import os
import signal
import statistics
import subprocess
import threading

from harness import server
from harness.place import progress, say
from harness.table import ROWS, SERVER, SYSTEMS, companions

RUN_LIMIT_S = 120


@dataclasses.dataclass
class Run:
    """One program, started once a round."""

    row: str
    system: object
    workers: int
    name: str
    argv: list
    series: dict = dataclasses.field(default_factory=dict)
    peak_kb: int = 0
    failure: str = ""


@dataclasses.dataclass
class Series:
    """The figures of one run in one row."""

    row: str
    run: Run
    values: list = dataclasses.field(default_factory=list)
    unit: str = ""

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def name(self):
        return self.run.name

    @property
    def role(self):
        return self.run.system.role


class Failure(Exception):
    """A program did not give its figures; the text says why."""


def make_runs(row, options, programs):
    """Every system of the row that was built, in the order of SYSTEMS."""
    wanted = ROWS[row].workers or options.workers
    for system in SYSTEMS:
        program = programs.get(f"{system.program}/{row}") or programs.get(system.program)
        if row not in system.rows or program is None or system.name not in options.only:
            continue
        counts = [wanted]
        if ROWS[row].workers == 0 and wanted > 1 and system.takes_workers and \
                system.role in ("ours", "peer"):
            counts.append(1)
        for workers in counts:
            name = system.name if workers == wanted else f"{system.name}-1thr"
            before = [part.format(workers=workers) for part in system.before_row]
            run = Run(row, system, workers, name, [*map(str, as_list(program)), *before, row])
            run.series = {name: Series(name, run) for name in (row, *companions(row))}
            yield run


def as_list(program):
    return program if isinstance(program, list) else [program]


def parse_lines(text):
    """{row: (value, unit)} of the lines `row<TAB>value<TAB>unit`."""
    figures = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 3:
            figures[fields[0]] = float(fields[1]), fields[2]
    return figures


def run_program(argv, limit_s=RUN_LIMIT_S):
    """Runs it in a process group of its own.  Returns its figures and its peak memory in KiB."""
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             start_new_session=True)
    limit = threading.Timer(limit_s, os.killpg, (child.pid, signal.SIGKILL))
    limit.start()
    output = child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    limit.cancel()
    if child.returncode != 0:
        raise Failure(exit_text(child.returncode, output, limit_s))
    return parse_lines(output), usage.ru_maxrss


def exit_text(returncode, output, limit_s):
    last = (output.strip().splitlines() or ["no output"])[-1]
    if returncode == -signal.SIGKILL:
        return f"killed (over {limit_s} s?): {last}"
    if returncode < 0:
        return f"ended by {signal.Signals(-returncode).name}: {last}"
    return f"exit status {returncode}: {last}"


def measure(run, options):
    """Runs the program once; notes the figures, or the failure that ends the series."""
    try:
        if run.row in SERVER:
            figures, peak_kb = server.measure(run.argv, run.workers, options.server_s)
        else:
            figures, peak_kb = run_program(run.argv)
        if run.row not in figures:
            raise Failure(f"no line for {run.row}")
    except (Failure, server.ServerError) as why:
        run.failure = str(why)
        return
    for row, series in run.series.items():
        if row in figures:
            value, series.unit = figures[row]
            series.values.append(value)
    run.peak_kb = max(run.peak_kb, peak_kb)


def run_rounds(runs, options):
    """A B A B: every run once a round."""
    for number in range(options.rounds):
        for done, run in enumerate(runs):
            progress(number * len(runs) + done, options.rounds * len(runs),
                     f"{run.row} {run.name}")
            if not run.failure and number < run.system.rounds:
                measure(run, options)
    progress(1, 1, "")
    for run in runs:
        if run.failure:
            say(f"failed {run.row} {run.name}: {run.failure}")


def make_table(rows, runs):
    """{row: [series]}, without the systems that do not give the row's figure."""
    table = {row: [run.series[row] for run in runs if row in run.series] for row in rows}
    return {row: [one for one in series if one.values or (one.run.failure and one.run.row == row)]
            for row, series in table.items()}
