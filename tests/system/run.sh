#!/bin/sh
# SPDX-License-Identifier: MIT
# weftd under a real systemd: a Debian tree (tree.sh) gets our build by `cmake --install`, is booted
# by systemd-nspawn (machine.sh), and an operator's day is gone through in it.
# usage: tests/system/run.sh          build: $WEFT_BUILD, else build/release, which it brings up to date;
#                                     WEFT_DEBS=build/package: the packages of ./dev package, also
#                                     upgraded, removed and purged
#
# One line per check; the last line counts them.  Exits with 77, and the reason on the last line,
# where such a machine cannot be had.
set -eu
cd "$(dirname "$0")/../.."
. tools/lib.sh

[ "$(id -u)" = 0 ] || die "needs root" 77
need systemd-nspawn debootstrap nsenter setpriv unshare jq

# A run that was killed has left its files, and nothing else that counts.
for old in "${TMPDIR:-/var/tmp}"/weft-system.*; do
    pid=${old##*/weft-system.}
    [ -e "/proc/${pid%%.*}" ] || rm -rf --one-file-system "$old"
done
work=$(mktemp -d "${TMPDIR:-/var/tmp}/weft-system.$$.XXXXXX")
. tests/system/check.sh
. tests/system/machine.sh
. tests/system/service.sh

clean_up() {
    machine_stop
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM HUP

build=${WEFT_BUILD:-${WEFT_DEBS:-}}
if [ -z "$build" ]; then
    build=build/release
    configure release
    cmake --build --preset release --target programs >"$work/build" 2>&1 || {
        tail -n 30 "$work/build"
        die "weftd and weft do not build"
    }
fi

status=0
tree=$(tests/system/tree.sh 2>"$work/tree") || status=$?
[ "$status" = 0 ] || { cat "$work/tree"; exit "$status"; }
machine_make "$tree"
# What is installed: the packages of a folder ($WEFT_DEBS), or the build.
install_debs() {
    mkdir "$machine_root/debs"
    cp "$WEFT_DEBS"/weft_*.deb "$WEFT_DEBS"/weftd_*.deb "$machine_root/debs"
    chroot "$machine_root" sh -c 'dpkg --install /debs/*.deb'
}

install_build() {
    for component in programs service; do
        DESTDIR=$machine_root cmake --install "$build" --prefix /usr --component "$component" || return 1
    done
}

what=build
[ -z "${WEFT_DEBS:-}" ] || what=debs
"install_$what" >"$work/install" 2>&1 || {
    cat "$work/install"
    die "the $what cannot be installed"
}
put_test_settings
machine_boot || exit 77

. tests/system/checks.sh

if [ "$failing" -gt 0 ]; then
    echo "The journal's end:"
    [ ! -e "$work/journal" ] || tail -n 60 "$work/journal" | sed 's/^/    | /'
fi
echo "Tested: $tested | Failing: $failing"
[ "$failing" = 0 ]
