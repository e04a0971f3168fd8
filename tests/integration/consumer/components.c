/* SPDX-License-Identifier: MIT */
/* Of weft-tls, weft-dns and weft-http. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <weft/dns.h>
#include <weft/http.h>
#include <weft/tls.h>
#include <weft/weft.h>

static int run(void *unused)
{
    struct weft_tls_context *context;
    struct weft_http_session *session;
    struct weft_address *addresses;
    int err, count;

    (void)unused;
    err = weft_tls_context_new(WEFT_TLS_CLIENT, NULL, NULL, &context);
    if (err < 0)
        return err;
    weft_tls_context_unref(context);
    err = weft_http_session_new(NULL, &session);
    if (err < 0)
        return err;
    weft_http_session_free(session);
    count = weft_resolve("127.0.0.1", "80", AF_INET, WEFT_NO_DEADLINE, &addresses);
    if (count < 0)
        return count;
    printf("%d address\n", count);
    weft_addresses_free(addresses);
    return 0;
}

int main(void)
{
    int err = weft_run(NULL, run, NULL);

    if (err < 0)
        fprintf(stderr, "%s\n", strerror(-err));
    return err < 0;
}
