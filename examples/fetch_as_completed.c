/* SPDX-License-Identifier: MIT */
/* Fetch several URLs at once and print the beginning of each as it comes: fetch_as_completed
 * URL... */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft/http.h>
#include <weft/weft.h>

enum { MAX_URLS = 64, LIMIT = 16 << 20, SHOWN = 144 };

struct fetch {
    struct weft_http_session *session;
    const char *url;
    char *text;
};

static int fetch(void *arg)
{
    struct fetch *fetch = arg;
    struct weft_http_response *response;
    int r = weft_http_get(fetch->session, fetch->url, &response);

    if (r < 0)
        return r;
    r = weft_http_response_check(response);
    if (r == 0)
        r = weft_http_response_text(response, LIMIT, &fetch->text);
    weft_http_response_free(response);
    return r;
}

static int print_as_completed(struct weft_call *calls, size_t count)
{
    struct weft_completions completions;
    struct weft_call *call;
    int failure = 0;
    int r = weft_completions_init(&completions, calls, count);

    if (r < 0)
        return r;
    while ((r = weft_completions_next(&completions, WEFT_NO_DEADLINE, &call)) > 0) {
        const struct fetch *fetch = call->arg;
        if (call->result < 0)
            fprintf(stderr, "%s: %s\n", fetch->url, strerror(-(failure = call->result)));
        else
            printf("%s: %.*s\n", fetch->url, SHOWN, fetch->text);
    }
    weft_completions_destroy(&completions);
    return r < 0 ? r : failure;
}

static int fetch_all(void *arg)
{
    char **urls = arg;
    struct weft_http_session *session;
    struct fetch fetches[MAX_URLS] = {{NULL, NULL, NULL}};
    struct weft_call calls[MAX_URLS];
    size_t count = 0;
    int r = weft_http_session_new(NULL, &session);

    if (r < 0)
        return r;
    for (; urls[count]; count++) {
        fetches[count] = (struct fetch){.session = session, .url = urls[count]};
        calls[count] = (struct weft_call){.name = "fetch", .fn = fetch, .arg = &fetches[count]};
    }
    r = print_as_completed(calls, count);
    for (size_t i = 0; i < count; i++)
        free(fetches[i].text);
    weft_http_session_free(session);
    return r;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > MAX_URLS + 1) {
        fprintf(stderr, "usage: %s URL...   (at most %d)\n", argv[0], MAX_URLS);
        return 2;
    }
    return weft_run(NULL, fetch_all, argv + 1) < 0;
}
