# SPDX-License-Identifier: MIT
# shellcheck shell=sh
# What dev and the scripts of tools/ share.  Sourced from the repository root, by POSIX sh.

# die MESSAGE [STATUS]
die() {
    echo "${0##*/}: $1" >&2
    exit "${2:-1}"
}

# need TOOL...: exits with 77, "not here", unless all are installed.
need() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null || die "$tool is not installed" 77
    done
}

# at_most NUMBER USAGE WORD...: refuses a word too many.
at_most() {
    most=$1 usage=$2
    shift 2
    [ $# -gt "$most" ] || return 0
    shift "$most"
    die "'$1' is one word too many; usage: $usage" 2
}

# natural WORD USAGE: refuses what is no number from 1 on.
natural() {
    case $1 in '' | 0* | *[!0-9]*) die "'$1' is no number from 1 on; usage: $2" 2 ;; esac
}

# attend PID: waits for our child; the status is its.  A signal that would end us ends it first, and by
# SIGTERM, as the shell has a child in the background ignore SIGINT.
attend() {
    attended=$1
    trap 'end_attended INT 2' INT
    trap 'end_attended TERM 15' TERM
    trap 'end_attended HUP 1' HUP
    wait "$1"
}

end_attended() { # NAME NUMBER
    trap '' INT TERM HUP
    kill -TERM "$attended" 2>/dev/null || :
    wait "$attended" || :
    die "interrupted by SIG$1" $((128 + $2))
}

# Every C file that is ours, one a line; works without git.
sources() {
    for folder in runtime protocol daemon client tests bench examples; do
        [ ! -d "$folder" ] || find "$folder" -name '*.[ch]' -type f
    done | sort
}

# configure PRESET: quiet unless it fails.  A build folder from another place is started anew.
configure() {
    if [ -f "build/$1/CMakeCache.txt" ] &&
        ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$(pwd)" "build/$1/CMakeCache.txt"; then
        rm -rf "build/$1"
    fi
    mkdir -p build/log
    cmake --preset "$1" >"build/log/$1-configure.log" 2>&1 || {
        cat "build/log/$1-configure.log" >&2
        die "configuring $1 failed"
    }
}

# build [PRESET [CMAKE-ARGUMENT...]]
build() {
    preset=${1:-release}
    [ $# -gt 0 ] && shift
    configure "$preset"
    cmake --build --preset "$preset" "$@"
}

# without_aslr COMMAND...: sanitizers of gcc 12 do not start under every address randomisation.
without_aslr() {
    if setarch -R true 2>/dev/null; then
        setarch -R "$@"
    else
        "$@"
    fi
}

under= # a command to run ctest below, for who sets it
# exec_tests PRESET CTEST-ARGUMENTS...
exec_tests() {
    preset=$1
    shift
    set -- ${under:+"$under"} ctest --preset "$preset" "$@"
    case $preset in
        asan | tsan | fuzz) without_aslr "$@" ;;
        *) "$@" ;;
    esac
}

# count_ctest LOG: prints "passed failed skipped" of a "ctest -V" log, in test cases.
count_ctest() {
    awk -f tools/count-ctest.awk "$1"
}

# kinds_ctest LOG: prints how many of them passed of each kind of test, on a line.
kinds_ctest() {
    awk -v kinds=1 -f tools/count-ctest.awk "$1"
}

# failed_tests LOG: prints "NUMBER NAME REASON" for each test that failed in a ctest log.
failed_tests() {
    awk '/^The following tests FAILED:/ { on = 1; next }
        on && $1 ~ /^[0-9]+$/ && $2 == "-" { print $1, $3, $4 }' "$1"
}
