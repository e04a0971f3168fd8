#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs the Debian packages that a group of commands needs; quick when all are there.
# usage: tools/setup.sh [build] [test] [lint] [browser] [system] [bench] [coverage] [package] [cross]
#                       (default: build test lint browser)
#        tools/setup.sh --list GROUP    prints the group's packages
#
# Without the groups build, test, coverage and package nothing goes, so failing to install them is an error.
# What only some checks need (the other groups) is wanted, not required: this script says what is
# missing and goes on, and the checks that miss it are skipped with that reason.  What a build looks
# for and uses if it is there (lld, valgrind's header) is in the groups build and test: ./dev test
# installs the others while it builds.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

packages() {
    case $1 in
        build) echo build-essential cmake ninja-build pkg-config libev-dev libjemalloc-dev \
            libjansson-dev libsqlite3-dev libinih-dev libsystemd-dev libssl-dev \
            liburing-dev libc-ares-dev libcurl4-openssl-dev libmicrohttpd-dev ;;
        test) echo libcriterion-dev socat jq python3 python3-jsonschema procps curl openssl gdb wrk redis-tools \
            nghttp2-server libhttp-parser-dev lld valgrind libc6-dbg ;;
        lint) echo clang clang-format clang-tidy 'libclang-rt-dev|libclang-rt-14-dev' g++ \
            shellcheck spin gdb strace ;;
        browser) echo 'chromium-headless-shell|chromium' ;;
        system) echo debootstrap systemd-container debhelper dpkg-dev git ;;
        bench) echo golang-go cargo g++ libtbb-dev libboost-fiber-dev libuv1-dev nginx-light wrk \
            util-linux python3 python3-uvloop python3-aiohttp python3-aiofiles gnuplot-nox \
            redis-server beanstalkd parallel task-spooler ;;
        coverage) echo gcovr ;;
        package) echo debhelper dpkg-dev git lintian ;;
        cross) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
        *) die "unknown group '$1': build test lint browser system bench coverage package cross" 2 ;;
    esac
}

# Prints those of the named packages that are not installed; of "one|other", either will do.
missing() {
    # shellcheck disable=SC2016 # the dollar is dpkg-query's
    for package in "$@"; do
        echo "$package" | tr '|' '\n' | xargs dpkg-query -W -f '${db:Status-Status}\n' 2>/dev/null |
            grep -qx installed || echo "${package%%|*}"
    done
}

required() {
    case $1 in build | test | coverage | package) true ;; *) false ;; esac
}

# Without apt: go on if the tools are there by another way, else say what is wanted.
not_debian() {
    echo "setup: this is not Debian (no apt-get and dpkg-query), so nothing is installed here." >&2
    echo "setup: wanted, by their Debian names: $*" >&2
    for tool in cc cmake ninja pkg-config; do
        command -v "$tool" >/dev/null || die "'$tool' is missing: install it and try again"
    done
    echo "setup: a compiler and CMake are there; going on with what is installed" >&2
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

may_be_root() {
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null || return 1
    [ -t 0 ] || sudo -n true 2>/dev/null # no terminal to ask for a password on
}

updated=
install() {
    log=build/log/setup.log
    mkdir -p build/log
    echo "setup: installing $*"
    [ -n "$updated" ] || as_root env DEBIAN_FRONTEND=noninteractive apt-get -q \
        -o DPkg::Lock::Timeout=300 update </dev/null >"$log" 2>&1 ||
        echo "setup: apt-get update failed (see $log); trying with the lists that are there" >&2
    updated=yes
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" </dev/null >>"$log" 2>&1 && return 0
    tail -n 15 "$log" >&2
    return 1
}

group() {
    # shellcheck disable=SC2046 # package names have no spaces
    set -- "$1" $(packages "$1")
    name=$1
    shift
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        not_debian "$@"
        return 0
    fi
    lacking=$(missing "$@" | xargs)
    [ -n "$lacking" ] || return 0
    if ! may_be_root; then
        echo "setup: missing packages, and neither root nor sudo here.  As root, run:" >&2
        echo "    apt-get update && apt-get install --no-install-recommends" "$lacking" >&2
        ! required "$name" || exit 1
        return 0
    fi
    # shellcheck disable=SC2086
    install $lacking && return 0
    ! required "$name" || die "apt-get could not install: $lacking"
    echo "setup: going on without $lacking" >&2
}

if [ "${1:-}" = --list ]; then
    packages "${2:?}"
    exit 0
fi
[ $# -gt 0 ] || set -- build test lint browser
for wanted in "$@"; do
    packages "$wanted" >/dev/null
    group "$wanted"
done
