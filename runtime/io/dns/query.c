/* SPDX-License-Identifier: MIT */
/*
 * A question to the name servers: c-ares does the talking, the asking fiber drives it.
 *
 *   I1  A channel serves one question and one fiber, so it needs no lock, and to cancel is to
 *       destroy it.  Making one takes some 40 microseconds, most of it reading resolv.conf: which
 *       is why a change there counts at once, and why nothing is kept between questions.
 *   I2  c-ares never suspends: its callbacks run inside the calls that we make on the channel, and
 *       what they note is looked at afterwards.
 *   I3  c-ares tells its sockets before it closes them (sock_state), so the nest never holds a
 *       number that is somebody else's by now.
 *
 *   I4  A server that fails (SERVFAIL, REFUSED) is passed over for the next one; when none is left,
 *       c-ares 1.18 says ECONNREFUSED, whatever they said.  query_open_frank is for asking again
 *       without passing over, to know.
 *
 * For fibers.  /etc/hosts and /etc/resolv.conf are read where the fiber runs: they are small, and
 * the kernel has them in memory.
 */
#include "io/dns/query.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "weft/time.h"

static int errno_of_status(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ENOTFOUND:
        return -ENOENT;
    case ARES_ENODATA:
        return -ENODATA;
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
    case ARES_ENOTIMP:
    case ARES_EFORMERR: /* what the server says of our question */
        return -EREMOTEIO;
    case ARES_EBADRESP:
    case ARES_EBADSTR:
        return -EBADMSG;
    case ARES_ETIMEOUT:
        return -ETIMEDOUT;
    case ARES_ECONNREFUSED:
        return -ECONNREFUSED;
    case ARES_EBADNAME:
    case ARES_ESERVICE:
        return -EINVAL;
    case ARES_ENOMEM:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static void sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct query *query = arg;
    uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);
    int r = nest_watch(&query->nest, fd, events);
    if (r < 0)
        query->trouble = r;
}

static int init_result;

static void init_once(void)
{
    init_result = ares_library_init(ARES_LIB_INIT_ALL);
}

/* ---- sockets ---------------------------------------------------------------------------- */

/* In place of c-ares's own, which make a socket close-on-exec too late for a fork in between, and
 * may raise SIGPIPE. */

static ares_socket_t socket_open(int family, int type, int protocol, void *arg)
{
    struct query *query = arg;
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0 && errno != EAFNOSUPPORT)
        query->trouble = -errno;
    return fd;
}

static int socket_close(ares_socket_t fd, void *arg)
{
    (void)arg;
    return close(fd);
}

static int socket_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t size,
                          void *arg)
{
    (void)arg;
    return connect(fd, address, size);
}

static ares_ssize_t socket_receive(ares_socket_t fd, void *buffer, size_t size, int flags,
                                   struct sockaddr *from, ares_socklen_t *from_size, void *arg)
{
    (void)arg;
    return recvfrom(fd, buffer, size, flags, from, from_size);
}

/* ECONNREFUSED is about the datagram before this one, whose question would wait in vain if it were
 * taken for this one's: send again, and the next receive tells it to both. */
static ares_ssize_t socket_send(ares_socket_t fd, const struct iovec *parts, int count, void *arg)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
    (void)arg;
    ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (n < 0 && errno == ECONNREFUSED)
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    return n;
}

static const struct ares_socket_functions socket_functions = {
    .asocket = socket_open,
    .aclose = socket_close,
    .aconnect = socket_connect,
    .arecvfrom = socket_receive,
    .asendv = socket_send,
};

/* ---- channels --------------------------------------------------------------------------- */

static int fill_options(const struct weft_resolver_options *options, struct ares_options *to)
{
    int mask = 0;
    if (options->timeout_ns) {
        uint64_t ms = options->timeout_ns / WEFT_MILLISECOND;
        to->timeout = ms == 0 ? 1 : ms > 3600000 ? 3600000 : (int)ms;
        mask |= ARES_OPT_TIMEOUTMS;
    }
    if (options->tries) {
        to->tries = options->tries > 100 ? 100 : (int)options->tries;
        mask |= ARES_OPT_TRIES;
    }
    if (options->ndots) {
        to->ndots = options->ndots > 15 ? 15 : (int)options->ndots;
        mask |= ARES_OPT_NDOTS;
    }
    if (options->use_tcp)
        to->flags = ARES_FLAG_USEVC;
    if (options->no_hosts_file) {
        to->lookups = (char *)"b";
        mask |= ARES_OPT_LOOKUPS;
    }
    return mask;
}

static int library_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_once);
    return errno_of_status(init_result);
}

static int channel_new(const struct weft_resolver *resolver, int flags, bool whole,
                       struct query *query)
{
    struct ares_options options = {.sock_state_cb = sock_state, .sock_state_cb_data = query};
    int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS;
    if (resolver)
        mask |= fill_options(&resolver->options, &options);
    if (whole) {
        mask |= ARES_OPT_DOMAINS; /* none */
    } else if (resolver && resolver->options.search) {
        options.domains = resolver->domains;
        options.ndomains = resolver->domain_count;
        mask |= ARES_OPT_DOMAINS;
    }
    options.flags |= flags;
    int status = ares_init_options(&query->channel, &options, mask);
    if (status != ARES_SUCCESS)
        return errno_of_status(status);
    ares_set_socket_functions(query->channel, &socket_functions, query);
    if (resolver && resolver->servers)
        status = ares_set_servers_ports_csv(query->channel, resolver->servers);
    if (status != ARES_SUCCESS)
        ares_destroy(query->channel);
    return errno_of_status(status);
}

static int query_begin(struct query *query, const struct weft_resolver *resolver, int flags,
                       bool whole)
{
    *query = (struct query){0};
    int r = library_init();
    if (r == 0)
        r = nest_open(&query->nest);
    if (r < 0)
        return r;
    r = channel_new(resolver, flags, whole, query);
    if (r < 0)
        nest_close(&query->nest);
    return r;
}

int query_open(struct query *query, const struct weft_resolver *resolver)
{
    return query_begin(query, resolver, 0, false);
}

int query_open_whole(struct query *query, const struct weft_resolver *resolver)
{
    return query_begin(query, resolver, 0, true);
}

int query_open_frank(struct query *query, const struct weft_resolver *resolver)
{
    return query_begin(query, resolver, ARES_FLAG_NOCHECKRESP, false);
}

void query_close(struct query *query)
{
    ares_destroy(query->channel); /* before the nest, which it still tells of its sockets */
    nest_close(&query->nest);
}

int query_ndots(const struct query *query)
{
    struct ares_options options;
    int mask, ndots = 1;
    if (ares_save_options(query->channel, &options, &mask) != ARES_SUCCESS)
        return ndots;
    ndots = options.ndots;
    ares_destroy_options(&options);
    return ndots;
}

/* ---- driving one ------------------------------------------------------------------------ */

/* When c-ares wants to be called again, whatever happens. */
uint64_t query_next_ns(const struct query *query)
{
    struct timeval time;
    if (!ares_timeout(query->channel, NULL, &time))
        return WEFT_NO_DEADLINE;
    return weft_deadline_after((uint64_t)time.tv_sec * WEFT_SECOND +
                               (uint64_t)time.tv_usec * WEFT_MICROSECOND);
}

static void process_events(struct query *query)
{
    struct epoll_event events[NEST_EVENTS];
    int count;
    while (!query->over && (count = nest_look(&query->nest, events)) > 0)
        for (int i = 0; i < count && !query->over; i++) {
            bool failed = events[i].events & (EPOLLERR | EPOLLHUP);
            bool in = failed || events[i].events & EPOLLIN;
            bool out = failed || events[i].events & EPOLLOUT;
            ares_process_fd(query->channel, in ? events[i].data.fd : ARES_SOCKET_BAD,
                            out ? events[i].data.fd : ARES_SOCKET_BAD);
        }
}

void query_step(struct query *query)
{
    process_events(query);
    if (!query->over)
        ares_process_fd(query->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

int query_result(const struct query *query)
{
    if (query->over && query->status == ARES_SUCCESS)
        return 0;
    /* c-ares would call our own trouble a server's. */
    return query->trouble < 0 ? query->trouble : errno_of_status(query->status);
}

int query_await(struct query *query, uint64_t deadline_ns)
{
    while (!query->over && query->trouble == 0) {
        int r = nest_wait(&query->nest, query_next_ns(query), deadline_ns);
        if (r == 0)
            process_events(query);
        else if (r == -EAGAIN)
            ares_process_fd(query->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        else
            return r;
    }
    return query_result(query);
}
