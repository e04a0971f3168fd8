#!/bin/sh
# SPDX-License-Identifier: MIT
# Files and stacks as on a kernel without io_uring and without guards that are no mappings: the unit
# tests of both.  ./dev portability older-kernel runs all suites so.
set -u
build=${WEFT_BUILD:?}
older=$build/tests/older_kernel
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tested=0 failing=0

check() {
    tested=$((tested + 1))
    "$@" && return
    failing=$((failing + 1))
    echo "failed: $*"
}

# A suite of its own passes and says how many tests it had.
unit() {
    "$older" "$build/tests/$1" >"$folder/out" 2>&1 && grep -q 'Tested: [1-9]' "$folder/out" && return
    cat "$folder/out"
    return 1
}

"$older" true || exit $?
for test in stack_test file_test file_fibers_test file_whole_test copy_test; do
    check unit "$test"
done
echo "Tested: $tested | Failing: $failing"
[ "$failing" -eq 0 ]
