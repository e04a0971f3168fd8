#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs all tests, or the parts that are named, and prints a line per part.
# usage: ./dev test [release] [system] [model] [asan] [tsan] [lint]
#
# Tests wait more than they compute, so two lanes run side by side, one a pipe into the other: the
# first builds one preset after the other and then does the checks of the sources; the second runs
# the tests of what is built, and reports.  The first is nice, so that tests are not slowed.  System
# and model need no build but release's: they fill the second's wait for asan's.  What is wanted
# but not needed to build (clang, a browser) is installed by the second while release is built.  A
# part's seconds are those of both lanes.
#
# The last line is "N passed, N failed" (and ", N skipped"): the cases of all parts, a Criterion
# test being one case, and a script one unless it says "Tested: N | Failing: N".  The exit status
# is 0 only if nothing failed.  A part's whole output is in build/log/PART.log.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

logs=build/log
cores=$(nproc)
started=$(date +%s)
tidy_until=$((started + 450)) # clang-tidy begins no further file then, but has 10 s in any case

# count_script LOG STATUS: prints "passed failed skipped" of a script's log, of which the last
# "Tested: N | Failing: N" or "Tested: N | Failing: N | Skipped: N" counts.
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

build_preset() {
    # In a subshell, because a failed configure exits.
    (configure "$1" && nice cmake --build --preset "$1" -j "$cores") >"$logs/$1.log" 2>&1 ||
        echo 0 1 0 >"$logs/$1.count"
}

# All ctest tests of a preset that is built; twice as many at once as there are cores, as they wait.
test_preset() {
    [ ! -e "$logs/$1.count" ] || return 0 # it is not built
    exec_tests "$1" -V -j $((2 * cores)) >"$logs/$1.log" 2>&1 </dev/null || :
    count_ctest "$logs/$1.log" >"$logs/$1.count"
}

# part_script PART COMMAND...
part_script() {
    part=$1
    shift
    status=0
    "$@" >"$logs/$part.log" 2>&1 </dev/null || status=$?
    [ "$status" != 77 ] || tail -n 1 "$logs/$part.log" >"$logs/$part.why"
    count_script "$logs/$part.log" "$status" >"$logs/$part.count"
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
    failed_tests "$logs/$1.log" | while read -r number name reason; do
        echo "    $name $reason"
        tail_of_test "$logs/$1.log" "$number" 60
    done
    if [ -z "$(failed_tests "$logs/$1.log")" ]; then
        grep -m 10 -E 'error: |FAILED' "$logs/$1.log" | sed 's/^/    | /'
        tail -n 15 "$logs/$1.log" | sed 's/^/    | /'
    fi
    echo "    log: $logs/$1.log"
}

lint() {
    left=$((tidy_until - $(date +%s)))
    WEFT_TIDY_SECONDS=${WEFT_TIDY_SECONDS:-$((left > 10 ? left : 10))}
    export WEFT_TIDY_SECONDS
    part_script lint nice tools/lint.sh
}

# first_lane PART...: prints "PART SECONDS" for each when the second lane may have it.
first_lane() {
    for part in "$@"; do
        begun=$(date +%s)
        case $part in
            release | asan | tsan) build_preset "$part" ;;
            lint) lint ;;
        esac
        echo "$part $(($(date +%s) - begun))"
    done
}

# second_lane PART...: reads what the first prints, which must be all of these parts.
second_lane() {
    all_passed=0 all_failed=0 all_skipped=0
    # shellcheck disable=SC2086
    [ -z "$wanted" ] || tools/setup.sh $wanted
    while read -r part seconds; do
        begun=$(date +%s)
        case $part in
            release | asan | tsan) test_preset "$part" ;;
            system) part_system ;;
            model) part_script model nice tests/model/run.sh ;;
        esac
        report "$part" $((seconds + $(date +%s) - begun))
        shift
    done
    for part in "$@"; do
        echo "$part has not come to its end"
        all_failed=$((all_failed + 1))
    done
    [ "$all_skipped" = 0 ] && rest= || rest=", $all_skipped skipped"
    echo "$all_passed passed, $all_failed failed$rest"
    [ "$all_failed" = 0 ]
}

report() { # PART SECONDS
    read -r passed failed skipped <"$logs/$1.count"
    printf '%-8s %5d passed %5d failed %5d skipped %6d s' "$1" "$passed" "$failed" "$skipped" "$2"
    if [ "$skipped" -gt 0 ] && [ "$passed" = 0 ] && [ "$failed" = 0 ]; then
        printf '   SKIPPED: %s' "$(cat "$logs/$1.why" 2>/dev/null)"
    fi
    printf '\n'
    case $1 in release | asan | tsan) echo "    $(kinds_ctest "$logs/$1.log")" ;; esac
    [ "$skipped" = 0 ] || show_skipped "$1"
    [ "$failed" = 0 ] || show_failures "$1"
    all_passed=$((all_passed + passed))
    all_failed=$((all_failed + failed))
    all_skipped=$((all_skipped + skipped))
}

parts='release system model asan tsan lint' # the order that keeps both lanes busy
for part in "$@"; do
    case " $parts " in
        *" $part "*) ;;
        *) die "unknown part '$part': $parts" 2 ;;
    esac
done
asked=" ${*:-$parts} "
set --
for part in $parts; do
    case $asked in *" $part "*) set -- "$@" "$part" ;; esac
done
tools/setup.sh build test
wanted='lint browser'
case $asked in *" system "*) wanted="$wanted system" ;; esac
case $asked in
    " release "*) ;;
    *) tools/setup.sh $wanted; wanted= ;; # the first lane may need them at once
esac

mkdir -p "$logs"
for part in "$@"; do
    rm -f "$logs/$part.count" "$logs/$part.why"
done
first_lane "$@" | second_lane "$@"
