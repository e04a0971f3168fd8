#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the test suites over and over: what fails once in ten runs is a bug as well.
# usage: ./dev repeat [--starve] N [PRESET...]     (default: release asan tsan; they must be built)
#
# --starve keeps threads of the tests from running at random (tests/support/starve.py): what assumes
# that one gets on before a clock does fails sooner.  As root.
#
# Prints a line per run and preset, and a summary as the last line.  What a failed test printed is
# kept in build/log/repeat/RUN-PRESET-TEST.log.  The exit status is 0 only if nothing ever failed.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

if [ "${1:-}" = --starve ]; then
    under=tests/support/starve.py
    shift
fi
times=${1:-}
case $times in '' | 0* | *[!0-9]*) die "usage: ./dev repeat [--starve] N [PRESET...]" 2 ;; esac
shift
[ $# -gt 0 ] || set -- release asan tsan
for preset in "$@"; do
    [ -f "build/$preset/CTestTestfile.cmake" ] || die "$preset is not built: ./dev build $preset" 2
done
kept=build/log/repeat
rm -rf "$kept"
mkdir -p "$kept"

# suite RUN PRESET
suite() {
    log=$kept/$1-$2.log
    begun=$(date +%s)
    exec_tests "$2" -V ${under:+--timeout 900} -j $((2 * $(nproc))) >"$log" 2>&1 </dev/null || :
    # shellcheck disable=SC2046 # three numbers
    set -- "$1" "$2" $(count_ctest "$log")
    printf 'run %-3d %-8s %5d passed %5d failed %5d skipped %6d s\n' "$@" $(($(date +%s) - begun))
    suites=$((suites + 1))
    [ "$4" -gt 0 ] || { rm "$log"; return 0; }
    bad=$((bad + 1))
    failed_tests "$log" | while read -r number name reason; do
        echo "    $name $reason: $kept/$1-$2-$name.log"
        grep -E "^$number: " "$log" >"$kept/$1-$2-$name.log" || :
    done
}

suites=0 bad=0 run=1
while [ "$run" -le "$times" ]; do
    for preset in "$@"; do
        suite "$run" "$preset"
    done
    run=$((run + 1))
done
if [ "$bad" = 0 ]; then
    echo "all green: $times runs of $*"
else
    echo "$bad of $suites suites failed; logs in $kept"
fi
[ "$bad" = 0 ]
