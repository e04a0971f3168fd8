#!/bin/sh
# SPDX-License-Identifier: MIT
# Check every model: the true one must hold in all interleavings, each broken variant must be caught.
# (Compiled without optimisation, which takes longer than most searches.  clang does it in half of gcc's time.)
# usage: tests/model/run.sh [MODEL...]      needs spin and a C compiler
set -eu
here=$(cd "$(dirname "$0")" && pwd)
command -v spin >/dev/null || { echo "SKIPPED: spin is not installed (./dev setup test)"; exit 77; }
cc=cc
! command -v clang >/dev/null || cc=clang
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
tested=0
failing=0

# check MODEL EXPECTED DEFINE...: EXPECTED is "holds" or "caught"
check() {
    model=$1 expected=$2
    shift 2
    level=-O0 order=
    case $model-$expected in
        park-holds | runq-holds) level=-O1 ;;
        park-caught) order=-DT_REVERSE ;; # its errors are at the end
    esac
    tested=$((tested + 1))
    if ! spin -a "$@" "$here/$model.pml" >spin.log 2>&1 ||
        ! "$cc" "$level" $order -w -DSAFETY -DVECTORSZ=4096 -o pan pan.c >cc.log 2>&1; then
        echo "$model $*: does not translate"
        cat spin.log
        failing=$((failing + 1))
        return
    fi
    [ "$expected" = holds ] && table=24 || table=20 # 2^table entries; an error is found early
    ./pan -m1000000 "-w$table" >pan.log 2>&1 || true
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log)
    states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
    if grep -q 'max search depth too small' pan.log; then
        verdict="not searched to the end"
    elif [ "$errors" = 0 ]; then
        verdict=holds
    else
        verdict=caught
    fi
    echo "$model $*: $verdict ($states states)"
    [ "$verdict" = "$expected" ] && return
    echo "  expected: $expected"
    sed -n '/pan:/p' pan.log
    failing=$((failing + 1))
}

models=${*:-deque runq descriptor failure group handoff park scope select wait waitq}
for model in $models; do
    check "$model" holds -DBROKEN=0
    [ "$model" = wait ] && check "$model" holds -DBROKEN=0 -DCANCEL_ONLY
    [ "$model" = park ] && check "$model" holds -DBROKEN=0 -DPINNED
    for broken in $(sed -n 's/^ \* BROKEN \([0-9]\).*/\1/p' "$here/$model.pml"); do
        only=
        [ "$model$broken" = wait2 ] && only=-DCANCEL_ONLY
        [ "$model$broken" = park6 ] && only=-DPINNED
        check "$model" caught "-DBROKEN=$broken" $only
    done
done
echo "Tested: $tested | Failing: $failing"
[ "$failing" = 0 ]
