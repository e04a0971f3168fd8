#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails when a switch, a spawn with its join or a round trip over channels executes more instructions
# than bench/instructions.txt says, by more than its tolerance; and says so when it executes fewer,
# so that the gain is written down.  A count needs no quiet machine, as a timing does.
#
# What one costs is the difference of two runs of callgrind that differ only in their length, with
# one worker and a clock that goes by its readings (bench/slow_clock.c): start-up and warm-up cancel
# out, and a second run counts the same.
#
# usage: tools/check-instructions.sh [--update | --compare COUNTS MEASURED]
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
. "$tools/lib.sh"

counts=bench/instructions.txt
short=50000
long=150000

# The counts are those of one compiler for one architecture.
toolchain() {
    echo "$(uname -m) $(cc --version | head -n 1 | sed 's/ .*//')-$(cc -dumpversion | cut -d. -f1)"
}

collected() { # ROW ROUNDS
    out=$(LD_PRELOAD=build/release/bench/bench-slow-clock.so valgrind --tool=callgrind \
        --callgrind-out-file=/dev/null "build/release/bench/bench-$1" \
        --workers 1 --size "$2" "$1" 2>&1) || { echo "$out" >&2; die "$1 failed"; }
    echo "$out" | sed -n 's/^.*Collected : \([0-9]*\).*/\1/p'
}

# In tenths of an instruction: the shell has no fractions.
per_unit() { # ROW UNITS-A-ROUND
    less=$(collected "$1" "$short")
    more=$(collected "$1" "$long")
    echo $(((more - less) * 10 / ((long - short) * $2)))
}

tenths() {
    echo "$(($1 / 10)).$(($1 % 10))"
}

measure() {
    while read -r row units what; do
        echo "$row $(per_unit "$row" "$units") $what"
    done <<'ROWS'
yield 2 one switch between two fibers
spawn_join 1 one fiber, spawned and joined
ping_pong 1 one round trip over two channels, one hand-over each way
ROWS
}

update() {
    {
        echo '# Instructions that each executes, by callgrind: tools/check-instructions.sh checks them,'
        echo '# tools/check-instructions.sh --update writes this file.'
        echo "toolchain $(toolchain)"
        echo 'tolerance-percent 3'
        measure | while read -r row count what; do
            printf '%-10s %8s  # %s\n' "$row" "$(tenths "$count")" "$what"
        done
    } >"$counts.new"
    mv "$counts.new" "$counts"
    cat "$counts"
}

written() { # NAME
    sed -n "s/^$1 *\([^#]*[^# ]\).*/\1/p" "$counts"
}

# compare MEASURED: lines "ROW TENTHS WHAT"
compare() {
    tolerance=$(written tolerance-percent)
    status=0
    while read -r row count what; do
        was=$(written "$row" | tr -d .)
        [ -n "$was" ] || die "$counts has no line for $row: run $0 --update"
        echo "$row: $(tenths "$count") instructions ($what), $(tenths "$was") written down"
        if [ $((count * 100)) -gt $((was * (100 + tolerance))) ]; then
            echo "$row executes more than $counts allows" >&2
            status=1
        elif [ $((count * 100)) -lt $((was * (100 - tolerance))) ]; then
            echo "$row got cheaper: keep it so with $0 --update"
        fi
    done <"$1"
    return "$status"
}

if [ "${1:-}" = --compare ]; then
    counts=$2
    compare "$3"
    exit
fi
cd "$tools/.."
need cc cmake ninja valgrind
configure release
cmake --build build/release --target weft-bench-instructions >build/log/instructions.log 2>&1 ||
    { cat build/log/instructions.log >&2; die 'the benchmarks do not build'; }
if [ "${1:-}" = --update ]; then
    update
    exit 0
fi
[ "$(written toolchain)" = "$(toolchain)" ] ||
    die "counted with $(written toolchain), and this is $(toolchain)" 77

measure >build/log/instructions.txt
compare build/log/instructions.txt
