/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/stat.h>

#include "support/web.h"

static const struct weft_http_session_options defaults;

static void expect_sent(struct web *web, const char *cookies)
{
    char *text =
        web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo")});
    if (cookies ? !strstr(text, cookies) : strstr(text, "Cookie:") != NULL) {
        fprintf(stderr, "not \"%s\" in: %s\n", cookies ? cookies : "no cookie", text);
        abort();
    }
    free(text);
}

static void get_cookies(struct web *web)
{
    weft_http_response_free(web_get(web, "/set-cookies"));
}

static const struct weft_http_cookie *find(const struct weft_http_cookie *cookies, size_t count,
                                           const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(cookies[i].name, name) == 0)
            return &cookies[i];
    }
    abort();
}

static size_t count_cookies(struct web *web)
{
    struct weft_http_cookie *cookies;
    size_t count;
    EXPECT_EQ(weft_http_cookies(web->session, &cookies, &count), 0);
    free(cookies);
    return count;
}

static void kept(struct web *web)
{
    struct weft_http_cookie *cookies;
    size_t count;
    expect_sent(web, NULL);
    get_cookies(web);
    expect_sent(web, "one=1");
    expect_sent(web, "two=2");
    EXPECT_EQ(weft_http_cookies(web->session, &cookies, &count), 0);
    EXPECT_EQ(count, 3);
    EXPECT(strcmp(find(cookies, count, "one")->value, "1") == 0);
    EXPECT(strcmp(find(cookies, count, "one")->domain, "127.0.0.1") == 0);
    EXPECT(strcmp(find(cookies, count, "one")->path, "/") == 0);
    EXPECT(find(cookies, count, "one")->expires_s == 0);
    EXPECT(!find(cookies, count, "one")->http_only && find(cookies, count, "two")->http_only);
    EXPECT(find(cookies, count, "old")->expires_s > 1000000000);
    free(cookies);
    EXPECT_EQ(weft_http_cookies_clear(web->session), 0);
    EXPECT_EQ(count_cookies(web), 0);
    expect_sent(web, NULL);
}

Test(http_cookie, cookies_are_kept_listed_sent_and_forgotten)
{
    on_web(&defaults, kept);
}

static void redirected(struct web *web)
{
    char path[64];
    snprintf(path, sizeof(path), "http://localhost:%u/echo", web->server.port);
    get_cookies(web);
    char *text = web_fetch(web, &(struct weft_http_request){.url = path});
    EXPECT(!strstr(text, "Cookie:"));
    free(text);
    text = web_fetch(
        web, &(struct weft_http_request){.url = http_url(&web->server, "/redirect/302?/echo")});
    EXPECT(strstr(text, "one=1"));
    free(text);
}

Test(http_cookie, each_host_gets_its_own)
{
    on_web(&defaults, redirected);
}

static void set(struct web *web)
{
    struct weft_http_cookie cookie = {.name = "a", .value = "b c", .domain = "127.0.0.1"};
    EXPECT_EQ(weft_http_cookie_set(web->session, &cookie), 0);
    expect_sent(web, "Cookie: a=b c");
    cookie.value = "d";
    EXPECT_EQ(weft_http_cookie_set(web->session, &cookie), 0);
    expect_sent(web, "Cookie: a=d\n");
    cookie.path = "/elsewhere";
    cookie.name = "other";
    EXPECT_EQ(weft_http_cookie_set(web->session, &cookie), 0);
    expect_sent(web, "Cookie: a=d\n");
    EXPECT_EQ(count_cookies(web), 2);
    cookie = (struct weft_http_cookie){
        .name = "s", .value = "1", .domain = "example.org", .subdomains = true, .secure = true};
    EXPECT_EQ(weft_http_cookie_set(web->session, &cookie), 0);
    expect_sent(web, "Cookie: a=d\n");
    EXPECT_EQ(count_cookies(web), 3);
}

Test(http_cookie, one_can_be_set_and_replaced)
{
    on_web(&defaults, set);
}

static void malformed(struct web *web)
{
    static const struct weft_http_cookie bad[] = {
        {.name = "a b", .value = "c", .domain = "d"},
        {.name = "a", .value = "c\n", .domain = "d"},
        {.name = "a", .value = "c\t", .domain = "d"},
        {.name = "a", .value = "c;d", .domain = "d"},
        {.name = "a", .value = "c", .domain = ""},
        {.name = "a", .value = "c"},
        {.name = "a", .domain = "d"},
        {.value = "c", .domain = "d"},
        {.name = "a", .value = "c", .domain = "d", .path = "x"},
        {.name = "a", .value = "c", .domain = "d", .expires_s = -1}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        EXPECT_EQ(weft_http_cookie_set(web->session, &bad[i]), -EINVAL);
    EXPECT_EQ(count_cookies(web), 0);
}

Test(http_cookie, a_malformed_one_is_refused)
{
    on_web(&defaults, malformed);
}

static void none_kept(struct web *web)
{
    struct weft_http_cookie *cookies;
    size_t count;
    get_cookies(web);
    expect_sent(web, NULL);
    EXPECT_EQ(weft_http_cookies(web->session, &cookies, &count), -ENODATA);
    EXPECT_EQ(weft_http_cookies_clear(web->session), -ENODATA);
    EXPECT_EQ(weft_http_cookies_save(web->session, "/tmp/x"), -ENODATA);
    struct weft_http_field own = {"Cookie", "mine=1"};
    char *text = web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/echo"),
                                                            .headers = &own,
                                                            .header_count = 1});
    EXPECT(strstr(text, "\nCookie: mine=1\n"));
    free(text);
}

Test(http_cookie, a_session_without_cookies_sends_none_but_what_a_header_says)
{
    struct weft_http_session_options options = {.no_cookies = true};
    on_web(&options, none_kept);
}

/* ---- files ------------------------------------------------------------------------------ */

static void saved(struct web *web)
{
    char folder[] = "/tmp/weft-cookies-XXXXXX", path[64], bad[64];
    struct stat stat_of;
    EXPECT(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/jar", folder);
    snprintf(bad, sizeof(bad), "%s/none/jar", folder);
    get_cookies(web);
    EXPECT_EQ(weft_http_cookies_save(web->session, path), 0);
    EXPECT_EQ(weft_http_cookies_save(web->session, path), 0); /* replaces it */
    EXPECT(stat(path, &stat_of) == 0 && (stat_of.st_mode & 0777) == 0600);
    EXPECT_EQ(weft_http_cookies_save(web->session, bad), -ENOENT);
    EXPECT_EQ(weft_http_cookies_clear(web->session), 0);
    EXPECT_EQ(weft_http_cookies_load(web->session, bad), -ENOENT);
    EXPECT_EQ(weft_http_cookies_load(web->session, path), 0);
    EXPECT_EQ(count_cookies(web), 3);
    expect_sent(web, "two=2");
    FILE *file = fopen(path, "we");
    fputs("this is no cookie\n", file);
    fclose(file);
    EXPECT_EQ(weft_http_cookies_load(web->session, path), -EBADMSG);
    EXPECT_EQ(unlink(path), 0);
    EXPECT_EQ(rmdir(folder), 0); /* nothing else was left there */
}

Test(http_cookie, they_are_saved_to_a_file_and_loaded_again)
{
    on_web(&defaults, saved);
}

static void cancelled(struct web *web)
{
    struct weft_scope scope;
    struct weft_http_cookie *cookies;
    size_t count;
    struct weft_http_cookie cookie = {.name = "a", .value = "b", .domain = "c"};
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_http_cookies(web->session, &cookies, &count), -ECANCELED);
    EXPECT_EQ(weft_http_cookie_set(web->session, &cookie), -ECANCELED);
    EXPECT_EQ(weft_http_cookies_clear(web->session), -ECANCELED);
    EXPECT_EQ(weft_http_cookies_load(web->session, "/dev/null"), -ECANCELED);
    EXPECT_EQ(weft_http_cookies_save(web->session, "/dev/null"), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(count_cookies(web), 0);
}

Test(http_cookie, in_a_cancelled_scope_nothing_is_done)
{
    on_web(&defaults, cancelled);
}
