#!/bin/sh
# SPDX-License-Identifier: MIT
# weftd under a real systemd: a Debian tree (tree.sh) gets our packages, is booted by systemd-nspawn
# (machine.sh), and an operator's day is gone through in it: they are upgraded, removed and purged too.
# usage: tests/system/run.sh          the packages of build/release's programs, which it brings up to date;
#                                     where none can be made, the build itself by `cmake --install`
#                                     WEFT_BUILD: another build
#                                     WEFT_DEBS=build/package: the packages of ./dev package
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

build=${WEFT_BUILD:-}
if [ -z "$build${WEFT_DEBS:-}" ]; then
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

# What is installed: packages, those of a folder or of the build, or without debhelper the build.
debs=${WEFT_DEBS:-}
if [ -z "$debs" ]; then
    status=0
    tools/package.sh --of "$build" "$work/debs" >"$work/package" 2>&1 || status=$?
    case $status in
        0) debs=$work/debs ;;
        77) echo "the build is installed, not packages: $(tail -n 1 "$work/package")" ;;
        *) cat "$work/package"; exit 1 ;;
    esac
fi

install_debs() {
    mkdir "$machine_root/debs"
    cp "$debs"/weft_*.deb "$debs"/weftd_*.deb "$machine_root/debs"
    chroot "$machine_root" sh -c 'dpkg --install /debs/*.deb'
}

install_build() {
    for component in programs service; do
        DESTDIR=$machine_root cmake --install "$build" --prefix /usr --component "$component" || return 1
    done
}

what=build
[ -z "$debs" ] || what=debs
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
