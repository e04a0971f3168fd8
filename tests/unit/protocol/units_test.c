/* SPDX-License-Identifier: MIT */
#include "protocol/units.h"
#include "support/test.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S UINT64_C(1000000000)

static void duration(const char *text, uint64_t expected)
{
    uint64_t ns = 1;
    int rc = units_parse_duration(text, &ns);
    cr_assert(rc == 0 && ns == expected, "%s: %d, %llu", text, rc, (unsigned long long)ns);
}

static void no_duration(const char *text, int expected)
{
    uint64_t ns = 77;
    int rc = units_parse_duration(text, &ns);
    cr_assert(rc == expected && ns == 77, "%s: %d, %llu", text, rc, (unsigned long long)ns);
}

static void size(const char *text, uint64_t expected)
{
    uint64_t bytes = 1;
    int rc = units_parse_size(text, &bytes);
    cr_assert(rc == 0 && bytes == expected, "%s: %d, %llu", text, rc, (unsigned long long)bytes);
}

static void no_size(const char *text, int expected)
{
    uint64_t bytes = 77;
    int rc = units_parse_size(text, &bytes);
    cr_assert(rc == expected && bytes == 77, "%s: %d, %llu", text, rc, (unsigned long long)bytes);
}

Test(units, durations_take_every_unit)
{
    duration("0", 0);
    duration("90", 90 * S);
    duration("1.5", 3 * S / 2);
    duration("7ns", 7);
    duration("250us", 250000);
    duration("250\xc2\xb5s", 250000);
    duration("250\xce\xbcs", 250000);
    duration("20ms", 20000000);
    duration("1.5s", 3 * S / 2);
    duration("10m", 600 * S);
    duration("10min", 600 * S);
    duration("2h", 7200 * S);
    duration("1d", 86400 * S);
    duration("2w", 1209600 * S);
}

Test(units, durations_add_up_from_large_to_small)
{
    duration("2h30m", 9000 * S);
    duration("1d 12h", 129600 * S);
    duration("1m0.5s", 60 * S + S / 2);
    duration("1w1d1h1m1s1ms1us1ns", (604800 + 86400 + 3600 + 60 + 1) * S + 1001001);
    no_duration("30m2h", -EINVAL);
    no_duration("1s1s", -EINVAL);
    no_duration("1m1min", -EINVAL);
    no_duration("2h30", -EINVAL);
}

Test(units, durations_are_exact_in_every_digit)
{
    duration("0.1s", 100000000);
    duration("0.000000001s", 1);
    duration("0.0000000019s", 1);
    duration("0.9999999999999999999999999999999s", S - 1);
    duration("1.00000000000000000000000000000000", S);
    duration("0.1h", 360 * S);
    duration("0.3ns", 0);
    duration("18446744073.709551615", UINT64_MAX);
    duration("18446744073709551615ns", UINT64_MAX);
}

Test(units, durations_that_do_not_fit_are_refused)
{
    no_duration("18446744073.709551616", -ERANGE);
    no_duration("18446744073709551616ns", -ERANGE);
    no_duration("18446744074", -ERANGE);
    no_duration("30501w", -ERANGE);
    no_duration("18446744073s710ms", -ERANGE);
    no_duration("99999999999999999999999999999999999", -ERANGE);
}

Test(units, text_that_is_no_duration_is_refused)
{
    static const char *const bad[] = {"",       " ",    "s",   "-1",      "+1",   "1.",
                                      ".5",     "1.s",  "1 s", " 1",      "1 ",   "1s ",
                                      "1e3",    "0x10", "1S",  "1parsec", "1,5",  "1.2.3",
                                      "1h  1m", "inf",  "nan", "1s\n",    "\xff", "1\xc2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        no_duration(bad[i], -EINVAL);
}

Test(units, sizes_take_every_unit)
{
    size("0", 0);
    size("4096", 4096);
    size("4096B", 4096);
    size("64K", 65536);
    size("64k", 65536);
    size("64M", 64 << 20);
    size("1GiB", 1 << 30);
    size("1gib", 1 << 30);
    size("500MB", 500000000);
    size("1kB", 1000);
    size("2T", UINT64_C(2) << 40);
    size("2P", UINT64_C(2) << 50);
    size("15E", UINT64_C(15) << 60);
    size("18EB", UINT64_C(18000000000000000000));
    size("1.5G", UINT64_C(3) << 29);
    size("0.1K", 102);
    size("15.9999999999999999999E", UINT64_MAX); /* less than a byte is missing, and is dropped */
}

Test(units, sizes_that_do_not_fit_are_refused)
{
    size("18446744073709551615", UINT64_MAX);
    no_size("18446744073709551616", -ERANGE);
    no_size("16E", -ERANGE);
    no_size("19EB", -ERANGE);
    no_size("99999999999999999999999K", -ERANGE);
}

Test(units, text_that_is_no_size_is_refused)
{
    static const char *const bad[] = {"",    "K",    "-1",  "1.",     ".5K",   "1 K", "1KK",
                                      "1Ki", "1iB",  "1ib", "1X",     "1XB",   "1BB", "1KiBs",
                                      "1e3", "0x10", "1K ", "1.5.5K", "1\xff", "1bib"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        no_size(bad[i], -EINVAL);
}

Test(units, seconds_of_json_become_nanoseconds)
{
    uint64_t ns = 77;
    cr_assert_eq(units_seconds_to_ns(0, &ns), 0);
    cr_assert_eq(ns, 0);
    cr_assert_eq(units_seconds_to_ns(-0.0, &ns), 0);
    cr_assert_eq(units_seconds_to_ns(1.5, &ns), 0);
    cr_assert_eq(ns, 3 * S / 2);
    cr_assert_eq(units_seconds_to_ns(0.1, &ns), 0);
    cr_assert_eq(ns, 100000000);
    cr_assert_eq(units_seconds_to_ns(0.9999999999, &ns), 0);
    cr_assert_eq(ns, S);
    cr_assert_eq(units_seconds_to_ns(18446744073.0, &ns), 0);
    cr_assert_eq(ns, 18446744073 * S);
    ns = 77;
    cr_assert_eq(units_seconds_to_ns(18446744073.8, &ns), -ERANGE);
    cr_assert_eq(units_seconds_to_ns(18446744074.0, &ns), -ERANGE);
    cr_assert_eq(units_seconds_to_ns(1e20, &ns), -ERANGE);
    cr_assert_eq(units_seconds_to_ns(1e300, &ns), -ERANGE);
    cr_assert_eq(units_seconds_to_ns(INFINITY, &ns), -ERANGE);
    cr_assert_eq(units_seconds_to_ns(-INFINITY, &ns), -EINVAL);
    cr_assert_eq(units_seconds_to_ns(-0.001, &ns), -EINVAL);
    cr_assert_eq(units_seconds_to_ns(NAN, &ns), -EINVAL);
    cr_assert_eq(ns, 77);
}

static void shows_duration(uint64_t ns, const char *expected)
{
    char text[UNITS_TEXT_MAX];
    cr_assert(strcmp(units_format_duration(ns, text), expected) == 0, "%s, not %s", text, expected);
}

static void shows_size(uint64_t bytes, const char *expected)
{
    char text[UNITS_TEXT_MAX];
    cr_assert(strcmp(units_format_size(bytes, text), expected) == 0, "%s, not %s", text, expected);
}

Test(units, durations_are_shown_as_people_write_them)
{
    shows_duration(0, "0s");
    shows_duration(1, "1ns");
    shows_duration(1500, "1.5us");
    shows_duration(250000, "250us");
    shows_duration(20000000, "20ms");
    shows_duration(3 * S / 2, "1.5s");
    shows_duration(9000 * S, "2h30m");
    shows_duration(86400 * S + 1, "1d0.000000001s");
    shows_duration(UINT64_MAX, "213503d23h34m33.709551615s");
}

Test(units, sizes_are_shown_in_the_largest_exact_unit)
{
    shows_size(0, "0");
    shows_size(1500, "1500");
    shows_size(64 << 20, "64M");
    shows_size(3 << 9, "1536");
    shows_size(UINT64_C(15) << 60, "15E");
    shows_size(UINT64_MAX, "18446744073709551615");
}

/* Values of every magnitude, from a fixed seed. */
Test(units, what_is_shown_is_read_back_exactly)
{
    char text[UNITS_TEXT_MAX];
    uint64_t state = 42, back;
    for (int i = 0; i < 200000; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t value = state >> ((state >> 58) % 64);
        if (i % 3 == 0)
            value -= value % S;
        cr_assert_eq(units_parse_duration(units_format_duration(value, text), &back), 0);
        cr_assert(back == value, "%s", text);
        value <<= state % 5 * 10;
        cr_assert_eq(units_parse_size(units_format_size(value, text), &back), 0);
        cr_assert(back == value, "%s", text);
    }
}

/* ---- rates ---- */

static void reads_rate(const char *text, uint64_t count, uint64_t per_ns)
{
    char shown[UNITS_TEXT_MAX];
    struct units_rate rate = {7, 7}, back = {7, 7};
    cr_assert_eq(units_parse_rate(text, &rate), 0, "%s", text);
    cr_assert(rate.count == count && rate.per_ns == per_ns, "%s", text);
    cr_assert_eq(units_parse_rate(units_format_rate(rate, shown), &back), 0, "%s", shown);
    cr_assert(back.count == count && back.per_ns == per_ns, "%s", shown);
}

static void refuses_rate(const char *text, int err)
{
    struct units_rate rate = {7, 7};
    cr_assert_eq(units_parse_rate(text, &rate), err, "%s", text);
    cr_assert(rate.count == 7 && rate.per_ns == 7, "%s was written", text);
}

Test(units, rates_are_so_many_in_a_unit_of_time)
{
    reads_rate("none", 0, 0);
    reads_rate("10/s", 10, S);
    reads_rate("100/m", 100, 60 * S);
    reads_rate("100/min", 100, 60 * S);
    reads_rate("5/h", 5, 3600 * S);
    reads_rate("1/d", 1, 86400 * S);
    reads_rate("1000000/s", 1000000, S);
}

Test(units, what_is_no_rate_is_refused)
{
    static const char *const bad[] = {"",      "10",    "/s",    "10/",   "10/x", "-1/s",
                                      "1.5/s", "10 /s", "10/ s", "10/s ", "+1/s", "None"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses_rate(bad[i], -EINVAL);
    refuses_rate("0/s", -ERANGE);
    refuses_rate("1000001/s", -ERANGE);
    refuses_rate("99999999999999999999999999999999/d", -ERANGE);
}
