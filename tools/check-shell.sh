#!/bin/sh
# SPDX-License-Identifier: MIT
# Fails on what shellcheck warns of in our scripts.
set -eu
cd "$(dirname "$0")/.."
. tools/lib.sh
need shellcheck

find . \( -name build -o -name .git \) -prune -o -type f \( -name '*.sh' -o -name dev -o -path './.ci/*' \) -print |
    sort | xargs -r shellcheck --external-sources --severity=warning
