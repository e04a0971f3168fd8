/* SPDX-License-Identifier: MIT */
/* libcurl's codes as -errno.  The list at the top of weft/http.h is what the outside is told. */
#include <errno.h>

#include "io/http/transfer.h"

/* What connect(2) or another system call said, else `fallback`. */
static int system_error(CURL *easy, int fallback)
{
    long error = 0;

    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &error);
    return error > 0 && error < 4096 && error != EINPROGRESS && error != EAGAIN ? -(int)error
                                                                                : fallback;
}

/* A tunnel through a proxy was asked for, and not granted. */
static bool proxy_refused(CURL *easy)
{
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300;
}

static const struct {
    CURLcode code;
    int error;
} table[] = {
    {CURLE_OK, 0},
    {CURLE_UNSUPPORTED_PROTOCOL, -EPROTONOSUPPORT},
    {CURLE_URL_MALFORMAT, -EINVAL},
    {CURLE_BAD_FUNCTION_ARGUMENT, -EINVAL},
    {CURLE_COULDNT_RESOLVE_HOST, -ENOENT},
    {CURLE_COULDNT_RESOLVE_PROXY, -ENOENT},
    {CURLE_WEIRD_SERVER_REPLY, -EPROTO},
    {CURLE_HTTP2, -EPROTO},
    {CURLE_HTTP2_STREAM, -EPROTO},
    {CURLE_SSL_CIPHER, -EPROTO},
    {CURLE_SSL_SHUTDOWN_FAILED, -EPROTO},
    {CURLE_CHUNK_FAILED, -EPROTO},
    {CURLE_BAD_CONTENT_ENCODING, -EBADMSG},
    {CURLE_PARTIAL_FILE, -ECONNRESET},
    {CURLE_GOT_NOTHING, -ECONNRESET},
    {CURLE_SEND_FAIL_REWIND, -ECONNRESET},
    {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT},
    {CURLE_OUT_OF_MEMORY, -ENOMEM},
    {CURLE_PEER_FAILED_VERIFICATION, -EKEYREJECTED},
    {CURLE_SSL_ISSUER_ERROR, -EKEYREJECTED},
    {CURLE_SSL_INVALIDCERTSTATUS, -EKEYREJECTED},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, -EKEYREJECTED},
    {CURLE_SSL_CLIENTCERT, -ECONNABORTED},
    {CURLE_SSL_CERTPROBLEM, -ENOKEY},
    {CURLE_SSL_CACERT_BADFILE, -ENOKEY},
    {CURLE_SSL_CRL_BADFILE, -ENOKEY},
    {CURLE_PROXY, -EACCES},
    {CURLE_LOGIN_DENIED, -EACCES},
    {CURLE_AUTH_ERROR, -EACCES},
    {CURLE_FILESIZE_EXCEEDED, -EMSGSIZE},
    {CURLE_TOO_MANY_REDIRECTS, -ELOOP},
};

static int table_error(CURLcode code)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (table[i].code == code)
            return table[i].error;
    }
    return -EIO;
}

/* The peer has refused us by a TLS alert.  libcurl has no code for it, but OpenSSL's words. */
static bool alerted(const char *why)
{
    return strstr(why, " alert ");
}

int error_of(CURLcode code, CURL *easy, const char *why, bool connected)
{
    switch (code) {
    case CURLE_SSL_CONNECT_ERROR:
        return alerted(why) ? -ECONNABORTED : system_error(easy, -EPROTO);
    case CURLE_COULDNT_CONNECT:
        return system_error(easy, -ECONNREFUSED);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        if (proxy_refused(easy))
            return -EACCES;
        return alerted(why) ? -ECONNABORTED : system_error(easy, -ECONNRESET);
    case CURLE_UNSUPPORTED_PROTOCOL: /* also what libcurl calls an answer that is not HTTP */
        return connected ? -EPROTO : -EPROTONOSUPPORT;
    default:
        return table_error(code);
    }
}
