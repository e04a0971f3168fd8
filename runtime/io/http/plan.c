/* SPDX-License-Identifier: MIT */
/*
 * Plans: a request and the session's defaults, put together; and what a redirect makes of them.
 *
 *   I1  The URL of a plan has neither user nor password nor fragment: they stand in fields of their
 *       own, so that no message and no redirect gives them away.
 *   I2  What a redirect to another origin must not carry is taken out of the plan, and so stays out
 *       on all later hops.
 *
 * On the fiber that sends the request.  Redirects are followed here and not by libcurl, which would
 * keep the name of a method that it was given.
 */
#include "io/http/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/http/text.h"

enum { URL_FLAGS = CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_NON_SUPPORT_SCHEME };

/* ---- URLs ------------------------------------------------------------------------------- */

static void free_url(CURLU **url)
{
    curl_url_cleanup(*url);
}

#define AUTO_URL __attribute__((cleanup(free_url))) CURLU

static int url_error(CURLUcode code)
{
    return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}

/* Errors: -ENOMEM, -ENOENT there is no such part. */
static int url_part(CURLU *url, CURLUPart part, unsigned flags, char **ret_text)
{
    char *text;
    CURLUcode code = curl_url_get(url, part, &text, flags);

    if (code == CURLUE_OUT_OF_MEMORY)
        return -ENOMEM;
    if (code != CURLUE_OK)
        return -ENOENT;
    *ret_text = strdup(text);
    curl_free(text);
    return *ret_text ? 0 : -ENOMEM;
}

static int replace_part(CURLU *url, CURLUPart part, unsigned flags, char **text)
{
    char *new = NULL;
    int r = url_part(url, part, flags, &new);
    if (r == -ENOMEM)
        return r;
    free(*text);
    *text = new;
    return 0;
}

/* Returns: 1, or 0, or -ENOMEM. */
static int is_http(CURLU *url)
{
    char *scheme;
    CURLUcode code = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);

    if (code != CURLUE_OK)
        return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : 0;
    bool good = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
    curl_free(scheme);
    return good;
}

/* A user that stands in the URL goes before the one that is known otherwise. */
static int take_user(struct http_plan *plan, CURLU *url)
{
    char *user;
    int r = url_part(url, CURLUPART_USER, CURLU_URLDECODE, &user);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    free(plan->user);
    plan->user = user;
    r = replace_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE, &plan->password);
    if (r < 0)
        return r;
    free(plan->bearer);
    plan->bearer = NULL;
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    return 0;
}

/* I1. */
static int take_url(struct http_plan *plan, CURLU *url, const char **ret_reason)
{
    int http = is_http(url);
    if (http < 0)
        return http;
    if (!http) {
        *ret_reason = "neither http:// nor https://";
        return -EPROTONOSUPPORT;
    }
    int r = take_user(plan, url);
    if (r < 0)
        return r;
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    r = replace_part(url, CURLUPART_HOST, 0, &plan->host);
    if (r == 0)
        r = replace_part(url, CURLUPART_URL, 0, &plan->url);
    return r;
}

static int append_query(CURLU *url, const struct weft_http_request *request)
{
    if (request->query_count == 0)
        return 0;
    char *query = text_encode(request->query, request->query_count, false);
    if (!query)
        return -ENOMEM;
    CURLUcode code = curl_url_set(url, CURLUPART_QUERY, query, CURLU_APPENDQUERY);
    free(query);
    return code == CURLUE_OK ? 0 : url_error(code);
}

static int plan_url(struct http_plan *plan, const char *base,
                    const struct weft_http_request *request, const char **ret_reason)
{
    AUTO_URL *url = curl_url();
    CURLUcode code = CURLUE_OK;
    if (!url)
        return -ENOMEM;
    if (base)
        code = curl_url_set(url, CURLUPART_URL, base, URL_FLAGS);
    if (code == CURLUE_OK)
        code = curl_url_set(url, CURLUPART_URL, request->url, URL_FLAGS);
    if (code != CURLUE_OK) {
        *ret_reason = "malformed URL";
        return url_error(code);
    }
    int r = append_query(url, request);
    return r < 0 ? r : take_url(plan, url, ret_reason);
}

/* ---- headers ---------------------------------------------------------------------------- */

static bool has_header(const struct weft_http_field *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(headers[i].name, name) == 0)
            return true;
    }
    return false;
}

/* libcurl's own way to say it: "Name: value"; "Name;" has no value; "Name:" is not sent at all. */
static int add_line(struct curl_slist **list, const char *name, const char *separator,
                    const char *value)
{
    size_t size = strlen(name) + strlen(separator) + strlen(value) + 1;
    char *line = malloc(size);
    if (!line)
        return -ENOMEM;
    strcat(strcat(strcpy(line, name), separator), value);
    struct curl_slist *longer = curl_slist_append(*list, line);
    free(line);
    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int add_header(struct curl_slist **list, const struct weft_http_field *header)
{
    const char *value = header->value + strspn(header->value, " \t");

    return *value ? add_line(list, header->name, ": ", value)
                  : add_line(list, header->name, ";", "");
}

/* The request's own, and the session's where the request has none of that name. */
static int add_given(struct http_plan *plan, const struct http_config *config,
                     const struct weft_http_request *request)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < request->header_count; i++)
        r = add_header(&plan->headers, &request->headers[i]);
    for (size_t i = 0; r == 0 && i < config->header_count; i++) {
        if (!has_header(request->headers, request->header_count, config->headers[i].name))
            r = add_header(&plan->headers, &config->headers[i]);
    }
    return r;
}

/* What libcurl would add by itself, and should not: the type of a form, and waiting for "100
 * Continue", which most servers do not send. */
static int plan_headers(struct http_plan *plan, const struct http_config *config,
                        const struct weft_http_request *request)
{
    static const char *const own[] = {"Content-Type", "Expect"};
    const char *values[] = {plan->body.content_type, NULL};
    int r = add_given(plan, config, request);

    for (size_t i = 0; r == 0 && i < 2; i++) {
        if (has_header(request->headers, request->header_count, own[i]) ||
            has_header(config->headers, config->header_count, own[i]))
            continue;
        r = values[i] ? add_line(&plan->headers, own[i], ": ", values[i])
                      : add_line(&plan->headers, own[i], ":", "");
    }
    return r;
}

static bool line_is(const char *line, const char *name)
{
    size_t size = strlen(name);

    return strncasecmp(line, name, size) == 0 && (line[size] == ':' || line[size] == ';');
}

static void strip_header(struct curl_slist **list, const char *name)
{
    while (*list) {
        struct curl_slist *line = *list;

        if (line_is(line->data, name)) {
            *list = line->next;
            line->next = NULL;
            curl_slist_free_all(line);
        } else {
            list = &line->next;
        }
    }
}

/* ---- plans ------------------------------------------------------------------------------ */

static int check_request(const struct weft_http_request *request, const char **ret_reason)
{
    const char *method = request->method;

    *ret_reason = "malformed method";
    if (method && (!text_is_token(method) || strcmp(method, "CONNECT") == 0))
        return -EINVAL;
    *ret_reason = "HEAD has no body";
    if (method && strcmp(method, "HEAD") == 0 && request->body.kind != WEFT_HTTP_NO_BODY)
        return -EINVAL;
    *ret_reason = "no URL";
    if (!request->url)
        return -EINVAL;
    *ret_reason = "malformed header";
    if ((request->header_count && !request->headers) || (request->query_count && !request->query))
        return -EINVAL;
    return text_check_headers(request->headers, request->header_count);
}

/* Returns: false when there is no memory. */
static bool copy(char **ret_copy, const char *text)
{
    if (!text)
        return true;
    *ret_copy = strdup(text);
    return *ret_copy;
}

static int plan_credentials(struct http_plan *plan, const struct http_config *config,
                            const struct weft_http_request *request)
{
    bool own = request->user || request->bearer;
    bool copied =
        own ? copy(&plan->user, request->user) && copy(&plan->password, request->password) &&
                  copy(&plan->bearer, request->bearer)
            : copy(&plan->user, config->user) && copy(&plan->password, config->password) &&
                  copy(&plan->bearer, config->bearer);

    if (!text_is_value(plan->bearer ? plan->bearer : ""))
        return -EINVAL;
    return copied ? 0 : -ENOMEM;
}

static int plan_fill(struct http_plan *plan, const struct http_config *config,
                     const struct weft_http_request *request, const char **ret_reason)
{
    const char *method = request->method;
    int r = check_request(request, ret_reason);
    if (r < 0)
        return r;
    *ret_reason = "malformed credentials";
    r = plan_credentials(plan, config, request);
    if (r < 0)
        return r;
    r = plan_url(plan, config->base_url, request, ret_reason);
    if (r < 0)
        return r;
    *ret_reason = "unusable body";
    r = body_init(&plan->body, &request->body);
    if (r < 0)
        return r;
    if (!copy(&plan->method, method ? method : plan->body.kind == BODY_NONE ? "GET" : "POST"))
        return -ENOMEM;
    return plan_headers(plan, config, request);
}

int plan_init(struct http_plan *plan, const struct weft_http_session *session,
              const struct weft_http_request *request, const char **ret_reason)
{
    const struct weft_http_session_options *options = &session->config.options;

    *plan = (struct http_plan){
        .connect_ns = request->connect_ns ? request->connect_ns : options->connect_ns,
        .first_byte_ns = request->first_byte_ns ? request->first_byte_ns : options->first_byte_ns,
        .max_redirects = request->max_redirects ? request->max_redirects : options->max_redirects,
    };
    int r = plan_fill(plan, &session->config, request, ret_reason);
    if (r == -ENOMEM)
        *ret_reason = "out of memory";
    if (r < 0)
        plan_destroy(plan);
    return r;
}

int plan_check(const struct weft_http_request *request, const char **ret_reason)
{
    struct http_plan plan = {0};
    int r = check_request(request, ret_reason);

    if (r == 0)
        r = plan_url(&plan, NULL, request, ret_reason);
    if (r == -ENOMEM)
        *ret_reason = "out of memory";
    plan_destroy(&plan);
    return r;
}

void plan_destroy(struct http_plan *plan)
{
    char *texts[] = {plan->url, plan->host, plan->method, plan->user, plan->password, plan->bearer};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        free(texts[i]);
    curl_slist_free_all(plan->headers);
    body_destroy(&plan->body);
    *plan = (struct http_plan){0};
}

/* ---- redirects -------------------------------------------------------------------------- */

static bool same_part(CURLU *a, CURLU *b, CURLUPart part, unsigned flags)
{
    char *of_a = NULL, *of_b = NULL;
    bool same = curl_url_get(a, part, &of_a, flags) == CURLUE_OK &&
                curl_url_get(b, part, &of_b, flags) == CURLUE_OK && strcasecmp(of_a, of_b) == 0;

    curl_free(of_a);
    curl_free(of_b);
    return same;
}

/* Where there is not enough memory to tell, it is not the same. */
static bool same_origin(CURLU *a, CURLU *b)
{
    return same_part(a, b, CURLUPART_SCHEME, 0) && same_part(a, b, CURLUPART_HOST, 0) &&
           same_part(a, b, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

/* I2. */
static void forget_secrets(struct http_plan *plan)
{
    static const char *const secret[] = {"Authorization", "Cookie", "Proxy-Authorization", "Host"};

    for (size_t i = 0; i < sizeof(secret) / sizeof(*secret); i++)
        strip_header(&plan->headers, secret[i]);
    free(plan->user);
    free(plan->password);
    free(plan->bearer);
    plan->user = plan->password = plan->bearer = NULL;
}

static bool becomes_get(const struct http_plan *plan, int status)
{
    if (strcmp(plan->method, "HEAD") == 0)
        return false;
    return status == 303 || ((status == 301 || status == 302) && strcmp(plan->method, "POST") == 0);
}

static int make_get(struct http_plan *plan)
{
    char *method = strdup("GET");
    if (!method)
        return -ENOMEM;
    free(plan->method);
    plan->method = method;
    body_destroy(&plan->body);
    strip_header(&plan->headers, "Content-Type");
    strip_header(&plan->headers, "Content-Encoding");
    return 0;
}

static int redirect_method(struct http_plan *plan, int status, const char **ret_reason)
{
    *ret_reason = "a redirect wants the body again, which cannot be had again";
    if (becomes_get(plan, status))
        return make_get(plan);
    if (plan->body.kind != BODY_SOURCE)
        return 0;
    return plan->body.source->class->rewind(plan->body.source);
}

int plan_redirect(struct http_plan *plan, int status, const char *location, const char **ret_reason)
{
    AUTO_URL *from = curl_url();
    AUTO_URL *to = curl_url();
    if (!from || !to)
        return -ENOMEM;
    CURLUcode code = curl_url_set(from, CURLUPART_URL, plan->url, URL_FLAGS);
    if (code == CURLUE_OK)
        code = curl_url_set(to, CURLUPART_URL, plan->url, URL_FLAGS);
    if (code == CURLUE_OK)
        code = curl_url_set(to, CURLUPART_URL, location, URL_FLAGS);
    if (code != CURLUE_OK) {
        *ret_reason = "malformed URL in a redirect";
        return url_error(code) == -EINVAL ? -EPROTO : -ENOMEM;
    }
    if (!same_origin(from, to))
        forget_secrets(plan);
    int r = redirect_method(plan, status, ret_reason);
    return r < 0 ? r : take_url(plan, to, ret_reason);
}
