/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/web.h"

static const struct weft_http_session_options defaults;

/* ---- heads ------------------------------------------------------------------------------ */

static void expect_text(const char *actual, const char *expected)
{
    EXPECT(actual && strcmp(actual, expected) == 0);
}

static void headers(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/headers");
    size_t count, other;
    const struct weft_http_field *all = weft_http_response_headers(response, &count);
    EXPECT_EQ(weft_http_response_status(response), 200);
    expect_text(weft_http_response_reason(response), "Quite OK");
    EXPECT_EQ(weft_http_response_version(response), 11);
    expect_text(weft_http_response_url(response), web->server.url);
    EXPECT_EQ(count, 6);
    expect_text(all[0].name, "X-Several");
    expect_text(all[1].name, "x-several");
    expect_text(all[1].value, "two");
    expect_text(weft_http_response_header(response, "X-SEVERAL"), "one");
    expect_text(weft_http_response_header_at(response, "X-Several", 1), "two");
    EXPECT(!weft_http_response_header_at(response, "X-Several", 2));
    expect_text(weft_http_response_header(response, "X-Empty"), "");
    expect_text(weft_http_response_header(response, "X-Blanks"), "in the middle");
    expect_text(weft_http_response_header(response, "X-Folded"), "a b");
    EXPECT(!weft_http_response_header(response, "X-None"));
    EXPECT_EQ(weft_http_response_length(response), 0);
    EXPECT(!weft_http_response_trailers(response, &other) && other == 0);
    expect_text(weft_http_response_error(response), "");
    weft_http_response_free(response);
}

Test(http_response, headers_are_in_order_and_found_by_name_in_any_case)
{
    on_web(&defaults, headers);
}

static void statuses(struct web *web)
{
    static const int codes[] = {200, 201, 204, 304, 400, 404, 418, 500, 503};
    char path[32];
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        snprintf(path, sizeof(path), "/status/%d", codes[i]);
        struct weft_http_response *response = web_get(web, path);
        EXPECT_EQ(weft_http_response_status(response), codes[i]);
        EXPECT_EQ(weft_http_response_check(response), codes[i] < 400 ? 0 : -EREMOTEIO);
        if (codes[i] >= 400)
            EXPECT(strstr(weft_http_response_error(response), path) &&
                   strstr(weft_http_response_error(response), ": status "));
        char *text = web_text(response);
        expect_text(text, codes[i] == 204 || codes[i] == 304 ? "" : "a body");
        free(text);
        weft_http_response_free(response);
    }
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
}

Test(http_response, a_status_is_no_error_until_it_is_checked)
{
    on_web(&defaults, statuses);
}

static void informational(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/continue");
    EXPECT_EQ(weft_http_response_status(response), 200);
    EXPECT(!weft_http_response_header(response, "X-Early"));
    EXPECT(!weft_http_response_header(response, "Link"));
    char *text = web_text(response);
    expect_text(text, "went on");
    free(text);
    weft_http_response_free(response);
}

Test(http_response, informational_answers_are_passed_over)
{
    on_web(&defaults, informational);
}

/* ---- bodies ----------------------------------------------------------------------------- */

static void expect_pattern(struct web *web, const char *path, uint64_t size)
{
    struct weft_http_response *response = web_get(web, path);
    char byte;
    EXPECT_EQ(web_read_pattern(response, size), 0);
    EXPECT_EQ(weft_http_response_read(response, &byte, 1), 0); /* still the end */
    weft_http_response_free(response);
}

static void framings(struct web *web)
{
    expect_pattern(web, "/bytes/0", 0);
    expect_pattern(web, "/bytes/1", 1);
    expect_pattern(web, "/bytes/1000000", 1000000);
    expect_pattern(web, "/chunked/0", 0);
    expect_pattern(web, "/chunked/1", 1);
    expect_pattern(web, "/chunked/1000000", 1000000);
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
    expect_pattern(web, "/to-end/0", 0);
    expect_pattern(web, "/to-end/1000000", 1000000);
    expect_pattern(web, "/drip/300", 300);
}

Test(http_response, bodies_of_every_framing_are_read_to_their_end)
{
    on_web(&defaults, framings);
}

static void lengths(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/bytes/12345");
    EXPECT_EQ(weft_http_response_length(response), 12345);
    weft_http_response_free(response);
    response = web_get(web, "/chunked/10");
    EXPECT_EQ(weft_http_response_length(response), -1);
    weft_http_response_free(response);
}

Test(http_response, the_length_is_known_where_it_was_announced)
{
    on_web(&defaults, lengths);
}

static void trailers(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/chunked/5000");
    size_t count;
    EXPECT(!weft_http_response_trailers(response, &count) && count == 0);
    EXPECT_EQ(web_read_pattern(response, 5000), 0);
    const struct weft_http_field *trailer = weft_http_response_trailers(response, &count);
    EXPECT_EQ(count, 2);
    expect_text(trailer[0].name, "X-Sum");
    expect_text(trailer[0].value, "5000");
    expect_text(trailer[1].value, "yes");
    weft_http_response_free(response);
}

Test(http_response, trailers_are_there_at_the_end_of_the_body)
{
    on_web(&defaults, trailers);
}

static void limits(struct web *web)
{
    static const struct {
        size_t limit;
        int result;
    } cases[] = {{0, -EMSGSIZE}, {1, -EMSGSIZE},    {4999, -EMSGSIZE}, {5000, 0}, {5001, 0},
                 {SIZE_MAX, 0},  {SIZE_MAX - 1, 0}, {SIZE_MAX - 2, 0}, {40000, 0}};
    static const char *const paths[] = {"/bytes/5000", "/chunked/5000"};
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
        struct weft_http_response *response = web_get(web, paths[i % 2]);
        void *data = NULL;
        size_t size = 7;
        EXPECT_EQ(weft_http_response_body(response, cases[i / 2].limit, &data, &size),
                  cases[i / 2].result);
        EXPECT_EQ(size, cases[i / 2].result ? 7 : 5000);
        if (cases[i / 2].result)
            EXPECT(!data && strstr(weft_http_response_error(response), "larger than"));
        else
            EXPECT_EQ(strlen(data), 5000);
        free(data);
        weft_http_response_free(response);
    }
    struct weft_http_response *response = web_get(web, "/bytes/0");
    char *text = web_text(response);
    expect_text(text, "");
    free(text);
    weft_http_response_free(response);
    web_works(web);
}

Test(http_response, a_whole_body_is_bounded_by_the_callers_limit)
{
    on_web(&defaults, limits);
}

/* Of which nobody says beforehand how large it is. */
static void gathered(struct web *web)
{
    static const size_t sizes[] = {16383, 16384, 16385, 1000000};
    char path[32];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        snprintf(path, sizeof(path), "/chunked/%zu", sizes[i]);
        for (size_t limit = sizes[i] - 1; limit <= sizes[i]; limit++) {
            struct weft_http_response *response = web_get(web, path);
            void *data = NULL;
            size_t size = 0;
            EXPECT_EQ(weft_http_response_body(response, limit, &data, &size),
                      limit < sizes[i] ? -EMSGSIZE : 0);
            EXPECT_EQ(size, limit < sizes[i] ? 0 : sizes[i]);
            for (size_t at = 0; at < size; at++)
                EXPECT_EQ(((char *)data)[at], pattern(at));
            free(data);
            weft_http_response_free(response);
        }
    }
}

Test(http_response, a_whole_body_of_unknown_length_is_gathered)
{
    on_web(&defaults, gathered);
}

static void no_text(struct web *web)
{
    struct weft_http_response *response =
        web_send(web, &(struct weft_http_request){.url = http_url(&web->server, "/mirror"),
                                                  .body = weft_http_bytes("a\0b", 3, NULL)});
    char *text = NULL;
    EXPECT_EQ(weft_http_response_text(response, 100, &text), -EILSEQ);
    EXPECT(!text);
    weft_http_response_free(response);
}

Test(http_response, a_body_with_a_nul_is_no_text)
{
    on_web(&defaults, no_text);
}

static void compressed(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/gzip");
    char *text = web_text(response);
    expect_text(text, "hello hello hello");
    expect_text(weft_http_response_header(response, "content-encoding"), "gzip");
    free(text);
    weft_http_response_free(response);
    response = web_get(web, "/gzip-broken");
    EXPECT_EQ(weft_http_response_text(response, 100, &text), -EBADMSG);
    EXPECT(weft_http_response_error(response)[0]);
    weft_http_response_free(response);
    web_works(web);
}

Test(http_response, compressed_bodies_are_decompressed_and_broken_ones_refused)
{
    on_web(&defaults, compressed);
}

static void left_compressed(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/gzip");
    void *data;
    size_t size;
    EXPECT_EQ(weft_http_response_body(response, 100, &data, &size), 0);
    EXPECT_EQ(size, sizeof(gzipped));
    EXPECT_EQ(memcmp(data, gzipped, size), 0);
    free(data);
    weft_http_response_free(response);
    char *text =
        web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo")});
    EXPECT(!strstr(text, "Accept-Encoding"));
    free(text);
}

Test(http_response, bodies_stay_compressed_when_the_session_wants_that)
{
    struct weft_http_session_options options = {.no_decompress = true};
    on_web(&options, left_compressed);
}

/* ---- back-pressure ---------------------------------------------------------------------- */

static void held_up(struct web *web)
{
    enum { SIZE = 64 * 1024 * 1024 };
    char path[32];
    snprintf(path, sizeof(path), "/bytes/%d", SIZE);
    struct weft_http_response *slow = web_get(web, path);
    struct weft_http_info info, later;
    for (int i = 0; i < 20; i++)
        web_works(web); /* others go on meanwhile */
    weft_http_response_info(slow, &info);
    EXPECT(info.received < SIZE / 4);
    EXPECT_EQ(web_read_pattern(slow, SIZE), 0);
    weft_http_response_info(slow, &later);
    EXPECT_EQ(later.received, SIZE);
    EXPECT(!info.reused && later.total_ns >= later.first_byte_ns && later.first_byte_ns > 0);
    weft_http_response_free(slow);
    EXPECT_EQ(atomic_load(&web->server.connections), 2);
}

Test(http_response, a_body_that_nobody_reads_holds_its_transfer_up_and_no_other)
{
    struct weft_http_session_options options = {.read_ahead = 64 * 1024};
    on_web(&options, held_up);
}

static void tiny_buffer(struct web *web)
{
    expect_pattern(web, "/bytes/200000", 200000);
    expect_pattern(web, "/chunked/200000", 200000);
    struct weft_http_response *response = web_get(web, "/gzip");
    char *text = web_text(response);
    expect_text(text, "hello hello hello");
    free(text);
    weft_http_response_free(response);
}

Test(http_response, nothing_is_lost_when_the_transfer_pauses_at_every_block)
{
    struct weft_http_session_options options = {.read_ahead = 1};
    on_web(&options, tiny_buffer);
}

static void unread(struct web *web)
{
    for (int i = 0; i < 5; i++) {
        weft_http_response_free(web_get(web, "/stall/10"));
        await_count(&web->server.gone, i + 1);
    }
    weft_http_response_free(web_get(web, "/bytes/100000000"));
    await_count(&web->server.open, 0);
    web_works(web);
}

Test(http_response, a_response_that_is_freed_before_its_end_closes_its_connection)
{
    on_web(&defaults, unread);
}

/* Returns what a read of one byte does, unless the other fiber is inside. */
static ssize_t read_byte(struct weft_http_response *response)
{
    char byte;
    ssize_t n;
    while ((n = weft_http_response_read(response, &byte, 1)) == -EBUSY)
        EXPECT_EQ(weft_yield(), 0);
    return n;
}

static int read_beside(void *arg)
{
    EXPECT_EQ(read_byte(arg), -ECANCELED);
    return 0;
}

static void two_readers(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/stall/1");
    struct weft_group group;
    char byte;
    EXPECT_EQ(read_byte(response), 1); /* the only one */
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_beside, response), 0);
    uint64_t end_ns = soon();
    while (weft_http_response_read(response, &byte, 0) != -EBUSY)
        EXPECT(weft_now_ns() < end_ns && weft_yield() == 0);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    weft_http_response_free(response);
}

Test(http_response, a_second_reader_is_refused_while_one_waits)
{
    on_web(&defaults, two_readers);
}

/* ---- servers that misbehave ------------------------------------------------------------- */

static void bad_heads(struct web *web)
{
    web_get_fails(web, "/close", -ECONNRESET, "127.0.0.1");
    web_get_fails(web, "/reset", -ECONNRESET, "127.0.0.1");
    web_get_fails(web, "/garbage", -EPROTO, "127.0.0.1");
    web_get_fails(web, "/bad-status", -EPROTO, "127.0.0.1");
    web_get_fails(web, "/many-headers", -EMSGSIZE, "too large");
    web_works(web);
}

Test(http_response, answers_that_are_none_fail_the_request)
{
    on_web(&defaults, bad_heads);
}

static void expect_cut(struct web *web, const char *path, int error)
{
    struct weft_http_response *response = web_get(web, path);
    char byte;
    EXPECT_EQ(weft_http_response_status(response), 200);
    EXPECT_EQ(web_read_pattern(response, 100), error);
    EXPECT(weft_http_response_error(response)[0]);
    EXPECT_EQ(weft_http_response_read(response, &byte, 1), error); /* it comes again */
    weft_http_response_free(response);
}

static void cut_bodies(struct web *web)
{
    expect_cut(web, "/half", -ECONNRESET);
    expect_cut(web, "/half-chunk", -ECONNRESET);
    expect_cut(web, "/reset-half", -ECONNRESET);
    web_works(web);
}

Test(http_response, a_body_that_is_cut_short_is_an_error_and_no_end)
{
    on_web(&defaults, cut_bodies);
}

static void after_the_session(struct web *web)
{
    struct weft_http_session *session;
    struct weft_http_response *whole, *half;
    char *text;
    char byte;
    EXPECT_EQ(weft_http_session_new(NULL, &session), 0);
    EXPECT_EQ(weft_http_get(session, http_url(&web->server, "/bytes/10"), &whole), 0);
    EXPECT_EQ(weft_http_get(session, http_url(&web->server, "/stall/1"), &half), 0);
    EXPECT_EQ(weft_http_response_read(half, &byte, 1), 1);
    struct weft_http_session_stats stats;
    do { /* until the whole one is there */
        EXPECT_EQ(weft_yield(), 0);
        weft_http_session_stats(session, &stats);
    } while (stats.active > 1);
    weft_http_session_free(session);
    EXPECT_EQ(weft_http_response_text(whole, 100, &text), 0);
    expect_text(text, "abcdefghij");
    free(text);
    EXPECT_EQ(weft_http_response_read(half, &byte, 1), -ESHUTDOWN);
    EXPECT(strstr(weft_http_response_error(half), "closed"));
    weft_http_response_free(whole);
    weft_http_response_free(half);
}

Test(http_response, responses_outlive_their_session_with_what_they_have)
{
    on_web(&defaults, after_the_session);
}
