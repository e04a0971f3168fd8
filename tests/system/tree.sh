#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the path of a Debian 12 tree with systemd and the libraries that weftd and weft need.
# Made once by debootstrap and kept below ${XDG_CACHE_HOME:-/var/cache}/weft-system; nobody writes
# to it afterwards.  Exits with 77, and the reason on stderr, if it is not there and cannot be made.
set -eu

suite=bookworm
packages=systemd,systemd-sysv,dbus,libev4,liburing2,libjemalloc2,libjansson4,libsqlite3-0,libinih1,libsystemd0,libssl3,libmicrohttpd12,libcurl4,socat

cache=${XDG_CACHE_HOME:-/var/cache}/weft-system
tree=$cache/$suite-$(echo "$packages" | cksum | cut -d ' ' -f 1)
log=$cache/debootstrap.log

# The mirror and the proxy that apt uses here.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $suite" \
        'Component: main' 2>/dev/null | grep -m 1 '^http' || echo http://deb.debian.org/debian
}

proxy() {
    value=
    eval "$(apt-config shell value Acquire::http::Proxy 2>/dev/null)"
    echo "${value:-${http_proxy:-}}"
}

# In a mount namespace of its own: what debootstrap mounts is gone with it, however it ends, and no
# rm can follow it.  In memory first, where dpkg's thousands of fsyncs cost nothing.
# shellcheck disable=SC2016 # the inner shell's own arguments
debootstrap_here() {
    http_proxy=$(proxy) timeout 900 unshare --mount --propagation private sh -euc '
        mount -t tmpfs -o size=1G,mode=755 tmpfs "$1/made"
        debootstrap --variant=minbase "--include=$2" "$3" "$1/made" "$4"
        rm -rf "$1"/made/var/cache/apt/archives/*.deb "$1"/made/var/lib/apt/lists/*
        cp -a "$1/made" "$1/tree"' sh "$tree.new" "$packages" "$suite" "$(mirror)"
}

make_tree() {
    rm -rf --one-file-system "$tree.new"
    mkdir -p "$tree.new/made"
    debootstrap_here </dev/null >"$log" 2>&1 || return 1
    mv "$tree.new/tree" "$tree"
    rm -rf --one-file-system "$tree.new"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -d "$tree" ] && ! make_tree; then
    tail -n 20 "$log" >&2
    echo "no Debian tree: debootstrap failed (see $log): $(tail -n 1 "$log")" >&2
    exit 77
fi
echo "$tree"
