# SPDX-License-Identifier: MIT
# Reads the output of "ctest -V" and prints "passed failed skipped" in test cases.
# A line "N: … Tested: T | … Failing: F | Crashing: C" gives the cases of test number N, as
# Criterion and our stand-in print it; a test without such a line is one case.

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
    match($0, /#[0-9]+/)
    test = substr($0, RSTART + 1, RLENGTH - 1) + 0
    cases = tested[test] ? tested[test] : 1
    if (/\*\*\*Skipped/) {
        skipped++
    } else if (/   Passed /) {
        passed += cases
    } else {
        # A leak, a crash of the runner or a timeout fails the program though no case says so.
        bad = failing[test] ? failing[test] : 1
        failed += bad
        passed += cases - bad
    }
}

END {
    if (!seen)
        failed = 1 # ctest itself did not run
    print passed + 0, failed + 0, skipped + 0
}
