/* SPDX-License-Identifier: MIT */
/* Durations and sizes, text to number and back.
 *
 * I1  No floating point on the way from text: "0.1s" is exactly 100,000,000 ns.
 * I2  Whatever does not fit into 64 bits is -ERANGE, never a wrapped value.
 * I3  parse(format(x)) == x for every x.
 *
 * Pure: any thread.  Takes no sign, no exponent, no surrounding blanks. */
#include "protocol/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* A number as written, digits still in the text. */
struct number {
    uint64_t whole;
    const char *fraction; /* first digit behind the point, or NULL */
    size_t fraction_size;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at(const char *text)
{
    size_t count = 0;
    while (is_digit(text[count]))
        count++;
    return count;
}

static int parse_whole(const char *digits, size_t count, uint64_t *ret_whole)
{
    uint64_t whole = 0;
    for (size_t i = 0; i < count; i++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(digits[i] - '0'), &whole))
            return -ERANGE;
    *ret_whole = whole;
    return 0;
}

/* The number at *at, which moves behind it: digits, and digits behind a point if there is one. */
static int parse_number(const char **at, struct number *ret_number)
{
    size_t count = digits_at(*at);
    if (count == 0)
        return -EINVAL;
    struct number number = {0};
    int rc = parse_whole(*at, count, &number.whole);
    if (rc < 0)
        return rc;
    *at += count;
    if (**at == '.') {
        number.fraction = *at + 1;
        number.fraction_size = digits_at(number.fraction);
        if (number.fraction_size == 0)
            return -EINVAL;
        *at = number.fraction + number.fraction_size;
    }
    *ret_number = number;
    return 0;
}

/* floor(0.FRACTION * unit), from the last digit to the first: floor((floor(x) + d) / 10) is
 * floor((x + d) / 10), so no digit is lost however many there are.  unit <= 2^60 keeps it in range.
 */
static uint64_t scale_fraction(const struct number *number, uint64_t unit)
{
    uint64_t value = 0;
    for (size_t i = number->fraction_size; i-- > 0;)
        value = (value + (uint64_t)(number->fraction[i] - '0') * unit) / 10;
    return value;
}

static int add_scaled(const struct number *number, uint64_t unit, uint64_t *total)
{
    uint64_t value, sum;
    if (__builtin_mul_overflow(number->whole, unit, &value) ||
        __builtin_add_overflow(value, scale_fraction(number, unit), &value) ||
        __builtin_add_overflow(*total, value, &sum))
        return -ERANGE;
    *total = sum;
    return 0;
}

/* From the largest to the smallest; names of one length in ns stand together. */
static const struct time_unit {
    const char *name;
    uint64_t ns;
} time_units[] = {
    {"w", 604800 * NS_PER_S},
    {"d", 86400 * NS_PER_S},
    {"h", 3600 * NS_PER_S},
    {"m", 60 * NS_PER_S},
    {"min", 60 * NS_PER_S},
    {"s", NS_PER_S},
    {"ms", 1000000},
    {"us", 1000},
    {"\xc2\xb5s", 1000}, /* micro sign */
    {"\xce\xbcs", 1000} /* mu */,
    {"ns", 1},
};

/* Nanoseconds of the unit named at *at, which moves behind it; 0 if there is none such. */
static uint64_t take_time_unit(const char **at)
{
    size_t size = strcspn(*at, "0123456789. ");
    for (size_t i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++) {
        if (strlen(time_units[i].name) != size || memcmp(time_units[i].name, *at, size) != 0)
            continue;
        *at += size;
        return time_units[i].ns;
    }
    return 0;
}

/* The components of a duration from `at` on, each of a smaller unit than the one before. */
static int parse_components(const char *at, struct number number, uint64_t *ret_ns)
{
    uint64_t total = 0, unit_before = UINT64_MAX;
    while (true) {
        uint64_t unit = take_time_unit(&at);
        if (unit == 0 || unit >= unit_before)
            return -EINVAL;
        int rc = add_scaled(&number, unit, &total);
        if (rc < 0)
            return rc;
        if (*at == '\0')
            break;
        unit_before = unit;
        at += *at == ' ';
        rc = parse_number(&at, &number);
        if (rc < 0)
            return rc;
    }
    *ret_ns = total;
    return 0;
}

int units_parse_duration(const char *text, uint64_t *ret_ns)
{
    struct number number;
    uint64_t total = 0;
    int rc = parse_number(&text, &number);
    if (rc < 0)
        return rc;
    if (*text != '\0')
        return parse_components(text, number, ret_ns);
    rc = add_scaled(&number, NS_PER_S, &total);
    if (rc == 0)
        *ret_ns = total;
    return rc;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* base to the power of the prefix letter's place; 0 if it is no prefix. */
static uint64_t prefix_value(char prefix, uint64_t base)
{
    static const char prefixes[] = "kmgtpe";
    const char *found = prefix ? strchr(prefixes, prefix) : NULL;
    if (found == NULL)
        return 0;
    uint64_t value = base;
    for (const char *p = prefixes; p < found; p++)
        value *= base;
    return value;
}

/* Bytes of a whole suffix ("", "B", "K", "KB", "KiB"); 0 if it is none. */
static uint64_t size_unit(const char *suffix)
{
    char text[4] = {0};
    size_t size = strlen(suffix);
    if (size >= sizeof(text))
        return 0;
    for (size_t i = 0; i < size; i++)
        text[i] = lower(suffix[i]);
    if (size == 0 || strcmp(text, "b") == 0)
        return 1;
    if (size == 1 || strcmp(text + 1, "ib") == 0)
        return prefix_value(text[0], 1024);
    return strcmp(text + 1, "b") == 0 ? prefix_value(text[0], 1000) : 0;
}

int units_parse_size(const char *text, uint64_t *ret_bytes)
{
    struct number number;
    uint64_t total = 0;
    int rc = parse_number(&text, &number);
    if (rc < 0)
        return rc;
    uint64_t unit = size_unit(text);
    if (unit == 0)
        return -EINVAL;
    rc = add_scaled(&number, unit, &total);
    if (rc == 0)
        *ret_bytes = total;
    return rc;
}

int units_seconds_to_ns(double seconds, uint64_t *ret_ns)
{
    if (!(seconds >= 0)) /* NaN too */
        return -EINVAL;
    if (seconds >= (double)(UINT64_MAX / NS_PER_S + 1))
        return -ERANGE;
    uint64_t whole = (uint64_t)seconds, ns;
    uint64_t rest = (uint64_t)((seconds - (double)whole) * 1e9 + 0.5);
    if (__builtin_add_overflow(whole * NS_PER_S, rest, &ns))
        return -ERANGE;
    *ret_ns = ns;
    return 0;
}

/* Append "WHOLE.FRACTION UNIT" of value in units of `unit` ns, without trailing zeros. */
static size_t put_fractional(char *to, size_t size, uint64_t value, uint64_t unit, const char *name)
{
    char fraction[32] = "";
    int digits = unit == NS_PER_S ? 9 : unit == 1000000 ? 6 : unit == 1000 ? 3 : 0;
    uint64_t rest = value % unit;
    if (rest > 0) {
        for (; rest % 10 == 0; rest /= 10)
            digits--;
        snprintf(fraction, sizeof(fraction), ".%0*" PRIu64, digits, rest);
    }
    return (size_t)snprintf(to, size, "%" PRIu64 "%s%s", value / unit, fraction, name);
}

static char *format_below_a_second(uint64_t ns, char *buffer)
{
    if (ns >= 1000000)
        put_fractional(buffer, UNITS_TEXT_MAX, ns, 1000000, "ms");
    else if (ns >= 1000)
        put_fractional(buffer, UNITS_TEXT_MAX, ns, 1000, "us");
    else
        put_fractional(buffer, UNITS_TEXT_MAX, ns, 1, "ns");
    return buffer;
}

char *units_format_duration(uint64_t ns, char buffer[static UNITS_TEXT_MAX])
{
    static const struct time_unit larger[] = {
        {"d", 86400 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}};
    size_t used = 0;
    if (ns > 0 && ns < NS_PER_S)
        return format_below_a_second(ns, buffer);
    for (size_t i = 0; i < 3; i++) {
        if (ns >= larger[i].ns)
            used += (size_t)snprintf(buffer + used, UNITS_TEXT_MAX - used, "%" PRIu64 "%s",
                                     ns / larger[i].ns, larger[i].name);
        ns %= larger[i].ns;
    }
    if (ns > 0 || used == 0)
        put_fractional(buffer + used, UNITS_TEXT_MAX - used, ns, NS_PER_S, "s");
    return buffer;
}

char *units_format_size(uint64_t bytes, char buffer[static UNITS_TEXT_MAX])
{
    static const char suffixes[][2] = {"", "K", "M", "G", "T", "P", "E"};
    size_t i = 0;
    for (; i < 6 && bytes > 0 && bytes % 1024 == 0; i++)
        bytes /= 1024;
    snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 "%s", bytes, suffixes[i]);
    return buffer;
}

static const struct time_unit rate_units[] = {{"s", NS_PER_S},
                                              {"m", 60 * NS_PER_S},
                                              {"min", 60 * NS_PER_S},
                                              {"h", 3600 * NS_PER_S},
                                              {"d", 86400 * NS_PER_S}};
#define RATE_UNITS  (sizeof(rate_units) / sizeof(rate_units[0]))
#define RATE_NS_MIN 1000 /* from one to the next */

/* 0 if it is none. */
static uint64_t rate_unit(const char *name)
{
    for (size_t i = 0; i < RATE_UNITS; i++)
        if (strcmp(rate_units[i].name, name) == 0)
            return rate_units[i].ns;
    return 0;
}

int units_parse_rate(const char *text, struct units_rate *ret_rate)
{
    struct units_rate rate = {0};
    size_t digits = strspn(text, "0123456789");
    if (strcmp(text, "none") == 0) {
        *ret_rate = rate;
        return 0;
    }
    rate.per_ns = digits > 0 && text[digits] == '/' ? rate_unit(text + digits + 1) : 0;
    if (rate.per_ns == 0)
        return -EINVAL;
    for (size_t i = 0; i < digits && rate.count <= rate.per_ns; i++)
        rate.count = rate.count * 10 + (uint64_t)(text[i] - '0');
    if (rate.count == 0 || rate.count > rate.per_ns / RATE_NS_MIN)
        return -ERANGE;
    *ret_rate = rate;
    return 0;
}

char *units_format_rate(struct units_rate rate, char buffer[static UNITS_TEXT_MAX])
{
    const char *name = "s";
    for (size_t i = 0; i < RATE_UNITS; i++)
        if (rate_units[i].ns == rate.per_ns && strcmp(rate_units[i].name, "min") != 0)
            name = rate_units[i].name;
    if (rate.count == 0)
        snprintf(buffer, UNITS_TEXT_MAX, "none");
    else
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 "/%s", rate.count, name);
    return buffer;
}
