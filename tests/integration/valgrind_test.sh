#!/bin/sh
# SPDX-License-Identifier: MIT
# Valgrind knows every stack: fibers that spawn, wait and are cancelled on several workers give it
# nothing to report.
set -u
program=${WEFT_BUILD:?}/tests/stress/sched_stress
command -v valgrind >/dev/null || { echo "valgrind is not installed"; exit 77; }
[ -x "$program" ] || { echo "sched_stress is not built"; exit 77; }
if grep -q -e __asan_init -e __tsan_init "$program"; then
    echo "a sanitizer and Valgrind do not go together"
    exit 77
fi
exec valgrind -q --error-exitcode=1 --fair-sched=yes "$program" 1
