#!/bin/sh
# SPDX-License-Identifier: MIT
# What is installed is hardened (tools/check-hardening.sh), what is not is seen, and whoever links
# libweft makes no claim to shadow stacks, on which fibers cannot run.
set -u
build=${WEFT_BUILD:?}
check=${WEFT_SOURCE:?}/tools/check-hardening.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
tested=0 failing=0

check() {
    what=$1
    shift
    tested=$((tested + 1))
    "$@" && return
    failing=$((failing + 1))
    echo "failed: $what"
}

installed() {
    "$check" "$build/daemon/weftd" "$build/client/weft" "$build/client/libweftclient.so" \
        "$build/runtime/libweft.so" "$build"/runtime/io/*/libweft-*.so
}

# lacks WORDS FLAGS...: a program made with these flags lacks just that.
lacks() {
    words=$1
    shift
    echo '#include <string.h>
        int main(int n, char **words) { char copy[8]; strcpy(copy, words[0]); return copy[n]; }' |
        gcc -x c "$@" -o "$folder/program" - || return 1
    "$check" "$folder/program" >"$folder/out"
    grep -q "lacks: $words\$" "$folder/out" && return
    cat "$folder/out"
    return 1
}

# claims FLAGS...: a shared object of code that claims it, and what the flags say, does so too.
claims() {
    echo 'int user(void) { return 0; }' >"$folder/user.c"
    gcc -shared -nostdlib -fcf-protection=full -fPIC -o "$folder/user.so" "$folder/user.c" "$@" || exit 1
    readelf --wide --notes "$folder/user.so" | grep -q SHSTK
}

no_claim_with() {
    ! claims -Wl,--whole-archive "$1" -Wl,--no-whole-archive
}

check "what is installed is hardened" installed
if [ "$(uname -m)" = x86_64 ] && command -v gcc >/dev/null; then
    hard="-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -Wl,-z,relro,-z,now"
    # shellcheck disable=SC2086 # several flags
    check "a missing canary is seen" lacks stack-protector $hard -fno-stack-protector
    # shellcheck disable=SC2086
    check "missing checks of sizes are seen" lacks fortify $hard -U_FORTIFY_SOURCE
    # shellcheck disable=SC2086
    check "late binding is seen" lacks bind-now $hard -Wl,-z,lazy
    # shellcheck disable=SC2086
    check "a fixed place is seen" lacks position-independence $hard -no-pie
    # shellcheck disable=SC2086
    check "a stack that may hold code is seen" lacks stack-without-code $hard -Wl,-z,execstack
    check "who claims shadow stacks is seen" claims
    check "who links libweft does not claim them" no_claim_with "$build/runtime/libweft.a"
fi
echo "Tested: $tested | Failing: $failing"
[ "$failing" = 0 ]
