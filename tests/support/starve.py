#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a command while threads of the programs it starts are kept from running at random.

usage: starve.py COMMAND ARG...        (as root, who may set and take back SCHED_IDLE)

A test that assumes that this thread gets on before that clock does passes on a quiet machine, and
fails once in a hundred runs on one that is shared.  Here a busy loop per processor competes with
the programs, and every few milliseconds some threads of each, or of its descendants, are left what
these loops do not take (SCHED_IDLE), for 10 to 300 ms: as if the kernel had put just that thread
last.  No signal is sent and no call is interrupted.  The exit status is the command's.
"""

import os
import random
import subprocess
import sys
import time

PAUSES = (0.002, 0.005, 0.02)     # seconds between two choices
SPELLS = (0.01, 0.03, 0.1, 0.3)   # how long a thread is starved
AT_ONCE = (1, 1, 2, 3)            # threads of each program that a choice takes


def children_of(process):
    """Of all of its threads; none if it has ended."""
    found = []
    try:
        for task in os.listdir(f'/proc/{process}/task'):
            with open(f'/proc/{process}/task/{task}/children', encoding='ascii') as file:
                found += [int(pid) for pid in file.read().split()]
    except OSError:
        pass
    return found


def threads_of(process):
    """Its own, and those of all its descendants."""
    threads, processes = [], [process]
    while processes:
        process = processes.pop()
        try:
            threads += [int(task) for task in os.listdir(f'/proc/{process}/task')]
        except OSError:
            continue
        processes += children_of(process)
    return threads


def set_policy(thread, policy):
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(0))
    except ProcessLookupError:
        pass


def starve_until(ended, root):
    starved = []  # (when it is over, thread)
    while not ended():
        time.sleep(random.choice(PAUSES))
        now = time.monotonic()
        for end, thread in starved:
            if end <= now:
                set_policy(thread, os.SCHED_OTHER)
        starved = [(end, thread) for end, thread in starved if end > now]
        for program in children_of(root):
            threads = threads_of(program)
            for thread in random.sample(threads, min(len(threads), random.choice(AT_ONCE))):
                set_policy(thread, os.SCHED_IDLE)
                starved.append((now + random.choice(SPELLS), thread))


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.splitlines()[2])
    if os.geteuid() != 0:
        sys.exit('starve.py: only root may let a starved thread go again')
    hog = f'import os\nwhile os.getppid() == {os.getpid()}: pass'  # however we end
    hogs = [subprocess.Popen([sys.executable, '-c', hog]) for _ in os.sched_getaffinity(0)]
    try:
        command = subprocess.Popen(sys.argv[1:])
        starve_until(lambda: command.poll() is not None, command.pid)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    sys.exit(command.returncode if command.returncode >= 0 else 128 - command.returncode)


if __name__ == '__main__':
    main()
