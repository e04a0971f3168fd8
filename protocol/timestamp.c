/* SPDX-License-Identifier: MIT */
/*
 * timestamp: RFC 3339.
 *
 * I1  Every digit and every separator is looked at: what is not a date and a time with a zone is
 *     refused, never guessed at.
 * I2  Pure, and without the C library's time functions: those read the environment, and take a 31st
 *     of June for the 1st of July.
 */
#include "protocol/timestamp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define DAY    INT64_C(86400)

struct civil {
    int year, month, day, hour, minute, second;
    int64_t fraction; /* ns */
    int64_t offset;   /* of its zone: seconds east of Greenwich */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Exactly `count` digits at *at, which moves behind them. */
static bool take_number(const char **at, int count, int *ret_number)
{
    int number = 0;
    for (; count > 0; count--, (*at)++) {
        if (!is_digit(**at))
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return true;
}

/* Any of these characters. */
static bool take_one_of(const char **at, const char *these)
{
    if (**at == '\0' || !strchr(these, **at))
        return false;
    (*at)++;
    return true;
}

static bool take_fraction(const char **at, int64_t *ret_ns)
{
    int64_t unit = SECOND / 10;
    if (!take_one_of(at, "."))
        return true;
    if (!is_digit(**at))
        return false;
    for (; is_digit(**at); (*at)++, unit /= 10)
        *ret_ns += unit * (**at - '0');
    return true;
}

static bool take_zone(const char **at, int64_t *ret_offset)
{
    int hours, minutes;
    bool west = **at == '-';
    if (take_one_of(at, "Zz"))
        return true;
    if (!take_one_of(at, "+-") || !take_number(at, 2, &hours) || !take_one_of(at, ":") ||
        !take_number(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    int64_t offset = hours * INT64_C(3600) + minutes * 60;
    *ret_offset = west ? -offset : offset;
    return true;
}

static bool take_date(const char **at, struct civil *civil)
{
    return take_number(at, 4, &civil->year) && take_one_of(at, "-") &&
           take_number(at, 2, &civil->month) && take_one_of(at, "-") &&
           take_number(at, 2, &civil->day) && civil->month >= 1 && civil->month <= 12 &&
           civil->day >= 1 && civil->day <= days_of(civil->year, civil->month);
}

static bool take_time(const char **at, struct civil *civil)
{
    return take_number(at, 2, &civil->hour) && take_one_of(at, ":") &&
           take_number(at, 2, &civil->minute) && take_one_of(at, ":") &&
           take_number(at, 2, &civil->second) && civil->hour <= 23 && civil->minute <= 59 &&
           civil->second <= 60 && take_fraction(at, &civil->fraction);
}

/* Days from 1970-01-01 to the first day of the year, which is 1970 or later. */
static int64_t days_before_year(int year)
{
    int before = year - 1;
    return INT64_C(365) * (year - 1970) + (before / 4 - before / 100 + before / 400) - 477;
}

static int64_t seconds_of(const struct civil *civil)
{
    int64_t days = days_before_year(civil->year) + civil->day - 1;
    for (int month = 1; month < civil->month; month++)
        days += days_of(civil->year, month);
    return days * DAY + civil->hour * INT64_C(3600) + civil->minute * 60 + civil->second -
           civil->offset;
}

int timestamp_parse(const char *text, int64_t *ret_ns)
{
    struct civil civil = {0};
    const char *at = text;
    int64_t ns;
    if (!take_date(&at, &civil) || !take_one_of(&at, "Tt ") || !take_time(&at, &civil) ||
        !take_zone(&at, &civil.offset) || *at != '\0')
        return -EINVAL;
    if (civil.year < 1969) /* one that its zone brings to 1970 is fine */
        return -ERANGE;
    if (__builtin_mul_overflow(seconds_of(&civil), SECOND, &ns) ||
        __builtin_add_overflow(ns, civil.fraction, &ns) || ns < 0)
        return -ERANGE;
    *ret_ns = ns;
    return 0;
}

static void format_fraction(int64_t fraction, char *to, size_t size)
{
    to[0] = '\0';
    if (fraction == 0)
        return;
    snprintf(to, size, ".%09" PRId64, fraction);
    for (size_t last = strlen(to) - 1; to[last] == '0'; last--)
        to[last] = '\0';
}

char *timestamp_format(int64_t ns, char buffer[static TIMESTAMP_TEXT_MAX])
{
    int64_t days = ns / SECOND / DAY, rest = ns / SECOND % DAY;
    int year = 1970, month = 1;
    char fraction[16];
    while (days_before_year(year + 1) <= days)
        year++;
    days -= days_before_year(year);
    for (; days >= days_of(year, month); month++)
        days -= days_of(year, month);
    format_fraction(ns % SECOND, fraction, sizeof fraction);
    snprintf(buffer, TIMESTAMP_TEXT_MAX,
             "%04d-%02d-%02dT%02" PRId64 ":%02" PRId64 ":%02" PRId64 "%sZ", year, month,
             (int)days + 1, rest / 3600, rest / 60 % 60, rest % 60, fraction);
    return buffer;
}
