#!/bin/sh
# SPDX-License-Identifier: MIT
# Compile the change of stacks in the ways that a user's build might, for both processors, and run
# each.  What is missing here (clang, the cross compiler, qemu-user) is left out and said.
set -u
source=${WEFT_SOURCE:?}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tested=0 failing=0

# check RUNNER COMPILER FLAGS...
check() {
    runner=$1 compiler=$2
    shift 2
    tested=$((tested + 1))
    # shellcheck disable=SC2086 # the runner may be empty, or have arguments
    if "$compiler" -std=gnu17 -D_GNU_SOURCE -fno-omit-frame-pointer "$@" -I "$source/runtime" \
        "$source/tests/integration/switch_program.c" -o "$folder/program" && $runner "$folder/program"
    then
        return
    fi
    failing=$((failing + 1))
    echo "failed: $compiler $*"
}

native() {
    for level in -O0 -O1 -O2 -O3 -Os; do
        check "" "$1" $level
    done
    check "" "$1" -O2 -fPIC -fstack-protector-strong -fcf-protection=full
    tested=$((tested + 1))
    if ! "$1" -std=gnu17 -O2 -mgeneral-regs-only -I "$source/runtime" -include core/switch.h \
        -x c -c /dev/null -o "$folder/object"
    then
        failing=$((failing + 1))
        echo "failed: $1 -mgeneral-regs-only"
    fi
}

have() {
    command -v "$1" >/dev/null || { echo "not here: $1" >&2; return 1; }
}

[ "$(uname -m)" = x86_64 ] || { echo "the flags are those of x86-64"; exit 77; }
for compiler in gcc clang; do
    have $compiler && native $compiler
done
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || qemu=
if [ -n "$qemu" ] && have aarch64-linux-gnu-gcc; then
    for level in -O0 -O2 -O3; do
        check "$qemu -cpu max" aarch64-linux-gnu-gcc -static $level
    done
    check "$qemu -cpu max" aarch64-linux-gnu-gcc -static -O2 -mbranch-protection=standard
    check "$qemu -cpu max" aarch64-linux-gnu-gcc -static -O3 -march=armv8.2-a+sve
fi
echo "Tested: $tested | Failing: $failing"
[ "$failing" -eq 0 ]
