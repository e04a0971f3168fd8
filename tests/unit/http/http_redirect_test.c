/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/web.h"

static const struct weft_http_session_options defaults;

static void methods(struct web *web)
{
    static const struct {
        int status;
        const char *method, *then;
    } cases[] = {
        {301, "GET", "GET"},       {302, "GET", "GET"},    {303, "GET", "GET"},
        {307, "GET", "GET"},       {308, "GET", "GET"},    {301, "POST", "GET"},
        {302, "POST", "GET"},      {303, "POST", "GET"},   {307, "POST", "POST"},
        {308, "POST", "POST"},     {301, "PUT", "PUT"},    {302, "PATCH", "PATCH"},
        {303, "PUT", "GET"},       {303, "DELETE", "GET"}, {307, "DELETE", "DELETE"},
        {302, "REPORT", "REPORT"}, {303, "REPORT", "GET"},
    };
    char path[64], line[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        bool kept = strcmp(cases[i].method, cases[i].then) == 0;
        bool body = strcmp(cases[i].method, "GET") != 0;
        struct weft_http_request request = {.method = cases[i].method};
        snprintf(path, sizeof(path), "/redirect/%d?/echo", cases[i].status);
        request.url = http_url(&web->server, path);
        if (body)
            request.body = weft_http_bytes("body", 4, "text/own");
        char *text = web_fetch(web, &request);
        snprintf(line, sizeof(line), "%s /echo\n", cases[i].then);
        EXPECT(strncmp(text, line, strlen(line)) == 0);
        EXPECT_EQ(strstr(text, "\n\nbody") != NULL, body && kept);
        EXPECT_EQ(strstr(text, "text/own") != NULL, body && kept);
        free(text);
    }
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
}

Test(http_redirect, methods_and_bodies_are_kept_or_become_a_get_as_browsers_have_it)
{
    on_web(&defaults, methods);
}

static void head_stays(struct web *web)
{
    for (int status = 301; status <= 303; status++) {
        char path[64];
        struct weft_http_response *response;
        snprintf(path, sizeof(path), "/redirect/%d?/bytes/10", status);
        EXPECT_EQ(weft_http_head(web->session, http_url(&web->server, path), &response), 0);
        EXPECT_EQ(weft_http_response_status(response), 200);
        EXPECT_EQ(weft_http_response_length(response), 10);
        weft_http_response_free(response);
    }
}

Test(http_redirect, a_head_stays_a_head)
{
    on_web(&defaults, head_stays);
}

static void info(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/hop/3");
    struct weft_http_info info;
    char url[64];
    weft_http_response_info(response, &info);
    EXPECT_EQ(info.redirects, 3);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/hop/0", web->server.port);
    EXPECT(strcmp(weft_http_response_url(response), url) == 0);
    EXPECT(strcmp(info.address, "127.0.0.1") == 0);
    EXPECT(info.port == web->server.port && info.reused);
    weft_http_response_free(response);
    response = web_get(web, "/redirect/302?../echo/sub/dir/../x?q#f");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/echo/sub/x?q", web->server.port);
    EXPECT(strcmp(weft_http_response_url(response), url) == 0);
    EXPECT_EQ(weft_http_response_status(response), 200);
    weft_http_response_free(response);
}

Test(http_redirect, the_last_url_and_the_number_of_hops_are_known)
{
    on_web(&defaults, info);
}

static void limits(struct web *web)
{
    struct weft_http_request request = {.url = http_url(&web->server, "/hop/2"),
                                        .max_redirects = 2};
    free(web_fetch(web, &request));
    request.max_redirects = 1;
    web_fails(web, &request, -ELOOP, "too many redirects");
    request.max_redirects = -1;
    struct weft_http_response *response = web_send(web, &request);
    EXPECT_EQ(weft_http_response_status(response), 307);
    EXPECT(strcmp(weft_http_response_header(response, "location"), "/hop/1") == 0);
    weft_http_response_free(response);
    int before = atomic_load(&web->server.requests);
    web_get_fails(web, "/loop", -ELOOP, "too many redirects");
    EXPECT_EQ(atomic_load(&web->server.requests), before + 11);
    web_works(web);
}

Test(http_redirect, a_loop_ends_at_the_limit_and_redirects_can_be_left_alone)
{
    on_web(&defaults, limits);
}

static void no_location(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/status/302");
    EXPECT_EQ(weft_http_response_status(response), 302);
    char *text = web_text(response);
    EXPECT(strcmp(text, "a body") == 0);
    free(text);
    weft_http_response_free(response);
    web_get_fails(web, "/redirect/302?ftp://127.0.0.1/", -EPROTONOSUPPORT, "");
    web_get_fails(web, "/redirect/302?file:///etc/passwd", -EPROTONOSUPPORT, "");
    web_get_fails(web, "/redirect/302?http://[", -EPROTO, "malformed URL in a redirect");
}

Test(http_redirect, without_a_usable_location_it_is_a_response_or_an_error)
{
    on_web(&defaults, no_location);
}

/* The same server under another name is another origin. */
static void secrets(struct web *web)
{
    struct weft_http_field own[] = {
        {"Cookie", "secret=1"}, {"X-Kept", "yes"}, {"Proxy-Authorization", "secret"}};
    char path[128];
    struct weft_http_request request = {.headers = own, .header_count = 3, .bearer = "secret"};
    request.url = http_url(&web->server, "/redirect/302?/echo");
    char *text = web_fetch(web, &request);
    EXPECT(strstr(text, "Bearer secret") && strstr(text, "secret=1") && strstr(text, "X-Kept"));
    free(text);
    snprintf(path, sizeof(path), "/redirect/302?http://localhost:%u/echo", web->server.port);
    request.url = http_url(&web->server, path);
    text = web_fetch(web, &request);
    EXPECT(!strstr(text, "secret") && strstr(text, "X-Kept"));
    free(text);
    /* And back again: what was taken out stays out. */
    snprintf(path, sizeof(path),
             "/redirect/302?http://localhost:%u/redirect/302?http://127.0.0.1:%u/echo",
             web->server.port, web->server.port);
    request.url = http_url(&web->server, path);
    text = web_fetch(web, &request);
    EXPECT(!strstr(text, "secret"));
    free(text);
    request = (struct weft_http_request){.url = request.url, .user = "me", .password = "pass"};
    text = web_fetch(web, &request);
    EXPECT(!strstr(text, "Authorization"));
    free(text);
}

Test(http_redirect, another_origin_gets_no_credentials)
{
    on_web(&defaults, secrets);
}

/* ---- bodies ----------------------------------------------------------------------------- */

static ssize_t produce(void *arg, void *buffer, size_t size)
{
    int *at = arg;
    (void)size;
    if (*at == 3)
        return 0;
    memcpy(buffer, &"abc"[*at], 1);
    ++*at;
    return 1;
}

static int produce_again(void *arg)
{
    *(int *)arg = 0;
    return 0;
}

static int refuse_again(void *arg)
{
    (void)arg;
    return -EDOM;
}

static void bodies_again(struct web *web)
{
    int at = 0;
    struct weft_http_part part = {.name = "p", .data = "content", .size = 7};
    struct weft_http_request request = {.url = http_url(&web->server, "/redirect/307?/echo")};
    request.body = weft_http_stream(produce, produce_again, &at, -1, NULL);
    char *text = web_fetch(web, &request);
    EXPECT(strstr(text, "\n\nabc"));
    free(text);
    at = 0;
    request.body = weft_http_stream(produce, NULL, &at, 3, NULL);
    web_fails(web, &request, -ESPIPE, "cannot be had again");
    at = 0;
    request.body = weft_http_stream(produce, refuse_again, &at, 3, NULL);
    web_fails(web, &request, -EDOM, "");
    request.body = weft_http_multipart(&part, 1);
    text = web_fetch(web, &request);
    EXPECT(strstr(text, "\r\n\r\ncontent\r\n--"));
    free(text);
    at = 0;
    request.url = http_url(&web->server, "/redirect/303?/echo"); /* the body is not wanted */
    request.body = weft_http_stream(produce, NULL, &at, 3, NULL);
    text = web_fetch(web, &request);
    EXPECT(strncmp(text, "GET ", 4) == 0);
    free(text);
}

Test(http_redirect, a_body_is_sent_again_where_it_can_be_had_again)
{
    on_web(&defaults, bodies_again);
}

static void memory_again(struct web *web)
{
    enum { SIZE = 500000 };
    char *data = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = pattern(i);
    struct weft_http_response *response = web_send(
        web, &(struct weft_http_request){.url = http_url(&web->server, "/redirect/308?/mirror"),
                                         .body = weft_http_bytes(data, SIZE, NULL)});
    EXPECT_EQ(web_read_pattern(response, SIZE), 0);
    weft_http_response_free(response);
    free(data);
}

Test(http_redirect, a_large_body_in_memory_is_sent_again)
{
    on_web(&defaults, memory_again);
}
