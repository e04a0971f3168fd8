#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the path of a folder with the headers and libraries that Weft is built with, for aarch64, as
# cmake/aarch64.cmake wants it.  Made once, of the arm64 packages of this machine's Debian, and kept below
# ${XDG_CACHE_HOME:-~/.cache}/weft-aarch64; needs no root, and nothing is installed: apt has lists and a
# status of its own there.  Exits with 77, and the reason on stderr, if it cannot be made.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
# What is linked; the compiler brings its own runtime.
packages="libc6-dev $(tools/setup.sh --list build | tr ' ' '\n' | grep '^lib.*-dev$' | xargs)"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft-aarch64
tree=$cache/$suite-$(echo "$packages" | cksum | cut -d ' ' -f 1)
log=$cache/tree.log

need apt-get dpkg-deb flock

# The same mirrors and proxy as this machine's apt.
apt_arm64() {
    apt-get -q -y --no-install-recommends -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o Dir::State="$tree.apt" -o Dir::State::status="$tree.apt/status" -o Dir::Cache="$tree.apt" \
        -o APT::Sandbox::User= "$@"
}

# Symbolic links to absolute paths would lead out of the tree.
links_stay_inside() {
    find "$tree.new" -type l -lname '/*' | while read -r link; do
        ln -sfn "$tree$(readlink "$link")" "$link"
    done
}

make_tree() {
    rm -rf "$tree.new" "$tree.apt"
    mkdir -p "$tree.new" "$tree.apt/lists/partial" "$tree.apt/archives/partial"
    : >"$tree.apt/status"
    # shellcheck disable=SC2086 # several packages
    apt_arm64 update && apt_arm64 --download-only install $packages || return 1
    for package in "$tree.apt"/archives/*.deb; do
        dpkg-deb --extract "$package" "$tree.new" || return 1
    done
    links_stay_inside
    rm -rf "$tree.apt"
    mv "$tree.new" "$tree"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -d "$tree" ] && ! make_tree </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "no arm64 packages of Debian (see $log): $(tail -n 1 "$log")" >&2
    exit 77
fi
echo "$tree"
