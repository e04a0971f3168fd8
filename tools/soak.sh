#!/bin/sh
# SPDX-License-Identifier: MIT
# Whether anything grows, or breaks only after a while.  usage: ./dev soak [MINUTES] (default 1)
#
# Half of it is weftd under clients that do all it offers (tests/integration/soak_test.py), for so many
# minutes; the other half are the stress programs of the library, in turn, each for its share of as many
# minutes and for two seconds at least.  WEFT_TEST_SEED replays the plan.  The exit status says whether
# all held; what a stress program printed is in build/log/soak-NAME.log.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

usage='./dev soak [MINUTES]'
at_most 1 "$usage" "$@"
minutes=${1:-1}
natural "$minutes" "$usage"

tools/setup.sh build test
build release --target weftd weft-cli stress example-greeter module-trouble

status=0
tests/integration/soak_test.py "$minutes" &
attend $! || status=1

set -- build/release/tests/stress/*_stress
[ -x "$1" ] || die "the stress programs are not built" 2
share=$((minutes * 60 / ($# * 2)))
[ "$share" -gt 0 ] || share=1
passed=0
mkdir -p build/log
for program in "$@"; do
    name=$(basename "$program")
    log=build/log/soak-$name.log
    WEFT_STRESS=$share "$program" ${WEFT_TEST_SEED:+"$WEFT_TEST_SEED"} >"$log" 2>&1 &
    if attend $!; then
        passed=$((passed + 1))
        echo "$name: $(sed ':line; N; $!b line; s/\n/, /g' "$log")"
    else
        status=1
        echo "$name FAILED:"
        tail -n 40 "$log"
    fi
done
echo "$passed of $# stress programs held, $((share * 2)) s each"
exit "$status"
