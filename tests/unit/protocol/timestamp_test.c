/* SPDX-License-Identifier: MIT */
/* timestamp_test: protocol/timestamp.c */
#include "support/test.h"

#include "protocol/timestamp.h"

#include <errno.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

static int64_t parsed(const char *text)
{
    int64_t ns = -1;
    cr_assert_eq(timestamp_parse(text, &ns), 0, "%s", text);
    return ns;
}

static void refused(const char *text, int err)
{
    int64_t ns = 7;
    cr_assert_eq(timestamp_parse(text, &ns), err, "%s", text);
    cr_assert_eq(ns, 7, "%s", text);
}

Test(timestamp, reads_what_rfc_3339_shows)
{
    cr_assert_eq(parsed("1970-01-01T00:00:00Z"), 0);
    cr_assert_eq(parsed("1985-04-12T23:20:50.52Z"), 482196050 * SECOND + 520000000);
    cr_assert_eq(parsed("1996-12-19T16:39:57-08:00"), 851042397 * SECOND);
    cr_assert_eq(parsed("1990-12-31T23:59:60Z"), 662688000 * SECOND, "a leap second");
}

Test(timestamp, zones_move_it_to_utc)
{
    int64_t noon = parsed("2026-11-29T12:00:00Z");
    cr_assert_eq(noon, 1795953600 * SECOND);
    cr_assert_eq(parsed("2026-11-29t13:00:00+01:00"), noon);
    cr_assert_eq(parsed("2026-11-29 06:15:00-05:45"), noon);
    cr_assert_eq(parsed("2026-11-30T11:59:00+23:59"), noon);
    cr_assert_eq(parsed("2026-11-29T12:00:00z"), noon);
    cr_assert_eq(parsed("2026-11-29T12:00:00-00:00"), noon);
    cr_assert_eq(parsed("1969-12-31T23:00:00-01:00"), 0, "its zone brings it to 1970");
}

Test(timestamp, digits_finer_than_a_nanosecond_are_dropped)
{
    cr_assert_eq(parsed("1970-01-01T00:00:00.123456789Z"), 123456789);
    cr_assert_eq(parsed("1970-01-01T00:00:00.1234567899999Z"), 123456789);
    cr_assert_eq(parsed("1970-01-01T00:00:00.0Z"), 0);
}

Test(timestamp, leap_years_are_those_of_the_calendar)
{
    cr_assert_eq(parsed("2000-03-01T00:00:00Z") - parsed("2000-02-29T00:00:00Z"), 86400 * SECOND);
    cr_assert_eq(parsed("2100-03-01T00:00:00Z") - parsed("2100-02-28T00:00:00Z"), 86400 * SECOND);
    refused("2100-02-29T00:00:00Z", -EINVAL);
    refused("2027-02-29T00:00:00Z", -EINVAL);
}

Test(timestamp, what_is_not_whole_is_refused)
{
    static const char *const bad[] = {
        "",
        "now",
        "2026-11-29",
        "2026-11-29T12:00:00",       /* no zone: whose noon? */
        "2026-11-29T12:00Z",         /* no seconds */
        "2026-11-29T12:00:00.Z",     /* no digits */
        "2026-11-29T12:00:00+0100",  /* no colon */
        "2026-11-29T12:00:00+1:00",  /* one digit */
        "2026-11-29T12:00:00+24:00", /* no zone of the earth */
        "2026-11-29T12:00:00+01:60",
        "2026-11-29T24:00:00Z",
        "2026-11-29T12:60:00Z",
        "2026-11-29T12:00:61Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-06-31T00:00:00Z",
        "2026-06-00T00:00:00Z",
        "26-06-01T00:00:00Z",
        "2026-11-29T12:00:00Zulu",
        " 2026-11-29T12:00:00Z",
        "+026-11-29T12:00:00Z",
        "2026-11-29T12:00:0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i], -EINVAL);
}

Test(timestamp, what_does_not_fit_is_out_of_range)
{
    cr_assert_eq(parsed("2262-04-11T23:47:16.854775807Z"), INT64_MAX);
    refused("2262-04-11T23:47:16.854775808Z", -ERANGE);
    refused("2262-04-12T00:00:00Z", -ERANGE);
    refused("9999-12-31T23:59:60Z", -ERANGE);
    refused("1969-12-31T23:59:59Z", -ERANGE);
    refused("1937-01-01T12:00:27.87+00:20", -ERANGE);
    refused("0000-01-01T00:00:00Z", -ERANGE);
}

Test(timestamp, what_is_formatted_reads_back)
{
    char text[TIMESTAMP_TEXT_MAX];
    cr_assert_str_eq(timestamp_format(0, text), "1970-01-01T00:00:00Z");
    cr_assert_str_eq(timestamp_format(1795953600 * SECOND + 250000000, text),
                     "2026-11-29T12:00:00.25Z");
    cr_assert_str_eq(timestamp_format(INT64_MAX, text), "2262-04-11T23:47:16.854775807Z");
    int64_t ns = 1;
    for (int i = 0; i < 20000; i++) { /* steps of half a day and odd nanoseconds, over 60 years */
        cr_assert_eq(parsed(timestamp_format(ns, text)), ns, "%s", text);
        ns += 86413 * SECOND + 7919;
    }
}
