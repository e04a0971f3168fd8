#!/bin/sh
# SPDX-License-Identifier: MIT
# Proves that the checks can fail: plants one violation at a time in a small tree of its own and
# expects the check to refuse it, and to accept the tree without it.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cp "$tools/../.clang-format" "$tree/"
cd "$tree"
licence='/* SPDX-License-Identifier: MIT */'
status=0

put() { # FILE LINE...
    mkdir -p "${1%/*}"
    file=$1
    shift
    printf '%s\n' "$licence" "$@" >"$file"
}

clean_tree() {
    rm -rf runtime protocol client daemon examples
    put runtime/include/weft/weft.h '#pragma once' '#include "weft/time.h"'
    put runtime/include/weft/time.h '#pragma once' '#include <time.h>' 'struct timespec weft_now(void);'
    put runtime/core/fiber.h '#pragma once' '#include <ev.h>'
    put runtime/core/fiber.c '#include "core/fiber.h"' '#include "weft/time.h"'
    put runtime/io/tls/tls.h '#pragma once' '#include <openssl/ssl.h>'
    put runtime/io/tls/layer.c '#include "core/fiber.h"' '#include "io/tls/tls.h"'
    put runtime/io/dns/dns.c '#include <ares.h>'
    put runtime/io/http/http.c '#include <curl/curl.h>'
    put daemon/include/weft/module.h '#pragma once' '#include <stddef.h>'
    put daemon/modules/core.c '#include <weft/module.h>'
    put protocol/framer.h '#pragma once' '#include <jansson.h>'
    put client/main.c '#include "protocol/framer.h"'
    put daemon/main.c '#include <sqlite3.h>' '' '#include <weft/weft.h>' '' '#include "protocol/framer.h"'
    put examples/hello.c '#include <weft/weft.h>'
}

accepts() { # CHECK
    "$tools/$1.sh" "$tree" >out 2>&1 && return 0
    echo "$1 refuses a clean tree:" >&2
    cat out >&2
    status=1
}

refuses() { # CHECK WHAT
    if "$tools/$1.sh" "$tree" >out 2>&1; then
        echo "$1 does not see: $2" >&2
        status=1
    fi
    clean_tree
}

clean_tree
accepts check-layers
accepts check-headers
accepts check-format

put runtime/core/fiber.c '#include "daemon/main.h"'; put daemon/main.h '#pragma once'
refuses check-layers "runtime including daemon"
put runtime/core/fiber.c '#include <jansson.h>'
refuses check-layers "runtime including jansson"
put runtime/core/fiber.c '#include <openssl/ssl.h>'
refuses check-layers "the runtime's core including OpenSSL"
put runtime/io/dns/dns.c '#include <openssl/ssl.h>'
refuses check-layers "io/dns including OpenSSL"
put runtime/io/tls/layer.c '#include <ares.h>'
refuses check-layers "io/tls including c-ares"
put runtime/io/http/http.c '#include <ares_dns.h>'
refuses check-layers "io/http including c-ares"
put runtime/io/stream/stream.c '#include <curl/curl.h>'
refuses check-layers "io including libcurl"
put examples/hello.c '#include <openssl/ssl.h>'
refuses check-layers "examples including OpenSSL"
put runtime/io/stream/stream.c '#include "io/tls/tls.h"'
refuses check-layers "the core library including a file of weft-tls"
put runtime/io/http/http.c '#include "io/tls/tls.h"'
refuses check-layers "weft-http including a file of weft-tls"
put daemon/main.c '#include <jansson.h>' 'json_t *read(void) { return json_loads("1", 0, 0); }'
refuses check-layers "a loader of jansson's in the daemon"
put daemon/main.c '#include <jansson.h>' 'char *text(const json_t *value) { return json_dumps(value, 0); }'
refuses check-layers "a dump of jansson's in the daemon"
put runtime/include/weft/weft.h '#include "core/fiber.h"'
refuses check-layers "a public header including a private one"
put protocol/framer.c '#include <weft/weft.h>'
refuses check-layers "protocol including the runtime"
put protocol/framer.c '#include <sqlite3.h>'
refuses check-layers "protocol including SQLite"
put client/main.c '#include <weft/weft.h>'
refuses check-layers "client including the runtime"
put client/main.c '#include "../daemon/main.c"'
refuses check-layers "client including daemon by a relative path"
put daemon/main.c '#include "../runtime/core/fiber.h"'
refuses check-layers "daemon including the runtime's core by a relative path"
put daemon/main.c '#include "core/fiber.h"'
refuses check-layers "daemon including the runtime's core"
put daemon/main.c '#include <ev.h>'
refuses check-layers "daemon including libev"
put daemon/modules/core.c '#include "protocol/framer.h"'
refuses check-layers "a module including what is not public"
put runtime/core/fiber.c '#include <weft/module.h>'
refuses check-layers "runtime including the daemon's public header"
put daemon/include/weft/module.h '#include "daemon/main.h"'; put daemon/main.h '#pragma once'
refuses check-layers "the daemon's public header including a private one"
put examples/hello.c '#include "protocol/framer.h"'
refuses check-layers "examples including protocol"
put runtime/core/fiber.h '#include "core/deque.h"'; put runtime/core/deque.h '#include "core/fiber.h"'
refuses check-layers "an include cycle"

put runtime/include/weft/time.h 'time_t weft_now(void);'
refuses check-headers "a public header that needs another"
put runtime/include/weft/time.h 'struct timespec *weft_class(int class);' '#include <time.h>'
refuses check-headers "a public header that is not C++"
put runtime/include/weft/time.h '#define NOW 1'
refuses check-headers "an unprefixed public macro"
put runtime/core/fiber.h 'size_t fiber_size(void);'
refuses check-headers "an internal header that needs another"

put examples/hello.c 'int main( void ) { return 0; }'
refuses check-format "bad format"
echo 'int main(void);' >examples/hello.c
refuses check-format "a file without a licence line"
# shellcheck disable=SC2046 # one word a line is wanted
put examples/hello.c $(seq -f 'int\ value%g;' 600)
refuses check-format "a file of more than 600 lines"

# The rows of the real table, with three things wrong at once, each of which it names.  That it accepts
# the table as it is, lint sees.
cp -r "$tools/../docs" "$tools/../tests" "$tools/../runtime" "$tools/../examples" .
# shellcheck disable=SC2016 # the backticks are the table's
sed -i -e '/^| `gather` /s/| [^|]* |$/| |/' -e '/^| `Lock` /d' -e 's/`weft_timeout`/`weft_time_out`/' docs/asyncio.md
if "$tools/check-asyncio.sh" "$tree" >out 2>&1; then
    echo "check-asyncio accepts a table with three errors" >&2
    status=1
fi
complains() { # WHAT COMPLAINT
    grep -qF "$2" out && return 0
    echo "check-asyncio does not see: $1" >&2
    status=1
}
# shellcheck disable=SC2016
complains "a row that lacks its example" 'no example, nor "none: why": `gather`'
# shellcheck disable=SC2016
complains "a row that is gone" '`Lock` stands in 0 rows'
complains "a function that nobody declares" 'no public header has weft_time_out'

# One page of the real guide, with one thing wrong at a time.
page=docs/guide/tasks.md
find docs/guide -type f ! -name "${page##*/}" -delete
accepts check-guide
wrong_page() { # WHAT SED-EXPRESSION
    sed -i "$2" "$page"
    if "$tools/check-guide.sh" "$tree" >out 2>&1; then
        echo "check-guide does not see: $1" >&2
        status=1
    fi
    cp "$tools/../$page" "$page"
}
wrong_page "a program that calls what there is not" 's/weft_sleep(/weft_slumber(/'
# shellcheck disable=SC2016 # the backticks are the page's
wrong_page "a page without a program" 's/^```c$/```/'

printf '%s\n' 'tolerance-percent 3' 'yield  100.0  # one switch' >counts
measured() { # TENTHS
    echo "yield $1 one switch" >measured
    "$tools/check-instructions.sh" --compare counts measured >out 2>&1
}
if measured 1031; then
    echo "check-instructions does not see: more instructions than the tolerance allows" >&2
    status=1
fi
measured 1029 || { echo "check-instructions refuses what its tolerance allows" >&2; status=1; }

# What ./dev does not understand it refuses before it looks for packages or builds.
mkdir early
for program in dpkg-query apt-get cmake; do
    printf '#!/bin/sh\ntouch "%s/touched"\nexit 1\n' "$tree" >"early/$program"
    chmod +x "early/$program"
done
while read -r words; do
    rm -f touched
    refusal=0
    # shellcheck disable=SC2086 # several words
    PATH=$tree/early:$PATH "$tools/../dev" $words >out 2>&1 </dev/null || refusal=$?
    if [ "$refusal" != 2 ] || [ -e touched ]; then
        echo "dev $words: ends with $refusal$([ ! -e touched ] || echo ', after a look at packages'):" >&2
        cat out >&2
        status=1
    fi
done <<'WORDS'
nosuch
help x
lint x
format x
package x
coverage x
soak x
soak 0
soak 1 2
fuzz x
fuzz 1 nosuch
fuzz 1 framer x
oracle -5
oracle 1 2
faults nosuch
portability nosuch
portability --quick gcc-O9
faults alloc nosuch
repeat 0
repeat --starve 0
run x
test x
bench --nosuch
bench nosuch
bench daemon nosuch
WORDS

# A path with what portability.sh itself needs, a compiler, and no linker for it; a package is as good
# as installed.
mkdir path
stub() { # NAME COMMAND
    printf '#!/bin/sh\n%s\n' "$2" >"path/$1"
    chmod +x "path/$1"
}
stub dpkg-query 'echo installed'
stub apt-get 'exit 1'
stub clang 'exit 0'
# shellcheck disable=SC2016 # its own arguments; xargs runs one
stub echo 'echo "$@"'
for program in dirname mkdir tr xargs grep; do
    ln -s "$(command -v "$program")" path
done
PATH=$tree/path "$tools/portability.sh" --quick clang-lto >out 2>&1 || :
grep -q '^clang-lto  *SKIPPED: not installed: ld\.lld' out || {
    echo "portability does not see: a compiler without its linker" >&2
    status=1
}

exit "$status"
