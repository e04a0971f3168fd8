# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# One line per check, and the count that ./dev test reads.  Sourced; needs $work.

: "${work:?}"
tested=0 failing=0

# check TEXT COMMAND...: what the command printed is shown only if it fails.
check() {
    text=$1
    shift
    tested=$((tested + 1))
    if "$@" >"$work/output" 2>&1; then
        echo "ok    $text"
        return 0
    fi
    failing=$((failing + 1))
    echo "FAIL  $text"
    tail -n 30 "$work/output" | sed 's/^/    | /'
}

# refused TEXT COMMAND...: must fail, and say TEXT ('' for a command that says nothing).
refused() {
    wanted=$1
    shift
    if "$@" >"$work/refusal" 2>&1; then
        echo "did not fail: $*"
        return 1
    fi
    cat "$work/refusal"
    [ -z "$wanted" ] || grep -qF -- "$wanted" "$work/refusal" || { echo "does not say: $wanted"; return 1; }
}

# says TEXT COMMAND...: succeeds and prints TEXT.
says() {
    wanted=$1
    shift
    "$@" >"$work/said" 2>&1 || { cat "$work/said"; return 1; }
    cat "$work/said"
    grep -qF -- "$wanted" "$work/said" || { echo "does not say: $wanted"; return 1; }
}

# is VALUE COMMAND...: prints exactly that.
is() {
    wanted=$1
    shift
    found=$("$@") || return 1
    [ "$found" = "$wanted" ] || { echo "wanted: $wanted"; echo "found:  $found"; return 1; }
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}
