#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs all tests, or the parts that are named, and prints a line per part.
# usage: tools/test.sh [release] [asan] [tsan] [lint] [model] [system]
#
# The last line is "N passed, N failed" (and ", N skipped"): the cases of all parts, a Criterion
# test being one case, and a script one unless it says "Tested: N | Failing: N".  The exit status
# is 0 only if nothing failed.  A part's whole output is in build/log/PART.log.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

logs=build/log
cores=$(nproc)

# count_ctest LOG: prints "passed failed skipped" of a "ctest -V" log.
count_ctest() {
    awk -f tools/count-ctest.awk "$1"
}

# count_script LOG STATUS: the same for a script's log, of which the last "Tested: N | Failing: N"
# or "Tested: N | Failing: N | Skipped: N" counts.
count_script() {
    [ "$2" != 77 ] || { echo 0 0 1; return; }
    awk -v status="$2" '
        match($0, /Tested: [0-9]+ [|] Failing: [0-9]+( [|] Skipped: [0-9]+)?/) {
            split(substr($0, RSTART, RLENGTH), word, " ")
            tested = word[2]; failing = word[5]; skipped = word[8]
        }
        END {
            if (status != 0 && failing == 0) failing = 1
            if (tested < failing + skipped || tested == 0) tested = failing + skipped + !failing
            print tested - failing - skipped, failing + 0, skipped + 0
        }' "$1"
}

# A preset's build and all its ctest tests, of which many wait more than they compute.
part_preset() {
    # In a subshell, because a failed configure exits.
    if ! (configure "$1" && cmake --build --preset "$1") >"$logs/$1.log" 2>&1; then
        echo 0 1 0 >"$logs/$1.count"
        return 0
    fi
    exec_tests "$1" -V -j $((2 * cores)) >"$logs/$1.log" 2>&1 </dev/null || :
    count_ctest "$logs/$1.log" >"$logs/$1.count"
}

# part_script PART SCRIPT
part_script() {
    status=0
    if [ -x "$2" ]; then
        "$2" >"$logs/$1.log" 2>&1 </dev/null || status=$?
    else
        echo "$2 is not there" >"$logs/$1.log"
        status=77
    fi
    [ "$status" != 77 ] || tail -n 1 "$logs/$1.log" >"$logs/$1.why"
    count_script "$logs/$1.log" "$status" >"$logs/$1.count"
}

# The boot of a real systemd needs a namespace of its own, which many containers refuse.
part_system() {
    why=
    [ "$(id -u)" = 0 ] || why="needs root"
    command -v systemd-nspawn >/dev/null || why="systemd-nspawn is not installed"
    command -v debootstrap >/dev/null || why="debootstrap is not installed"
    if [ -n "$why" ]; then
        echo "$why" | tee "$logs/system.log" >"$logs/system.why"
        echo 0 0 1 >"$logs/system.count"
        return 0
    fi
    part_script system tests/system/run.sh
}

# tail_of_test LOG NUMBER LINES: the end of what a ctest test printed.
tail_of_test() {
    grep -E "^$2: " "$1" | sed "s/^$2: /    | /" | tail -n "$3"
}

# Tests of a ctest log that said "not here", each with its last line.
show_skipped() {
    sed -n 's/^ *[0-9]*\/[0-9]* Test *#\([0-9]*\): \([^ ]*\) .*\*\*\*Skipped.*/\1 \2/p' "$logs/$1.log" |
        while read -r number name; do
            echo "    SKIPPED $name:"
            tail_of_test "$logs/$1.log" "$number" 1
        done
}

# What failed, with the end of its output: a CI log may be all that one gets to see.
show_failures() {
    failed_tests=$(awk '/^The following tests FAILED:/ { on = 1; next }
        on && /^[ \t]+[0-9]+ - / { sub(/^[ \t]+/, ""); print }' "$logs/$1.log")
    echo "$failed_tests" | while read -r number _ name reason; do
        [ -n "$number" ] || continue
        echo "    $name $reason"
        tail_of_test "$logs/$1.log" "$number" 30
    done
    if [ -z "$failed_tests" ]; then
        grep -m 10 -E 'error: |FAILED' "$logs/$1.log" | sed 's/^/    | /'
        tail -n 15 "$logs/$1.log" | sed 's/^/    | /'
    fi
    echo "    log: $logs/$1.log"
}

run_part() {
    rm -f "$logs/$1.why"
    started=$(date +%s)
    case $1 in
        release | asan | tsan) part_preset "$1" ;;
        lint) part_script lint tools/lint.sh ;;
        model) part_script model tests/model/run.sh ;;
        system) part_system ;;
    esac
    read -r passed failed skipped <"$logs/$1.count"
    printf '%-8s %5d passed %5d failed %5d skipped %6d s' "$1" "$passed" "$failed" "$skipped" \
        $(($(date +%s) - started))
    if [ "$skipped" -gt 0 ] && [ "$passed" = 0 ] && [ "$failed" = 0 ]; then
        printf '   SKIPPED: %s' "$(cat "$logs/$1.why" 2>/dev/null)"
    fi
    printf '\n'
    [ "$skipped" = 0 ] || show_skipped "$1"
    [ "$failed" = 0 ] || show_failures "$1"
    all_passed=$((all_passed + passed))
    all_failed=$((all_failed + failed))
    all_skipped=$((all_skipped + skipped))
}

for part in "$@"; do
    case $part in
        release | asan | tsan | lint | model | system) ;;
        *) die "unknown part '$part': release asan tsan lint model system" 2 ;;
    esac
done
[ $# -gt 0 ] || set -- release asan tsan lint model system
tools/setup.sh build test lint browser
case " $* " in *" system "*) tools/setup.sh system ;; esac

mkdir -p "$logs"
all_passed=0 all_failed=0 all_skipped=0
for part in "$@"; do
    run_part "$part"
done
[ "$all_skipped" = 0 ] && rest= || rest=", $all_skipped skipped"
echo "$all_passed passed, $all_failed failed$rest"
[ "$all_failed" = 0 ]
