/* SPDX-License-Identifier: MIT */
/* A server (support/http_server.h), a session of the client, and what tests do with them. */
#pragma once
#include "support/http_server.h"
#include "weft/http.h"

struct web {
    struct http_server server;
    struct weft_http_session *session;
};

struct web_case {
    const struct weft_http_session_options *options;
    void (*fn)(struct web *web);
};

static inline int web_main(void *arg)
{
    const struct web_case *test = arg;
    struct web web;
    http_server_start(&web.server);
    EXPECT_EQ(weft_http_session_new(test->options, &web.session), 0);
    test->fn(&web);
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    return 0;
}

/** Run `fn` with a server and a session, which may have no descriptor left at its end. */
static inline void on_web(const struct weft_http_session_options *options,
                          void (*fn)(struct web *web))
{
    struct web_case test = {options, fn};
    on_fibers_counting_fds(2, web_main, &test);
}

/** The response to a request that must succeed so far. */
static inline struct weft_http_response *web_send(struct web *web,
                                                  const struct weft_http_request *request)
{
    struct weft_http_response *response;
    struct weft_http_why why = {""};
    struct weft_http_request copy = *request;
    copy.why = &why;
    int r = weft_http_send(web->session, &copy, &response);
    if (r < 0) {
        fprintf(stderr, "%s: %d: %s\n", request->url, r, why.text);
        abort();
    }
    return response;
}

/** A GET of a path. */
static inline struct weft_http_response *web_get(struct web *web, const char *path)
{
    return web_send(web, &(struct weft_http_request){.url = http_url(&web->server, path)});
}

/** The rest of the body, which must be there; for free. */
static inline char *web_text(struct weft_http_response *response)
{
    char *text = NULL;
    EXPECT_EQ(weft_http_response_text(response, 1 << 20, &text), 0);
    return text;
}

/** Send it, expect 200, and return the body; for free.  (Not inlined: gcc 12 would take strstr's
 * result for a pointer to a variable in here.) */
__attribute__((noinline, unused)) static char *web_fetch(struct web *web,
                                                         const struct weft_http_request *request)
{
    struct weft_http_response *response = web_send(web, request);
    EXPECT_EQ(weft_http_response_status(response), 200);
    char *text = web_text(response);
    weft_http_response_free(response);
    return text;
}

/** Send it and expect that it fails so, before its headers. */
static inline void web_fails(struct web *web, const struct weft_http_request *request, int error,
                             const char *why_part)
{
    struct weft_http_response *response = NULL;
    struct weft_http_why why = {""};
    struct weft_http_request copy = *request;
    copy.why = &why;
    EXPECT_EQ(weft_http_send(web->session, &copy, &response), error);
    EXPECT(response == NULL);
    if (why_part && !strstr(why.text, why_part)) {
        fprintf(stderr, "\"%s\" is not in \"%s\"\n", why_part, why.text);
        abort();
    }
}

/** Get a path and expect that it fails so, before its headers. */
static inline void web_get_fails(struct web *web, const char *path, int error, const char *why_part)
{
    web_fails(web, &(struct weft_http_request){.url = http_url(&web->server, path)}, error,
              why_part);
}

/** Read the body to its end; it must be the pattern, so long.  Returns: 0, or the error. */
static inline int web_read_pattern(struct weft_http_response *response, uint64_t size)
{
    char block[10000];
    uint64_t at = 0;
    ssize_t n;
    while ((n = weft_http_response_read(response, block, sizeof(block))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            EXPECT_EQ(block[i], pattern(at + (uint64_t)i));
        at += (uint64_t)n;
    }
    if (n == 0)
        EXPECT_EQ(at, size);
    return (int)n;
}

/** The session still works. */
static inline void web_works(struct web *web)
{
    free(web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo")}));
}

/** Wait until `*counter` is so much. */
static inline void await_count(atomic_int *counter, int count)
{
    uint64_t end_ns = soon();
    while (atomic_load(counter) != count) {
        EXPECT(weft_now_ns() < end_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
}

/** Wait until the session has no transfer any more. */
static inline void await_idle(struct web *web)
{
    struct weft_http_session_stats stats;
    uint64_t end_ns = soon();
    do {
        EXPECT(weft_now_ns() < end_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
        weft_http_session_stats(web->session, &stats);
    } while (stats.active > 0);
}
