#!/bin/sh
# SPDX-License-Identifier: MIT
# `./dev bench [--tsv] [ROW…]`, `./dev bench daemon [ROW…]`: builds the benchmarks and the peers, runs them, reports.
# What they need is installed by the two programs, once they have understood their words (harness/place.py).
command -v python3 >/dev/null || "$(dirname "$0")/../tools/setup.sh" build bench >&2
command -v python3 >/dev/null || { echo "bench: python3 is missing: apt-get install python3" >&2; exit 1; }
if [ "${1:-}" = daemon ]; then
    shift
    exec python3 "$(dirname "$0")/daemon.py" "$@"
fi
exec python3 "$(dirname "$0")/run.py" "$@"
