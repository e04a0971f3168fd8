/* SPDX-License-Identifier: MIT */
/* Timeouts and cancellation, in each phase of a transfer; and the resolver, which is libcurl's own
 * thread in getaddrinfo(3): this program has a getaddrinfo of its own, which can be made to wait.
 */
#include "support/test.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>

#include "support/web.h"

static const struct weft_http_session_options defaults;

/* ---- a resolver that waits -------------------------------------------------------------- */

static pthread_mutex_t resolver_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resolver_change = PTHREAD_COND_INITIALIZER;
static bool resolver_held;        /* guarded by resolver_lock */
static atomic_int resolver_waits; /* calls that are inside, or were */
static atomic_int resolver_ended;

/* In place of libc's, for libcurl too: names that are asked for here do not exist. */
int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    (void)name, (void)service, (void)hints, (void)ret;
    atomic_fetch_add(&resolver_waits, 1);
    pthread_mutex_lock(&resolver_lock);
    while (resolver_held)
        pthread_cond_wait(&resolver_change, &resolver_lock);
    pthread_mutex_unlock(&resolver_lock);
    atomic_fetch_add(&resolver_ended, 1);
    return EAI_NONAME;
}

static void hold_resolver(bool hold)
{
    pthread_mutex_lock(&resolver_lock);
    resolver_held = hold;
    pthread_cond_broadcast(&resolver_change);
    pthread_mutex_unlock(&resolver_lock);
}

static void await_resolver(void)
{
    uint64_t end_ns = soon();
    while (atomic_load(&resolver_ended) < atomic_load(&resolver_waits)) {
        EXPECT(weft_now_ns() < end_ns);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    }
}

/* ---- timeouts --------------------------------------------------------------------------- */

static void total(struct web *web)
{
    struct weft_http_request request = {.total_ns = 50 * WEFT_MILLISECOND};
    request.url = http_url(&web->server, "/never");
    web_fails(web, &request, -ETIMEDOUT, "127.0.0.1: timed out");
    await_count(&web->server.open, 0); /* it may have had no time to ask at all */
    request.url = http_url(&web->server, "/stall/10");
    struct weft_http_response *response = NULL;
    int r = weft_http_send(web->session, &request, &response);
    if (r == 0) {
        EXPECT_EQ(web_read_pattern(response, 20), -ETIMEDOUT);
        EXPECT(strstr(weft_http_response_error(response), "timed out"));
        weft_http_response_free(response);
    }
    await_count(&web->server.open, 0);
    request.url = http_url(&web->server, "/loop");
    request.max_redirects = 1000000;
    web_fails(web, &request, -ETIMEDOUT, "timed out");
    web_works(web);
}

Test(http_abort, the_total_time_bounds_headers_body_and_redirects)
{
    on_web(&defaults, total);
}

static void of_session(struct web *web)
{
    web_get_fails(web, "/never", -ETIMEDOUT, "timed out");
    struct weft_http_request request = {.url = http_url(&web->server, "/drip/500"),
                                        .total_ns = WEFT_NO_DEADLINE};
    free(web_fetch(web, &request));
}

Test(http_abort, a_request_may_have_more_time_than_the_session_gives)
{
    struct weft_http_session_options options = {.total_ns = 50 * WEFT_MILLISECOND};
    on_web(&options, of_session);
}

static void first_byte(struct web *web)
{
    struct weft_http_request request = {.url = http_url(&web->server, "/never"),
                                        .first_byte_ns = 30 * WEFT_MILLISECOND};
    web_fails(web, &request, -ETIMEDOUT, "first byte");
    request.body = weft_http_bytes("x", 1, NULL);
    web_fails(web, &request, -ETIMEDOUT, "first byte");
    request.first_byte_ns = WEFT_NO_DEADLINE - 1;
    request.url = http_url(&web->server, "/echo");
    free(web_fetch(web, &request));
    web_works(web);
}

Test(http_abort, the_first_byte_has_a_time_of_its_own)
{
    on_web(&defaults, first_byte);
}

/* A body of 40 pieces, each of which takes 50 ms: longer than the first byte may take, which is
 * enough for a server that is held up. */
static ssize_t produce_slowly(void *arg, void *buffer, size_t size)
{
    int *left = arg;
    int r = weft_sleep(50 * WEFT_MILLISECOND);
    if (r < 0)
        return r;
    if (*left == 0)
        return 0;
    --*left;
    memset(buffer, 'x', size < 100 ? size : 100);
    return 100;
}

static void long_upload(struct web *web)
{
    int left = 40;
    free(web_fetch(web, &(struct weft_http_request){
                            .url = http_url(&web->server, "/echo"),
                            .body = weft_http_stream(produce_slowly, NULL, &left, 4000, NULL),
                            .first_byte_ns = 1500 * WEFT_MILLISECOND,
                            .total_ns = WEFT_NO_DEADLINE}));
}

Test(http_abort, the_time_of_an_upload_does_not_count_for_the_first_byte)
{
    on_web(&defaults, long_upload);
}

static void connecting(struct web *web)
{
    struct weft_http_request request = {.url = "http://held.example/"};
    hold_resolver(true);
    for (uint64_t ns = 20 * WEFT_MILLISECOND; atomic_load(&resolver_waits) == 0; ns *= 2) {
        request.connect_ns = ns; /* until it has begun to resolve, however slow it is here */
        web_fails(web, &request, -ETIMEDOUT, "held.example");
    }
    web_works(web);
    hold_resolver(false);
    await_resolver();
}

Test(http_abort, the_time_to_connect_includes_resolving)
{
    on_web(&defaults, connecting);
}

static void low_speed(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/stall/10");
    EXPECT_EQ(web_read_pattern(response, 20), -ETIMEDOUT);
    EXPECT(strstr(weft_http_response_error(response), "too slowly"));
    weft_http_response_free(response);
}

Test(http_abort, a_body_that_stops_coming_is_given_up)
{
    struct weft_http_session_options options = {.low_speed_ns = 50 * WEFT_MILLISECOND};
    on_web(&options, low_speed);
}

static void slow_reader(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/drip/100");
    char byte;
    await_idle(web);              /* so the server is not held up */
    for (int i = 0; i < 3; i++) { /* the reader takes its time, not the server */
        EXPECT_EQ(weft_http_response_read(response, &byte, 1), 1);
        EXPECT_EQ(weft_sleep(400 * WEFT_MILLISECOND), 0);
    }
    void *rest;
    size_t size;
    EXPECT_EQ(weft_http_response_body(response, 100, &rest, &size), 0);
    EXPECT_EQ(size, 97);
    free(rest);
    weft_http_response_free(response);
}

Test(http_abort, a_slow_reader_does_not_make_the_server_slow)
{
    struct weft_http_session_options options = {.low_speed_ns = 300 * WEFT_MILLISECOND};
    on_web(&options, slow_reader);
}

static void too_few(struct web *web)
{
    struct weft_http_response *response = web_get(web, "/trickle/100000");
    char block[10];
    ssize_t n;
    while ((n = weft_http_response_read(response, block, sizeof(block))) > 0)
        continue;
    EXPECT_EQ(n, -ETIMEDOUT);
    weft_http_response_free(response);
}

Test(http_abort, a_body_that_comes_by_less_than_wanted_is_given_up)
{
    struct weft_http_session_options options = {.low_speed_ns = 100 * WEFT_MILLISECOND,
                                                .low_speed_bytes = 10000};
    on_web(&options, too_few);
}

/* ---- cancellation ----------------------------------------------------------------------- */

struct victim {
    struct web *web;
    struct weft_http_request request;
    int result;
    atomic_int headed;
};

static int run_victim(void *arg)
{
    struct victim *victim = arg;
    struct weft_http_response *response;
    char block[100];
    ssize_t n;
    victim->result = weft_http_send(victim->web->session, &victim->request, &response);
    if (victim->result < 0)
        return 0;
    atomic_store(&victim->headed, 1);
    while ((n = weft_http_response_read(response, block, sizeof(block))) > 0)
        continue;
    victim->result = (int)n;
    weft_http_response_free(response);
    return 0;
}

/* Cancel the request when `*counter` has come to `count`. */
static void cancel_when(struct web *web, const struct weft_http_request *request,
                        atomic_int *counter, int count, bool headed)
{
    struct victim victim = {.web = web, .request = *request, .result = 1};
    struct weft_group group;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "victim", run_victim, &victim), 0);
    await_count(counter, count);
    if (headed)
        await_count(&victim.headed, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(victim.result, -ECANCELED);
}

static void resolving(struct web *web)
{
    hold_resolver(true);
    /* First with TLS, when no connection has been opened yet: what libcurl has us watch for its
     * resolver must not be taken for one that may speak HTTP/2. */
    cancel_when(web, &(struct weft_http_request){.url = "https://held.example/"}, &resolver_waits,
                1, false);
    web_works(web);
    cancel_when(web, &(struct weft_http_request){.url = "http://held.example/"}, &resolver_waits, 2,
                false);
    web_works(web);
    hold_resolver(false);
    await_count(&resolver_ended, 2);
}

Test(http_abort, a_cancel_does_not_wait_for_the_resolver)
{
    on_web(&defaults, resolving);
}

static int leave_resolving(void *arg)
{
    struct weft_http_session *session;
    struct weft_http_response *response;
    struct weft_scope scope;
    (void)arg;
    EXPECT_EQ(weft_http_session_new(NULL, &session), 0);
    weft_scope_enter(&scope, weft_deadline_after(20 * WEFT_MILLISECOND));
    EXPECT_EQ(weft_http_get(session, "http://held.example/", &response), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_http_session_free(session);
    return 0;
}

Test(http_abort, freeing_a_session_does_not_wait_for_the_resolver_either)
{
    hold_resolver(true);
    on_fibers(2, leave_resolving, NULL);
    hold_resolver(false);
    while (atomic_load(&resolver_ended) < atomic_load(&resolver_waits))
        sched_yield();
}

/* A listener whose queue is full: what connects to it waits. */
static int full_listener(struct sockaddr_in *address, int *ret_filler)
{
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    EXPECT_EQ(bind(fd, (struct sockaddr *)address, size), 0);
    EXPECT_EQ(listen(fd, 0), 0);
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)address, &size), 0);
    *ret_filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(*ret_filler, (struct sockaddr *)address, size), 0);
    return fd;
}

static void never_connected(struct web *web)
{
    struct sockaddr_in address;
    struct weft_http_session_stats stats;
    char url[64];
    int filler, listener = full_listener(&address, &filler);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
    web_fails(web, &(struct weft_http_request){.url = url, .connect_ns = 50 * WEFT_MILLISECOND},
              -ETIMEDOUT, NULL);
    weft_http_session_stats(web->session, &stats);
    EXPECT_EQ(stats.open, 0);
    web_works(web);
    close(filler);
    close(listener);
}

Test(http_abort, a_socket_that_was_never_connected_is_not_counted_as_open)
{
    on_web(&defaults, never_connected);
}

static void answering(struct web *web)
{
    struct weft_http_request request = {.url = http_url(&web->server, "/never")};
    cancel_when(web, &request, &web->server.stalled, 1, false);
    await_count(&web->server.gone, 1);
    request.body = weft_http_bytes("abc", 3, NULL);
    cancel_when(web, &request, &web->server.stalled, 2, false);
    await_count(&web->server.gone, 2);
    web_works(web);
}

Test(http_abort, a_cancel_before_the_answer_closes_the_connection)
{
    on_web(&defaults, answering);
}

static void streaming(struct web *web)
{
    struct weft_http_request request = {.url = http_url(&web->server, "/stall/1000")};
    cancel_when(web, &request, &web->server.stalled, 1, true);
    await_count(&web->server.gone, 1);
    web_works(web);
}

Test(http_abort, a_cancel_in_the_middle_of_the_body_closes_the_connection)
{
    on_web(&defaults, streaming);
}

static ssize_t produce_for_ever(void *arg, void *buffer, size_t size)
{
    atomic_int *calls = arg;
    if (atomic_fetch_add(calls, 1) == 3)
        return weft_sleep_until(WEFT_NO_DEADLINE);
    memset(buffer, 'x', size);
    return (ssize_t)size;
}

static void producing(struct web *web)
{
    atomic_int calls = 0;
    struct weft_http_request request = {
        .url = http_url(&web->server, "/echo"),
        .body = weft_http_stream(produce_for_ever, NULL, &calls, -1, NULL)};
    cancel_when(web, &request, &calls, 4, false);
    await_count(&web->server.open, 0);
    web_works(web);
}

Test(http_abort, a_cancel_while_the_body_is_produced_aborts_the_request)
{
    on_web(&defaults, producing);
}

static ssize_t produce_all(void *arg, void *buffer, size_t size)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    memset(buffer, 'x', size);
    return (ssize_t)size;
}

/* The server does not read: the sending waits for room. */
static void sending(struct web *web)
{
    struct weft_http_session_stats stats;
    struct victim victim = {.web = web, .result = 1};
    struct weft_group group;
    atomic_int calls = 0;
    victim.request =
        (struct weft_http_request){.url = http_url(&web->server, "/bytes/1000000000"),
                                   .body = weft_http_stream(produce_all, NULL, &calls, -1, NULL)};
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "victim", run_victim, &victim), 0);
    await_count(&victim.headed, 1); /* it then reads for ever, and sends */
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(victim.result, -ECANCELED);
    weft_http_session_stats(web->session, &stats);
    EXPECT_EQ(stats.active, 0);
    web_works(web);
}

Test(http_abort, a_cancel_while_both_directions_move_aborts_both)
{
    on_web(&defaults, sending);
}

static void before(struct web *web)
{
    struct weft_scope scope;
    struct weft_http_response *response;
    char byte;
    response = web_get(web, "/bytes/1000");
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_http_response_read(response, &byte, 1), -ETIMEDOUT);
    web_get_fails(web, "/echo", -ETIMEDOUT, "");
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_http_response_read(response, &byte, 1), -ETIMEDOUT); /* it is over */
    EXPECT(strstr(weft_http_response_error(response), "deadline"));
    weft_http_response_free(response);
    EXPECT_EQ(atomic_load(&web->server.requests), 1);
    web_works(web);
}

Test(http_abort, in_an_expired_scope_nothing_begins_and_what_is_open_ends)
{
    on_web(&defaults, before);
}

static void scopes_deadline(struct web *web)
{
    struct weft_http_why why = {""};
    struct weft_http_request request = {.url = http_url(&web->server, "/never"), .why = &why};
    for (uint64_t ns = 30 * WEFT_MILLISECOND; !why.text[0]; ns *= 2) { /* until it has begun */
        struct weft_http_response *response;
        struct weft_scope scope;
        weft_scope_enter(&scope, weft_deadline_after(ns));
        EXPECT_EQ(weft_http_send(web->session, &request, &response), -ETIMEDOUT);
        EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    }
    EXPECT(strstr(why.text, "the deadline of the scope expired"));
    web_works(web);
}

Test(http_abort, the_deadline_of_the_scope_ends_a_request)
{
    on_web(&defaults, scopes_deadline);
}
