#!/bin/sh
# SPDX-License-Identifier: MIT
# ./dev run: installs what is missing, builds release, starts a weftd of this user on its embedded
# defaults, and does real work through it (tools/demo.sh).
# usage: tools/run.sh [--keep]
#
# The state folder stays, so the jobs of one run can be looked at in the next.  The daemon is
# stopped at the end, by its pid, unless --keep is given; a daemon kept by an earlier run is
# replaced.  A weftd that somebody else started on this socket is left alone.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

keep=
for argument in "$@"; do
    case $argument in
        --keep) keep=1 ;;
        *) die "usage: ./dev run [--keep]" 2 ;;
    esac
done

root=$(pwd)
state=${XDG_STATE_HOME:-${HOME:-/tmp/weft-home-$(id -u)}/.local/state}/weft
runtime=${XDG_RUNTIME_DIR:-}
[ -d "$runtime" ] && [ -w "$runtime" ] || runtime=/tmp/weft-$(id -u)
WEFT_SOCKET=$runtime/weft/weft.sock
pid_file=$runtime/weft/dev-run.pid
log=$state/weftd.log

# Private folders.  One in /tmp that another user made first is not used.
make_folders() {
    (umask 077 && mkdir -p "$runtime/weft" "$state")
    for folder in "$runtime" "$runtime/weft"; do
        [ "$(stat -c %u "$folder")" = "$(id -u)" ] || die "$folder belongs to another user"
    done
}

# True if $1 is the pid of a weftd from this build folder, not of a later process of that number.
is_ours() {
    [ -n "$1" ] && [ "$(readlink "/proc/$1/exe" 2>/dev/null | sed 's/ (deleted)$//')" = "$weftd" ]
}

# stop PID: an orderly stop, awaited; weftd bounds it by its own grace.
stop() {
    kill -TERM "$1" 2>/dev/null || return 0
    tries=600
    while kill -0 "$1" 2>/dev/null && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    [ "$tries" -gt 0 ] || die "weftd (pid $1) does not stop; its log: $log"
}

start() {
    old=$(cat "$pid_file" 2>/dev/null || :)
    if is_ours "$old"; then
        echo "stopping the weftd that an earlier run left (pid $old)"
        stop "$old"
    fi
    if timeout 5 "$weft" ping >/dev/null 2>&1; then
        die "a weftd already answers on $WEFT_SOCKET: stop it, or use it with 'weft' directly"
    fi
    # Its own session, so that Ctrl-C here asks this script first; --keep outlives the terminal.
    setsid "$weftd" --socket "$WEFT_SOCKET" --state-dir "$state" </dev/null >"$log" 2>&1 &
    pid=$!
    echo "$pid" >"$pid_file"
}

await_answer() {
    tries=300
    until timeout 5 "$weft" ping >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$log" >&2
            die "weftd did not start; its log: $log"
        fi
        sleep 0.1
    done
}

finish() {
    status=$?
    trap - EXIT INT TERM
    if [ -n "$keep" ] && [ "$status" = 0 ]; then
        echo
        echo "weftd runs on (pid $pid).  Stop it with: kill $pid"
    else
        stop "$pid"
        rm -f "$pid_file"
        wait "$pid" || { [ "$status" != 0 ] || status=1; }
        [ "$status" = 0 ] || echo "the daemon's log: $log" >&2
    fi
    exit "$status"
}

tools/setup.sh build
echo "building (build/release)"
configure release
cmake --build --preset release --target programs >build/log/run-build.log 2>&1 || {
    tail -n 40 build/log/run-build.log >&2
    die "the build failed: build/log/run-build.log"
}
weftd=$root/build/release/daemon/weftd
weft=$root/build/release/client/weft
export WEFT_SOCKET

make_folders
start
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
await_answer
echo "weftd runs: pid $pid, socket $WEFT_SOCKET, state $state"
echo

# The demo finds the weft command first in PATH, the daemon in WEFT_SOCKET, and may write below
# WEFT_DEMO_DIR, which is empty at the start and stays for a look afterwards.
export PATH="$root/build/release/client:$PATH"
export WEFT_DEMO_DIR="$state/demo"
rm -rf "$WEFT_DEMO_DIR"
mkdir -p "$WEFT_DEMO_DIR"
tools/demo.sh
