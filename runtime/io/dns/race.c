/* SPDX-License-Identifier: MIT */
/*
 * Connecting to one of several addresses: happy eyeballs, RFC 8305.
 *
 *   I1  One fiber runs the whole race: it asks for the addresses, starts the sockets one after the
 *       other, and waits for all of that at once.  Whatever ends it, a cancel too, closes every
 *       socket but the winner's, and the questions.
 *   I2  The next address has its turn when the one before failed, or after the stagger.
 *   I3  The addresses of a family come in the resolver's order (RFC 6724), but the families take
 *       turns; IPv6 begins, or what a given list begins with.
 *   I4  A name is asked for by two questions.  The race begins when IPv6 is answered, or IPv4 is
 *       and the head start of IPv6 is over; whatever is answered later joins in.
 *   I5  Two questions could find their answers in different search domains, so a name is asked for
 *       so only as it is written.  A name with too few dots for that, and one of which nothing
 *       came, is resolved as weft_resolve does, both families at once.
 *
 * For fibers.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/dns/query.h"
#include "io/stream/stream.h"
#include "io/sys.h"
#include "weft/dns.h"
#include "weft/fiber.h"
#include "weft/time.h"

enum { STAGGER_NS = 250 * 1000 * 1000, HEAD_START_NS = 50 * 1000 * 1000 };

/* The addresses of one family, as far as they are known. */
struct runners {
    const struct weft_address **items;
    size_t count, next; /* next: the first that was not started */
};

/* A question for one family (I4).  Its answer is what runners point into. */
struct question {
    struct query query;
    struct address_list list;
    bool open, over;
    int result; /* once over: 0 or -errno */
};

enum { FIRST, OTHER, FAMILIES }; /* of a name: IPv6, IPv4 */

struct race {
    struct nest nest;
    struct runners runners[FAMILIES];
    struct question questions[FAMILIES]; /* not open: everything is known */
    int turn;                            /* whose it is: FIRST or OTHER (I3) */
    int *running;                        /* sockets whose connect is under way */
    size_t running_count, running_room;
    uint64_t stagger_ns, next_start_ns, head_start_end_ns;
    int first_error; /* what the first failure was, 0: none yet */
    int winner;      /* a connected socket, or -1 */
};

/* ---- the order -------------------------------------------------------------------------- */

/* Add those whose family is `family`, or is not.  Errors: -ENOMEM. */
static int add_runners(struct race *race, int which, const struct weft_address *addresses,
                       size_t count, int family, bool same)
{
    struct runners *runners = &race->runners[which];
    int *running = reallocarray(race->running, race->running_room + count + 1, sizeof(*running));
    if (!running)
        return -ENOMEM;
    race->running = running;
    race->running_room += count;
    runners->items = calloc(count + 1, sizeof(struct weft_address *));
    if (!runners->items)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if ((weft_address_family(&addresses[i]) == family) == same)
            runners->items[runners->count++] = &addresses[i];
    return 0;
}

static bool any_left(const struct race *race)
{
    return race->runners[FIRST].next < race->runners[FIRST].count ||
           race->runners[OTHER].next < race->runners[OTHER].count;
}

/* I3 */
static const struct weft_address *next_runner(struct race *race)
{
    struct runners *runners = &race->runners[race->turn];
    if (runners->next == runners->count) /* that family is used up, or not known yet */
        runners = &race->runners[race->turn = !race->turn];
    race->turn = !race->turn;
    return runners->items[runners->next++];
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
    int fd = start_socket(next_runner(race), &connected);
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

/* ---- the questions (I4) ----------------------------------------------------------------- */

static bool is_asking(const struct race *race, int which)
{
    return race->questions[which].open && !race->questions[which].over;
}

static void take_answer(struct race *race, int which)
{
    struct question *question = &race->questions[which];
    question->over = true;
    question->result = addresses_result(&question->query);
    if (question->result == 0)
        question->result =
            add_runners(race, which, question->list.items, (size_t)question->list.count,
                        which == FIRST ? AF_INET6 : AF_INET, true);
    if (which == OTHER && question->result == 0 && is_asking(race, FIRST))
        race->head_start_end_ns = weft_deadline_after(HEAD_START_NS);
}

static void look_at_questions(struct race *race)
{
    for (int which = FIRST; which < FAMILIES; which++) {
        struct question *question = &race->questions[which];
        if (!is_asking(race, which))
            continue;
        query_step(&question->query);
        if (question->query.over || question->query.trouble < 0)
            take_answer(race, which);
    }
}

/* Whether IPv6 has come, or has had its time. */
static bool may_start(const struct race *race)
{
    return !is_asking(race, FIRST) || weft_now_ns() >= race->head_start_end_ns;
}

static int open_question(struct race *race, struct weft_resolver *resolver, int which)
{
    struct question *question = &race->questions[which];
    int r = query_open_whole(&question->query, resolver);
    if (r < 0)
        return r;
    question->open = true;
    return nest_watch(&race->nest, question->query.nest.fd, EPOLLIN);
}

static void ask(struct race *race, int which, const char *name, uint16_t port)
{
    struct question *question = &race->questions[which];
    question->list.port = port;
    addresses_ask(&question->query, name, which == FIRST ? AF_INET6 : AF_INET, &question->list);
}

/* ---- the race --------------------------------------------------------------------------- */

static bool is_question(const struct race *race, int fd)
{
    for (int which = FIRST; which < FAMILIES; which++)
        if (race->questions[which].open && race->questions[which].query.nest.fd == fd)
            return true;
    return false;
}

static void look_at_sockets(struct race *race)
{
    struct epoll_event events[NEST_EVENTS];
    int count, sockets;
    do {
        count = nest_look(&race->nest, events);
        sockets = 0;
        look_at_questions(race);
        for (int i = 0; i < count; i++) {
            if (is_question(race, events[i].data.fd))
                continue;
            socket_is_ready(race, events[i].data.fd);
            sockets++;
        }
    } while (race->winner < 0 && sockets > 0);
}

/* When there is something to do without an event. */
static uint64_t next_ns(const struct race *race)
{
    uint64_t next = WEFT_NO_DEADLINE;
    if (any_left(race))
        next = may_start(race) ? race->next_start_ns : race->head_start_end_ns;
    for (int which = FIRST; which < FAMILIES; which++) {
        uint64_t then = is_asking(race, which) ? query_next_ns(&race->questions[which].query)
                                               : WEFT_NO_DEADLINE;
        next = then < next ? then : next;
    }
    return next;
}

static bool is_over(const struct race *race)
{
    return race->running_count == 0 && !any_left(race) && !is_asking(race, FIRST) &&
           !is_asking(race, OTHER);
}

static int race_run(struct race *race, uint64_t deadline_ns)
{
    for (;;) {
        look_at_sockets(race); /* before another one is started for nothing */
        if (race->winner >= 0)
            return 0;
        if (any_left(race) && may_start(race) &&
            (race->running_count == 0 || weft_now_ns() >= race->next_start_ns)) {
            start_next(race);
            continue;
        }
        if (is_over(race))
            return race->first_error;
        int r = nest_wait(&race->nest, next_ns(race), deadline_ns);
        if (r < 0 && r != -EAGAIN)
            return r;
    }
}

static void race_end(struct race *race)
{
    for (size_t i = 0; i < race->running_count; i++)
        close(race->running[i]);
    for (int which = FIRST; which < FAMILIES; which++) {
        if (race->questions[which].open) {
            nest_watch(&race->nest, race->questions[which].query.nest.fd, 0);
            query_close(&race->questions[which].query);
        }
        weft_addresses_free(race->questions[which].list.items);
        free(race->runners[which].items);
    }
    free(race->running);
    nest_close(&race->nest);
}

int weft_connect_any(const struct weft_address *addresses, size_t count, uint64_t stagger_ns,
                     uint64_t deadline_ns, struct weft_stream **ret_stream)
{
    struct race race = {.stagger_ns = stagger_ns ? stagger_ns : STAGGER_NS, .winner = -1};
    int r = weft_check_cancel();
    if (r < 0)
        return r;
    if (count == 0)
        return -EINVAL;
    r = nest_open(&race.nest);
    if (r < 0)
        return r;
    int family = weft_address_family(&addresses[0]);
    r = add_runners(&race, FIRST, addresses, count, family, true);
    if (r == 0)
        r = add_runners(&race, OTHER, addresses, count, family, false);
    if (r == 0)
        r = race_run(&race, deadline_ns);
    race_end(&race);
    return r < 0 ? r : stream_adopt_socket(race.winner, WATCH_TCP, ret_stream);
}

/* ---- by name ---------------------------------------------------------------------------- */

/* All addresses first, then the race. */
static int connect_resolved(struct weft_resolver *resolver, const char *host, uint16_t port,
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

static int dots_of(const char *name)
{
    int dots = 0;
    for (; *name; name++)
        dots += *name == '.';
    return dots;
}

/* I5.  Whether an answer leaves it open that the other way knows more. */
static bool knows_nothing(const struct question *question)
{
    return question->result == -ENOENT || question->result == -ENODATA ||
           question->result == -ECONNREFUSED;
}

/* Returns: 0; race->winner is connected.  Errors: -EAGAIN: the other way (I5). */
static int race_by_name(struct race *race, struct weft_resolver *resolver, const char *host,
                        uint16_t port, uint64_t deadline_ns)
{
    int r = open_question(race, resolver, FIRST);
    if (r == 0)
        r = open_question(race, resolver, OTHER);
    if (r < 0)
        return r;
    if (dots_of(host) < query_ndots(&race->questions[FIRST].query))
        return -EAGAIN;
    ask(race, FIRST, host, port);
    ask(race, OTHER, host, port);
    r = race_run(race, deadline_ns);
    if (r < 0 || race->winner >= 0)
        return r;
    const struct question *six = &race->questions[FIRST], *four = &race->questions[OTHER];
    if (knows_nothing(six) && knows_nothing(four))
        return -EAGAIN;
    return knows_nothing(four) ? six->result : four->result;
}

int weft_resolver_connect(struct weft_resolver *resolver, const char *host, uint16_t port,
                          uint64_t deadline_ns, struct weft_stream **ret_stream)
{
    struct race race = {.stagger_ns = STAGGER_NS, .winner = -1};
    struct weft_address numeric;
    int r = weft_check_cancel();
    if (r == 0)
        r = check_name(host);
    if (r < 0)
        return r;
    if (weft_address_inet(host, port, &numeric) == 0)
        return weft_connect_any(&numeric, 1, 0, deadline_ns, ret_stream);
    r = nest_open(&race.nest);
    if (r < 0)
        return r;
    r = race_by_name(&race, resolver, host, port, deadline_ns);
    race_end(&race);
    if (r == -EAGAIN)
        return connect_resolved(resolver, host, port, deadline_ns, ret_stream);
    return r < 0 ? r : stream_adopt_socket(race.winner, WATCH_TCP, ret_stream);
}

int weft_connect(const char *host, uint16_t port, uint64_t deadline_ns,
                 struct weft_stream **ret_stream)
{
    return weft_resolver_connect(NULL, host, port, deadline_ns, ret_stream);
}
