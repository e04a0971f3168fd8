#!/bin/sh
# SPDX-License-Identifier: MIT
# tools/gdb/weft.py lists fibers and walks their stacks, in a process that runs and in its core file.
set -u
program=${WEFT_BUILD:?}/tests/gdb_program
script=${WEFT_SOURCE:?}/tools/gdb/weft.py
command -v gdb >/dev/null || { echo "gdb is not installed"; exit 77; }
gdb -q -batch -ex 'python import gdb.unwinder' 2>&1 | grep -q . && { echo "this gdb has no Python"; exit 77; }
[ -x "$program" ] || { echo "gdb_program is not built"; exit 77; }

folder=$(mktemp -d) || exit 1
pid=
# shellcheck disable=SC2317 # called by the trap
clean() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    rm -rf "$folder"
}
trap clean EXIT
cd "$folder" || exit 1
ulimit -f 4000000 # a core file that goes wrong must not fill the disk

# start CORE-LIMIT [ARGUMENT]: runs the program, and waits until its fibers are where they are to be.
start() {
    rm -f out
    # shellcheck disable=SC3045 # dash and bash have it
    (ulimit -c "$1" && shift && exec "$program" "$@") >out 2>err &
    pid=$!
    tries=0
    until grep -qs ready out; do
        tries=$((tries + 1))
        [ "$tries" -lt 1200 ] || { echo "the program is not ready"; cat err; exit 1; }
        sleep 0.05
    done
}

tested=0 failing=0
# says FILE REGEX...: the file has lines that match.
says() {
    file=$1
    shift
    for regex in "$@"; do
        tested=$((tested + 1))
        grep -qE "$regex" "$file" && continue
        failing=$((failing + 1))
        echo "$file does not say: $regex"
        cat "$file"
    done
}

list() {
    says "$1" '^x\.1 +waiting .* event 0x[0-9a-f]+ .* main$' \
        '^[01]\.[0-9]+ +waiting .* mutex 0x[0-9a-f]+ .* locker$' \
        '^[01]\.[0-9]+ +waiting .* group 0x[0-9a-f]+ .* joiner$' \
        '^[01]\.[0-9]+ +waiting +[0-9]+\.[0-9]+ s +sleep .* sleeper$' \
        '^[01]\.[0-9]+ +running on [01] .* blocker$'
}

backtraces() {
    says "$1" '^main \[x\.1\], waiting event' ' in main_fiber at .*gdb_program\.c:' \
        ' in wait_for_the_mutex at ' ' in join_a_group at ' ' in sleep_for_long at ' \
        ' in weft_sleep[a-z_]* at ' ' in block_the_thread at ' ' in fiber_main at '
}

start 0
gdb -q -batch -p "$pid" -x "$script" -ex 'weft fibers' >live 2>&1
if grep -qi 'ptrace: .*not permitted' live; then
    echo "ptrace is not permitted here"
    exit 77
fi
list live
address=$(grep -oE '0x[0-9a-f]+ +sleeper$' live | grep -oE '0x[0-9a-f]+')
gdb -q -batch -p "$pid" -x "$script" -ex 'weft bt all' -ex bt >all 2>&1
backtraces all
says all '^#[0-9]+ .* weft_run ' # gdb's own backtrace is as ever
gdb -q -batch -p "$pid" -x "$script" -ex 'weft bt sleeper' -ex "weft bt $address" \
    -ex 'weft bt nobody' >one 2>&1
says one "no fiber is called 'nobody'"
tested=$((tested + 2))
[ "$(grep -c '^sleeper \[' one)" = 2 ] || { failing=$((failing + 1)); cat one; }
kill -0 "$pid" || { failing=$((failing + 1)); echo "the program did not survive gdb"; }
kill -KILL "$pid"
wait "$pid" 2>/dev/null

# A fiber that goes on on its thread while another one drives its worker.
start 0 taken
gdb -q -batch -p "$pid" -x "$script" -ex 'weft fibers' -ex 'weft bt blocker' >taken 2>&1
says taken '^[01]\.[0-9]+ +running +0x[0-9a-f]+ +blocker$' '^blocker \[[01]\.[0-9]+\], running' \
    ' in block_the_thread at ' ' in fiber_main at '
kill -KILL "$pid"
wait "$pid" 2>/dev/null

# What the kernel writes.
if [ "$(cat /proc/sys/kernel/core_pattern)" != core ]; then
    echo "core files go elsewhere here: $(cat /proc/sys/kernel/core_pattern)"
else
    start 2000000
    kill -ABRT "$pid"
    wait "$pid" 2>/dev/null
    pid=
    core=$(echo core*)
    gdb -q -batch "$program" "$core" -x "$script" -ex 'weft fibers' -ex 'weft bt all' >dead 2>&1
    list dead
    backtraces dead
fi
echo "Tested: $tested | Failing: $failing"
[ "$failing" -eq 0 ]
