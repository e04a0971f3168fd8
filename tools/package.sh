#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the Debian packages, from a copy of the tracked files with packaging/debian in place.
# usage: tools/package.sh                   all, in build/package; check-hardening.sh and lintian judge
#                                           them: it fails if something in them is not hardened, or
#                                           lintian finds an error
#        tools/package.sh --of BUILD MADE   weft and weftd of the programs in BUILD, in MADE: nothing is
#                                           compiled, and lintian not asked (tests/system/run.sh)
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh

built=
made=$(pwd)/build/package
log=$(pwd)/build/log/package.log
case $#-${1:-} in
    0-) need dpkg-buildpackage dpkg-parsechangelog dh lintian git tar ;;
    3---of)
        need dpkg-parsechangelog dh git tar
        [ -x "$2/daemon/weftd" ] || die "there is no weftd in '$2'" 2
        [ ! -e "$3" ] || die "'$3' is there already" 2
        built=$(cd "$2" && pwd) made=$3 log=$3/log
        ;;
    *) die "usage: tools/package.sh [--of BUILD MADE]" 2 ;;
esac
mkdir -p build/log

version=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)
project=$(sed -n 's/^project(weft VERSION \([^ ]*\) .*/\1/p' CMakeLists.txt)
[ "$version" = "$project" ] || die "packaging/debian/changelog is of $version, CMakeLists.txt of $project"

# What is not a release sorts before it, and each commit after the one before.
unreleased() {
    [ "$(git describe --exact-match --tags HEAD 2>/dev/null)" != "v$version" ] ||
        [ -n "$(git status --porcelain --untracked-files=no)" ]
}

# The changelog of what is not a release.
unreleased_changelog() {
    changed=
    [ -z "$(git status --porcelain --untracked-files=no)" ] || changed=.changed
    cat <<ENTRY
weft ($version~$(git rev-list --count HEAD).g$(git rev-parse --short HEAD)$changed) unstable; urgency=medium

  * Commit $(git rev-parse HEAD).

 -- $(dpkg-parsechangelog -l packaging/debian/changelog -S Maintainer)  $(git log -1 --format=%cD)
ENTRY
}

rm -rf "$made"
mkdir -p "$made/weft"
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory="$made/weft"
mv "$made/weft/packaging/debian" "$made/weft/debian"
if unreleased; then
    unreleased_changelog >"$made/weft/debian/changelog"
fi

if [ -n "$built" ]; then
    (cd "$made/weft" && WEFT_BUILT=$built DEB_BUILD_PROFILES=pkg.weft.programs \
        DEB_BUILD_OPTIONS="noautodbgsym parallel=$(nproc)" debian/rules binary) >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        die "the packages of $built cannot be made"
    }
    exit
fi

echo "package: building $(dpkg-parsechangelog -l "$made/weft/debian/changelog" -S Version) in $made"
(cd "$made/weft" && DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS:-parallel=$(nproc)}" \
    dpkg-buildpackage -us -uc -b) >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    die "dpkg-buildpackage failed: see $log"
}

hardened=0
tools/check-hardening.sh "$made"/weft/debian/weft*/usr/bin/* "$made"/weft/debian/lib*/usr/lib/*/*.so.*.*.* || hardened=1

status=0
lintian --allow-root --fail-on error "$made"/*.changes >"$made/lintian" 2>&1 || status=$?
cat "$made/lintian"
ls -1 "$made"/*.deb
echo "lintian: $(grep -c '^E:' "$made/lintian" || :) errors, $(grep -c '^W:' "$made/lintian" || :) warnings"
[ "$hardened" = 0 ] || die "what is in the packages is not hardened"
exit "$status"
