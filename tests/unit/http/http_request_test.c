/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include "support/web.h"

static const struct weft_http_session_options defaults;

/* ---- methods ---------------------------------------------------------------------------- */

static void expect_first_line(char *text, const char *line)
{
    EXPECT(strncmp(text, line, strlen(line)) == 0);
    free(text);
}

static void methods(struct web *web)
{
    static const char *const names[] = {"GET",     "POST",  "PUT",      "PATCH", "DELETE",
                                        "OPTIONS", "TRACE", "PROPFIND", "x-own"};
    char line[64];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct weft_http_request request = {.method = names[i],
                                            .url = http_url(&web->server, "/echo")};
        snprintf(line, sizeof(line), "%s /echo\n", names[i]);
        expect_first_line(web_fetch(web, &request), line);
        request.body = weft_http_bytes("data", 4, NULL);
        char *text = web_fetch(web, &request);
        EXPECT(strstr(text, "\nContent-Length: 4\n") && strstr(text, "\n\ndata"));
        expect_first_line(text, line);
    }
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
}

Test(http_request, any_method_with_and_without_a_body_over_one_connection)
{
    on_web(&defaults, methods);
}

static void expect_simple(struct web *web, int r, struct weft_http_response *response,
                          const char *line)
{
    (void)web;
    EXPECT_EQ(r, 0);
    EXPECT_EQ(weft_http_response_status(response), 200);
    expect_first_line(web_text(response), line);
    weft_http_response_free(response);
}

static void simple_forms(struct web *web)
{
    struct weft_http_session *session = web->session;
    struct weft_http_response *response;
    struct weft_http_body body = weft_http_bytes("b", 1, "text/plain");
    const char *url = http_url(&web->server, "/echo");
    int r;
    r = weft_http_get(session, url, &response);
    expect_simple(web, r, response, "GET /echo\n");
    r = weft_http_delete(session, url, &response);
    expect_simple(web, r, response, "DELETE /echo\n");
    r = weft_http_options(session, url, &response);
    expect_simple(web, r, response, "OPTIONS /echo\n");
    r = weft_http_post(session, url, &body, &response);
    expect_simple(web, r, response, "POST /echo\n");
    r = weft_http_post(session, url, NULL, &response);
    expect_simple(web, r, response, "POST /echo\n");
    r = weft_http_put(session, url, &body, &response);
    expect_simple(web, r, response, "PUT /echo\n");
    r = weft_http_patch(session, url, &body, &response);
    expect_simple(web, r, response, "PATCH /echo\n");
    EXPECT_EQ(weft_http_head(session, url, &response), 0);
    EXPECT(weft_http_response_length(response) > 0);
    char *text = web_text(response);
    EXPECT_EQ(strlen(text), 0);
    free(text);
    weft_http_response_free(response);
}

Test(http_request, each_simple_form_sends_its_method)
{
    on_web(&defaults, simple_forms);
}

static void empty_bodies(struct web *web)
{
    static const char *const names[] = {"POST", "PUT", "PATCH"};
    for (size_t i = 0; i < 3; i++) {
        char *text =
            web_fetch(web, &(struct weft_http_request){.method = names[i],
                                                       .url = http_url(&web->server, "/echo")});
        EXPECT(strstr(text, "Content-Length: 0\n"));
        EXPECT(!strstr(text, "Content-Type"));
        free(text);
    }
    char *text = web_fetch(web, &(struct weft_http_request){
                                    .method = "DELETE", .url = http_url(&web->server, "/echo")});
    EXPECT(!strstr(text, "Content-Length"));
    free(text);
}

Test(http_request, post_put_and_patch_without_a_body_say_that_its_length_is_zero)
{
    on_web(&defaults, empty_bodies);
}

/* ---- headers ---------------------------------------------------------------------------- */

static void headers(struct web *web)
{
    struct weft_http_field own[] = {{"X-One", "1"},
                                    {"X-Twice", "a"},
                                    {"X-Twice", "b"},
                                    {"X-Empty", ""},
                                    {"Accept", "text/html"},
                                    {"X-Default", "mine"},
                                    {"Host", "elsewhere.example"}};
    char *text = web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo"),
                                                            .headers = own,
                                                            .header_count = 7});
    EXPECT(strstr(text, "\nX-One: 1\n") && strstr(text, "\nX-Twice: a\nX-Twice: b\n"));
    EXPECT(strstr(text, "\nX-Empty:\n") || strstr(text, "\nX-Empty: \n"));
    EXPECT(strstr(text, "\nAccept: text/html\n") && !strstr(text, "*/*"));
    EXPECT(strstr(text, "\nX-Default: mine\n") && !strstr(text, "session's"));
    EXPECT(strstr(text, "\nX-Other: other\n") && strstr(text, "\nUser-Agent: tester\n"));
    EXPECT(strstr(text, "\nHost: elsewhere.example\n") && !strstr(text, "Expect"));
    free(text);
}

Test(http_request, headers_of_the_request_go_before_those_of_the_session)
{
    struct weft_http_field both[] = {{"X-Default", "session's"}, {"X-Other", "other"}};
    struct weft_http_session_options options = {
        .headers = both, .header_count = 2, .user_agent = "tester"};
    on_web(&options, headers);
}

static void no_agent(struct web *web)
{
    char *text =
        web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo")});
    EXPECT(!strstr(text, "User-Agent"));
    free(text);
}

Test(http_request, an_empty_user_agent_is_not_sent)
{
    struct weft_http_session_options options = {.user_agent = ""};
    on_web(&options, no_agent);
}

/* The same is said of it where nobody is to be asked. */
static void refused(struct web *web, const struct weft_http_request *request, int err,
                    const char *text)
{
    struct weft_http_why why = {""};
    EXPECT_EQ(weft_http_check(request, &why), err);
    EXPECT(strstr(why.text, text));
    web_fails(web, request, err, text);
}

static void malformed(struct web *web)
{
    static const struct weft_http_field bad[] = {{"X-A", "a\r\nX-B: b"},
                                                 {"X-A", "a\n"},
                                                 {"X A", "a"},
                                                 {"X-A:", "a"},
                                                 {"", "a"},
                                                 {NULL, "a"},
                                                 {"X-A", NULL},
                                                 {"Content-Length", "5"},
                                                 {"X-A", "\x01"},
                                                 {"X\n", "a"},
                                                 {"transfer-encoding", "chunked"}};
    static const char *const methods_bad[] = {"", "GE T", "GET\r\n", "CONNECT"};
    static const char *const urls_bad[] = {"",        "example.org/x", "/echo",
                                           "http://", "http://a b/",   "http://[::1"};
    const char *url = http_url(&web->server, "/echo");
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        refused(web, &(struct weft_http_request){.url = url, .headers = &bad[i], .header_count = 1},
                -EINVAL, "malformed header");
    for (size_t i = 0; i < sizeof(methods_bad) / sizeof(*methods_bad); i++)
        refused(web, &(struct weft_http_request){.url = url, .method = methods_bad[i]}, -EINVAL,
                "malformed method");
    for (size_t i = 0; i < sizeof(urls_bad) / sizeof(*urls_bad); i++)
        refused(web, &(struct weft_http_request){.url = urls_bad[i]}, -EINVAL, "malformed URL");
    refused(web, &(struct weft_http_request){.url = NULL}, -EINVAL, "no URL");
    refused(web, &(struct weft_http_request){.url = "ftp://127.0.0.1/x"}, -EPROTONOSUPPORT, "");
    refused(web, &(struct weft_http_request){.url = "file:///etc/passwd"}, -EPROTONOSUPPORT, "");
    refused(web,
            &(struct weft_http_request){
                .url = url, .method = "HEAD", .body = weft_http_bytes("a", 1, NULL)},
            -EINVAL, "HEAD");
    EXPECT_EQ(weft_http_check(&(struct weft_http_request){.url = url}, NULL), 0);
    web_fails(web, &(struct weft_http_request){.url = url, .bearer = "a\nb"}, -EINVAL, "");
    EXPECT_EQ(atomic_load(&web->server.connections), 0);
    web_works(web);
}

Test(http_request, what_is_malformed_is_refused_before_anything_is_sent)
{
    on_web(&defaults, malformed);
}

/* ---- URLs ------------------------------------------------------------------------------- */

static void queries(struct web *web)
{
    struct weft_http_field query[] = {{"q", "a b&c=d/e"}, {"\xc3\xa9", "100%"}, {"empty", ""}};
    char *text = web_fetch(
        web, &(struct weft_http_request){.url = http_url(&web->server, "/echo?first=1#fragment"),
                                         .query = query,
                                         .query_count = 3});
    static const char line[] = "GET /echo?first=1&q=a%20b%26c%3Dd%2Fe&%C3%A9=100%25&empty=\n";
    EXPECT(strncasecmp(text, line, strlen(line)) == 0);
    free(text);
    expect_first_line(
        web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo/a b?c d")}),
        "GET /echo/a%20b?c");
}

Test(http_request, queries_are_encoded_and_appended)
{
    on_web(&defaults, queries);
}

static int base_body(void *arg)
{
    struct web web;
    char base[64];
    (void)arg;
    http_server_start(&web.server);
    snprintf(base, sizeof(base), "http://127.0.0.1:%u/echo/", web.server.port);
    struct weft_http_session_options options = {.base_url = base};
    EXPECT_EQ(weft_http_session_new(&options, &web.session), 0);
    expect_first_line(web_fetch(&web, &(struct weft_http_request){.url = "below"}),
                      "GET /echo/below\n");
    expect_first_line(web_fetch(&web, &(struct weft_http_request){.url = "/echo?x"}),
                      "GET /echo?x\n");
    weft_http_session_free(web.session);
    options.base_url = "nonsense";
    EXPECT_EQ(weft_http_session_new(&options, &web.session), -EINVAL);
    http_server_stop(&web.server);
    return 0;
}

Test(http_request, urls_may_be_relative_to_the_sessions)
{
    on_fibers_counting_fds(2, base_body, NULL);
}

/* ---- credentials ------------------------------------------------------------------------ */

static void credentials(struct web *web)
{
    char url[128];
    char *text =
        web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo")});
    EXPECT(strstr(text, "\nAuthorization: Basic dXNlcjpwYXNz\n")); /* user:pass */
    free(text);
    text = web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo"),
                                                      .bearer = "token"});
    EXPECT(strstr(text, "\nAuthorization: Bearer token\n") && !strstr(text, "Basic"));
    free(text);
    text =
        web_fetch(web, &(struct weft_http_request){
                           .url = http_url(&web->server, "/echo"), .user = "a", .password = "b:c"});
    EXPECT(strstr(text, "\nAuthorization: Basic YTpiOmM=\n"));
    free(text);
    snprintf(url, sizeof(url), "http://me:s%%20e@127.0.0.1:%u/echo", web->server.port);
    struct weft_http_response *response = web_send(web, &(struct weft_http_request){.url = url});
    EXPECT(!strstr(weft_http_response_url(response), "me"));
    text = web_text(response);
    EXPECT(strstr(text, "\nAuthorization: Basic bWU6cyBl\n")); /* me:s e */
    free(text);
    weft_http_response_free(response);
}

Test(http_request, credentials_come_from_the_request_the_url_or_the_session)
{
    struct weft_http_session_options options = {.user = "user", .password = "pass"};
    on_web(&options, credentials);
}

/* ---- bodies ----------------------------------------------------------------------------- */

static void typed_bodies(struct web *web)
{
    struct weft_http_field form[] = {{"name", "A B"}, {"x", "&=+\xc3\xa9"}};
    struct weft_http_field own = {"Content-Type", "text/mine"};
    struct weft_http_request request = {.url = http_url(&web->server, "/echo")};
    request.body = weft_http_json("{\"a\":1}");
    char *text = web_fetch(web, &request);
    EXPECT(strncmp(text, "POST ", 5) == 0 && strstr(text, "\n\n{\"a\":1}"));
    EXPECT(strstr(text, "\nContent-Type: application/json\n"));
    free(text);
    request.body = weft_http_form(form, 2);
    text = web_fetch(web, &request);
    EXPECT(strstr(text, "\nContent-Type: application/x-www-form-urlencoded\n"));
    EXPECT(strstr(text, "\n\nname=A+B&x=%26%3D%2B%C3%A9"));
    free(text);
    request.body = weft_http_bytes("a-b", 3, NULL);
    request.headers = &own;
    request.header_count = 1;
    text = web_fetch(web, &request);
    EXPECT(strstr(text, "\nContent-Type: text/mine\n") && !strstr(text, "octet"));
    free(text);
}

Test(http_request, bodies_bring_their_content_type_unless_a_header_has_one)
{
    on_web(&defaults, typed_bodies);
}

static void unusable_bodies(struct web *web)
{
    struct weft_http_part nameless = {.data = "x", .size = 1};
    struct weft_http_field nothing = {"a", NULL};
    struct weft_http_body bad[] = {
        weft_http_bytes(NULL, 5, NULL),   weft_http_form(&nothing, 1),
        weft_http_form(NULL, 1),          weft_http_multipart(&nameless, 1),
        weft_http_file(NULL, NULL),       weft_http_stream(NULL, NULL, NULL, 5, NULL),
        weft_http_bytes("", 0, "a\r\nb"), {.kind = (enum weft_http_body_kind)99}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        web_fails(
            web,
            &(struct weft_http_request){.url = http_url(&web->server, "/echo"), .body = bad[i]},
            -EINVAL, "unusable body");
}

Test(http_request, bodies_that_make_no_sense_are_refused)
{
    on_web(&defaults, unusable_bodies);
}

static void find_boundary(const char *text, char boundary[64])
{
    const char *at = strstr(text, "; boundary=");
    EXPECT(at && sscanf(at, "; boundary=%63s", boundary) == 1);
}

static void multipart(struct web *web)
{
    struct weft_http_part parts[] = {
        {.name = "field", .data = "value", .size = 5},
        {.name = "a\"b", .filename = "c\r\nd", .data = "x", .size = 1},
        {.name = "typed", .filename = "t", .content_type = "text/csv", .data = "1,2", .size = 3},
        {.name = "empty"}};
    char boundary[64], expected[1024];
    char *text = web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo"),
                                                            .body = weft_http_multipart(parts, 4)});
    find_boundary(text, boundary);
    EXPECT(strstr(text, "\nContent-Type: multipart/form-data; boundary="));
    EXPECT(strstr(text, "\nContent-Length: ") && !strstr(text, "chunked"));
    snprintf(expected, sizeof(expected),
             "\n\n--%s\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\nvalue\r\n"
             "--%s\r\nContent-Disposition: form-data; name=\"a%%22b\"; filename=\"c%%0D%%0Ad\"\r\n"
             "Content-Type: application/octet-stream\r\n\r\nx\r\n"
             "--%s\r\nContent-Disposition: form-data; name=\"typed\"; filename=\"t\"\r\n"
             "Content-Type: text/csv\r\n\r\n1,2\r\n"
             "--%s\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--%s--\r\n",
             boundary, boundary, boundary, boundary, boundary);
    EXPECT(strstr(text, expected));
    free(text);
}

Test(http_request, multipart_has_a_header_for_each_part_and_a_known_length)
{
    on_web(&defaults, multipart);
}

/* ---- streams ---------------------------------------------------------------------------- */

struct producer {
    uint64_t at, size; /* of the pattern */
    size_t piece;
    int fail; /* returned instead of the end, if not 0 */
    int rewinds;
    bool sleeps;
};

static ssize_t produce(void *arg, void *buffer, size_t size)
{
    struct producer *producer = arg;
    uint64_t left = producer->size - producer->at;
    size_t n = left < size ? (size_t)left : size;
    if (producer->sleeps) {
        int r = weft_sleep(WEFT_MILLISECOND);
        if (r < 0)
            return r;
    }
    if (n == 0)
        return producer->fail;
    if (producer->piece && n > producer->piece)
        n = producer->piece;
    for (size_t i = 0; i < n; i++)
        ((char *)buffer)[i] = pattern(producer->at + i);
    producer->at += n;
    return (ssize_t)n;
}

static int produce_again(void *arg)
{
    struct producer *producer = arg;
    producer->at = 0;
    producer->rewinds++;
    return 0;
}

static void expect_mirrored(struct web *web, struct producer *producer, int64_t length)
{
    struct weft_http_request request = {
        .url = http_url(&web->server, "/mirror"),
        .body = weft_http_stream(produce, NULL, producer, length, NULL)};
    struct weft_http_response *response = web_send(web, &request);
    EXPECT_EQ(web_read_pattern(response, producer->size), 0);
    EXPECT_EQ(producer->at, producer->size);
    weft_http_response_free(response);
}

static void streams(struct web *web)
{
    static const uint64_t sizes[] = {0, 1, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        expect_mirrored(web, &(struct producer){.size = sizes[i]}, -1);
        expect_mirrored(web, &(struct producer){.size = sizes[i]}, (int64_t)sizes[i]);
    }
    expect_mirrored(web, &(struct producer){.size = 20, .piece = 1, .sleeps = true}, -1);
    expect_mirrored(web, &(struct producer){.size = 20, .piece = 7, .sleeps = true}, 20);
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
}

Test(http_request, a_body_can_be_produced_piece_by_piece_of_known_and_unknown_length)
{
    on_web(&defaults, streams);
}

static void large_both_ways(struct web *web)
{
    enum { SIZE = 8 * 1024 * 1024 };
    char *data = malloc(SIZE);
    EXPECT(data != NULL);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = pattern(i);
    struct weft_http_response *response =
        web_send(web, &(struct weft_http_request){.url = http_url(&web->server, "/mirror"),
                                                  .body = weft_http_bytes(data, SIZE, NULL)});
    EXPECT_EQ(web_read_pattern(response, SIZE), 0);
    weft_http_response_free(response);
    free(data);
    expect_mirrored(web, &(struct producer){.size = SIZE}, -1);
}

Test(http_request, large_bodies_go_both_ways_at_once)
{
    on_web(&defaults, large_both_ways);
}

static void cut_streams(struct web *web)
{
    struct producer shorter = {.size = 10}, longer = {.size = 100}, failing = {.fail = -EDOM};
    struct weft_http_request request = {.url = http_url(&web->server, "/echo")};
    request.body = weft_http_stream(produce, NULL, &shorter, 20, NULL);
    web_fails(web, &request, -ENODATA, "shorter than promised");
    request.body = weft_http_stream(produce, NULL, &failing, -1, NULL);
    web_fails(web, &request, -EDOM, "reading the request's body");
    request.body = weft_http_stream(produce, NULL, &longer, 20, NULL);
    char *text = web_fetch(web, &request);
    EXPECT(strstr(text, "\n\nabcdefghijklmnopqrst") && !strstr(text, "tu"));
    free(text);
    web_works(web);
}

Test(http_request, a_stream_that_fails_or_ends_early_fails_the_request_and_no_more_is_sent)
{
    on_web(&defaults, cut_streams);
}

static void refused_early(struct web *web)
{
    struct producer producer = {.size = UINT64_C(1) << 40};
    struct weft_http_response *response = web_send(
        web,
        &(struct weft_http_request){.url = http_url(&web->server, "/early"),
                                    .body = weft_http_stream(produce, NULL, &producer, -1, NULL)});
    EXPECT_EQ(weft_http_response_status(response), 413);
    char *text = web_text(response);
    EXPECT(strcmp(text, "no!") == 0);
    free(text);
    weft_http_response_free(response);
    EXPECT(producer.at < producer.size);
    web_works(web);
}

Test(http_request, an_answer_that_comes_before_the_body_was_sent_ends_the_sending)
{
    on_web(&defaults, refused_early);
}

/* The producer waits for ever; what ends it is that the server resets the connection. */
static ssize_t produce_and_wait(void *arg, void *buffer, size_t size)
{
    struct http_server *server = arg;
    static bool called;
    (void)size;
    if (called) {
        atomic_store(&server->go, 1);
        return weft_sleep_until(WEFT_NO_DEADLINE);
    }
    called = true;
    memset(buffer, 'x', 10);
    return 10;
}

static void stopped_source(struct web *web)
{
    web_fails(web,
              &(struct weft_http_request){
                  .url = http_url(&web->server, "/reset-when"),
                  .body = weft_http_stream(produce_and_wait, NULL, &web->server, 100, NULL)},
              -ECONNRESET, NULL);
    EXPECT_EQ(atomic_load(&web->server.go), 1);
    web_works(web);
}

Test(http_request, a_source_that_waits_is_stopped_when_the_transfer_fails)
{
    on_web(&defaults, stopped_source);
}

static void died_when_reused(struct web *web)
{
    struct producer producer = {.size = 100000};
    struct weft_http_request request = {.method = "PUT", .url = http_url(&web->server, "/once")};
    free(web_fetch(web, &request));
    request.body = weft_http_stream(produce, produce_again, &producer, 100000, NULL);
    free(web_fetch(web, &request));
    int connections = atomic_load(&web->server.connections);
    EXPECT(connections >= 2 && producer.rewinds <= 1);
    request.body = weft_http_bytes("small", 5, NULL);
    free(web_fetch(web, &request));
    EXPECT(atomic_load(&web->server.connections) > connections);
}

Test(http_request, a_kept_connection_that_dies_when_it_is_used_is_replaced)
{
    on_web(&defaults, died_when_reused);
}
