# SPDX-License-Identifier: MIT
"""Builds Weft's programs and the peers'.  Each builder leaves programs that answer rows, and
returns {program name: path}; one that cannot raises BuildError with the reason."""

import os
import platform
import shutil
import subprocess
import sys

from harness.place import BENCH, ROOT, say


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


WEFT_PROGRAMS = {
    "yield": "yield", "spawn_join": "spawn_join", "spawn_batch": "spawn_batch",
    "ping_pong": "ping_pong", "skynet_join": "skynet", "skynet_channel": "skynet",
    "fib_1": "fib", "fib_2": "fib", "fanout": "fanout",
    "sleepers": "sleepers", "timers": "timers", "http_hello": "http_hello",
    "process": "process", "process_large": "process",
    "copy_small": "copy", "copy_big": "copy",
    "channel_1_1": "channel", "channel_4_4": "channel",
    "generator": "generator", "generator_channel": "generator",
}


def build_weft(options):
    folder = options.build_dir
    if not (folder / "CMakeCache.txt").exists():
        run_quietly(["cmake", "-S", ROOT, "-B", folder, "--preset", "release"])
    run_quietly(["cmake", "--build", folder, "--target", "weft-bench", "-j",
                 str(os.cpu_count() or 1)])
    programs = {f"weft/{row}": folder / "bench" / f"bench-{program}"
                for row, program in WEFT_PROGRAMS.items()}
    if not all(program.exists() for program in programs.values()):
        raise BuildError(f"{folder} builds without the library")
    return programs


def go_tool():
    return shutil.which("go") or "/usr/local/go/bin/go"


def build_go(options):
    program = options.peers_dir / "go-peer"
    run_quietly([go_tool(), "build", "-o", program, "."], cwd=BENCH / "peers/go")
    return {"go": program}


def build_cargo(name):
    def build(options):
        target = options.peers_dir / name
        run_quietly(["cargo", "build", "--release", "--locked"], cwd=BENCH / "peers" / name,
                    env={**os.environ, "CARGO_TARGET_DIR": str(target)})
        return {name: target / f"release/{name}-peer"}
    return build


def build_cpp(name, *libraries):
    def build(options):
        program = options.peers_dir / f"{name}-peer"
        run_quietly([os.environ.get("CXX", "c++"), "-std=c++17", "-O2", "-o", program,
                     BENCH / f"peers/{name}/main.cpp", *libraries, "-pthread"])
        return {name: program}
    return build


def build_c(name, *libraries):
    def build(options):
        program = options.peers_dir / f"c-{name}"
        red_zone = ["-mno-red-zone"] if platform.machine() == "x86_64" else []
        run_quietly([os.environ.get("CC", "cc"), "-std=gnu17", "-O2", "-D_GNU_SOURCE", *red_zone,
                     "-o", program, BENCH / f"peers/c/{name}.c", "-pthread", *libraries])
        return {f"c/{name}": program}
    return build


def build_python(name, *modules):
    """Debian's Python before any other: that is the one which has Debian's packages."""
    def build(_):
        why = "python3 is not installed"
        for python in ("/usr/bin/python3", shutil.which("python3")):
            if python is None or not os.path.exists(python):
                continue
            try:
                run_quietly([python, "-c", f"import {', '.join(('asyncio', *modules))}"])
                return {name: [python, BENCH / "peers/python/main.py"]}
            except BuildError as error:
                why = str(error)
        raise BuildError(why)
    return build


def build_nginx(_):
    if not shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        raise BuildError("nginx is not installed")
    return {"nginx": [sys.executable, BENCH / "peers/nginx/serve.py"]}


BUILDERS = {
    "weft": build_weft, "go": build_go,
    "tokio": build_cargo("tokio"), "rayon": build_cargo("rayon"),
    "tbb": build_cpp("tbb", "-ltbb"), "boost": build_cpp("boost", "-lboost_fiber",
                                                         "-lboost_context"),
    "python": build_python("python"), "uvloop": build_python("uvloop", "uvloop"),
    "aiohttp": build_python("aiohttp", "aiohttp", "uvloop"),
    "aiofiles": build_python("aiofiles", "aiofiles"), "nginx": build_nginx,
    "c/libuv": build_c("libuv", "-luv"), "c/floor": build_c("floor"),
    "c/hello_epoll": build_c("hello_epoll"), "c/hello_libev": build_c("hello_libev", "-lev", "-lm"),
    "c/hello_uring": build_c("hello_uring", "-luring"),
    "c/switch": build_c("switch"), "c/call": build_c("call"), "c/pthread": build_c("pthread"),
    "c/process": build_c("process"), "c/copy": build_c("copy"),
    "c/libev": build_c("libev", "-lev", "-lm"),
}


def build_all(options, wanted):
    """Builds the `wanted` systems' programs.  Returns those that are there, and {program: why not}
    for those that are not."""
    programs, missing = {}, {}
    options.peers_dir.mkdir(parents=True, exist_ok=True)
    for name, build in BUILDERS.items():
        if name not in wanted:
            continue
        say(f"building {name}")
        try:
            programs.update(build(options))
        except BuildError as why:
            missing[name] = str(why)
            say(f"skipped {name}: {why}")
    return programs, missing
