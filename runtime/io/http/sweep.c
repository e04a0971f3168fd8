/* SPDX-License-Identifier: MIT */
/*
 * Connections in the pool that are of no use any more: closed by the peer, or kept too long.
 *
 * libcurl looks for them when a transfer begins, and at no other time: a session that is idle would
 * keep its descriptors, and the peers theirs, for ever.  So when an idle connection's socket
 * becomes readable, or the time to keep it is over, a transfer is begun that cannot connect: it has
 * libcurl look, and ends.
 *
 *   S1  libcurl looks at most once a second; a sweep that comes earlier waits.
 *   S2  There is a sweep only while no transfer is active; transfers do it by themselves.
 *   S3  No timer is set when nothing is pooled: an idle session does not wake up.
 *
 * Runs on the driver's fiber.
 */
#include "io/http/transfer.h"
#include "weft/time.h"

#define PRUNE_NS  (1050 * WEFT_MILLISECOND) /* S1 */
#define MARGIN_NS (1100 * WEFT_MILLISECOND) /* libcurl counts whole seconds */

static void sweep_at(struct weft_http_session *session, uint64_t at_ns)
{
    if (at_ns < session->sweep_ns)
        session->sweep_ns = at_ns;
}

void sweep_soon(struct weft_http_session *session)
{
    uint64_t now_ns = weft_now_ns(), next_ns = session->begun_ns + PRUNE_NS;

    sweep_at(session, next_ns > now_ns ? next_ns : now_ns);
}

void sweep_later(struct weft_http_session *session)
{
    uint64_t keep_ns = session->config.options.keep_ns;

    if (atomic_load_explicit(&session->open_count, memory_order_relaxed) == 0) /* S3 */
        return;
    if (keep_ns < WEFT_NO_DEADLINE - MARGIN_NS)
        sweep_at(session, weft_deadline_after(keep_ns + MARGIN_NS));
}

static curl_socket_t refuse(void *unused, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)unused;
    (void)purpose;
    (void)address;
    return CURL_SOCKET_BAD;
}

static bool sweeper_setup(struct weft_http_session *session)
{
    CURL *easy = session->sweeper;
    long keep_s = http_units(session->config.options.keep_ns, WEFT_SECOND);

    return curl_easy_setopt(easy, CURLOPT_URL, "http://127.0.0.1:1/") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, keep_s) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, refuse) == CURLE_OK &&
           curl_multi_add_handle(session->multi, easy) == CURLM_OK;
}

void sweep_run(struct weft_http_session *session)
{
    session->sweep_ns = WEFT_NO_DEADLINE;
    if (!list_empty(&session->active) || session->sweeper) /* S2 */
        return;
    session->begun_ns = weft_now_ns();
    session->sweeper = curl_easy_init();
    if (session->sweeper && !sweeper_setup(session)) {
        curl_easy_cleanup(session->sweeper); /* no memory: another time */
        session->sweeper = NULL;
    }
}

void sweep_end(struct weft_http_session *session)
{
    if (!session->sweeper)
        return;
    curl_multi_remove_handle(session->multi, session->sweeper);
    curl_easy_cleanup(session->sweeper);
    session->sweeper = NULL;
    if (list_empty(&session->active))
        sweep_later(session);
}
