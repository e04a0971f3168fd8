/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <errno.h>
#include <string.h>

#include "io/http/head.h"

static int begin(struct http_head *head, const char *line)
{
    return head_begin(head, line, strlen(line));
}

static int add(struct http_head *head, const char *line)
{
    return head_add(head, line, strlen(line));
}

Test(http_head, status_lines_of_each_version_are_understood)
{
    static const struct {
        const char *line;
        unsigned version;
        int status;
        const char *reason;
    } lines[] = {
        {"HTTP/1.1 200 OK", 11, 200, "OK"}, {"HTTP/1.0 404 Not Found", 10, 404, "Not Found"},
        {"HTTP/1.1 204 ", 11, 204, ""},     {"HTTP/1.1 204", 11, 204, ""},
        {"HTTP/2 200", 20, 200, ""},        {"HTTP/2 200 ", 20, 200, ""}};
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct http_head head = {0};
        cr_assert_eq(begin(&head, lines[i].line), 0);
        cr_assert_eq(head.version, lines[i].version);
        cr_assert_eq(head.status, lines[i].status);
        cr_assert_str_eq(head.reason, lines[i].reason);
        head_destroy(&head);
    }
}

Test(http_head, what_is_no_status_line_is_refused)
{
    static const char *const lines[] = {"",           "HTTP/",        "HTTP/x 200 OK", "HTTP/1.1",
                                        "HTTP/1.1 2", "HTTP/1.1 2x0", "ICY 200 OK",    "HTTP/1.1 "};
    struct http_head head = {0};
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        cr_assert_eq(begin(&head, lines[i]), -EPROTO);
    head_destroy(&head);
}

Test(http_head, a_new_status_line_drops_what_was_there)
{
    struct http_head head = {0};
    cr_assert_eq(begin(&head, "HTTP/1.1 100 Continue"), 0);
    cr_assert_eq(add(&head, "A: b"), 0);
    cr_assert_eq(begin(&head, "HTTP/1.1 200 OK"), 0);
    cr_assert_eq(head.count, 0);
    cr_assert_null(head_find(&head, "A", 0));
    head_destroy(&head);
}

Test(http_head, fields_are_trimmed_folded_and_found)
{
    struct http_head head = {0};
    cr_assert_eq(add(&head, "Name:  value \t"), 0);
    cr_assert_eq(add(&head, "name:"), 0);
    cr_assert_eq(add(&head, "Odd : x:y"), 0);
    cr_assert_eq(add(&head, "no header"), 0);
    cr_assert_eq(add(&head, " \tfolded "), 0);
    cr_assert_eq(head.count, 3);
    cr_assert_str_eq(head_find(&head, "NAME", 0), "value");
    cr_assert_str_eq(head_find(&head, "NAME", 1), "");
    cr_assert_null(head_find(&head, "NAME", 2));
    cr_assert_str_eq(head_find(&head, "Odd", 0), "x:y folded");
    head_destroy(&head);
}

Test(http_head, a_fold_without_a_field_is_refused)
{
    struct http_head head = {0};
    cr_assert_eq(add(&head, " folded"), -EPROTO);
    head_destroy(&head);
}

Test(http_head, a_block_is_bounded)
{
    static char line[4096];
    struct http_head head = {0};
    int r;
    memset(line, 'x', sizeof(line) - 1);
    line[1] = ':';
    do
        r = add(&head, line);
    while (r == 0 && head.count < 1000);
    cr_assert_eq(r, -EMSGSIZE);
    cr_assert_eq(head.count, HEAD_LIMIT / (sizeof(line) - 1));
    head_destroy(&head);
}
