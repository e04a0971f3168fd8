/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <netdb.h>

#include "support/web.h"

static const struct weft_http_session_options defaults;

/* ---- making and freeing ----------------------------------------------------------------- */

static int options_body(void *arg)
{
    struct weft_http_field bad = {"X Y", "z"};
    struct weft_http_session_options wrong[] = {
        {.headers = &bad, .header_count = 1},
        {.header_count = 1},
        {.version = (enum weft_http_version)7},
        {.key_file = "key"},
        {.connections = UINT32_MAX},
        {.base_url = "ftp://example.org/"},
    };
    struct weft_http_session *session = NULL;
    struct weft_scope scope;
    (void)arg;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        EXPECT_EQ(weft_http_session_new(&wrong[i], &session), -EINVAL);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_http_session_new(NULL, &session), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT(!session);
    weft_http_session_free(NULL);
    weft_http_response_free(NULL);
    EXPECT_EQ(weft_http_session_new(NULL, &session), 0);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    weft_http_session_free(session); /* whatever the scope says */
    weft_scope_leave(&scope);
    return 0;
}

Test(http_session, wrong_options_and_a_cancelled_scope_make_no_session)
{
    on_fibers_counting_fds(1, options_body, NULL);
}

struct client {
    struct web *web;
    const char *path;
    int result; /* of the request, or of reading its body */
    bool got_head;
    atomic_int begun;
};

static int fetch(void *arg)
{
    struct client *client = arg;
    struct weft_http_response *response;
    char url[128];
    char block[1000];
    ssize_t n;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", client->web->server.port, client->path);
    atomic_store(&client->begun, 1);
    client->result = weft_http_get(client->web->session, url, &response);
    if (client->result < 0)
        return 0;
    client->got_head = true;
    while ((n = weft_http_response_read(response, block, sizeof(block))) > 0)
        continue;
    client->result = (int)n;
    weft_http_response_free(response);
    return 0;
}

static int free_busy_body(void *arg)
{
    struct web web;
    struct client clients[] = {{.path = "/never"}, {.path = "/stall/100"}, {.path = "/never"}};
    struct weft_group group;
    (void)arg;
    http_server_start(&web.server);
    EXPECT_EQ(weft_http_session_new(NULL, &web.session), 0);
    weft_group_init(&group);
    for (int i = 0; i < 3; i++) {
        clients[i].web = &web;
        EXPECT_EQ(weft_group_spawn(&group, "client", fetch, &clients[i]), 0);
    }
    await_count(&web.server.stalled, 3);
    weft_http_session_free(web.session);
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(clients[i].result, -ESHUTDOWN);
    await_count(&web.server.open, 0);
    http_server_stop(&web.server);
    return 0;
}

Test(http_session, freeing_a_busy_session_ends_the_transfers_of_others)
{
    on_fibers_counting_fds(2, free_busy_body, NULL);
}

/* The runtime stops: whoever is behind a shield can still say goodbye. */
static int goodbye_body(void *arg)
{
    struct web web;
    struct weft_scope shield;
    (void)arg;
    weft_shield_enter(&shield);
    http_server_start(&web.server);
    EXPECT_EQ(weft_http_session_new(NULL, &web.session), 0);
    web_works(&web);
    weft_runtime_stop(weft_runtime_self());
    web_works(&web); /* over the connection that there is */
    EXPECT_EQ(atomic_load(&web.server.connections), 1);
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    weft_scope_leave(&shield);
    EXPECT_EQ(weft_check_cancel(), -ECANCELED);
    return 0;
}

Test(http_session, a_shielded_fiber_can_use_it_while_the_runtime_stops)
{
    on_fibers_counting_fds(2, goodbye_body, NULL);
}

struct late {
    struct weft_http_session *session;
    int result;
};

static int wait_for_stop(void *arg)
{
    struct late *late = arg;
    struct weft_http_response *response;
    struct weft_scope shield;
    weft_shield_enter(&shield);
    while (weft_sleep(10 * WEFT_MILLISECOND) == 0)
        continue; /* until shields break */
    late->result = weft_http_get(late->session, "http://127.0.0.1:1/", &response);
    weft_http_session_free(late->session);
    weft_scope_leave(&shield);
    return 0;
}

static int make_and_stop(void *arg)
{
    struct late *late = arg;
    EXPECT_EQ(weft_http_session_new(NULL, &late->session), 0);
    EXPECT_EQ(weft_runtime_spawn(weft_runtime_self(), "late", wait_for_stop, late), 0);
    return 0;
}

Test(http_session, when_the_stops_grace_is_over_it_ends_and_can_be_freed)
{
    struct weft_options options;
    struct late late = {.result = 1};
    weft_options_init(&options);
    options.workers = 2;
    options.handle_signals = false;
    options.grace_ns = 2 * WEFT_SECOND; /* and as long again to end */
    int fds = open_fds();
    cr_assert_eq(weft_run(&options, make_and_stop, &late), 0);
    cr_assert(late.result == -ESHUTDOWN || late.result == -ECANCELED);
    cr_assert_eq(open_fds(), fds);
}

/* ---- connections ------------------------------------------------------------------------ */

static void reuse(struct web *web)
{
    struct weft_http_info info;
    struct weft_http_session_stats stats;
    for (int i = 0; i < 20; i++) {
        struct weft_http_response *response = web_get(web, "/bytes/1000");
        EXPECT_EQ(web_read_pattern(response, 1000), 0);
        weft_http_response_info(response, &info);
        EXPECT_EQ(info.reused, i > 0);
        weft_http_response_free(response);
    }
    weft_http_session_stats(web->session, &stats);
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
    EXPECT(stats.connections == 1 && stats.open == 1 && stats.started == 20 && stats.active == 0);
}

Test(http_session, one_connection_serves_many_requests)
{
    on_web(&defaults, reuse);
}

static void not_kept(struct web *web)
{
    static const char *const paths[] = {"/close-after", "/hang-up", "/to-end/5"};
    for (int i = 0; i < 12; i++)
        free(web_fetch(web,
                       &(struct weft_http_request){.url = http_url(&web->server, paths[i % 3])}));
    web_works(web);
    EXPECT(atomic_load(&web->server.connections) >= 12);
}

Test(http_session, connections_that_the_server_closes_are_not_used_again)
{
    on_web(&defaults, not_kept);
}

static void limited(struct web *web)
{
    enum { CLIENTS = 24 };
    struct client clients[CLIENTS];
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.web = web, .path = "/drip/50", .result = 1};
        EXPECT_EQ(weft_group_spawn(&group, "client", fetch, &clients[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(clients[i].result, 0);
    EXPECT(atomic_load(&web->server.most) <= 3);
    EXPECT_EQ(atomic_load(&web->server.requests), CLIENTS);
}

Test(http_session, no_more_connections_to_a_host_than_allowed)
{
    struct weft_http_session_options options = {.connections_per_host = 3};
    on_web(&options, limited);
}

Test(http_session, no_more_connections_than_allowed)
{
    struct weft_http_session_options options = {.connections = 3};
    on_web(&options, limited);
}

/* Those that wait for a connection can be cancelled, and the limit's places are not lost. */
static void cancelled_in_line(struct web *web)
{
    struct client clients[4];
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < 4; i++) {
        clients[i] = (struct client){.web = web, .path = "/never", .result = 1};
        EXPECT_EQ(weft_group_spawn(&group, "client", fetch, &clients[i]), 0);
    }
    await_count(&web->server.stalled, 1);
    struct weft_http_session_stats stats;
    do {
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
        weft_http_session_stats(web->session, &stats);
    } while (stats.active < 4);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < 4; i++)
        EXPECT_EQ(clients[i].result, -ECANCELED);
    web_works(web);
}

Test(http_session, a_request_that_waits_for_a_connection_can_be_cancelled)
{
    struct weft_http_session_options options = {.connections = 1};
    on_web(&options, cancelled_in_line);
}

static void parallel(struct web *web)
{
    enum { CLIENTS = 200 };
    static struct client clients[CLIENTS];
    static const char *const paths[] = {"/bytes/100000", "/chunked/5000", "/echo",  "/hop/2",
                                        "/drip/20",      "/gzip",         "/mirror"};
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.web = web, .path = paths[i % 7], .result = 1};
        EXPECT_EQ(weft_group_spawn(&group, "client", fetch, &clients[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(clients[i].result, 0);
}

Test(http_session, two_hundred_transfers_at_once)
{
    on_web(&defaults, parallel);
}

static void peer_closes_idle(struct web *web)
{
    struct weft_http_session_stats stats;
    free(web_fetch(web, &(struct weft_http_request){.url = http_url(&web->server, "/hang-up")}));
    uint64_t end_ns = soon();
    do {
        EXPECT(weft_now_ns() < end_ns && weft_sleep(10 * WEFT_MILLISECOND) == 0);
        weft_http_session_stats(web->session, &stats);
    } while (stats.open > 0);
    web_works(web);
}

Test(http_session, an_idle_connection_that_the_peer_closes_is_closed_here_too)
{
    on_web(&defaults, peer_closes_idle);
}

static void kept_too_long(struct web *web)
{
    web_works(web);
    EXPECT_EQ(atomic_load(&web->server.connections), 1);
    await_count(&web->server.open, 0);
    struct weft_http_session_stats before, after;
    uint64_t end_ns = soon();
    do { /* until it sleeps */
        weft_http_session_stats(web->session, &before);
        EXPECT(weft_now_ns() < end_ns && weft_sleep(300 * WEFT_MILLISECOND) == 0);
        weft_http_session_stats(web->session, &after);
    } while (after.turns != before.turns);
    EXPECT_EQ(after.open, 0);
    web_works(web);
}

Test(http_session, idle_connections_are_closed_after_a_while_and_then_nothing_wakes_it)
{
    struct weft_http_session_options options = {.keep_ns = 1};
    on_web(&options, kept_too_long);
}

static int unix_body(void *arg)
{
    struct web web;
    char path[108];
    (void)arg;
    http_server_start(&web.server);
    struct weft_listener *tcp = web.server.listener;
    socket_path(path, "http");
    weft_group_cancel(&web.server.group);
    EXPECT_EQ(weft_group_join(&web.server.group), -ECANCELED);
    weft_listener_free(tcp);
    EXPECT_EQ(weft_listen_unix(path, 0600, &web.server.listener), 0);
    weft_group_init(&web.server.group);
    EXPECT_EQ(weft_group_spawn(&web.server.group, "server", serve_all, &web.server), 0);
    struct weft_http_session_options options = {.unix_path = path};
    EXPECT_EQ(weft_http_session_new(&options, &web.session), 0);
    char *text = web_fetch(&web, &(struct weft_http_request){.url = "http://daemon/echo"});
    EXPECT(strstr(text, "\nHost: daemon\n"));
    free(text);
    weft_http_session_free(web.session);
    http_server_stop(&web.server);
    unlink(path);
    return 0;
}

Test(http_session, a_unix_socket_can_be_spoken_to)
{
    on_fibers_counting_fds(2, unix_body, NULL);
}

static void unreachable(struct web *web)
{
    web_fails(web, &(struct weft_http_request){.url = "http://127.0.0.1:1/"}, -ECONNREFUSED,
              "127.0.0.1 port 1");
    web_works(web);
}

Test(http_session, nobody_listening_is_econnrefused)
{
    on_web(&defaults, unreachable);
}
