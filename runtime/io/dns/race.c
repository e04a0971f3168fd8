/* SPDX-License-Identifier: MIT */
/*
 * Connecting to one of several addresses: happy eyeballs, RFC 8305.
 *
 *   I1  One fiber runs the whole race: it starts the sockets one after the other and waits for all
 *       of them at once.  Whatever ends it, a cancel too, closes every socket but the winner's.
 *   I2  The next address has its turn when the one before failed, or after the stagger.
 *   I3  The addresses come in the resolver's order (RFC 6724), but the families take turns.
 *
 * For fibers.  It waits for both families' answers before it begins, as getaddrinfo does: RFC
 * 8305's head start for an answer that is there already would mix the search domains of two
 * questions.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/dns/nest.h"
#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/dns.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { STAGGER_NS = 250 * 1000 * 1000 };

struct race {
    struct nest nest;
    const struct weft_address **order;
    size_t count, next; /* next: the first that was not started */
    int *running;       /* sockets whose connect is under way */
    size_t running_count;
    uint64_t stagger_ns, next_start_ns;
    int first_error; /* what the first failure was, 0: none yet */
    int winner;      /* a connected socket, or -1 */
};

/* ---- the order -------------------------------------------------------------------------- */

/* I3.  Fills `order` from `addresses`. */
static void interleave(const struct weft_address *addresses, size_t count,
                       const struct weft_address **order)
{
    int first = weft_address_family(&addresses[0]);
    size_t of_first = 0, of_other = 0;
    for (size_t i = 0; i < count; i++) {
        bool want_first = i % 2 == 0;
        size_t *at = want_first ? &of_first : &of_other;
        while (*at < count && (weft_address_family(&addresses[*at]) == first) != want_first)
            ++*at;
        if (*at == count) { /* that family is used up */
            at = want_first ? &of_other : &of_first;
            while ((weft_address_family(&addresses[*at]) == first) == want_first)
                ++*at;
        }
        order[i] = &addresses[(*at)++];
    }
}

/* ---- the runners ------------------------------------------------------------------------ */

static void note_error(struct race *race, int error)
{
    if (race->first_error == 0)
        race->first_error = error;
    race->next_start_ns = 0; /* I2 */
}

/* Returns: the socket, *ret_connected tells whether it is done already. */
static int start_socket(const struct weft_address *address, bool *ret_connected)
{
    socklen_t size;
    const struct sockaddr *raw = weft_address_raw(address, &size);
    int fd = sys_socket(raw->sa_family, SOCK_STREAM);
    if (fd < 0)
        return fd;
    int r = sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (r == 0)
        r = sys_connect(fd, raw, size);
    if (r < 0 && r != -EINPROGRESS) {
        close(fd);
        return r;
    }
    *ret_connected = r == 0;
    return fd;
}

static void start_next(struct race *race)
{
    bool connected = false;
    int fd = start_socket(race->order[race->next++], &connected);
    if (fd < 0) {
        note_error(race, fd);
        return;
    }
    if (connected) {
        race->winner = fd;
        return;
    }
    int r = nest_watch(&race->nest, fd, EPOLLOUT);
    if (r < 0) {
        close(fd);
        note_error(race, r);
        return;
    }
    race->running[race->running_count++] = fd;
    race->next_start_ns = weft_deadline_after(race->stagger_ns);
}

static void leave_race(struct race *race, int fd)
{
    size_t i = 0;
    while (race->running[i] != fd)
        i++;
    race->running[i] = race->running[--race->running_count];
    nest_watch(&race->nest, fd, 0);
}

static void socket_is_ready(struct race *race, int fd)
{
    int error = 0;
    int r = sys_socket_option(fd, SO_ERROR, &error);
    leave_race(race, fd);
    if (r == 0 && error == 0 && race->winner < 0) {
        race->winner = fd;
        return;
    }
    close(fd);
    if (race->winner < 0)
        note_error(race, r < 0 ? r : -error);
}

static void look_at_sockets(struct race *race)
{
    struct epoll_event events[NEST_EVENTS];
    int count;
    while (race->winner < 0 && (count = nest_look(&race->nest, events)) > 0)
        for (int i = 0; i < count; i++)
            socket_is_ready(race, events[i].data.fd);
}

/* ---- the race --------------------------------------------------------------------------- */

static int race_run(struct race *race, uint64_t deadline_ns)
{
    for (;;) {
        look_at_sockets(race); /* before another one is started for nothing */
        if (race->winner >= 0)
            return 0;
        bool left = race->next < race->count;
        if (left && (race->running_count == 0 || weft_now_ns() >= race->next_start_ns)) {
            start_next(race);
            continue;
        }
        if (race->running_count == 0)
            return race->first_error;
        int r = nest_wait(&race->nest, left ? race->next_start_ns : WEFT_NO_DEADLINE, deadline_ns);
        if (r < 0 && r != -EAGAIN)
            return r;
    }
}

static void race_end(struct race *race)
{
    for (size_t i = 0; i < race->running_count; i++)
        close(race->running[i]);
    nest_close(&race->nest);
}

static int race_hold(const struct weft_address *addresses, struct race *race, uint64_t deadline_ns,
                     struct weft_stream **ret_stream)
{
    interleave(addresses, race->count, race->order);
    int r = nest_open(&race->nest);
    if (r < 0)
        return r;
    r = race_run(race, deadline_ns);
    race_end(race);
    return r < 0 ? r : stream_adopt_socket(race->winner, ret_stream);
}

int weft_connect_any(const struct weft_address *addresses, size_t count, uint64_t stagger_ns,
                     uint64_t deadline_ns, struct weft_stream **ret_stream)
{
    struct race race = {
        .count = count, .stagger_ns = stagger_ns ? stagger_ns : STAGGER_NS, .winner = -1};
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    if (count == 0)
        return -EINVAL;
    race.order = calloc(count, sizeof(struct weft_address *));
    race.running = calloc(count, sizeof(int));
    if (race.order && race.running)
        r = race_hold(addresses, &race, deadline_ns, ret_stream);
    else
        r = -ENOMEM;
    free(race.order);
    free(race.running);
    return r;
}

/* ---- by name ---------------------------------------------------------------------------- */

int weft_resolver_connect(struct weft_resolver *resolver, const char *host, uint16_t port,
                          uint64_t deadline_ns, struct weft_stream **ret_stream)
{
    struct weft_address *addresses;
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    int count = weft_resolver_resolve(resolver, host, service, AF_UNSPEC, deadline_ns, &addresses);
    if (count < 0)
        return count;
    int r = weft_connect_any(addresses, (size_t)count, 0, deadline_ns, ret_stream);
    weft_addresses_free(addresses);
    return r;
}

int weft_connect(const char *host, uint16_t port, uint64_t deadline_ns,
                 struct weft_stream **ret_stream)
{
    return weft_resolver_connect(NULL, host, port, deadline_ns, ret_stream);
}
