# SPDX-License-Identifier: MIT
"""Where things are, what machine this is, and how to tell the user something."""

import os
import pathlib
import platform
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCH.parent


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def install():
    """What the build and the peers need.  What it says goes to stderr: stdout is the figures."""
    done = subprocess.run([ROOT / "tools" / "setup.sh", "build", "bench"], stdout=sys.stderr, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def progress(done, total, what):
    if not sys.stderr.isatty():
        return
    filled = 30 * done // total
    end = "\n" if done == total else ""
    bar = f"\r[{'#' * filled}{'.' * (30 - filled)}] {100 * done // total:3d} % {what:30.30}"
    print(bar, end=end, file=sys.stderr, flush=True)


def first_line(*argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        return "none"
    return ((done.stdout or done.stderr).strip().splitlines() or ["unknown"])[0]


def machine():
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{len(os.sched_getaffinity(0))} × {cpu}, {memory_gb:.0f} GB, "
            f"Linux {platform.release()}")


def commit():
    """What was measured: the report itself, which is written by then, does not make it another."""
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no", "--",
                         ":(top)", ":(top,exclude)bench/results")
    return first_line("git", "describe", "--always") + ("" if changed == "unknown" else "-dirty")
