/* SPDX-License-Identifier: MIT */
/* What may stand in a request, and how fields are encoded.  Pure functions, for any thread. */
#include "io/http/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

bool text_is_token(const char *text)
{
    return text && *text && text[strspn(text, ALPHANUMERIC "!#$%&'*+-.^_`|~")] == '\0';
}

bool text_is_value(const char *text)
{
    if (!text)
        return false;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if ((*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    }
    return true;
}

bool text_is_url(const char *text)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    bool good = url && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
                curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

    curl_free(scheme);
    curl_url_cleanup(url);
    return good;
}

int text_check_headers(const struct weft_http_field *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!text_is_token(headers[i].name) || !text_is_value(headers[i].value))
            return -EINVAL;
        if (strcasecmp(headers[i].name, "Content-Length") == 0 ||
            strcasecmp(headers[i].name, "Transfer-Encoding") == 0)
            return -EINVAL;
    }
    return 0;
}

static char *encode(char *to, const char *text, bool plus)
{
    static const char hex[] = "0123456789ABCDEF";

    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (strchr(ALPHANUMERIC "-._~", *c)) {
            *to++ = (char)*c;
        } else if (*c == ' ' && plus) {
            *to++ = '+';
        } else {
            *to++ = '%';
            *to++ = hex[*c >> 4];
            *to++ = hex[*c & 15];
        }
    }
    return to;
}

char *text_encode(const struct weft_http_field *fields, size_t count, bool plus)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += 3 * (strlen(fields[i].name) + strlen(fields[i].value)) + 2;
    char *text = malloc(size), *to = text;
    if (!text)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *to++ = '&';
        to = encode(to, fields[i].name, plus);
        *to++ = '=';
        to = encode(to, fields[i].value, plus);
    }
    *to = '\0';
    return text;
}
