#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails unless every C program of README.md and of the guide compiles as a user's would: with the
# public headers and no warning.  A block with a main is a program; a page of the guide that is not
# its index has one at least.
# usage: tools/check-guide.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# Writes each program of a page to a file of its own, with the page's line numbers.
programs() { # PAGE
    awk -v page="$1" -v stem="$work/$(basename "$1" .md)" '
        /^```c$/ { inside = 1; main = 0; text = "#line " NR + 1 " \"" page "\"\n"; next }
        inside && /^```$/ {
            inside = 0
            if (main)
                printf "%s", text >(stem "-" NR ".c")
        }
        inside { text = text $0 "\n"; if (/^int main\(/) main = 1 }' "$1"
}

for page in README.md docs/guide/*.md; do
    [ -f "$page" ] || continue
    programs "$page"
    [ "$page" = docs/guide/README.md ] || [ "$(find "$work" -name "$(basename "$page" .md)-*.c")" ] ||
        { echo "$page: has no program" >&2; status=1; }
done

# Not -fsyntax-only: some warnings need the optimiser.
find "$work" -name '*.c' -print0 | xargs -0 -r -P "$(nproc)" -n 1 "${CC:-cc}" -O2 -Wall -Wextra \
    -Werror -Iruntime/include -o /dev/null -c || status=1
exit "$status"
