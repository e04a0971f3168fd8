/* SPDX-License-Identifier: MIT */
/* server_refuse: see server_refuse.h. */
#include "daemon/server_refuse.h"

#include "daemon/http.h"
#include "protocol/jsonrpc.h"
#include "weft/weft.h"

#include <sys/socket.h>

#define FIRST_BYTE (100 * WEFT_MILLISECOND)

static bool first_is_capital(struct weft_stream *stream)
{
    char first;
    ssize_t got = recv(weft_stream_fd(stream), &first, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 1 && first >= 'A' && first <= 'Z';
}

static bool speaks_http(struct weft_stream *stream, bool patience)
{
    if (patience)
        weft_stream_wait_readable(stream, weft_deadline_after(FIRST_BYTE));
    return first_is_capital(stream);
}

/* One line, one try: somebody who is refused is not waited for. */
static void say_in_a_line(struct weft_stream *stream, const struct rpc_error *error)
{
    struct jsonrpc_text text = {0};
    struct weft_scope scope;
    if (jsonrpc_append_error(&text, NULL, error) == 0) {
        weft_scope_enter(&scope, weft_deadline_after(WEFT_SECOND));
        weft_write(stream, text.data, text.size, NULL);
        weft_scope_leave(&scope);
    }
    jsonrpc_text_destroy(&text);
}

void server_refuse(struct weft_stream *stream, bool is_tcp, bool patience, const char *why)
{
    struct rpc_error error;
    rpc_error_set(&error, RPC_BUSY, "%s; the connection is closed", why);
    if (is_tcp || speaks_http(stream, patience))
        http_refuse(stream, &error, patience);
    else
        say_in_a_line(stream, &error);
}
