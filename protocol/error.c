/* SPDX-License-Identifier: MIT */
/* The one table of error codes, and the filling of a struct rpc_error.
 *
 * I1  message, param and nearest are always NUL-terminated, valid UTF-8: a reply can be built of
 *     any error, whatever bytes the cause contained.
 *
 * Pure: any thread.  Does not log and does not decide what is an error. */
#include "protocol/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct rpc_code_info codes[] = {
    {RPC_PARSE_ERROR, "parse_error", "the line is not valid JSON; send one JSON value per line"},
    {RPC_INVALID_REQUEST, "invalid_request",
     "not a JSON-RPC 2.0 request; send {\"jsonrpc\":\"2.0\",\"id\":…,\"method\":…,\"params\":{…}}"},
    {RPC_METHOD_NOT_FOUND, "method_not_found", "there is no such method; hello lists them"},
    {RPC_INVALID_PARAMS, "invalid_params", "a parameter is wrong"},
    {RPC_INTERNAL_ERROR, "internal_error", "an error inside weftd; its log says more"},
    {RPC_BUSY, "busy", "too many requests in flight; read some replies, then send it again"},
    {RPC_NO_SUCH_JOB, "no_such_job",
     "there is no job with this id; job.list shows those there are"},
    {RPC_NO_SUCH_QUEUE, "no_such_queue",
     "there is no such queue; queue.list shows those there are"},
    {RPC_NO_SUCH_HANDLER, "no_such_handler",
     "there is no such handler; hello lists those that are loaded"},
    {RPC_LINE_TOO_LONG, "line_too_long",
     "the line is longer than the limit and was dropped; send large data as a file's path"},
    {RPC_TOO_DEEP, "too_deep", "the JSON is nested too deeply; flatten it"},
    {RPC_STORE_FAILED, "store_failed",
     "the store could not make this durable, so nothing was accepted; weftd's log has the cause"},
    {RPC_SHUTTING_DOWN, "shutting_down", "weftd is stopping; send it again after the restart"},
    {RPC_PERMISSION_DENIED, "permission_denied", "this belongs to another user"},
    {RPC_TIMEOUT, "timeout", "the time given ran out before the answer was there"},
    {RPC_NOT_SUPPORTED, "not_supported", "this version of weftd does not support that"},
    {RPC_CONFLICT, "conflict", "the state of the job does not allow this"},
    {RPC_BAD_CONFIG, "bad_config", "the configuration is bad; the settings in force stay"},
};

const struct rpc_code_info *rpc_code_table(size_t *ret_count)
{
    *ret_count = sizeof(codes) / sizeof(codes[0]);
    return codes;
}

const struct rpc_code_info *rpc_code_info(int code)
{
    const struct rpc_code_info *internal = NULL;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].code == code)
            return &codes[i];
        if (codes[i].code == RPC_INTERNAL_ERROR)
            internal = &codes[i];
    }
    return internal;
}

/* Length that the lead byte of a UTF-8 sequence announces; 0 if it cannot lead. */
static size_t sequence_length(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4) /* continuation bytes, overlong forms, beyond U+10FFFF */
        return 0;
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* Range of the second byte: excludes overlong forms, surrogates and beyond U+10FFFF. */
static bool second_byte_ok(unsigned char lead, unsigned char second)
{
    unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    return second >= low && second <= high;
}

/* Bytes of the valid sequence at text, 0 if there is none.  Stops at the NUL by itself. */
static size_t sequence_at(const unsigned char *text)
{
    size_t length = sequence_length(text[0]);
    if (length < 2)
        return length;
    if (!second_byte_ok(text[0], text[1]))
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static void scrub(char *text)
{
    unsigned char *at = (unsigned char *)text;
    while (*at != '\0') {
        size_t length = sequence_at(at);
        if (length == 0)
            *at = '?';
        at += length ? length : 1;
    }
}

/* Copy with a cut at a whole character. */
static void cut_copy(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size);
    bool cut = length >= size;
    if (cut) {
        length = size - sizeof("...");
        while (length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(to, from, length);
    memcpy(to + length, "...", cut ? sizeof("...") : 0);
    to[cut ? length + 3 : length] = '\0';
    scrub(to);
}

static void set(struct rpc_error *error, int code, const char *param, const char *nearest,
                const char *message)
{
    error->code = code;
    cut_copy(error->message, sizeof(error->message), message);
    cut_copy(error->param, sizeof(error->param), param ? param : "");
    cut_copy(error->nearest, sizeof(error->nearest), nearest ? nearest : "");
}

int rpc_error_set(struct rpc_error *error, int code, const char *format, ...)
{
    char message[RPC_MESSAGE_MAX + 8];
    if (format == NULL) {
        set(error, code, NULL, NULL, rpc_code_info(code)->text);
        return -EINVAL;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    set(error, code, NULL, NULL, message);
    return -EINVAL;
}

int rpc_error_set_param(struct rpc_error *error, int code, const char *param, const char *nearest,
                        const char *format, ...)
{
    char message[RPC_MESSAGE_MAX + 8];
    if (format == NULL) {
        set(error, code, param, nearest, rpc_code_info(code)->text);
        return -EINVAL;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    set(error, code, param, nearest, message);
    return -EINVAL;
}
