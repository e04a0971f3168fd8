#!/bin/sh
# SPDX-License-Identifier: MIT
# All checks that need no run of the program: format and licence lines, scripts, layers, headers,
# clang-tidy, and the checks' own test.  Ends with "Tested: N | Failing: M", as ./dev test counts.
set -eu
cd "$(dirname "$0")/.."

tested=0 failing=0
for check in check-format check-shell check-layers check-headers check-selftest check-tidy; do
    tested=$((tested + 1))
    if "tools/$check.sh"; then
        echo "$check: ok"
    else
        echo "$check: FAILED" >&2
        failing=$((failing + 1))
    fi
done
echo "Tested: $tested | Failing: $failing"
[ "$failing" = 0 ]
