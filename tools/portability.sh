#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds Weft as others may, warnings being errors, runs the tests of each build, and prints a line per
# variant.
# usage: ./dev portability [--quick] [VARIANT...]     (default: all that the machine can)
#
#   gcc-O0 gcc-O1 gcc-O2 gcc-O3 gcc-lto          asserts are on in -O0 and -O1
#   clang-O0 clang-O2 clang-O3 clang-lto
#   distribution     gcc with the flags that distributions harden what they build with, CET's too
#   aarch64          Debian's cross compiler, unit and stress tests in qemu's user mode
#   older-kernel     the release build, as on a kernel without io_uring and MADV_GUARD_INSTALL
#
# --quick runs unit and stress tests alone, and builds no more than these.  A variant that cannot be had
# here is skipped, with the reason.  Logs: build/log/portability/VARIANT.log.  The exit status is 0 only
# if nothing failed.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

all='gcc-O0 gcc-O1 gcc-O2 gcc-O3 gcc-lto clang-O0 clang-O2 clang-O3 clang-lto distribution aarch64 older-kernel'
logs=build/log/portability
labels='unit|stress|fuzz|integration'
quick=
if [ "${1:-}" = --quick ]; then
    quick=1 labels='unit|stress'
    shift
fi
# shellcheck disable=SC2086 # several words
[ $# -gt 0 ] || set -- $all
for variant in "$@"; do
    case " $all " in
        *" $variant "*) ;;
        *) die "unknown variant '$variant': $all" 2 ;;
    esac
done
tools/setup.sh build test lint cross
mkdir -p "$logs"

# Prints why the variant cannot be had here, if so.
lacking() {
    case $1 in
        clang-lto) set -- clang ld.lld ;;
        clang-*) set -- clang ;;
        aarch64) set -- aarch64-linux-gnu-gcc qemu-aarch64 ;;
        *) return 0 ;;
    esac
    missing=
    for program in "$@"; do # one at a time: dash's command -v looks at the first alone
        command -v "$program" >/dev/null || missing="$missing${missing:+, }$program"
    done
    [ -z "$missing" ] || echo "not installed: $missing"
}

# build_variant PRESET
build_variant() {
    (configure "$1") || return 1
    set -- "$1" "$labels"
    if [ -n "$quick" ] || [ "$1" = aarch64 ]; then
        nice cmake --build "build/$1" --target tests-unit tests-stress older_kernel
    else
        nice cmake --build "build/$1"
    fi
}

# What qemu's user mode does not have: docs/decisions/043-compilers.md.  Whole programs, as most of
# their tests need it.
no_guards='stack_test'
no_children='process|pool|terminal_test|signal|cleanup_test|cgroup_test|modules_test|modules_http_test|tree_test'
no_children="$no_children|run_(exec|freeze|group|program|stop|user)_test"
no_seccomp='file_uring_test'
no_multicast='datagram_test'
not_emulated="$no_guards|$no_children|$no_seccomp|$no_multicast"

suites() { # CTEST-ARGUMENTS...
    "$@" -L "$labels" --timeout 300 -V -j $((2 * $(nproc)))
}

tests() { # VARIANT
    case $1 in
        aarch64) # qemu keeps a word for each page that is reserved: 1.5 TiB of them are too many
            labels='unit|stress'
            suites prlimit --as=6000000000 ctest --test-dir build/aarch64 --no-tests=error -E "$not_emulated"
            ;;
        older-kernel) suites build/release/tests/older_kernel ctest --preset release ;;
        *) suites ctest --test-dir "build/$1" --no-tests=error ;;
    esac
}

# one VARIANT: the line; returns 1 if something failed.
one() {
    log=$logs/$1.log preset=$1
    why=$(lacking "$1")
    [ "$1" != older-kernel ] || preset=release
    if [ -z "$why" ] && [ "$1" = aarch64 ]; then
        WEFT_AARCH64_TREE=$(tools/aarch64-tree.sh 2>"$log") && export WEFT_AARCH64_TREE || why=$(tail -n 1 "$log")
    fi
    if [ -n "$why" ]; then
        printf '%-14s SKIPPED: %s\n' "$1" "$why"
        skipped=$((skipped + 1))
        return 0
    fi
    begun=$(date +%s)
    if ! build_variant "$preset" >"$log" 2>&1; then
        printf '%-14s does not build: %s\n' "$1" "$log"
        grep -m 10 -E 'error: |FAILED' "$log" | sed 's/^/    | /'
        return 1
    fi
    tests "$1" >"$log" 2>&1 </dev/null || :
    # shellcheck disable=SC2046 # three numbers
    set -- "$1" $(count_ctest "$log")
    printf '%-14s %5d passed %5d failed %5d skipped %6d s\n' "$@" $(($(date +%s) - begun))
    failed_tests "$log" | while read -r number name reason; do
        echo "    $name $reason"
        grep -E "^$number: " "$log" | tail -n 20 | sed "s/^$number: /    | /"
    done
    [ "$3" = 0 ]
}

bad=0 skipped=0
for variant in "$@"; do
    one "$variant" || bad=$((bad + 1))
done
[ "$bad" = 0 ] || echo "logs in $logs"
echo "of $# variants, $(($# - bad - skipped)) pass, $bad fail, $skipped were skipped"
[ "$bad" = 0 ]
