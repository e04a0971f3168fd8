#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the fuzz targets of tests/fuzz/, as many at once as there are CPUs, each from its corpus.
# usage: ./dev fuzz [MINUTES [TARGET]]     (default 1, and all)
#
# Prints a line per target as it ends, what was found and what to do about it, and a summary as the
# last line.  What a run adds stays in build/fuzz/corpus/TARGET, where the next one goes on from;
# findings are in build/fuzz/findings, whole logs in build/log/fuzz-TARGET.log.  The exit status is 0
# only if no target found anything.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

findings=build/fuzz/findings

# subjects [TARGET]: names, one a line
subjects() {
    for source in tests/fuzz/*_fuzz.c; do
        subject=$(basename "$source" _fuzz.c)
        [ -n "${1:-}" ] && [ "$1" != "$subject" ] || echo "$subject"
    done
}

# fuzz_one SECONDS SUBJECT: its exit status is libFuzzer's
fuzz_one() {
    set -- "$@" "build/fuzz/corpus/$2" "tests/fuzz/corpus/$2"
    mkdir -p "$3"
    [ ! -f "tests/fuzz/$2.dict" ] || set -- "$@" -dict="tests/fuzz/$2.dict"
    seconds=$1 program=build/fuzz/tests/$2_fuzz prefix=$findings/$2-
    shift 2
    without_aslr env ASAN_OPTIONS=detect_stack_use_after_return=1 \
        UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$program" -max_total_time="$seconds" \
        -print_final_stats=1 -timeout=30 -rss_limit_mb=2048 -artifact_prefix="$prefix" "$@"
}

# last REGEX LOG: the number behind its last match, or "-"
last() {
    number=$(sed -n "s/.*$1 *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1)
    echo "${number:--}"
}

# explain SUBJECT LOG: what was found, and what to do about it
explain() {
    file=$(sed -n 's/.*Test unit written to //p' "$2" | tail -n 1)
    what=$(grep -m 1 -E 'does not hold|runtime error|ERROR: (Address|Leak)Sanitizer|libFuzzer: (timeout|out-of-memory)' "$2") ||
        what="it ended early"
    echo "    $what"
    echo "    the log:    $2"
    [ -n "$file" ] || return 0
    echo "    the input:  $file"
    echo "    once more:  build/fuzz/tests/${1}_fuzz $file"
    echo "    when it is mended:  cp $file tests/fuzz/corpus/$1/WHAT_IT_IS"
}

# one SECONDS SUBJECT: runs it and prints its line
one() {
    log=build/log/fuzz-$2.log
    status=0
    fuzz_one "$1" "$2" >"$log" 2>&1 </dev/null || status=$?
    verdict="nothing found"
    [ "$status" = 0 ] || verdict="FOUND SOMETHING"
    # One printf with all of it: targets that end at the same time print beside each other.
    report=$([ "$status" = 0 ] || explain "$2" "$log")
    printf '%-10s %10s executions, %6s edges (%s at the start), %5s MB: %s\n%s' "$2" \
        "$(last 'stat::number_of_executed_units:' "$log")" "$(last ' cov:' "$log")" \
        "$(last 'INITED cov:' "$log")" \
        "$(last 'stat::peak_rss_mb:' "$log")" "$verdict" "${report:+$report
}"
    [ "$status" = 0 ]
}

if [ "${1:-}" = --one ]; then
    one "$2" "$3"
    exit
fi

usage='./dev fuzz [MINUTES [TARGET]]'
at_most 2 "$usage" "$@"
minutes=${1:-1}
target=${2:-}
natural "$minutes" "$usage"
chosen=$(subjects "$target")
[ -n "$chosen" ] || die "no fuzz target named $target; there are: $(subjects | xargs)" 2

tools/setup.sh build test lint # the last for clang
# shellcheck disable=SC2046 # names without spaces
build fuzz --target $(printf '%s_fuzz ' $chosen)
mkdir -p "$findings" build/log

count=$(echo "$chosen" | wc -l)
echo "$count target(s), $minutes minute(s) each, $(nproc) at once"
status=0
echo "$chosen" | xargs -n 1 -P "$(nproc)" tools/fuzz.sh --one $((minutes * 60)) || status=1
if [ "$status" = 0 ]; then
    echo "nothing found by $count fuzz target(s) in $minutes minute(s) each"
else
    echo "fuzzing found something: see above, and $findings/"
fi
exit "$status"
