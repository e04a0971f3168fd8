/* SPDX-License-Identifier: MIT */
/* What may stand in a request.  Pure functions. */
#ifndef RUNTIME_IO_HTTP_TEXT_H
#define RUNTIME_IO_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "weft/http.h"

/** A method or the name of a header: RFC 9110's token. */
bool text_is_token(const char *text);

/** No control characters but tabs, so that nobody smuggles a line in. */
bool text_is_value(const char *text);

/** A complete URL of http or https. */
bool text_is_url(const char *text);

/** Errors: -EINVAL one of them is malformed, or is set by the body (Content-Length,
 * Transfer-Encoding). */
int text_check_headers(const struct weft_http_field *headers, size_t count);

/** Fields as NAME=VALUE&..., percent-encoded, with blanks as '+' or as "%20".  For free(3).
 * NULL: no memory. */
char *text_encode(const struct weft_http_field *fields, size_t count, bool plus);

#endif
