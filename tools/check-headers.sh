#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails unless every header compiles alone: a public one as C17 (with POSIX 2008) and as C++17 with
# no other include path than its own, an internal one as we compile our C.  A public header may define no
# macro that does not start with WEFT_ or weft_.
# usage: tools/check-headers.sh [ROOT]
set -eu
cd "${1:-$(dirname "$0")/..}"

command -v "${CXX:-c++}" >/dev/null || {
    echo "${0##*/}: no C++ compiler" >&2
    exit 77
}
warnings="-Wall -Wextra -Werror"
status=0

roots="runtime/include daemon/include client/include"
public() { for root in $roots; do (cd "$root" 2>/dev/null && find weft -name '*.h' | sort); done; }
internal() {
    find runtime protocol daemon client tests bench examples -name '*.h' -type f 2>/dev/null |
        grep -v -e '^[a-z]*/include/' -e '^bench/peers/' | sort
}

# check LANGUAGE COMPILER FLAGS...: reads names of headers, and compiles for each a file that holds
# nothing but its include.
check() {
    language=$1
    shift
    # shellcheck disable=SC2016 # expanded by the inner shell
    xargs -r -P "$(nproc)" -I{} sh -c '
        printf "#include \"%s\"\n" "$1" | $3 -x "$2" -fsyntax-only -o /dev/null - && exit 0
        echo "^ $1 does not compile alone as $2" >&2
        exit 1' check {} "$language" "$*"
}

public | check c "${CC:-cc}" -std=c17 -D_POSIX_C_SOURCE=200809L -pedantic "$warnings" \
    -Iruntime/include -Idaemon/include -Iclient/include || status=1
public | check c++ "${CXX:-c++}" -std=c++17 -pedantic "$warnings" -Iruntime/include \
    -Idaemon/include -Iclient/include || status=1
internal | check c "${CC:-cc}" -std=gnu17 -D_GNU_SOURCE '-DWEFT_VERSION="0"' "$warnings" \
    -Wno-unused-function -I. -Iruntime -Iruntime/include -Idaemon/include -Iclient/include -Itests || status=1

# shellcheck disable=SC2086 # a list of folders
bad=$(find $roots -name '*.h' -print0 2>/dev/null |
    xargs -0 -r grep -nE '^[[:space:]]*#[[:space:]]*define[[:space:]]+' |
    grep -vE '#[[:space:]]*define[[:space:]]+(WEFT_|weft_)' || :)
if [ -n "$bad" ]; then
    echo "$bad" >&2
    echo "^ a public header may only define macros that start with WEFT_ or weft_" >&2
    status=1
fi
exit "$status"
