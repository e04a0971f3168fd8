/* SPDX-License-Identifier: MIT */
#include "client/table.h"
#include "client/text.h"
#include "support/test.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Test(text, durations_have_two_units_at_most)
{
    static const struct {
        double seconds;
        const char *text;
    } rows[] = {{0, "0ms"},     {0.85, "850ms"}, {1, "1.0s"},      {12.3, "12s"},
                {200, "3m20s"}, {7500, "2h5m"},  {273600, "3d4h"}, {-1, "-"},
                {NAN, "-"},     {INFINITY, "-"}, {59.99, "60s"},   {1e300, "-"}};
    char buffer[TEXT_SHORT_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_str_eq(text_duration(rows[i].seconds, buffer), rows[i].text, "row %zu: %s", i,
                         buffer);
}

Test(text, bytes_use_powers_of_1024)
{
    char buffer[TEXT_SHORT_MAX];
    cr_assert_str_eq(text_bytes(0, buffer), "0 B");
    cr_assert_str_eq(text_bytes(1023, buffer), "1023 B");
    cr_assert_str_eq(text_bytes(1536, buffer), "1.5 KiB");
    cr_assert_str_eq(text_bytes(UINT64_MAX, buffer), "16.0 EiB");
}

static const char *safe(const char *text, size_t size)
{
    static char buffer[256];
    return text_safe(text, strlen(text), buffer, size);
}

Test(text, control_characters_do_not_reach_the_terminal)
{
    cr_assert_str_eq(safe("plain text", 64), "plain text");
    cr_assert_str_eq(safe("a\nb\tc\rd", 64), "a\\nb\\tc\\rd");
    cr_assert_str_eq(safe("\x1b[2J\x7f\x01", 64), "\\x1b[2J\\x7f\\x01");
    cr_assert_str_eq(safe("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 64),
                     "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    cr_assert_str_eq(safe("\xc2\x9b"
                          "31m",
                          64),
                     "?31m", "U+009B begins a sequence too");
    char buffer[16];
    cr_assert_str_eq(text_safe("a\0b", 3, buffer, sizeof buffer), "a\\x00b");
}

Test(text, long_text_is_cut_at_a_whole_character)
{
    cr_assert_str_eq(safe("0123456789", 11), "0123456789");
    cr_assert_str_eq(safe("0123456789", 10), "012345...");
    cr_assert_str_eq(safe("01234\xc3\xa9"
                          "6789",
                          10),
                     "01234...", "the character would not fit whole");
    for (size_t size = 4; size < 40; size++) {
        const char *text = safe("\xf0\x9f\x98\x80\xf0\x9f\x98\x80\x1b\x1b\xe2\x82\xac\xe2\x82\xac"
                                "\xc3\xa9\xc3\xa9",
                                size);
        cr_assert(strlen(text) < size, "size %zu: %zu", size, strlen(text));
    }
}

Test(text, columns_count_characters)
{
    cr_assert_eq(text_columns("caf\xc3\xa9"), 4);
    cr_assert_eq(text_prefix("caf\xc3\xa9s", 4), 5);
    cr_assert_eq(text_prefix("abc", 9), 3);
    cr_assert_eq(text_prefix("abc", 0), 0);
}

static int decode(const char *text, char *data, size_t *ret_size)
{
    return text_from_base64(text, strlen(text), data, ret_size);
}

Test(text, base64_gives_the_bytes_back)
{
    char data[64];
    size_t size = 99;
    cr_assert_eq(decode("", data, &size), 0);
    cr_assert_eq(size, 0);
    cr_assert_eq(decode("AP8BgA==", data, &size), 0);
    cr_assert_eq(size, 4);
    cr_assert_arr_eq(data, "\x00\xff\x01\x80", 4);
    cr_assert_eq(decode("Zm9v", data, &size), 0);
    cr_assert_eq(size, 3);
    cr_assert_arr_eq(data, "foo", 3);
    cr_assert_eq(decode("Zm8=", data, &size), 0);
    cr_assert_eq(size, 2);
}

Test(text, what_is_not_base64_is_refused)
{
    char data[64];
    size_t size = 99;
    cr_assert_eq(decode("Zm9", data, &size), -EINVAL);
    cr_assert_eq(decode("Z===", data, &size), -EINVAL);
    cr_assert_eq(decode("Zm9!", data, &size), -EINVAL);
    cr_assert_eq(decode("Zm=v", data, &size), -EINVAL);
    cr_assert_eq(size, 99, "ret_ stays untouched");
}

/* ---- table ---- */

static char *print(struct table *table, size_t width)
{
    char *text;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    cr_assert_eq(table_print(table, to, width), 0);
    fclose(to);
    table_destroy(table);
    return text;
}

Test(table, columns_are_as_wide_as_they_need)
{
    struct table table;
    table_init(&table, "rll");
    table_add(&table, "ID");
    table_add(&table, "NAME");
    table_add(&table, "WHAT");
    table_add(&table, "%d", 100);
    table_add(&table, "caf\xc3\xa9");
    table_add(&table, "x");
    char *text = print(&table, 0);
    cr_assert_str_eq(text, " ID  NAME  WHAT\n100  caf\xc3\xa9  x\n");
    free(text);
}

Test(table, the_last_column_is_cut_to_the_width)
{
    struct table table;
    table_init(&table, "ll");
    table_add(&table, "a");
    table_add(&table, "0123456789012345");
    char *text = print(&table, 13);
    cr_assert_str_eq(text, "a  0123456789\n");
    free(text);
}

Test(table, no_rows_print_nothing)
{
    struct table table;
    table_init(&table, "ll");
    char *text = print(&table, 80);
    cr_assert_str_eq(text, "");
    free(text);
}
