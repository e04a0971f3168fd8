/* SPDX-License-Identifier: MIT */
/* HTTP/2, against nghttpd (Debian's nghttp2-server); without it these tests pass and say so. */
#include "support/test.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "support/web.h"
#include "unit/tls/certificates.h"

enum { LARGE = 3000000 };

struct nghttpd {
    struct folder folder;
    char ca[128], certificate[128], key[128];
    uint16_t port;
    pid_t pid;
    const struct weft_http_session_options *options;
    void (*fn)(struct nghttpd *server, struct weft_http_session *session);
};

static const char *in_folder(struct nghttpd *server, const char *name)
{
    return folder_file(&server->folder, name);
}

static void write_bytes(const char *path, size_t size)
{
    FILE *file = fopen(path, "we");
    EXPECT(file != NULL);
    for (size_t i = 0; i < size; i++)
        fputc(pattern(i), file);
    EXPECT_EQ(fclose(file), 0);
}

static void write_certificates(struct nghttpd *server)
{
    struct identity authority =
        identity_make(&(struct identity_options){.name = "CA", .authority = true}, NULL);
    struct identity identity = identity_make(
        &(struct identity_options){.name = "server", .names = "IP:127.0.0.1"}, &authority);
    snprintf(server->ca, sizeof(server->ca), "%s",
             folder_write(&server->folder, "ca.pem", authority.chain_pem));
    snprintf(server->certificate, sizeof(server->certificate), "%s",
             folder_write(&server->folder, "cert.pem", identity.chain_pem));
    snprintf(server->key, sizeof(server->key), "%s",
             folder_write(&server->folder, "key.pem", identity.key_pem));
    identity_destroy(&authority);
    identity_destroy(&identity);
}

static int bound_socket(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* A port that was free a moment ago: nghttpd cannot be asked which one it got. */
static uint16_t free_port(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int fd = bound_socket(0);
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static bool answers(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return connected;
}

__attribute__((noreturn)) static void exec_nghttpd(struct nghttpd *server, bool tls)
{
    char port[16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(port, sizeof(port), "%u", server->port);
    if (tls)
        execlp("nghttpd", "nghttpd", "-a", "127.0.0.1", "-d", server->folder.path, "--echo-upload",
               port, server->key, server->certificate, NULL);
    else
        execlp("nghttpd", "nghttpd", "-a", "127.0.0.1", "-d", server->folder.path, "--echo-upload",
               "--no-tls", port, NULL);
    _exit(127);
}

/* Returns: false when there is no nghttpd here. */
static bool nghttpd_start(struct nghttpd *server, bool tls)
{
    for (;;) { /* until nobody took the port in between */
        int status;
        server->port = free_port();
        server->pid = fork();
        EXPECT(server->pid >= 0);
        if (server->pid == 0)
            exec_nghttpd(server, tls);
        while (waitpid(server->pid, &status, WNOHANG) == 0) {
            if (answers(server->port))
                return true;
            usleep(10000);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            return false;
    }
}

static int nghttpd_main(void *arg)
{
    struct nghttpd *server = arg;
    struct weft_http_session *session;
    EXPECT_EQ(weft_http_session_new(server->options, &session), 0);
    server->fn(server, session);
    weft_http_session_free(session);
    return 0;
}

static void on_nghttpd(bool tls, struct weft_http_session_options *options,
                       void (*fn)(struct nghttpd *server, struct weft_http_session *session))
{
    static const char *const files[] = {"ca.pem", "cert.pem", "key.pem", "large", "small", NULL};
    struct nghttpd server = {.folder = folder_make(), .options = options, .fn = fn};
    write_certificates(&server);
    write_bytes(in_folder(&server, "large"), LARGE);
    write_bytes(in_folder(&server, "small"), 10);
    if (tls)
        options->ca_file = server.ca;
    if (nghttpd_start(&server, tls)) {
        on_fibers_counting_fds(2, nghttpd_main, &server);
        kill(server.pid, SIGKILL);
        waitpid(server.pid, NULL, 0);
    } else {
        fprintf(stderr, "skipped: there is no nghttpd here (Debian: nghttp2-server)\n");
    }
    folder_remove(&server.folder, files);
}

/* ---- what is fetched -------------------------------------------------------------------- */

struct fetch {
    struct nghttpd *server;
    struct weft_http_session *session;
    const char *path;
    size_t size;
    bool tls;
};

static struct weft_http_response *begin(const struct fetch *fetch, struct weft_http_body body)
{
    char url[128];
    struct weft_http_why why = {""};
    struct weft_http_response *response;
    snprintf(url, sizeof(url), "%s://127.0.0.1:%u/%s", fetch->tls ? "https" : "http",
             fetch->server->port, fetch->path);
    int r = weft_http_send(fetch->session,
                           &(struct weft_http_request){.url = url, .body = body, .why = &why},
                           &response);
    if (r < 0)
        fprintf(stderr, "%s: %d: %s\n", url, r, why.text);
    EXPECT_EQ(r, 0);
    EXPECT_EQ(weft_http_response_status(response), 200);
    EXPECT_EQ(weft_http_response_version(response), 20);
    return response;
}

static int fetch_whole(void *arg)
{
    const struct fetch *fetch = arg;
    struct weft_http_response *response = begin(fetch, (struct weft_http_body){0});
    EXPECT_EQ(web_read_pattern(response, fetch->size), 0);
    weft_http_response_free(response);
    return 0;
}

static void fetch_many(const struct fetch *fetch, int count)
{
    struct weft_group group;
    weft_group_init(&group);
    for (int i = 0; i < count; i++)
        EXPECT_EQ(weft_group_spawn(&group, "fetch", fetch_whole, (void *)(uintptr_t)fetch), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
}

static void expect_one_connection(struct weft_http_session *session)
{
    struct weft_http_session_stats stats;
    weft_http_session_stats(session, &stats);
    EXPECT_EQ(stats.connections, 1);
}

static void without_tls(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch small = {server, session, "small", 10, false};
    struct fetch large = {server, session, "large", LARGE, false};
    fetch_many(&small, 20);
    fetch_many(&large, 3);
}

Test(http_two, it_is_spoken_without_tls_when_that_is_known_before)
{
    struct weft_http_session_options options = {.version = WEFT_HTTP_2_DIRECTLY};
    on_nghttpd(false, &options, without_tls);
}

static void negotiated(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch small = {server, session, "small", 10, true};
    struct fetch large = {server, session, "large", LARGE, true};
    fetch_many(&small, 50);
    fetch_many(&large, 2);
    expect_one_connection(session);
}

Test(http_two, it_is_negotiated_over_tls_and_many_requests_share_a_connection)
{
    struct weft_http_session_options options = {0};
    on_nghttpd(true, &options, negotiated);
    options = (struct weft_http_session_options){.version = WEFT_HTTP_2_DIRECTLY};
    on_nghttpd(true, &options, negotiated);
}

/* One that nobody reads, and others beside it. */
static void held_up(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch large = {server, session, "large", LARGE, true};
    struct weft_http_info info;
    struct weft_http_response *slow = begin(&large, (struct weft_http_body){0});
    fetch_many(&large, 2);
    weft_http_response_info(slow, &info);
    EXPECT(info.received < LARGE);
    EXPECT_EQ(web_read_pattern(slow, LARGE), 0);
    weft_http_response_free(slow);
    expect_one_connection(session);
}

Test(http_two, a_stream_that_nobody_reads_does_not_stop_the_others)
{
    struct weft_http_session_options options = {.read_ahead = 64 * 1024};
    on_nghttpd(true, &options, held_up);
}

static void aborted(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch large = {server, session, "large", LARGE, true};
    struct fetch small = {server, session, "small", 10, true};
    for (int i = 0; i < 10; i++) {
        struct weft_scope scope;
        char byte;
        struct weft_http_response *response = begin(&large, (struct weft_http_body){0});
        weft_scope_enter(&scope, WEFT_NO_DEADLINE);
        weft_scope_cancel(&scope);
        EXPECT_EQ(weft_http_response_read(response, &byte, 1), -ECANCELED);
        EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
        weft_http_response_free(response);
        fetch_many(&small, 3);
    }
    expect_one_connection(session);
}

Test(http_two, an_aborted_stream_leaves_the_connection_to_the_others)
{
    struct weft_http_session_options options = {0};
    on_nghttpd(true, &options, aborted);
}

/* ---- what is sent ----------------------------------------------------------------------- */

static ssize_t produce(void *arg, void *buffer, size_t size)
{
    size_t *at = arg;
    size_t left = LARGE - *at, n = left < size ? left : size;
    for (size_t i = 0; i < n; i++)
        ((char *)buffer)[i] = pattern(*at + i);
    *at += n;
    return (ssize_t)n;
}

static void uploaded(struct nghttpd *server, struct weft_http_session *session)
{
    struct fetch echo = {server, session, "small", 0, true};
    size_t at = 0;
    struct weft_http_response *response =
        begin(&echo, weft_http_stream(produce, NULL, &at, -1, "text/plain"));
    EXPECT_EQ(web_read_pattern(response, LARGE), 0);
    weft_http_response_free(response);
    response = begin(&echo, weft_http_bytes("abcde", 5, "text/plain"));
    EXPECT_EQ(web_read_pattern(response, 5), 0);
    weft_http_response_free(response);
    expect_one_connection(session);
}

Test(http_two, bodies_are_sent_piece_by_piece)
{
    struct weft_http_session_options options = {0};
    on_nghttpd(true, &options, uploaded);
}

static void not_spoken(struct web *web)
{
    struct weft_http_response *response;
    int r = weft_http_get(web->session, http_url(&web->server, "/echo"), &response);
    EXPECT(r == -EPROTO || r == -ECONNRESET || r == -EPIPE); /* who notices first */
}

Test(http_two, a_server_that_does_not_speak_it_is_an_error)
{
    struct weft_http_session_options options = {.version = WEFT_HTTP_2_DIRECTLY};
    on_web(&options, not_spoken);
}
