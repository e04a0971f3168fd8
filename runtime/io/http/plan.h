/* SPDX-License-Identifier: MIT */
/* What one hop of a request is to do, made from the request, the session's defaults, and, after a
 * redirect, the hop before.  Owned by the response; the driver only reads it. */
#ifndef RUNTIME_IO_HTTP_PLAN_H
#define RUNTIME_IO_HTTP_PLAN_H

#include <curl/curl.h>

#include "io/http/body.h"
#include "io/http/session.h"

struct http_plan {
    char *url;  /* complete, without user and password */
    char *host; /* of it, for messages */
    char *method;
    char *user, *password, *bearer; /* NULL: none */
    struct curl_slist *headers;     /* lines, as libcurl wants them */
    struct http_body body;
    uint64_t connect_ns, first_byte_ns;
    int max_redirects; /* negative: none */
};

/** Errors: -EINVAL, -EPROTONOSUPPORT, -ENOMEM, and the body's; *ret_reason says what is wrong. */
int plan_init(struct http_plan *plan, const struct weft_http_session *session,
              const struct weft_http_request *request, const char **ret_reason);
void plan_destroy(struct http_plan *plan);

/** Whether there could be one, the session having no options, and the body being usable.  Errors:
 * plan_init's. */
int plan_check(const struct weft_http_request *request, const char **ret_reason);

/** Turn it into the next hop's.  Errors: as plan_init, -ESPIPE the body cannot be had again. */
int plan_redirect(struct http_plan *plan, int status, const char *location,
                  const char **ret_reason);

#endif
