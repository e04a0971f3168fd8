# SPDX-License-Identifier: MIT
"""Puts the newest whole report's table and plot between two marks of README.md."""

import re

from harness.place import BENCH, ROOT, say

BEGIN = "<!-- bench: ./dev bench --readme fills this -->"
END = "<!-- bench: end -->"


def newest(results):
    """Reports are named by their date, so the last name is the newest."""
    dated = [path for path in results.glob("????-??-??.md")]
    return max(dated, default=None)


def block(path):
    """The lines for README.md: date and machine, the plot, the table without its ranges."""
    text = path.read_text(encoding="utf-8")
    date = re.search(r"^# Benchmarks, (.*)$", text, re.M)
    machine = re.search(r"^- Machine: (.*)$", text, re.M)
    table = re.search(r"^\| Row \|.*\n(?:\|.*\n)+", text, re.M)
    if not (date and machine and table):
        raise ValueError(f"{path} is no report")
    yield BEGIN
    yield f"Measured {date.group(1)} on {machine.group(1)}"
    yield f"All systems and ranges: [{path.name}]({path.relative_to(ROOT)})."
    yield ""
    plot = path.with_suffix(".svg")
    if plot.exists():
        yield f"![Weft against the best peer of each row]({plot.relative_to(ROOT)})"
        yield ""
    yield re.sub(r" \([\d.,]+–[\d.,]+\)", "", table.group(0)).rstrip()
    yield END


def update(results=BENCH / "results", readme=ROOT / "README.md"):
    """Returns the exit status."""
    path = newest(results)
    text = readme.read_text(encoding="utf-8")
    if path is None or BEGIN not in text or END not in text:
        say(f"no report in {results}, or no marks in {readme.name}")
        return 1
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(before + "\n".join(block(path)) + after, encoding="utf-8")
    say(f"{readme.name} shows {path.name}")
    return 0
