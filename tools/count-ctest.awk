# SPDX-License-Identifier: MIT
# Reads the output of "ctest -V" and prints "passed failed skipped" in test cases; with -v kinds=1 what
# passed of each kind of test: "unit and integration N, stress N, ...".
# A line "N: … Tested: T | … Failing: F | Crashing: C" gives the cases of test number N, as
# Criterion and our stand-in print it; a test without such a line is one case.

function kind_of(name) {
    if (name ~ /_stress$/) return "stress"
    if (name ~ /_fuzz$/) return "fuzz corpora"
    if (name ~ /^faults_/) return "faults"
    if (name == "crash_oracle_test") return "crash oracle"
    if (name == "soak_test") return "soak"
    if (name ~ /^(install|hardening|older_kernel)_test$/) return "packaging and portability"
    return "unit and integration"
}

match($0, /Tested: [0-9]+ \| .*Failing: [0-9]+( \| Crashing: [0-9]+)?/) && /^[0-9]+: / {
    test = $1 + 0
    split(substr($0, RSTART, RLENGTH), piece, "|")
    for (i in piece) {
        split(piece[i], pair, ":")
        gsub(/ /, "", pair[1])
        if (pair[1] == "Tested")
            tested[test] += pair[2]
        if (pair[1] == "Failing" || pair[1] == "Crashing")
            failing[test] += pair[2]
    }
}

/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
    seen++
    match($0, /#[0-9]+: [^ ]+/)
    split(substr($0, RSTART + 1, RLENGTH - 1), word, ": ")
    test = word[1] + 0
    kind = kind_of(word[2])
    cases = tested[test] ? tested[test] : 1
    if (/\*\*\*Skipped/) {
        skipped++
        next
    }
    bad = 0
    if (!/   Passed /) # a leak, a crash of the runner or a timeout fails the program though no case says so
        bad = failing[test] ? failing[test] : 1
    failed += bad
    passed += cases - bad
    of_kind[kind] += cases - bad
}

END {
    if (kinds) {
        count = split("unit and integration|stress|fuzz corpora|faults|crash oracle|soak|" \
                      "packaging and portability", order, "|")
        for (i = 1; i <= count; i++)
            if (order[i] in of_kind)
                line = line (line ? ", " : "") order[i] " " of_kind[order[i]]
        print line
        exit
    }
    if (!seen)
        failed = 1 # ctest itself did not run
    print passed + 0, failed + 0, skipped + 0
}
