#!/bin/sh
# SPDX-License-Identifier: MIT
# The child's half of a spawn, compiled in the ways that a user's build might, for both processors:
# it calls no function that is not its own (invariant I1 of runtime/io/process/spawn_child.c), however it is
# instrumented, and it starts programs.  What is missing here (clang, the cross compiler, qemu-user)
# is left out and said.
set -u
source=${WEFT_SOURCE:?}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tested=0 failing=0

fail() {
    failing=$((failing + 1))
    echo "failed: $*"
}

# compile COMPILER FLAGS...: to $folder/child.o
compile() {
    "$@" -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fno-omit-frame-pointer \
        -fstack-clash-protection -I "$source/runtime/include" -I "$source/runtime" \
        -c "$source/runtime/io/process/spawn_child.c" -o "$folder/child.o"
}

# alone COMPILER FLAGS...: nothing is called but what the instrumentation calls at the start.
alone() {
    tested=$((tested + 1))
    compile "$@" || { fail "$*"; return; }
    called=$(nm -u "$folder/child.o" |
        grep -v -E ' __(asan|tsan)_init$| __asan_(un)?register_globals$| __asan_version| __gcov_')
    [ -z "$called" ] || fail "$* calls:" "$called"
}

# starts RUNNER COMPILER FLAGS...
starts() {
    runner=$1
    shift
    tested=$((tested + 1))
    # shellcheck disable=SC2086 # the runner may be empty, or have arguments
    if compile "$@" && "$@" -std=gnu17 -D_GNU_SOURCE -I "$source/runtime/include" \
        -I "$source/runtime" "$source/tests/integration/child_program.c" "$folder/child.o" \
        -o "$folder/program" && $runner "$folder/program"
    then
        return
    fi
    fail "$*"
}

have() {
    command -v "$1" >/dev/null || { echo "not here: $1" >&2; return 1; }
}

[ "$(uname -m)" = x86_64 ] || { echo "the compilers are those of x86-64"; exit 77; }
for compiler in gcc clang; do
    have $compiler || continue
    for flags in -O0 -O2 -O3 "-O1 -fsanitize=address,undefined" "-O1 -fsanitize=thread" \
        "-O2 -fPIC -fcf-protection=full"; do
        # shellcheck disable=SC2086 # several flags
        alone $compiler $flags
    done
    starts "" $compiler -O0
    starts "" $compiler -O2 -fPIC -fstack-protector-strong
done
alone gcc --coverage
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || qemu=
if [ -n "$qemu" ] && have aarch64-linux-gnu-gcc; then
    for level in -O0 -O2 -O3; do
        alone aarch64-linux-gnu-gcc $level -mno-outline-atomics
        starts "$qemu -cpu max" aarch64-linux-gnu-gcc -static $level
    done
    starts "$qemu -cpu max" aarch64-linux-gnu-gcc -static -O2 -mbranch-protection=standard
fi
echo "Tested: $tested | Failing: $failing"
[ "$failing" -eq 0 ]
