#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the coverage preset, runs all its tests, and says how many lines of each folder they
# reach.  Fails if a test does, or if a folder that is named below is under its least percentage.
# usage: ./dev coverage [CTEST-OPTION...]
#
# In build/coverage/report: index.html shows each file, missed.txt names the lines that nothing
# reached.  docs/coverage.md says why those that are left are not.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

case ${1:--} in
    -*) ;;
    *) die "'$1' is no option of ctest; usage: ./dev coverage [CTEST-OPTION...]" 2 ;;
esac
tools/setup.sh build test coverage
build coverage
need gcovr

report=build/coverage/report
least='runtime:90 protocol:90 daemon:90 client:90'

# measure FOLDERS-AS-FILTERS...: what gcov counted, as a file that the reports are made of.
measure() {
    gcovr --root . --object-directory build/coverage -j "$(nproc)" --json "$report/lines.json" "$@"
}

# from_lines GCOVR-ARGUMENTS...
from_lines() {
    gcovr --root . --add-tracefile "$report/lines.json" "$@"
}

mkdir -p "$report"
find build/coverage -name '*.gcda' -delete
status=0
exec_tests coverage --output-on-failure -j $((2 * $(nproc))) "$@" || status=1

set --
for folder in $least; do
    set -- "$@" --filter "${folder%:*}/"
done
measure "$@"
from_lines --html-details "$report/index.html" --txt "$report/missed.txt"
echo "report: $report/index.html"
for folder in $least; do
    name=${folder%:*}
    wanted=${folder#*:}
    # gcovr first tries whether it can write its output, and unlinks that: never name /dev/null here
    summary=$(from_lines --filter "$name/" --print-summary --fail-under-line "$wanted" \
        --output "$report/summary.txt" 2>/dev/null) && verdict= || { verdict="  TOO FEW, $wanted % are wanted"; status=1; }
    printf '%-9s %s%s\n' "$name" "$(echo "$summary" | grep '^lines: ')" "$verdict"
done
exit "$status"
