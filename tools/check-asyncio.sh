#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails unless docs/asyncio.md keeps its promise: every name of asyncio, aiofiles and aiohttp that
# is listed below stands in one row, and each row names functions that a public header declares, a
# page of the guide that mentions them, tests that call each of them, and an example that uses one
# (or says "none:" and why).
# usage: tools/check-asyncio.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

table=docs/asyncio.md
status=0

names() {
    cat <<'END'
asyncio.run
run_until_complete
run_forever
loop.close
create_task
await task
Task.cancel
shield
current_task
all_tasks
gather
as_completed
wait
TaskGroup
timeout()
wait_for
TimeoutError
sleep
sleep(0)
Future
set_result
set_exception
add_done_callback
Future.cancel
Queue
LifoQueue
PriorityQueue
maxsize
put_nowait
task_done
Queue.join
Queue.shutdown
Lock
Event
Condition
Semaphore
BoundedSemaphore
Barrier
rwlock
once
wait group
channel
select
watch
broadcast
async for
async generators
async with
run_in_executor
ProcessPoolExecutor
to_thread
call_soon_threadsafe
run_coroutine_threadsafe
open_connection
start_server
open_unix_connection
create_datagram_endpoint
ssl=
getaddrinfo
sendfile
readline
readuntil
readexactly
drain
Protocol
pause_writing
create_subprocess_exec
create_subprocess_shell
communicate
Process.wait
Process.kill
add_signal_handler
contextvars
debug mode
slow callback
never awaited
pstree
logging
aiofiles.open
read
write
seek
truncate
file readline
LineReader
Writer
fsync
stat
rename
remove
mkdir
scandir
copy
ClientSession
get post put patch delete head options
headers
body
json
streaming
ClientTimeout
connection reuse
limit_per_host
redirects
cookies
TLS
END
}

complain() {
    echo "$table: $*" >&2
    status=1
}

# The table's rows, one a line: the cells of "| Python | Weft | Guide | Tests | Example |".
rows() {
    sed -n 's/^| *//; t row; d; :row; s/ *|$//; s/ *| */\t/g; p' "$table" |
        grep -v -e '^Python	' -e '^---'
}

# What stands in backticks in a cell, one a line.
quoted() {
    # shellcheck disable=SC2016 # the backticks are the table's
    printf '%s\n' "$1" | grep -o '`[^`]*`' | tr -d '`'
}

links() {
    printf '%s\n' "$1" | grep -o '](\([^)]*\))' | sed 's/^](//; s/)$//; s/#.*//'
}

# The words of pages of the guide.  They write `weft_task_join` `_result` for two functions of one
# family, so each such ending is put behind each beginning of the word before it.
words() {
    # shellcheck disable=SC2016 # awk's dollars
    awk '{
        for (n = split($0, word, /[^A-Za-z0-9_]+/); n > 0; n--)
            if (word[n] ~ /^(weft|WEFT)_/)
                print word[n]
        before = ""
        n = split($0, word, /[^A-Za-z0-9_]+/)
        for (i = 1; i <= n; i++) {
            if (word[i] ~ /^(weft|WEFT)_/)
                before = word[i]
            if (word[i] ~ /^_/)
                for (stem = before; stem ~ /_/;) {
                    sub(/_[^_]*$/, "", stem)
                    print stem word[i]
                }
        }
    }' "$@" 2>/dev/null
}

# check_functions FUNCTIONS GUIDE TESTS
check_functions() {
    for function in $1; do
        case $function in weft_* | WEFT_*) ;; *) continue ;; esac
        grep -qrw --include='*.h' "$function" runtime/include/weft ||
            complain "no public header has $function"
        # shellcheck disable=SC2086
        words $2 | grep -qx "$function" || complain "the guide ($2) does not mention $function"
        # shellcheck disable=SC2086
        grep -qw "$function" $3 2>/dev/null || complain "no test of ($3) uses $function"
    done
}

check_example() { # FUNCTIONS FILES
    for file in $2; do
        [ -f "$file" ] || { complain "there is no $file"; continue; }
        # shellcheck disable=SC2046
        grep -qw $(for function in $1; do printf -- '-e %s ' "$function"; done) "$file" ||
            complain "$file uses none of: $1"
    done
}

check_row() {
    functions=$(quoted "$2" | xargs)
    guide=$(links "$3" | sed 's|^|docs/|' | xargs)
    tests=$(links "$4" | sed 's|^|docs/|' | xargs)
    example=$(links "$5" | sed 's|^|docs/|' | xargs)
    [ -n "$functions" ] || complain "no function: $1"
    [ -n "$guide" ] || complain "no page of the guide: $1"
    [ -n "$tests" ] || complain "no test: $1"
    check_functions "$functions" "$guide" "$tests"
    [ -n "$example" ] || case $5 in
        none:*) return 0 ;;
        *) complain "no example, nor \"none: why\": $1" ;;
    esac
    check_example "$functions" "$example"
}

[ -f "$table" ] || { complain "is not there"; exit 1; }
work=$(mktemp)
trap 'rm -f "$work"' EXIT
rows >"$work"
tab=$(printf '\t')
while IFS=$tab read -r python weft guide tests example; do
    check_row "$python" "$weft" "$guide" "$tests" "$example"
done <"$work"

names | while read -r name; do
    count=$(cut -f1 "$work" | grep -cF "\`$name\`" || :)
    [ "$count" = 1 ] || { complain "\`$name\` stands in $count rows"; exit 1; }
done || status=1
exit "$status"
