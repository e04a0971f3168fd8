#!/bin/sh
# SPDX-License-Identifier: MIT
# Real work for a running weftd: hashes and copies a tree of files with native calls, compresses
# some of the copies with programs, checks every result with tools that know nothing of Weft, and
# says what it was.  Ends with 0 only if all of it was right.
# usage: tools/demo.sh [FOLDER]    (default: /usr/include)
#
# Wants the weft command in PATH, a weftd at WEFT_SOCKET, and an empty folder in WEFT_DEMO_DIR (else
# a temporary one is made).
#
# Each phase is the same: a file of JSON lines -> weft ... --from -> ids -> weft wait --json ->
# a line of JSON per job, in the order of the lines.
set -eu
LC_ALL=C
export LC_ALL

die() {
    echo "demo: $1" >&2
    exit 1
}

source=${1:-/usr/include}
if [ -z "${WEFT_DEMO_DIR:-}" ]; then
    WEFT_DEMO_DIR=$(mktemp -d)
    echo "demo: working in $WEFT_DEMO_DIR"
fi
copy=$WEFT_DEMO_DIR/copy
work=$WEFT_DEMO_DIR/work # lists, ids, answers: left for a look
wrong=0
label=  # the phase under way
waiter= # its weft wait

# ---- small things ----

now() {
    date +%s.%N
}

# calculate EXPRESSION: with awk, as sh has no fractions
calculate() {
    awk "BEGIN { print $1 }"
}

count() {
    wc -l <"$1" | tr -d ' '
}

# complain MESSAGE: and remember it for the exit status
complain() {
    echo "demo: WRONG: $1" >&2
    wrong=$((wrong + 1))
}

# json_strings: each input line as a JSON string.  Names hold printable ASCII only (prepare).
json_strings() {
    sed 's/["\\]/\\&/g; s/^/"/; s/$/"/'
}

# figure NAME: sum of all members of that name in daemon.stats
figure() {
    weft stats --json | grep -o "\"$1\":[0-9]*" | awk -F: '{ sum += $2 } END { print sum + 0 }'
}

# Jobs that have ended since weftd started.
ended() {
    weft stats --json | grep -oE '"(succeeded|failed|cancelled|timed_out|dead)":[0-9]+' |
        awk -F: '{ sum += $2 } END { print sum + 0 }'
}

# progress LABEL DONE ALL: one line that is drawn over, on a terminal only
progress() {
    [ -t 1 ] || return 0
    awk -v label="$1" -v now="$2" -v all="$3" 'BEGIN {
        now = now > all ? all : now
        width = all ? int(40 * now / all) : 40
        for (i = 0; i < 40; i++) bar = bar (i < width ? "#" : ".")
        printf "\r  %-9s [%s] %d/%d", label, bar, now, all
    }'
}

# ---- a phase ----

# await LABEL: wait for the jobs of $work/LABEL.ids; their ends go to $work/LABEL.ends
await() {
    before=$3
    weft wait --json - <"$work/$1.ids" >"$work/$1.ends" 2>"$work/$1.errors" &
    waiter=$!
    while kill -0 "$waiter" 2>/dev/null; do
        progress "$1" $(($(ended) - before)) "$2"
        sleep 0.2
    done
    wait "$waiter" || : # failures are counted below
    waiter=
    progress "$1" "$2" "$2"
    [ ! -t 1 ] || echo
}

# phase LABEL WEFT-ARGUMENTS...: submit $work/LABEL.jobs, wait, count; a row for the table
phase() {
    label=$1
    shift
    jobs=$(count "$work/$label.jobs")
    before=$(ended)
    start=$(now)
    weft "$@" --name "demo-$label" --from "$work/$label.jobs" >"$work/$label.ids" ||
        complain "$label: not every job was accepted"
    await "$label" "$jobs" "$before"
    seconds=$(calculate "$(now) - $start")
    good=$(grep -c '"state":"succeeded"' "$work/$label.ends" || :)
    [ "$good" -eq "$jobs" ] || complain "$label: $((jobs - good)) of $jobs jobs did not succeed"
    echo "$label $jobs $((jobs - good)) $seconds" >>"$work/table"
    [ -t 1 ] || echo "  $label: $jobs jobs, $((jobs - good)) failures"
    label=
}

# ---- the work ----

prepare() {
    [ -d "$source" ] || die "there is no folder $source"
    command -v weft >/dev/null || die "the weft command is not in PATH"
    weft ping >/dev/null || die "no weftd answers"
    rm -rf "$work" "$copy"
    mkdir -p "$work" "$copy"
    # Folders and links are made here, files are weftd's, but for those whose names do not fit into
    # lines of plain text.
    (cd "$source" && find . -type f ! -path '*[! -~]*' | sort) >"$work/files"
    [ -s "$work/files" ] || die "there are no files under $source"
    (cd "$source" && find . -type d -print0) | (cd "$copy" && xargs -0 mkdir -p)
    (cd "$source" && find . -type l -exec cp -P --parents {} "$copy" \;)
    (cd "$source" && find . -type f -path '*[! -~]*' -exec cp --parents {} "$copy" \;)
}

hash_all() {
    sed "s|^\./|$source/|" "$work/files" | json_strings | sed 's/.*/{"path":&}/' >"$work/hash.jobs"
    phase hash call file.hash
}

copy_all() {
    sed "s|^\./|$source/|" "$work/files" | json_strings >"$work/from"
    sed "s|^\./|$copy/|" "$work/files" | json_strings |
        paste -d '\n' "$work/from" - |
        sed 'N; s/\(.*\)\n\(.*\)/{"from":\1,"to":\2}/' >"$work/copy.jobs"
    phase copy call file.copy
}

# The largest 100 copies that do not look compressed, each by a program of its own; gzip and xz in
# turn where there is xz.
compress_some() {
    (cd "$copy" && find . -type f ! -path '*[! -~]*' ! -name '*[zZ]' -printf '%s %p\n') |
        sort -rn | head -n 100 |
        sed 's/^[0-9]* //' | sed "s|^\./|$copy/|" >"$work/largest"
    xz='"gzip","-k","-9"'
    ! command -v xz >/dev/null || xz='"xz","-k","-1"'
    json_strings <"$work/largest" |
        awk -v xz="$xz" '{
            printf "{\"argv\":[%s,\"--\",%s]}\n", (NR % 2 ? "\"gzip\",\"-k\",\"-9\"" : xz), $0
        }' >"$work/compress.jobs"
    phase compress submit
}

# ---- checks, by others' tools ----

check_hashes() {
    sed -n 's/.*"hash":"\([0-9a-f]\{64\}\)".*/\1/p' "$work/hash.ends" >"$work/hashes.weft"
    (cd "$source" && tr '\n' '\0' <"$work/files" | xargs -0 sha256sum) | sed 's/^\\//; s/ .*//' \
        >"$work/hashes.sha256sum"
    cmp "$work/hashes.weft" "$work/hashes.sha256sum" ||
        complain "hashes differ from sha256sum's"
    echo "  $(count "$work/hashes.weft") hashes compared with sha256sum's"
}

check_copies() {
    diff -r --no-dereference "$source" "$copy" >"$work/diff" 2>&1 ||
        complain "copies differ: see $work/diff"
    echo "  $(count "$work/files") copies compared byte by byte with diff -r"
}

check_compressed() {
    checked=0
    while IFS= read -r file; do
        if [ -f "$file.gz" ]; then
            gzip -dc -- "$file.gz" | cmp -s - "$file" || complain "$file.gz is not $file"
        elif [ -f "$file.xz" ]; then
            xz -dc -- "$file.xz" | cmp -s - "$file" || complain "$file.xz is not $file"
        else
            complain "$file was not compressed"
        fi
        checked=$((checked + 1))
    done <"$work/largest"
    echo "  $checked compressed files unpacked and compared"
}

# ---- what it was ----

table() {
    awk 'function row(what, jobs, failures, seconds) {
        printf "  %-10s %7d  %8d  %8.1f  %7.0f\n", what, jobs, failures, seconds,
            (seconds > 0 ? jobs / seconds : 0)
    }
    BEGIN { printf "  %-10s %7s  %8s  %8s  %7s\n", "", "jobs", "failures", "seconds", "jobs/s" }
    { row($1, $2, $3, $4); jobs += $2; failures += $3; seconds += $4 }
    END { row("all", jobs, failures, seconds) }' "$work/table"
}

summary() {
    commits=$(($(figure commits) - commits_before))
    steals=$(($(figure steals) - steals_before))
    each=$(weft stats --json | grep -o '"steals":[0-9]*' | cut -d: -f2 | paste -sd ' ' -)
    echo
    table
    echo
    echo "  steals $steals (now, by worker: $each), commits $commits"
}

next() {
    show=$(printf '%-29s' "weft show $(head -n 1 "$work/hash.ids")")
    cat <<HELP

What to try next (./dev run --keep leaves weftd running):
  export WEFT_SOCKET='${WEFT_SOCKET:-}' PATH="$(dirname "$(command -v weft)"):\$PATH"
  weft list                       the jobs of this run, newest first
  $show   one of them, with its result
  weft run -- sh -c 'echo hello; exit 3'
  weft stats                      what weftd and its workers did
  weft --help
HELP
}

# Ctrl-C: the jobs that wait are not needed any more.
stop() {
    status=$?
    trap - EXIT INT TERM
    [ -z "$waiter" ] || kill "$waiter" 2>/dev/null || :
    if [ -n "$label" ]; then
        echo
        echo "demo: stopped; cancelling its jobs" >&2
        weft cancel - <"$work/$label.ids" >/dev/null 2>&1 || :
    fi
    exit "$status"
}

prepare
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
commits_before=$(figure commits)
steals_before=$(figure steals)
echo "$source: $(count "$work/files") files, $(du -sh "$source" | cut -f1)"
echo
echo "working"
hash_all
copy_all
echo
echo "checking"
check_hashes
check_copies
echo
echo "working"
compress_some
echo
echo "checking"
check_compressed
summary
if [ "$wrong" -gt 0 ]; then
    echo
    die "$wrong checks failed; the jobs' answers are in $work"
fi
next
