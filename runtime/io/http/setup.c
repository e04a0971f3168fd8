/* SPDX-License-Identifier: MIT */
/* A plan as libcurl's options.  Runs on the driver's fiber. */
#include <limits.h>

#include "io/http/transfer.h"
#include "weft/time.h"

enum { SMALL_BODY = 32 * 1024 }; /* such a body goes out with the headers, in one piece */

/* An option of each kind; once one was refused, `*ok` stays false. */
static void set_long(CURL *easy, CURLoption option, long value, bool *ok)
{
    *ok = *ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
}

static void set_pointer(CURL *easy, CURLoption option, const void *value, bool *ok)
{
    *ok = *ok && curl_easy_setopt(easy, option, value) == CURLE_OK;
}

static void set_size(CURL *easy, CURLoption option, int64_t value, bool *ok)
{
    *ok = *ok && curl_easy_setopt(easy, option, (curl_off_t)value) == CURLE_OK;
}

/* Nanoseconds in units of `unit_ns`, rounded up, at least 1, and as much as a long of libcurl's
 * own arithmetic can hold. */
long http_units(uint64_t ns, uint64_t unit_ns)
{
    uint64_t units = ns / unit_ns + (ns % unit_ns != 0);

    if (units == 0)
        return 1;
    return units > INT_MAX / 1000 ? INT_MAX / 1000 : (long)units;
}

static void setup_callbacks(CURL *easy, struct http_transfer *transfer, bool *ok)
{
    set_pointer(easy, CURLOPT_PRIVATE, transfer, ok);
    set_pointer(easy, CURLOPT_ERRORBUFFER, transfer->why, ok);
    *ok = *ok && curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
          curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
          curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send) == CURLE_OK &&
          curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek) == CURLE_OK &&
          curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected) == CURLE_OK &&
          curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket_open) == CURLE_OK &&
          curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close) == CURLE_OK;
    set_pointer(easy, CURLOPT_HEADERDATA, transfer, ok);
    set_pointer(easy, CURLOPT_WRITEDATA, transfer, ok);
    set_pointer(easy, CURLOPT_READDATA, transfer, ok);
    set_pointer(easy, CURLOPT_SEEKDATA, transfer, ok);
    set_pointer(easy, CURLOPT_PREREQDATA, transfer, ok);
    set_pointer(easy, CURLOPT_OPENSOCKETDATA, transfer->session, ok);
    set_pointer(easy, CURLOPT_CLOSESOCKETDATA, transfer->session, ok);
}

static bool is_https(const struct http_transfer *transfer)
{
    return strncmp(transfer->plan->url, "https:", 6) == 0;
}

/* Over TLS there is no prior knowledge: both sides say there what they speak. */
static long http_version(const struct http_transfer *transfer)
{
    enum weft_http_version version = transfer->session->config.options.version;

    if (version == WEFT_HTTP_1_1)
        return CURL_HTTP_VERSION_1_1;
    return version == WEFT_HTTP_2_DIRECTLY && !is_https(transfer)
               ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
               : CURL_HTTP_VERSION_2TLS;
}

static bool libcurl_is_older_than(unsigned version)
{
    return curl_version_info(CURLVERSION_NOW)->version_num < version;
}

/* libcurl before 8.0 begins HTTP/2 once more on a connection without TLS that has it already (its
 * issue 10634): there each request needs a connection of its own. */
static bool must_not_reuse(const struct http_transfer *transfer)
{
    return http_version(transfer) == CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE &&
           libcurl_is_older_than(0x080000);
}

bool setup_may_be_two(const struct http_transfer *transfer)
{
    long version = http_version(transfer);

    return version != CURL_HTTP_VERSION_1_1 &&
           (is_https(transfer) || version == CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
}

/* At the end of a body whose length it was not told, libcurl before 8.1 reads for the whole
 * connection although the rest of a block of another stream waits to be handed out: that rest is
 * overwritten, and missing in the middle of the other's body.  Such a request goes alone. */
static bool must_go_alone(const struct http_transfer *transfer)
{
    const struct http_body *body = &transfer->plan->body;

    return body->kind == BODY_SOURCE && body->size < 0 && setup_may_be_two(transfer) &&
           libcurl_is_older_than(0x080100);
}

static void setup_version(CURL *easy, const struct http_transfer *transfer, bool *ok)
{
    bool apart = must_go_alone(transfer);
    bool alone = apart || must_not_reuse(transfer);

    set_long(easy, CURLOPT_HTTP_VERSION, http_version(transfer), ok);
    set_long(easy, CURLOPT_FRESH_CONNECT, alone, ok);
    set_long(easy, CURLOPT_FORBID_REUSE, alone, ok);
    /* Connections are shared only by transfers whose options for TLS are the same: this one changes
     * nothing with OpenSSL, and keeps the others away. */
    if (apart)
        set_long(easy, CURLOPT_SSL_OPTIONS, (long)CURLSSLOPT_REVOKE_BEST_EFFORT, ok);
    /* Where requests may share a connection, it pays to wait for the first to be made. */
    set_long(easy, CURLOPT_PIPEWAIT, !alone && setup_may_be_two(transfer), ok);
}

/* How libcurl behaves, whatever the request. */
static void setup_manner(CURL *easy, const struct http_transfer *transfer, bool *ok)
{
    const struct weft_http_session_options *options = &transfer->session->config.options;

    set_long(easy, CURLOPT_NOSIGNAL, 1, ok);
    set_long(easy, CURLOPT_QUICK_EXIT, 1, ok); /* an abort does not wait for the resolver */
    set_pointer(easy, CURLOPT_PROTOCOLS_STR, "http,https", ok);
    set_long(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1, ok);
    set_pointer(easy, CURLOPT_SHARE, transfer->session->share, ok);
    setup_version(easy, transfer, ok);
    set_long(easy, CURLOPT_CONNECTTIMEOUT_MS,
             http_units(transfer->plan->connect_ns, WEFT_MILLISECOND), ok);
    set_long(easy, CURLOPT_MAXAGE_CONN, http_units(options->keep_ns, WEFT_SECOND), ok);
    if (transfer->session->config.user_agent[0])
        set_pointer(easy, CURLOPT_USERAGENT, transfer->session->config.user_agent, ok);
    if (options->no_decompress)
        set_long(easy, CURLOPT_HTTP_CONTENT_DECODING, 0, ok);
    else
        set_pointer(easy, CURLOPT_ACCEPT_ENCODING, "", ok); /* all that it can undo */
    if (!options->no_cookies)
        set_pointer(easy, CURLOPT_COOKIEFILE, "", ok);
}

static void setup_tls(CURL *easy, const struct http_config *config, bool *ok)
{
    bool verify = !config->options.insecure_believe_any_server;

    set_long(easy, CURLOPT_SSL_VERIFYPEER, verify, ok);
    set_long(easy, CURLOPT_SSL_VERIFYHOST, verify ? 2 : 0, ok);
    if (config->ca_file) {
        set_pointer(easy, CURLOPT_CAINFO, config->ca_file, ok);
        set_pointer(easy, CURLOPT_CAPATH, NULL, ok); /* that file and nothing else */
    }
    if (!config->certificate_file)
        return;
    set_pointer(easy, CURLOPT_SSLCERT, config->certificate_file, ok);
    set_pointer(easy, CURLOPT_SSLKEY,
                config->key_file ? config->key_file : config->certificate_file, ok);
    if (config->key_password)
        set_pointer(easy, CURLOPT_KEYPASSWD, config->key_password, ok);
}

static void setup_route(CURL *easy, const struct http_config *config, bool *ok)
{
    if (config->proxy)
        set_pointer(easy, CURLOPT_PROXY, config->proxy, ok);
    else if (!config->options.proxy_from_environment)
        set_pointer(easy, CURLOPT_PROXY, "", ok); /* libcurl would look there by itself */
    if (config->no_proxy)
        set_pointer(easy, CURLOPT_NOPROXY, config->no_proxy, ok);
    if (config->unix_path)
        set_pointer(easy, CURLOPT_UNIX_SOCKET_PATH, config->unix_path, ok);
}

static void setup_credentials(CURL *easy, const struct http_plan *plan, bool *ok)
{
    if (plan->bearer) {
        set_long(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER, ok);
        set_pointer(easy, CURLOPT_XOAUTH2_BEARER, plan->bearer, ok);
    } else if (plan->user) {
        set_long(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC, ok);
        set_pointer(easy, CURLOPT_USERNAME, plan->user, ok);
        set_pointer(easy, CURLOPT_PASSWORD, plan->password ? plan->password : "", ok);
    }
}

/* These announce a length of 0 when they have no body. */
static bool wants_length(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static void setup_memory(CURL *easy, const void *data, int64_t size, bool *ok)
{
    set_long(easy, CURLOPT_POST, 1, ok);
    set_size(easy, CURLOPT_POSTFIELDSIZE_LARGE, size, ok);
    set_pointer(easy, CURLOPT_POSTFIELDS, size > 0 ? data : "", ok);
}

/* The method's name is given where it is not what libcurl would use for such a transfer. */
static void setup_method(CURL *easy, const struct http_plan *plan, bool *ok)
{
    const struct http_body *body = &plan->body;
    const char *own = "GET";

    if (body->kind == BODY_SOURCE || body->size > SMALL_BODY) {
        own = "PUT";
        set_long(easy, CURLOPT_UPLOAD, 1, ok);
        set_size(easy, CURLOPT_INFILESIZE_LARGE, body->size, ok);
    } else if (body->kind == BODY_MEMORY || wants_length(plan->method)) {
        own = "POST";
        setup_memory(easy, body->data, body->size, ok);
    } else if (strcmp(plan->method, "HEAD") == 0) {
        own = "HEAD";
        set_long(easy, CURLOPT_NOBODY, 1, ok);
    }
    if (strcmp(plan->method, own) != 0)
        set_pointer(easy, CURLOPT_CUSTOMREQUEST, plan->method, ok);
}

bool setup_easy(CURL *easy, struct http_transfer *transfer)
{
    const struct http_plan *plan = transfer->plan;
    bool ok = true;

    setup_callbacks(easy, transfer, &ok);
    setup_manner(easy, transfer, &ok);
    setup_tls(easy, &transfer->session->config, &ok);
    setup_route(easy, &transfer->session->config, &ok);
    setup_credentials(easy, plan, &ok);
    setup_method(easy, plan, &ok);
    set_pointer(easy, CURLOPT_HTTPHEADER, plan->headers, &ok);
    set_pointer(easy, CURLOPT_URL, plan->url, &ok);
    return ok;
}
