#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs clang-tidy (which also compiles with clang's warnings) on our sources and fails on any
# finding.  usage: tools/check-tidy.sh [FILE...]     (default: all, the last changed first)
#
# A file that passed is not looked at again until it, a header or .clang-tidy changes.  No new file
# is begun after WEFT_TIDY_SECONDS (default 150, 0: no bound); what was left out is said.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
need clang-tidy

configure debug
passed=build/lint/passed
mkdir -p "$passed"
limit=${WEFT_TIDY_SECONDS:-150}
deadline=$(($(date +%s) + limit))
[ "$limit" -gt 0 ] || deadline=

# The analyzer gives up on a function after so many nodes; of its own 225000, which few functions
# reach, it would spend most of its time in those.  See docs/decisions/040-time-of-a-clean-run.md.
nodes=75000

headers=$({ sources | grep '\.h$' | xargs -r cat; cat .clang-tidy tests/.clang-tidy; clang-tidy --version; echo $nodes; } | sha256sum)

changed() {
    git diff --name-only HEAD -- '*.c' 2>/dev/null || :
    git ls-files --others --exclude-standard -- '*.c' 2>/dev/null || :
    git log --max-count=100 --format= --name-only -- '*.c' 2>/dev/null || :
}

# Only what the debug preset compiles: without its flags clang-tidy would guess.
files() {
    if [ $# -gt 0 ]; then
        printf '%s\n' "$@"
        return
    fi
    { changed; sources; } | awk '/\.c$/ && !seen[$0]++' | while read -r file; do
        ! grep -qF "\"$(pwd)/$file\"" build/debug/compile_commands.json || echo "$file"
    done
}

todo=build/lint/todo
rm -f build/lint/findings
: >build/lint/left-out
files "$@" | while read -r file; do
    stamp=$(echo "$file" "$headers" | cat - "$file" | sha256sum | cut -c1-32)
    [ -e "$passed/$stamp" ] || echo "$stamp $file"
done >"$todo"

# shellcheck disable=SC2016 # expanded by the inner shell
xargs -r -P "$(nproc)" -L 1 sh -c '
    if [ -n "$0" ] && [ "$(date +%s)" -ge "$0" ]; then
        echo "$3" >>build/lint/left-out
        exit 0
    fi
    if out=$(clang-tidy --quiet --warnings-as-errors="*" -p build/debug \
        --extra-arg=-Wno-unknown-warning-option --extra-arg=-Xclang --extra-arg=-analyzer-config \
        --extra-arg=-Xclang --extra-arg=max-nodes="$1" "$3" 2>/dev/null); then
        : >"build/lint/passed/$2"
    else
        printf "%s\n" "${out:-$3: error: clang-tidy itself failed}" >>build/lint/findings
        printf "%s\n" "${out:-$3: error: clang-tidy itself failed}" | grep " error: " >&2
    fi' "$deadline" $nodes <"$todo"

total=$(wc -l <"$todo")
left_out=$(wc -l <build/lint/left-out)
echo "clang-tidy: $((total - left_out)) files checked, $left_out left out by the time bound of $limit s"
[ ! -e build/lint/findings ] || die "findings, with their paths, are in build/lint/findings"
