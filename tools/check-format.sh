#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails unless every C file is as clang-format leaves it, every source file names its licence in
# its first lines, and no C file is longer than 600 lines.
# usage: tools/check-format.sh [ROOT]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/..}"
# shellcheck source=tools/lib.sh
. "$here/lib.sh"
need clang-format

status=0
version=$(clang-format --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [ "$version" = 14 ]; then
    unformatted=$(sources | xargs -r clang-format --dry-run 2>&1 |
        sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: warning: .*/\1/p' | uniq -c)
    if [ -n "$unformatted" ]; then
        printf 'places that clang-format would change (./dev format does):\n%s\n' "$unformatted" >&2
        status=1
    fi
else
    echo "clang-format $version is not 14, and formats differ between versions: not checked" >&2
fi

# What carries a licence line.
licensed() {
    sources
    find . \( -name build -o -name .git \) -prune -o -type f \
        \( -name '*.S' -o -name '*.sh' -o -name '*.py' -o -name '*.awk' -o -name '*.cmake' \
        -o -name CMakeLists.txt -o -name dev \) -print
}
unlicensed=$(licensed | while read -r file; do
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file"
done)
if [ -n "$unlicensed" ]; then
    echo "no 'SPDX-License-Identifier: MIT' in the first lines of:" "$unlicensed" >&2
    status=1
fi

long=$(sources | xargs -r wc -l | awk '$1 > 600 && $2 != "total" { print $2 ": " $1 " lines" }')
if [ -n "$long" ]; then
    echo "longer than 600 lines, split by idea:" "$long" >&2
    status=1
fi
exit "$status"
