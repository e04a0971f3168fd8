#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: ./dev faults [KIND]     (default: all)
# Every call of this kind, or of all, fails in turn, in what tests/faults/ does with
# libweft, in what clients do with weftd, and while weftd starts and stops.  Status 0: nothing was found.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

usage='./dev faults [KIND]'
at_most 1 "$usage" "$@"
kind=${1:-all}
kinds=$(sed -n 's/.*KIND([A-Z]*, "\([a-z]*\)").*/\1/p' tests/support/faults.h | xargs)
case " all $kinds " in
    *" $kind "*) ;;
    *) die "'$kind' is none of all $kinds; usage: $usage" 2 ;;
esac
tools/setup.sh build test
build release --target weftd weft-cli faults faults_runtime example-greeter

status=0
echo "== libweft"
build/release/tests/faults_runtime "$kind" &
attend $! || status=1
case $kind in
    ring) ;; # weftd without io_uring: ./dev portability older-kernel
    *)
        echo "== weftd"
        tests/integration/faults_daemon_test.py "$kind" &
        attend $! || status=1
        ;;
esac
case $kind in
    ring | accept) ;; # nobody has connected yet
    *)
        echo "== the start and stop of weftd, and a module's process"
        tests/integration/faults_life_test.py "$kind" &
        attend $! || status=1
        ;;
esac
exit "$status"
