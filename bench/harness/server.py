# SPDX-License-Identifier: MIT
"""The row http_hello: starts a server, drives it with wrk, and reads its CPU clock.

A server program prints `port<TAB>N<TAB>http_hello` when it listens on loopback, and ends on
SIGTERM.  wrk costs about as much CPU as a fast server does, so what is compared is the server's CPU
time per request: user and system time of its whole process group, from the kernel's own clocks.

With one worker and two CPUs or more the server has the first for itself and wrk the second; else
both run where the kernel puts them."""

import os
import re
import selectors
import signal
import socket
import subprocess
import time

CONNECTIONS = 100
WARM_UP_S = 1
START_LIMIT_S = 20
STOP_LIMIT_S = 20
UNITS_US = {"us": 1, "ms": 1e3, "s": 1e6}


class ServerError(Exception):
    """A server or wrk did not do its work; the text says why."""


def pinned(cpu_index):
    """A prefix of a command line that keeps it on one of this process's CPUs."""
    return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[cpu_index])]


def placement(workers):
    """Prefixes for the server and for wrk."""
    if workers == 1 and len(os.sched_getaffinity(0)) > 1:
        return pinned(0), pinned(1)
    return [], []


def processes_of(group):
    """The process ids of a process group."""
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getpgid(int(entry)) == group:
                yield int(entry)
        except ProcessLookupError:
            continue


def cpu_ns(group):
    """User and system time of all threads of all its processes: clock_getcpuclockid(3)'s clock."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in processes_of(group))


def peak_kb(group):
    peak = 0
    for pid in processes_of(group):
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:
            match = re.search(r"VmHWM:\s+(\d+)", status.read())
            peak += int(match.group(1)) if match else 0
    return peak


class Server:
    """A running server; a context manager that stops it.  `output` is what it printed after the
    port, once it has ended."""

    def __init__(self, argv, workers):
        before, self.wrk_prefix = placement(workers)
        self.child = subprocess.Popen([*before, *argv], stdout=subprocess.PIPE, text=True,
                                      stderr=subprocess.STDOUT, start_new_session=True)
        self.output = ""
        try:
            self.port = self.read_port()
            self.wait_answer()
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def read_port(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            if not selector.select(START_LIMIT_S):
                raise ServerError(f"no port within {START_LIMIT_S} s")
        fields = self.child.stdout.readline().split("\t")
        if len(fields) != 3 or fields[0] != "port":
            raise ServerError(f"no port: {' '.join(fields).strip() or 'it ended'}")
        return int(fields[1])

    def wait_answer(self):
        """Asks once, and checks the answer, before anything is measured."""
        limit = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), START_LIMIT_S) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    answer = b""
                    while b"\r\n\r\n" not in answer or not answer.endswith(b"Hello, world!\n"):
                        data = client.recv(4096)
                        if not data:
                            raise ServerError(f"wrong answer: {answer!r}")
                        answer += data
                    return
            except OSError as why:
                if time.monotonic() > limit or self.child.poll() is not None:
                    raise ServerError(f"no answer: {why}") from None
                time.sleep(0.05)

    def stop(self):
        try:
            os.killpg(self.child.pid, signal.SIGTERM)
            self.output = self.child.communicate(timeout=STOP_LIMIT_S)[0]
        except ProcessLookupError:
            self.output = self.child.communicate()[0]
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.communicate()


def drive(server, seconds, connections=CONNECTIONS):
    """Runs wrk.  Returns requests, requests a second, and the p99 in us."""
    argv = [*server.wrk_prefix, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
            f"http://127.0.0.1:{server.port}/"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False,
                              timeout=seconds + 60)
    except FileNotFoundError:
        raise ServerError("wrk is not installed") from None
    except subprocess.TimeoutExpired:
        raise ServerError("wrk did not end") from None
    text = done.stdout
    count = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    if done.returncode != 0 or not (count and rate and p99) or int(count.group(1)) == 0:
        raise ServerError(f"wrk: {' '.join((text or done.stderr).split())[-100:]}")
    trouble = re.search(r"Non-2xx.*|Socket errors: connect [1-9].*|Socket errors:.* read [1-9].*",
                        text)
    if trouble:
        raise ServerError(f"wrk: {trouble.group(0)}")
    return int(count.group(1)), float(rate.group(1)), float(p99.group(1)) * UNITS_US[p99.group(2)]


def measure(argv, workers, seconds):
    """The figures of one server, {row: (value, unit)}, and its peak memory in KiB."""
    with Server(argv, workers) as server:
        drive(server, WARM_UP_S)
        group = server.child.pid
        before = cpu_ns(group)
        count, rate, p99_us = drive(server, seconds)
        spent_us = (cpu_ns(group) - before) / 1000
        memory = peak_kb(group)
    return {"http_hello": (spent_us / count, "us"), "http_hello_p99": (p99_us, "us"),
            "http_hello_rps": (rate / 1000, "k/s")}, memory
