/* SPDX-License-Identifier: MIT */
/*
 * The driver: the fiber that is libcurl's event loop.
 *
 *   D1  It sleeps only when there is no post, no event and no timer due: a step that found anything
 *       is followed by another.  That also empties the epoll set before each sleep, which the
 *       edge-triggered watch on the set needs.
 *   D2  It runs under a shield, so that fibers which clean up behind a shield can still use the
 *       session while the runtime stops.  When the stop breaks shields, it ends: every transfer
 *       fails with -ESHUTDOWN, and so does whatever is posted later.
 *   D3  Between steps it yields, so that a session under load does not keep its worker for itself.
 *   D4  A socket that libcurl does not watch, because its connection is idle in the pool, stays in
 *       the set for one event: then the peer has closed it, and the pool is swept.
 *   D5  Before it sleeps it has libcurl read from every HTTP/2 connection once more, until nothing
 *       comes of that.  libcurl 7.88 reads for all streams of a connection at once.  When a block
 *       is too large for a stream's buffer it stops in the middle, hands out the rest of that block
 *       at the next read, and then asks for no further call, though what is behind the block has
 *       been read from the socket and no event tells of it any more.  The nudge is that call: any
 *       stream that may read takes up what is left, and whatever that brings to other streams sets
 *       libcurl's timer, so another step and another nudge follow.  That libcurl called us at all
 *       counts as "something came of it", also when we told it to wait: then the next stream has
 *       its turn.
 *   D6  One thing sets no timer: a window update for a stream that sends, read on behalf of a
 *       stream that ran after it.  So while there are bodies to send, it looks again soon.
 *   D7  `sockets` has those that libcurl had us open, from their opening to their closing.  It also
 *       asks us to watch one that it opened by itself, to hear from its resolver's thread: that one
 *       is not a connection, is not ours to close, and is not in there.
 *   D8  When we are told to watch a socket no more, its number may be another's: libcurl 7.88
 *       closes a socket that is not connected yet by itself, without the callback it was given,
 *       and tells us only then.  So a socket is never added at that moment, only changed, and the
 *       kernel decides: its key is the open file with the number, so a stranger's is not found.
 *       Then ours was closed, and leaves `sockets`; also when its number is opened again.
 *   D9  Where libcurl lacks memory to have a socket watched, it says so to whoever called it, and the
 *       transfer waits for ever.  It does not say which: all of them fail.  So do they where the
 *       kernel lacks some for the set.
 *
 * Nobody else calls in here, but session.c to make and end it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/watch.h"
#include "io/http/session.h"
#include "io/http/transfer.h"
#include "weft/descriptor.h"
#include "weft/fiber.h"
#include "weft/scope.h"
#include "weft/time.h"

enum { BATCH_EVENTS = 64 };

#define LOOK_AGAIN_NS (20 * WEFT_MILLISECOND) /* D6 */

#define IDLE_SOCKET (UINT64_C(1) << 32) /* in an event's data, beside the fd: D4 */

/* ---- sockets that speak HTTP/2, or may (D5) --------------------------------------------- */

/* Have room for one more.  Returns: false when there is no memory. */
static bool reserve_socket(struct weft_http_session *session)
{
    size_t room = session->socket_room ? 2 * session->socket_room : 4;

    if (session->socket_count < session->socket_room)
        return true;
    struct http_socket *sockets = reallocarray(session->sockets, room, sizeof(*sockets));
    if (!sockets)
        return false;
    session->sockets = sockets;
    session->socket_room = room;
    return true;
}

/* NULL: it is not ours (D7). */
static struct http_socket *find_socket(struct weft_http_session *session, int fd)
{
    for (size_t i = 0; i < session->socket_count; i++) {
        if (session->sockets[i].fd == fd)
            return &session->sockets[i];
    }
    return NULL;
}

static void set_two(struct weft_http_session *session, struct http_socket *socket, bool two)
{
    if (two && !socket->two)
        session->two_count++;
    if (!two && socket->two)
        session->two_count--;
    socket->two = two;
}

static void remove_socket(struct weft_http_session *session, int fd)
{
    struct http_socket *socket = find_socket(session, fd);

    if (!socket)
        return;
    set_two(session, socket, false);
    *socket = session->sockets[--session->socket_count];
    atomic_fetch_sub_explicit(&session->open_count, 1, memory_order_relaxed);
}

void driver_forget_two(struct weft_http_session *session, int fd)
{
    struct http_socket *socket = find_socket(session, fd);

    if (socket)
        set_two(session, socket, false);
}

/* ---- what libcurl asks for -------------------------------------------------------------- */

static uint32_t events_for(int what)
{
    uint32_t events = 0;

    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    return events;
}

/* D8.  Not by the function of libc: ThreadSanitizer takes any use of a number that another thread
 * opens for a race, and this one is decided by the kernel.  Returns: whether it was in the set. */
static bool change_if_ours(int epoll_fd, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};

    return syscall(SYS_epoll_ctl, epoll_fd, operation, fd, &event) == 0;
}

/* libcurl watches it no more. */
static void unwatch_socket(struct weft_http_session *session, int fd)
{
    if (!find_socket(session, fd)) /* the resolver's, which it closes next (D7) */
        change_if_ours(session->epoll_fd, EPOLL_CTL_DEL, fd, 0, 0);
    else if (!change_if_ours(session->epoll_fd, EPOLL_CTL_MOD, fd,
                             EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                             (uint64_t)fd | IDLE_SOCKET)) /* D4 */
        remove_socket(session, fd);                       /* D8 */
}

/* A socket is added the first time it is heard of, and changed from then on, also after it was
 * idle: which of them it is, the set knows. */
static void set_socket(struct weft_http_session *session, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)fd};

    if (epoll_ctl(session->epoll_fd, EPOLL_CTL_MOD, fd, &event) < 0 &&
        epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        session->lacks_memory = true; /* D9 */
}

static void set_socket_of(struct http_transfer *transfer, int fd)
{
    struct http_socket *socket = find_socket(transfer->session, fd);

    if (!socket)
        return;
    if (!transfer->headed && setup_may_be_two(transfer))
        set_two(transfer->session, socket, true);
    transfer->fd = fd;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct weft_http_session *session = arg;
    char *transfer = NULL;
    (void)known;

    if (what == CURL_POLL_REMOVE) {
        unwatch_socket(session, fd);
        return 0;
    }
    set_socket(session, fd, events_for(what));
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    if (transfer)
        set_socket_of((struct http_transfer *)(void *)transfer, fd);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct weft_http_session *session = arg;
    (void)multi;

    session->timer_ns = timeout_ms < 0
                            ? WEFT_NO_DEADLINE
                            : weft_deadline_after((uint64_t)timeout_ms * WEFT_MILLISECOND);
    return 0;
}

/* Close-on-exec, which libcurl leaves out. */
curl_socket_t on_socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct weft_http_session *session = arg;
    (void)purpose;

    if (!reserve_socket(session))
        return CURL_SOCKET_BAD;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    remove_socket(session, fd); /* D8 */
    session->sockets[session->socket_count++] = (struct http_socket){.fd = fd};
    atomic_fetch_add_explicit(&session->open_count, 1, memory_order_relaxed);
    return fd;
}

/* Out of the set first: a duplicate in a child that is just being made must not keep it there. */
int on_socket_close(void *arg, curl_socket_t fd)
{
    struct weft_http_session *session = arg;

    epoll_ctl(session->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    remove_socket(session, fd);
    return close(fd);
}

/* ---- steps ------------------------------------------------------------------------------ */

static bool run_posts(struct weft_http_session *session)
{
    struct http_post *post;
    unsigned wants;
    bool any = false;

    while ((post = post_next(session, &wants))) {
        post->run(session, post, wants);
        any = true;
    }
    return any;
}

static int select_bits(uint32_t events)
{
    int bits = 0;

    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        bits |= CURL_CSELECT_ERR;
    return bits;
}

static void act(struct weft_http_session *session, curl_socket_t fd, int bits)
{
    int running;

    if (curl_multi_socket_action(session->multi, fd, bits, &running) == CURLM_OUT_OF_MEMORY)
        session->lacks_memory = true; /* D9 */
}

static bool run_events(struct weft_http_session *session)
{
    struct epoll_event events[BATCH_EVENTS];
    int count = epoll_wait(session->epoll_fd, events, BATCH_EVENTS, 0);

    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 & IDLE_SOCKET)
            sweep_soon(session);
        else
            act(session, (curl_socket_t)events[i].data.u64, select_bits(events[i].events));
    }
    return count > 0;
}

static bool run_timer(struct weft_http_session *session)
{
    if (session->timer_ns > weft_now_ns())
        return false;
    session->timer_ns = WEFT_NO_DEADLINE;
    act(session, CURL_SOCKET_TIMEOUT, 0);
    return true;
}

static void run_ends(struct weft_http_session *session)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(session->multi, &left))) {
        char *transfer = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        if (message->easy_handle == session->sweeper) {
            sweep_end(session);
            continue;
        }
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        transfer_finish((struct http_transfer *)(void *)transfer, code);
    }
}

/* Outside the lock, and on a copy, as the last fiber may free the session. */
static void wake_batch(struct weft_http_session *session)
{
    struct wait_batch batch = session->batch;

    session->batch = (struct wait_batch){0};
    wait_batch_wake(&batch);
}

static void fail_active(struct weft_http_session *session, int error, const char *why)
{
    struct list *node;

    while ((node = list_first(&session->active)))
        transfer_fail(container_of(node, struct http_transfer, active), error, why);
}

/* D9 */
static void fail_if_memory_lacked(struct weft_http_session *session)
{
    if (session->lacks_memory)
        fail_active(session, -ENOMEM, "out of memory");
    session->lacks_memory = false;
}

/* Returns: whether there was anything to do. */
static bool driver_step(struct weft_http_session *session)
{
    bool any = run_posts(session);

    any |= run_events(session);
    any |= run_timer(session);
    run_ends(session);
    fail_if_memory_lacked(session);
    if (session->sweep_ns <= weft_now_ns())
        sweep_run(session);
    wake_batch(session);
    http_count(&session->turns, 1);
    if (any)
        session->nudged = false;
    return any;
}

/* D5.  Returns: whether anything came of it. */
static bool driver_nudge(struct weft_http_session *session)
{
    uint64_t calls = session->calls;

    if (session->nudged || list_empty(&session->active))
        return false;
    /* From the end: a connection that ends is taken out meanwhile. */
    for (size_t i = session->socket_count; i-- > 0;) {
        if (i < session->socket_count && session->sockets[i].two)
            act(session, session->sockets[i].fd, CURL_CSELECT_IN);
    }
    run_ends(session);
    fail_if_memory_lacked(session);
    wake_batch(session);
    session->nudged = session->calls == calls;
    return !session->nudged;
}

static bool driver_told_to_end(struct weft_http_session *session)
{
    spin_lock(&session->lock);
    bool closing = session->closing;
    spin_unlock(&session->lock);
    return closing;
}

static uint64_t driver_next_ns(const struct weft_http_session *session)
{
    uint64_t next_ns =
        session->timer_ns < session->sweep_ns ? session->timer_ns : session->sweep_ns;

    if (session->sending_count == 0 || session->two_count == 0)
        return next_ns;
    uint64_t again_ns = weft_deadline_after(LOOK_AGAIN_NS); /* D6 */
    return again_ns < next_ns ? again_ns : next_ns;
}

static void driver_run(struct weft_http_session *session)
{
    while (!driver_told_to_end(session)) {
        int r;

        if (driver_step(session) || driver_nudge(session))
            r = weft_yield(); /* D3 */
        else
            r = weft_descriptor_wait_readable(session->readiness, driver_next_ns(session));
        if (r == -ETIMEDOUT) {
            session->nudged = false; /* D6 */
            r = weft_check_cancel(); /* a timer's deadline, or the shield's end? */
        }
        if (r < 0)
            return; /* D2 */
    }
}

/* ---- beginning and end ------------------------------------------------------------------ */

/* Returns: whether nothing was posted meanwhile, and nothing can be any more. */
static bool driver_close(struct weft_http_session *session)
{
    spin_lock(&session->lock);
    session->closed = list_empty(&session->posted);
    spin_unlock(&session->lock);
    return session->closed;
}

/* Last touches: the session may be gone afterwards. */
static void driver_end(struct weft_http_session *session)
{
    do {
        run_posts(session);
        fail_active(session, -ESHUTDOWN, "the session was closed");
        wake_batch(session);
    } while (!driver_close(session));
    driver_destroy(session);
    spin_lock(&session->lock);
    post_raise_locked(session, &session->life, POST_DONE);
    struct wait_batch batch = session->batch;
    spin_unlock(&session->lock);
    wait_batch_wake(&batch);
}

int driver_main(void *arg)
{
    struct weft_http_session *session = arg;
    struct weft_scope shield;

    weft_shield_enter(&shield);
    driver_run(session);
    driver_end(session);
    weft_scope_leave(&shield);
    return 0;
}

static bool multi_setup(struct weft_http_session *session)
{
    const struct weft_http_session_options *options = &session->config.options;
    CURLM *multi = session->multi;

    return curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, session) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERDATA, session) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)options->connections) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)options->connections) ==
               CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                             (long)options->connections_per_host) == CURLM_OK;
}

static bool share_setup(struct weft_http_session *session)
{
    CURLSH *share = session->share;

    if (curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
        return false;
    return session->config.options.no_cookies ||
           curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE) == CURLSHE_OK;
}

/* Not inlined: errno's address must not be kept across a suspension by the caller. */
static __attribute__((noinline)) int make_epoll(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int driver_init(struct weft_http_session *session)
{
    session->timer_ns = session->sweep_ns = WEFT_NO_DEADLINE;
    list_init(&session->active);
    session->epoll_fd = make_epoll();
    if (session->epoll_fd < 0)
        return session->epoll_fd;
    int r = weft_descriptor_new(session->epoll_fd, &session->readiness);
    if (r < 0) {
        close(session->epoll_fd);
        return r;
    }
    session->wake_tag = watch_tag(session->readiness);
    session->multi = curl_multi_init();
    session->share = curl_share_init();
    if (session->multi && session->share && multi_setup(session) && share_setup(session))
        return 0;
    driver_destroy(session);
    return -ENOMEM;
}

void driver_destroy(struct weft_http_session *session)
{
    sweep_end(session);
    curl_multi_cleanup(session->multi); /* NULL is refused, no more */
    curl_share_cleanup(session->share);
    free(session->sockets);
    weft_descriptor_free(session->readiness); /* closes epoll_fd */
}
