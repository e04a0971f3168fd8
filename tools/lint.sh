#!/bin/sh
# SPDX-License-Identifier: MIT
# All checks that need no run of the program: format and licence lines, scripts, layers, headers,
# clang-tidy, and the checks' own test.  A check exits with 77 where its tool is missing.
# Ends with "Tested: N | Failing: N | Skipped: N", as ./dev test counts.
set -eu
cd "$(dirname "$0")/.."

checks='check-format check-shell check-layers check-headers check-asyncio check-guide check-selftest check-instructions check-tidy'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Two at once: most of them are one process after another.
# shellcheck disable=SC2016 # for the inner shell
printf '%s\n' $checks |
    xargs -P 2 -I CHECK sh -c '"tools/$1.sh" >"$0/$1.out" 2>&1; echo "$?" >"$0/$1.status"' "$work" CHECK

tested=0 failing=0 skipped=0
for check in $checks; do
    tested=$((tested + 1))
    cat "$work/$check.out"
    status=$(cat "$work/$check.status")
    case $status in
        0) echo "$check: ok" ;;
        77) echo "$check: SKIPPED" && skipped=$((skipped + 1)) ;;
        *) echo "$check: FAILED" && failing=$((failing + 1)) ;;
    esac
done
echo "Tested: $tested | Failing: $failing | Skipped: $skipped"
[ "$failing" = 0 ]
