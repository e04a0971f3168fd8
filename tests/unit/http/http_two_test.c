/* SPDX-License-Identifier: MIT */
/* HTTP/2, against nghttpd (Debian's nghttp2-server); without it these tests pass and say so. */
#include "support/test.h"

#include "support/nghttpd.h"

struct two_case {
    struct nghttpd server;
    const struct weft_http_session_options *options;
    void (*fn)(struct nghttpd *server, struct weft_http_session *session);
};

static int two_main(void *arg)
{
    struct two_case *test = arg;
    struct weft_http_session *session;
    EXPECT_EQ(weft_http_session_new(test->options, &session), 0);
    test->fn(&test->server, session);
    weft_http_session_free(session);
    return 0;
}

static void on_nghttpd(bool tls, struct weft_http_session_options *options,
                       void (*fn)(struct nghttpd *server, struct weft_http_session *session))
{
    struct two_case test = {.options = options, .fn = fn};
    if (nghttpd_start(&test.server, tls)) {
        if (tls)
            options->ca_file = test.server.ca;
        on_fibers_counting_fds(2, two_main, &test);
    } else {
        fprintf(stderr, "skipped: there is no nghttpd here (Debian: nghttp2-server)\n");
    }
    nghttpd_stop(&test.server);
}

/* ---- what is fetched -------------------------------------------------------------------- */

struct fetch {
    struct nghttpd *server;
    struct weft_http_session *session;
    const char *path;
    size_t size;
    bool tls;
};

static struct weft_http_response *begin(const struct fetch *fetch, struct weft_http_body body)
{
    char url[128];
    struct weft_http_why why = {""};
    struct weft_http_response *response;
    snprintf(url, sizeof(url), "%s://127.0.0.1:%u/%s", fetch->tls ? "https" : "http",
             fetch->server->port, fetch->path);
    int r = weft_http_send(fetch->session,
                           &(struct weft_http_request){.url = url, .body = body, .why = &why},
                           &response);
    if (r < 0)
        fprintf(stderr, "%s: %d: %s\n", url, r, why.text);
    EXPECT_EQ(r, 0);
    EXPECT_EQ(weft_http_response_status(response), 200);
    EXPECT_EQ(weft_http_response_version(response), 20);
    return response;
}

static int fetch_whole(void *arg)
{
    const struct fetch *fetch = arg;
    struct weft_http_response *response = begin(fetch, (struct weft_http_body){0});
    EXPECT_EQ(web_read_pattern(response, fetch->size), 0);
    weft_http_response_free(response);
    return 0;
}

static void fetch_many(const struct fetch *fetch, int count)
{
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < count; i++)
        EXPECT_EQ(weft_group_spawn(&group, "fetch", fetch_whole, (void *)(uintptr_t)fetch), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void expect_one_connection(struct weft_http_session *session)
{
    struct weft_http_session_stats stats;
    weft_http_session_stats(session, &stats);
    EXPECT_EQ(stats.connections, 1);
}

static void without_tls(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch small = {server, session, "small", 10, false};
    struct fetch large = {server, session, "large", LARGE, false};
    fetch_many(&small, 20);
    fetch_many(&large, 3);
}

Test(http_two, it_is_spoken_without_tls_when_that_is_known_before)
{
    struct weft_http_session_options options = {.version = WEFT_HTTP_2_DIRECTLY};
    on_nghttpd(false, &options, without_tls);
}

static void negotiated(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch small = {server, session, "small", 10, true};
    struct fetch large = {server, session, "large", LARGE, true};
    fetch_many(&small, 50);
    fetch_many(&large, 2);
    expect_one_connection(session);
}

Test(http_two, it_is_negotiated_over_tls_and_many_requests_share_a_connection)
{
    struct weft_http_session_options options = {0};
    on_nghttpd(true, &options, negotiated);
    options = (struct weft_http_session_options){.version = WEFT_HTTP_2_DIRECTLY};
    on_nghttpd(true, &options, negotiated);
}

/* One that nobody reads, and others beside it. */
static void held_up(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch large = {server, session, "large", LARGE, true};
    struct weft_http_info info;
    struct weft_http_response *slow = begin(&large, (struct weft_http_body){0});
    fetch_many(&large, 2);
    weft_http_response_info(slow, &info);
    EXPECT(info.received < LARGE);
    EXPECT_EQ(web_read_pattern(slow, LARGE), 0);
    weft_http_response_free(slow);
    expect_one_connection(session);
}

Test(http_two, a_stream_that_nobody_reads_does_not_stop_the_others)
{
    struct weft_http_session_options options = {.read_ahead = 64 * 1024};
    on_nghttpd(true, &options, held_up);
}

static void aborted(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch large = {server, session, "large", LARGE, true};
    struct fetch small = {server, session, "small", 10, true};
    for (int i = 0; i < 10; i++) {
        struct weft_scope scope;
        char byte;
        struct weft_http_response *response = begin(&large, (struct weft_http_body){0});
        weft_scope_enter(&scope, WEFT_NO_DEADLINE);
        weft_scope_cancel(&scope);
        EXPECT_EQ(weft_http_response_read(response, &byte, 1), -ECANCELED);
        EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
        weft_http_response_free(response);
        fetch_many(&small, 3);
    }
    expect_one_connection(session);
}

Test(http_two, an_aborted_stream_leaves_the_connection_to_the_others)
{
    struct weft_http_session_options options = {0};
    on_nghttpd(true, &options, aborted);
}

/* ---- what is sent ----------------------------------------------------------------------- */

static ssize_t produce(void *arg, void *buffer, size_t size)
{
    size_t *at = arg;
    size_t left = LARGE - *at, n = left < size ? left : size;
    for (size_t i = 0; i < n; i++)
        ((char *)buffer)[i] = pattern(*at + i);
    *at += n;
    return (ssize_t)n;
}

static void uploaded(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch echo = {server, session, "small", 0, true};
    size_t at = 0;
    struct weft_http_response *response =
        begin(&echo, weft_http_stream(produce, NULL, &at, -1, "text/plain"));
    EXPECT_EQ(web_read_pattern(response, LARGE), 0);
    weft_http_response_free(response);
    at = 0;
    response = begin(&echo, weft_http_stream(produce, NULL, &at, LARGE, "text/plain"));
    EXPECT_EQ(web_read_pattern(response, LARGE), 0);
    weft_http_response_free(response);
    response = begin(&echo, weft_http_bytes("abcde", 5, "text/plain"));
    EXPECT_EQ(web_read_pattern(response, 5), 0);
    weft_http_response_free(response);
    /* With libcurl before 8.1 the first one had its own: nobody joins it, or uses it again. */
    struct weft_http_session_stats stats;
    weft_http_session_stats(session, &stats);
    EXPECT(stats.connections <= 2);
}

Test(http_two, bodies_are_sent_piece_by_piece)
{
    struct weft_http_session_options options = {0};
    on_nghttpd(true, &options, uploaded);
}

static void not_spoken(struct web *web)
{
    struct weft_http_response *response;
    int r = weft_http_get(web->session, http_url(&web->server, "/echo"), &response);
    EXPECT(r == -EPROTO || r == -ECONNRESET || r == -EPIPE); /* who notices first */
}

Test(http_two, a_server_that_does_not_speak_it_is_an_error)
{
    struct weft_http_session_options options = {.version = WEFT_HTTP_2_DIRECTLY};
    on_web(&options, not_spoken);
}
