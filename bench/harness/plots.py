# SPDX-License-Identifier: MIT
"""SVG plots by gnuplot.  Without it a report has no plots and says so."""

import math
import shutil
import subprocess

from harness.place import say
from harness.report import best, number, ours
from harness.table import ROWS

OURS, OTHERS, FLOOR = "#c0392b", "#2c3e50", "#95a5a6"
COLUMNS = 3
POINTS = {"ours": 1, "peer": 2, "reference": 2, "floor": 3}


def quoted(text):
    """As gnuplot's strings and labels want it: an underscore would begin a subscript."""
    return '"' + str(text).replace('"', "'") + '"'


def gnuplot(script, path):
    """Returns whether there is a plot."""
    if not shutil.which("gnuplot"):
        say(f"no {path.name}: gnuplot is not installed")
        return False
    done = subprocess.run(["gnuplot"], input=script, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        say(f"no {path.name}: {done.stderr.strip()}")
    return done.returncode == 0


def begin(path, width, height):
    return [f"set terminal svg size {width},{height} font 'sans-serif,12' noenhanced background "
            "'white'", f"set output {quoted(path)}", "set border 3 lc rgb '#888888'",
            "set grid x lc rgb '#dddddd'", "set tics nomirror", "unset key"]


def lead(row, weft, other):
    """How many times better Weft is; below 1, worse."""
    pair = (weft.median, other.median)
    return pair[0] / pair[1] if ROWS[row].greater else pair[1] / pair[0]


def plot_leads(table, path, title):
    """One bar a row: Weft against the best peer."""
    bars = []
    for row, series in table.items():
        weft, peer = ours(series), best(series, "peer")
        if weft and peer and weft.median and peer.median:
            bars.append((row, lead(row, weft, peer), peer.name))
    if not bars:
        return False
    script = begin(path, 860, 90 + 24 * len(bars))
    script += [f"set title {quoted(title)}", "set logscale x", "set style fill solid 0.85 noborder",
               f"set yrange [{len(bars) - 0.3}:-0.7]", "set format x '%g×'",
               "set arrow from 1,graph 0 to 1,graph 1 nohead lc rgb '#000000' lw 1.5",
               "set xlabel 'better than the best peer (right of 1) or worse (left of it)'",
               f"set xrange [{min(0.5, min(bar[1] for bar in bars) / 1.5)}:"
               f"{max(2, max(bar[1] for bar in bars) * 6)}]", "$bars << EOD"]
    for i, (row, times, peer) in enumerate(bars):
        colour = "0x27ae60" if times >= 1 else "0xc0392b"
        label = f"{number(times)}× {peer}"
        script.append(f"{quoted(row)} {i} {times} {colour} {quoted(label)} {max(times, 1)}")
    script += ["EOD",
               "plot $bars using 3:2:(1):3:($2-0.35):($2+0.35):4:ytic(1) with boxxyerror lc rgb "
               "variable, $bars using ($6*1.08):2:5 with labels left font ',10'"]
    return gnuplot("\n".join(script), path)


def panel(row, series):
    """The commands that plot one row: a point and its range for each system."""
    measured = [one for one in series if one.values and one.median > 0]
    measured.sort(key=lambda one: one.median, reverse=ROWS[row].greater)
    script = [f"set title {quoted(f'{row}, {measured[0].unit}')}",
              f"set yrange [{len(measured) - 0.4}:-0.6]", "$points << EOD"]
    for i, one in enumerate(measured):
        script.append(f"{quoted(one.name)} {i} {one.median} {min(one.values)} {max(one.values)} "
                      f"{POINTS[one.role]}")
    low = min(min(one.values) for one in measured)
    high = max(max(one.values) for one in measured)
    script += ["EOD", f"set xrange [{low / 1.5}:{high * 1.5}]"]
    parts = [f"$points using ($6=={kind}?$3:1/0):2:4:5:ytic(1) with xerrorbars pt 7 ps 0.6 lc rgb "
             f"'{colour}'" for kind, colour in ((1, OURS), (2, OTHERS), (3, FLOOR))]
    return script + ["plot " + ", ".join(parts)]


def plot_rows(table, path):
    """All systems of all rows, a small plot for each row."""
    rows = [(row, series) for row, series in table.items() if any(one.values for one in series)]
    if not rows:
        return False
    lines = math.ceil(len(rows) / COLUMNS)
    longest = max(len(series) for _, series in rows)
    script = begin(path, 400 * COLUMNS, max(150, 60 + 15 * longest) * lines)
    script += ["set logscale x", "set format x '%g'", "set tics font ',9'", "set lmargin 15",
               f"set multiplot layout {lines},{COLUMNS}"]
    for row, series in rows:
        script += panel(row, series)
    return gnuplot("\n".join(script + ["unset multiplot"]), path)


def plot_all(table, stem, title):
    """Returns (what it shows, path) of each plot that could be made."""
    plots = []
    leads, rows = stem.with_suffix(".svg"), stem.parent / f"{stem.name}-rows.svg"
    if plot_leads(table, leads, title):
        plots.append(("Weft against the best peer of each row", leads))
    if plot_rows(table, rows):
        plots.append(("Every system of each row; Weft is red, the floor grey", rows))
    return plots


def plot_curves(path, title, panels):
    """Curves, several panels side by side.  A panel is a dict: title, xlabel, ylabel, curves
    ({name: [(x, y)]}), and log (whether y is logarithmic, too)."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    script = begin(path, 420 * columns, 340 * lines)
    script += ["set key below", "set logscale x", "set grid y lc rgb '#dddddd'",
               f"set multiplot layout {lines},{columns} title {quoted(title)}"]
    for one in panels:
        script += [f"set title {quoted(one['title'])}", f"set xlabel {quoted(one['xlabel'])}",
                   f"set ylabel {quoted(one['ylabel'])}",
                   "set logscale y" if one.get("log") else "unset logscale y",
                   "set yrange [*:*]" if one.get("log") else "set yrange [0:*<1e18]"]
        places = sorted({x for points in one["curves"].values() for x, _ in points})
        script += [f"set xrange [{places[0] / 1.1}:{places[-1] * 1.1}]",
                   "set xtics (" + ", ".join(f'"{x:,}" {x}' for x in places) + ")"]
        names = []
        for i, (name, points) in enumerate(one["curves"].items()):
            script += [f"$c{i} << EOD", *(f"{x} {y}" for x, y in points), "EOD"]
            names.append(f"$c{i} using 1:2 with linespoints pt 7 ps 0.5 lw 1.5 title {quoted(name)}")
        script.append("plot " + ", ".join(names))
    return gnuplot("\n".join(script + ["unset multiplot"]), path)
