#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails when a file includes what its folder may not depend on, or when headers form a cycle.
# usage: tools/check-layers.sh [ROOT]
#
# The rules, which tools/check-selftest.sh proves to bite:
#   runtime   its own files, libc, libev, liburing; io/tls alone OpenSSL, io/dns alone c-ares,
#             io/http alone libcurl
#   protocol  its own files, libc, jansson
#   client    its own files, protocol/
#   daemon    its own files, protocol/, <weft/...>
#   examples  its own files, <weft/...>, jansson for those of weftd's clients
#   daemon/modules  its own files, <weft/...>, OpenSSL: no more than what any module has
#   bench     its own files, <weft/...> (bench/peers: the peers' own libraries too)
#   tests     anything
# And jansson's own loaders of text are called in protocol/json_memory.c alone, which says why; what
# dumps into memory or a file, not at all.
# An include is judged by the file it reaches, not by how it is spelled.
set -eu
cd "${1:-$(dirname "$0")/..}"

edges=$(mktemp)
trap 'rm -f "$edges"' EXIT

# One line per include: FILE LINE KIND NAME, KIND being " or <.
# shellcheck disable=SC2016 # awk's dollars, not the shell's
find runtime protocol client daemon examples bench -name '*.[chS]' -type f 2>/dev/null | sort |
    xargs -r awk '/^[ \t]*#[ \t]*include[ \t]*["<]/ {
        match($0, /["<][^">]*[">]/)
        print FILENAME, FNR, substr($0, RSTART, 1), substr($0, RSTART + 1, RLENGTH - 2)
    }' |
    # Where it leads: a file of ours (by the including file, then by the include roots), or "system".
    while read -r file line kind name; do
        target=system
        [ "$kind" = '"' ] && own=${file%/*} || own=.
        for root in "$own" . runtime runtime/include daemon/include client/include; do
            if [ -f "$root/$name" ]; then
                # By name, not realpath: "a/../b" must not hide where it leads.
                target=$(realpath --relative-to=. "$root/$name")
                break
            fi
        done
        echo "$file $line $kind $name $target"
    done >"$edges"

status=0

awk '
function refuse(why) {
    printf "%s:%d: includes %s%s: %s\n", $1, $2, $4, ($5 == "system" ? "" : " (" $5 ")"), why
    bad = 1
}
function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
function top(path) { return substr(path, 1, index(path, "/") - 1) }
{
    from = top($1)
    public = $5 ~ /^(runtime|daemon|client)\/include\//
    if ($5 == "system") {
        if ($4 ~ /^ev(\+\+)?\.h$/ && from != "runtime" && from != "bench")
            refuse("only runtime/ knows libev")
        if ($4 == "jansson.h" && (from == "runtime" || from == "examples") && $1 != "examples/submit_jobs.c")
            refuse(from "/ knows no JSON")
        if ($4 ~ /^(sqlite3\.h|systemd\/|ini\.h|jemalloc\/|microhttpd\.h)/ && from != "daemon" && from != "bench")
            refuse("only daemon/ knows that library")
        if ($4 ~ /^openssl\// && $1 !~ /^runtime\/io\/tls\// && from != "daemon" && from != "bench")
            refuse("only runtime/io/tls/ and daemon/ know OpenSSL")
        if ($4 ~ /^ares/ && $1 !~ /^runtime\/io\/dns\//)
            refuse("only runtime/io/dns/ knows c-ares")
        if ($4 ~ /^curl\// && $1 !~ /^runtime\/io\/http\//)
            refuse("only runtime/io/http/ knows libcurl")
        if ($4 ~ /^weft\// && from != "bench")
            refuse("there is no such public header")
        next
    }
    # The libraries of their own: nobody else in runtime/ needs them, nor they each other.
    if ($5 ~ /^runtime\/io\/(tls|dns|http)\// && folder($1) != folder($5))
        refuse("a library of its own is used by its public header")
    to = top($5)
    if ($1 ~ /^daemon\/modules\// && !public && $5 !~ /^daemon\/modules\//)
        refuse("a module is made of public headers")
    if (to == from) next
    if (public && (from == "daemon" || from == "examples" || from == "bench")) next
    if (to == "protocol" && (from == "client" || from == "daemon")) next
    refuse(from "/ may not depend on " (to == "" ? "that" : to "/"))
}
END { exit bad }' "$edges" >&2 || status=1

# A public header may be all that others see of runtime/, so it includes public ones only.
awk '$1 ~ /^(runtime|daemon|client)\/include\// && $5 ~ /^(runtime|daemon|client|protocol)\// &&
    $5 !~ /^(runtime|daemon|client)\/include\// {
    printf "%s:%d: a public header includes the private %s\n", $1, $2, $5; bad = 1
} END { exit bad }' "$edges" >&2 || status=1

# tsort names the members of each cycle.
if ! cycle=$(awk '$5 != "system" && $1 ~ /\.h$/ { print $1, $5 }' "$edges" | tsort 2>&1 >/dev/null); then
    echo "include cycle:" >&2
    echo "$cycle" | sed -n 's/^tsort: \(.*\.h\)$/    \1/p' >&2
    status=1
fi
loaders='[^_a-z]json_load(s|b|f|fd|_file|_callback)\('
if grep -nE "$loaders" -r protocol client daemon --include='*.c' | grep -v '^protocol/json_memory\.c:' >&2; then
    echo "jansson is not to be trusted where memory is short: json_memory_load()" >&2
    status=1
fi
if grep -nE '[^_a-z]json_dump(s|f)\(' -r protocol client daemon --include='*.c' >&2; then
    echo "jansson leaves out names where memory is short: json_memory_dumps()" >&2
    status=1
fi
exit "$status"
