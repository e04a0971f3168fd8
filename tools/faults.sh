#!/bin/sh
# SPDX-License-Identifier: MIT
# faults.sh [KIND]: every call of this kind, or of all, fails in turn, in what tests/faults/ does with
# libweft and in what clients do with weftd.  Status 0: nothing was found.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

kind=${1:-all}
status=0
echo "== libweft"
build/release/tests/faults_runtime "$kind" &
attend $! || status=1
case $kind in
    fork | ring) ;; # a filter that children inherit, and what weftd asks for at its start
    *)
        echo "== weftd"
        tests/integration/faults_daemon_test.py "$kind" &
        attend $! || status=1
        ;;
esac
exit "$status"
