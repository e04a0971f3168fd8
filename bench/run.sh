#!/bin/sh
# SPDX-License-Identifier: MIT
# `./dev bench [--tsv] [ROW…]`: builds the benchmarks and the peers, runs them, reports.
command -v python3 >/dev/null || { echo "bench: python3 is missing: apt-get install python3" >&2; exit 1; }
exec python3 "$(dirname "$0")/run.py" "$@"
