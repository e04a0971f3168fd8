/* SPDX-License-Identifier: MIT */
/* Points in time as people and programs write them (RFC 3339), as nanoseconds since 1970.  Knows no
 * clock and no time zone but the one that a text names. */
#pragma once

#include <stdint.h>

#define TIMESTAMP_TEXT_MAX 72 /* room for any formatted time and its NUL */

/* "2026-11-29T06:30:00Z", "2026-11-29T07:30:00.25+01:00": date, time and zone, all of them; `t`, a
 * space and `z` will do for `T` and `Z`.  Digits finer than a nanosecond are dropped; a leap second
 * is the second after it.
 * Errors: -EINVAL not such a text, -ERANGE before 1970 or after 2262. */
int timestamp_parse(const char *text, int64_t *ret_ns);

/* The same in UTC, with as many digits behind the point as it needs; parse() of it gives ns again.
 * ns is not negative.  Returns buffer. */
char *timestamp_format(int64_t ns, char buffer[static TIMESTAMP_TEXT_MAX]);
