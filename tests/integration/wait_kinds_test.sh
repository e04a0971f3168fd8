#!/bin/sh
# SPDX-License-Identifier: MIT
# Every kind of wait that core/ and sync/ name is either known to observe/owner.c, or named here as
# one that the kernel, the clock or another thread ends (as those of io/ are).  A wait that is not
# described counts as one that may end from outside, so a deadlock in it would stay silent.
set -u
cd "${WEFT_SOURCE:?}" || exit 1
external=' sleep offload executor file '
tested=0 failing=0

# What wait_describe or park_describe is called with, and the strings that lead there by a variable.
kinds() {
    find runtime/core runtime/sync -name '*.c' -exec cat {} + | tr '\n' ' ' | grep -oE '(wait|park)_describe\([^;]*;' |
        grep -o '"[a-z ]*"' | tr -d '"'
    grep -hoE '"(rwlock (read|write)|queue (get|put|join)|channel (send|recv))"' -r runtime/sync |
        tr -d '"'
}

list=$(kinds | sort -u)
[ -n "$list" ] || { echo "no wait is described"; exit 1; }
while read -r kind; do
    tested=$((tested + 1))
    grep -qF "{\"$kind\", " runtime/observe/owner.c && continue
    case $external in *" $kind "*) continue ;; esac
    failing=$((failing + 1))
    echo "the wait \"$kind\" is neither in observe/owner.c nor external here"
done <<LIST
$list
LIST

# And every file that suspends says what for.
files=$(grep -lE '\<(wait_suspend|waitq_suspend)\(&' -r runtime --include='*.c')
for file in $files; do
    tested=$((tested + 1))
    grep -qE '(wait|park)_describe\(' "$file" && continue
    failing=$((failing + 1))
    echo "$file waits, and does not say what for"
done
echo "Tested: $tested | Failing: $failing"
[ "$failing" -eq 0 ]
