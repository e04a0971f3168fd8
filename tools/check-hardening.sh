#!/bin/sh
# SPDX-License-Identifier: MIT
# Looks at programs and shared libraries as they are installed: docs/decisions/044-hardening.md.
# Prints a line for each that lacks something, and what.
# usage: tools/check-hardening.sh FILE...
set -eu
command -v readelf >/dev/null || { echo "check-hardening: readelf is not installed"; exit 77; }
tested=0 failing=0

# Prints what the file lacks, a word each.
lacking() {
    readelf --wide --file-header --segments --dynamic --notes --dyn-syms "$1" | awk '
        $1 == "Type:" { if ($2 == "DYN") placed = 1 }
        $1 == "GNU_STACK" { if ($7 == "RW") data_stack = 1 }
        $1 == "GNU_RELRO" { relro = 1 }
        $1 == "LOAD" && $0 ~ / RWE / { code_is_writable = 1 }
        /\(FLAGS/ { if (/NOW/) now = 1; if (/TEXTREL/) code_is_writable = 1 }
        /\(TEXTREL\)/ { code_is_writable = 1 }
        /SHSTK/ { shadow = 1 }
        $8 ~ /^__stack_chk_fail/ { canary = 1 }
        $8 ~ /^__.*_chk(@|$)/ { fortified = 1 }
        END {
            if (!placed) print "position-independence"
            if (!data_stack) print "stack-without-code"
            if (!relro) print "relro"
            if (!now) print "bind-now"
            if (code_is_writable) print "read-only-code"
            if (!canary) print "stack-protector"
            if (!fortified) print "fortify"
            if (shadow) print "no-claim-to-shadow-stacks"
        }'
}

for file in "$@"; do
    tested=$((tested + 1))
    lacks=$(lacking "$file" | xargs)
    [ -n "$lacks" ] || continue
    failing=$((failing + 1))
    echo "$file lacks: $lacks"
done
echo "Tested: $tested | Failing: $failing"
[ "$failing" = 0 ] && [ "$tested" -gt 0 ]
