/* SPDX-License-Identifier: MIT */
/* Fetch URLs one after the other by one session, which uses its connections again: fetch URL... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/http.h>
#include <weft/weft.h>

enum { LIMIT = 16 << 20 };

static int fetch(struct weft_http_session *session, const char *url)
{
    struct weft_http_why why = {""};
    const struct weft_http_request request = {.url = url, .why = &why};
    struct weft_http_response *response;
    char *text;
    int r = weft_http_send(session, &request, &response);

    if (r < 0) {
        fprintf(stderr, "%s: %s\n", url, *why.text ? why.text : strerror(-r));
        return r;
    }
    r = weft_http_response_check(response);
    if (r == 0)
        r = weft_http_response_text(response, LIMIT, &text);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", url, weft_http_response_error(response));
    } else {
        fputs(text, stdout);
        free(text);
    }
    weft_http_response_free(response);
    return r;
}

static int fetch_all(void *arg)
{
    struct weft_http_session *session;
    int failure = 0;
    int r = weft_http_session_new(NULL, &session);

    if (r < 0)
        return r;
    for (char **url = arg; *url; url++) {
        r = fetch(session, *url);
        if (r < 0)
            failure = r;
    }
    weft_http_session_free(session);
    return failure;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s URL...\n", argv[0]);
        return 2;
    }
    return weft_run(NULL, fetch_all, argv + 1) < 0;
}
