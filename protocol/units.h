/* SPDX-License-Identifier: MIT */
/* Durations and sizes as people write them.  Exact: integer arithmetic throughout, every overflow
 * is an error, and parse(format(x)) == x. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Room for any formatted value and its NUL. */
#define UNITS_TEXT_MAX 48

/* "90", "1.5s", "10m", "2h30m", "1d 12h": numbers with ns us µs ms s m (or min) h d w, from the
 * largest unit to the smallest, each at most once, a space between them if wanted; a number alone
 * is seconds.  Digits finer than a nanosecond are dropped.
 * Errors: -EINVAL not a duration, -ERANGE does not fit. */
int units_parse_duration(const char *text, uint64_t *ret_ns);

/* "4096", "64K", "1.5G", "1GiB", "500MB": K M G T P E, alone or with iB, are powers of 1024; with B
 * they are powers of 1000.  Upper or lower case.  Fractions of a byte are dropped.
 * Errors: -EINVAL not a size, -ERANGE does not fit. */
int units_parse_size(const char *text, uint64_t *ret_bytes);

/* So many in so much time: "10/s", "100/m", "5/h", "1/d"; "none": no limit, count 0. */
struct units_rate {
    uint64_t count;
    uint64_t per_ns;
};

/* At most one in a microsecond.  Errors: -EINVAL not a rate, -ERANGE none or too many of them. */
int units_parse_rate(const char *text, struct units_rate *ret_rate);

/* Seconds as JSON gives them, to the nearest nanosecond.
 * Errors: -EINVAL negative or not a number, -ERANGE does not fit. */
int units_seconds_to_ns(double seconds, uint64_t *ret_ns);

/* Shortest exact text: "2h30m", "1.5s", "250us", "0s"; "64M", "1500".  Returns buffer. */
char *units_format_duration(uint64_t ns, char buffer[static UNITS_TEXT_MAX]);
char *units_format_rate(struct units_rate rate, char buffer[static UNITS_TEXT_MAX]);
char *units_format_size(uint64_t bytes, char buffer[static UNITS_TEXT_MAX]);
