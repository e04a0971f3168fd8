/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "support/io.h"

/* A socket on a port of this host. */
static struct weft_datagram *bind_local(const char *where, struct weft_address *ret_address)
{
    struct weft_datagram *datagram;
    struct weft_address any;
    EXPECT_EQ(weft_address_inet(where, 0, &any), 0);
    EXPECT_EQ(weft_datagram_bind(&any, NULL, &datagram), 0);
    EXPECT_EQ(weft_datagram_local_address(datagram, ret_address), 0);
    EXPECT(weft_address_port(ret_address) != 0);
    return datagram;
}

static void expect_message(struct weft_datagram *datagram, const char *text,
                           const struct weft_address *sender)
{
    struct weft_address from;
    char buffer[64];
    size_t whole = 0;
    EXPECT_EQ(weft_datagram_recv(datagram, buffer, sizeof(buffer), &from, &whole), strlen(text));
    EXPECT_EQ(whole, strlen(text));
    EXPECT(memcmp(buffer, text, whole) == 0);
    EXPECT(weft_address_equal(&from, sender));
}

/* ---- there and back -------------------------------------------------------------------------- */

static void exchange_on(const char *where)
{
    struct weft_address server_address, client_address, remote;
    struct weft_datagram *server = bind_local(where, &server_address), *client;
    EXPECT_EQ(weft_datagram_connect(&server_address, NULL, NULL, &client), 0);
    EXPECT_EQ(weft_datagram_local_address(client, &client_address), 0);
    EXPECT_EQ(weft_datagram_remote_address(client, &remote), 0);
    EXPECT(weft_address_equal(&remote, &server_address));
    EXPECT_EQ(weft_datagram_remote_address(server, &remote), -ENOTCONN);
    EXPECT_EQ(weft_datagram_send(client, NULL, "question", 8), 0);
    EXPECT_EQ(weft_datagram_send(client, NULL, "", 0), 0);
    expect_message(server, "question", &client_address);
    expect_message(server, "", &client_address);
    EXPECT_EQ(weft_datagram_send(server, &client_address, "answer", 6), 0);
    expect_message(client, "answer", &server_address);
    weft_datagram_free(client);
    weft_datagram_free(server);
    weft_datagram_free(NULL);
}

static int exchange_udp(void *arg)
{
    struct weft_listener *probe;
    (void)arg;
    exchange_on("127.0.0.1");
    if (weft_listen_tcp("::1", 0, &probe) == 0) { /* a host may be without IPv6 */
        weft_listener_free(probe);
        exchange_on("::1");
    }
    return 0;
}

Test(datagram, udp_there_and_back)
{
    on_fibers_counting_fds(1, exchange_udp, NULL);
}

static int exchange_unix(void *arg)
{
    struct weft_datagram_options options = {.mode = 0640};
    struct weft_datagram *server, *client;
    struct weft_address address, name;
    struct stat status;
    char path[108];
    (void)arg;
    EXPECT_EQ(weft_address_unix(socket_path(path, "dgram"), &address), 0);
    EXPECT_EQ(weft_datagram_bind(&address, &options, &server), 0);
    EXPECT_EQ(stat(path, &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640);
    EXPECT_EQ(weft_datagram_connect(&address, NULL, NULL, &client), 0);
    EXPECT_EQ(weft_datagram_local_address(client, &name), 0); /* the kernel gave it one */
    EXPECT_EQ(weft_datagram_send(client, NULL, "question", 8), 0);
    expect_message(server, "question", &name);
    EXPECT_EQ(weft_datagram_send(server, &name, "answer", 6), 0);
    expect_message(client, "answer", &address);
    weft_datagram_free(server);
    EXPECT_EQ(weft_datagram_send(client, NULL, "gone?", 5), -ECONNREFUSED);
    weft_datagram_free(client);
    unlink(path);
    return 0;
}

Test(datagram, unix_there_and_back)
{
    on_fibers_counting_fds(1, exchange_unix, NULL);
}

static int cut_short(void *arg)
{
    struct weft_address address;
    struct weft_datagram *datagram = bind_local("127.0.0.1", &address);
    char buffer[4];
    size_t whole = 0;
    (void)arg;
    EXPECT_EQ(weft_datagram_send(datagram, &address, "too long", 8), 0);
    EXPECT_EQ(weft_datagram_send(datagram, &address, "next", 4), 0);
    EXPECT_EQ(weft_datagram_recv(datagram, buffer, 4, NULL, &whole), 4);
    EXPECT_EQ(whole, 8);
    EXPECT(memcmp(buffer, "too ", 4) == 0);
    EXPECT_EQ(weft_datagram_recv(datagram, buffer, 4, NULL, &whole), 4);
    EXPECT_EQ(whole, 4);
    EXPECT(memcmp(buffer, "next", 4) == 0);
    weft_datagram_free(datagram);
    return 0;
}

Test(datagram, what_does_not_fit_is_cut_off_and_told)
{
    on_fibers_counting_fds(1, cut_short, NULL);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int ask_nobody(void *arg)
{
    struct weft_address address, there;
    struct weft_datagram *nobody = bind_local("127.0.0.1", &there), *datagram;
    struct weft_address client_address;
    struct pollfd refusal = {0};
    char buffer[4];
    (void)arg;
    EXPECT_EQ(weft_datagram_connect(&there, NULL, NULL, &datagram), 0);
    EXPECT_EQ(weft_datagram_local_address(datagram, &client_address), 0);
    refusal.fd = weft_datagram_fd(datagram);
    weft_datagram_free(nobody);
    EXPECT_EQ(weft_datagram_send(datagram, NULL, "?", 1), 0);
    EXPECT_EQ(weft_datagram_recv(datagram, buffer, 4, NULL, NULL), -ECONNREFUSED);
    EXPECT_EQ(weft_datagram_send(datagram, NULL, "?", 1), 0);
    EXPECT_EQ(poll(&refusal, 1, 30000), 1); /* a busy kernel delivers it later */
    EXPECT_EQ(weft_datagram_send(datagram, NULL, "?", 1), -ECONNREFUSED); /* told by a send too */
    /* And it goes on once somebody is there. */
    EXPECT_EQ(weft_datagram_bind(&there, NULL, &nobody), 0);
    EXPECT_EQ(weft_datagram_local_address(nobody, &address), 0);
    EXPECT(weft_address_equal(&address, &there));
    EXPECT_EQ(weft_datagram_send(datagram, NULL, "!", 1), 0);
    expect_message(nobody, "!", &client_address);
    weft_datagram_free(nobody);
    weft_datagram_free(datagram);
    return 0;
}

Test(datagram, a_refusal_is_told_and_the_socket_goes_on)
{
    on_fibers_counting_fds(1, ask_nobody, NULL);
}

static int send_wrongly(void *arg)
{
    struct weft_address address, none = {0}, far, local;
    struct weft_datagram *datagram = bind_local("127.0.0.1", &address), *other = NULL;
    char *huge = calloc(1, 70000), path[108];
    int fds[2];
    (void)arg;
    EXPECT_EQ(weft_datagram_send(datagram, &address, huge, 70000), -EMSGSIZE);
    EXPECT_EQ(weft_datagram_send(datagram, NULL, "x", 1), -EDESTADDRREQ);
    EXPECT_EQ(weft_address_inet("255.255.255.255", 9, &far), 0);
    EXPECT_EQ(weft_datagram_send(datagram, &far, "x", 1), -EACCES);
    EXPECT_EQ(weft_datagram_bind(&address, NULL, &other), -EADDRINUSE);
    EXPECT_EQ(weft_datagram_bind(&none, NULL, &other), -EAFNOSUPPORT);
    EXPECT_EQ(weft_datagram_connect(&none, NULL, NULL, &other), -EAFNOSUPPORT);
    EXPECT_EQ(weft_address_unix(socket_path(path, "nobody"), &far), 0);
    EXPECT_EQ(weft_datagram_connect(&far, NULL, NULL, &other), -ENOENT);
    EXPECT_EQ(weft_address_unix(socket_path(path, "client"), &local), 0);
    EXPECT_EQ(weft_datagram_connect(&far, &local, NULL, &other), -ENOENT);
    EXPECT_EQ(access(path, F_OK), -1); /* nothing is left of it */
    raw_pair(fds);
    EXPECT_EQ(weft_datagram_new(fds[0], &other), -EPROTOTYPE);
    EXPECT_EQ(weft_datagram_new(-1, &other), -EBADF);
    EXPECT(other == NULL);
    close(fds[0]);
    close(fds[1]);
    free(huge);
    weft_datagram_free(datagram);
    return 0;
}

Test(datagram, tells_why_not)
{
    on_fibers_counting_fds(1, send_wrongly, NULL);
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct call {
    struct weft_datagram *datagram;
    const struct weft_address *to;
    atomic_int arrivals, sent;
    ssize_t result;
};

static int receive_once(void *arg)
{
    struct call *call = arg;
    char byte;
    arrive(&call->arrivals);
    call->result = weft_datagram_recv(call->datagram, &byte, 1, NULL, NULL);
    return 0;
}

static int cancel_and_free(void *arg)
{
    struct weft_address address;
    struct call call = {.datagram = bind_local("127.0.0.1", &address)};
    struct weft_group group;
    struct weft_scope scope;
    char byte;
    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "receiver", receive_once, &call), 0);
    await_arrivals(&call.arrivals, 1);
    EXPECT_EQ(weft_datagram_recv(call.datagram, &byte, 1, NULL, NULL), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call.result, -ECANCELED);
    EXPECT_EQ(weft_datagram_send(call.datagram, &address, "x", 1), 0);
    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_datagram_recv(call.datagram, &byte, 1, NULL, NULL), -ETIMEDOUT);
    EXPECT_EQ(weft_datagram_send(call.datagram, &address, "y", 1), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(weft_datagram_recv(call.datagram, &byte, 1, NULL, NULL), 1); /* it stayed there */
    EXPECT_EQ(byte, 'x');
    atomic_store(&call.arrivals, 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "receiver", receive_once, &call), 0);
    await_arrivals(&call.arrivals, 1);
    weft_datagram_free(call.datagram);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(call.result, -EBADF);
    return 0;
}

Test(datagram, a_cancel_takes_nothing_and_a_free_ends_the_wait)
{
    on_fibers_counting_fds(1, cancel_and_free, NULL);
}

enum { MANY = 2000 };

static int send_many(void *arg)
{
    struct call *call = arg;
    for (int i = 0; i < MANY && call->result == 0; i++) {
        call->result = weft_datagram_send(call->datagram, call->to, &i, sizeof(i));
        if (call->result == 0)
            atomic_fetch_add(&call->sent, 1);
    }
    return 0;
}

/* A Unix receiver's queue is short: the sender waits, told by the kernel when it is connected, and
 * asking again when it is not. */
static void fill_and_drain(struct weft_datagram *receiver, struct call *sender)
{
    struct weft_group group;
    int number, got = 0;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_many, sender), 0);
    while (got < MANY) {
        EXPECT_EQ(weft_datagram_recv(receiver, &number, sizeof(number), NULL, NULL),
                  sizeof(number));
        EXPECT_EQ(number, got);
        got++;
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(sender->result, 0);
}

static int wait_for_room(void *arg)
{
    struct weft_address address, name;
    struct weft_datagram *receiver, *connected, *free_one;
    struct weft_group group;
    char path[108], other[108];
    (void)arg;
    EXPECT_EQ(weft_address_unix(abstract_name(path, "room"), &address), 0);
    EXPECT_EQ(weft_address_unix(abstract_name(other, "free"), &name), 0);
    EXPECT_EQ(weft_datagram_bind(&address, NULL, &receiver), 0);
    EXPECT_EQ(weft_datagram_connect(&address, NULL, NULL, &connected), 0);
    EXPECT_EQ(weft_datagram_bind(&name, NULL, &free_one), 0);
    fill_and_drain(receiver, &(struct call){.datagram = connected});
    fill_and_drain(receiver, &(struct call){.datagram = free_one, .to = &address});
    /* And a cancel ends that wait too. */
    struct call call = {.datagram = free_one, .to = &address};
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sender", send_many, &call), 0);
    await_arrivals(&call.sent, 5);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(call.result, -ECANCELED);
    weft_datagram_free(receiver);
    weft_datagram_free(connected);
    weft_datagram_free(free_one);
    return 0;
}

Test(datagram, a_full_receiver_is_waited_for)
{
    on_fibers_counting_fds(1, wait_for_room, NULL);
    on_fibers_counting_fds(2, wait_for_room, NULL);
}

/* ---- many receivers -------------------------------------------------------------------------- */

static int option_of(const struct weft_datagram *datagram, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(weft_datagram_fd(datagram), level, name, &value, &size), 0);
    return value;
}

static int set_options(void *arg)
{
    struct weft_datagram_options options = {.reuse_port = true,
                                            .reuse_address = true,
                                            .broadcast = true,
                                            .receive_buffer = 40000,
                                            .send_buffer = 50000};
    struct weft_datagram *first, *second;
    struct weft_address address;
    (void)arg;
    EXPECT_EQ(weft_address_inet("127.0.0.1", 0, &address), 0);
    EXPECT_EQ(weft_datagram_bind(&address, &options, &first), 0);
    EXPECT_EQ(weft_datagram_local_address(first, &address), 0);
    EXPECT_EQ(weft_datagram_bind(&address, &options, &second), 0);
    EXPECT_EQ(option_of(first, SOL_SOCKET, SO_BROADCAST), 1);
    EXPECT_EQ(option_of(first, SOL_SOCKET, SO_REUSEADDR), 1);
    EXPECT_EQ(option_of(first, SOL_SOCKET, SO_RCVBUF), 80000);
    EXPECT_EQ(option_of(first, SOL_SOCKET, SO_SNDBUF), 100000);
    weft_datagram_free(first);
    weft_datagram_free(second);
    return 0;
}

Test(datagram, options_reach_the_socket)
{
    on_fibers_counting_fds(1, set_options, NULL);
}

static void expect_option(struct weft_datagram *datagram, int option, int expected)
{
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_EQ(getsockopt(weft_datagram_fd(datagram), IPPROTO_IPV6, option, &value, &size), 0);
    EXPECT_EQ(value, expected);
}

/* One address of this host, any address, and a group: all of one family. */
static void join_a_group_of(const char *here, const char *anywhere, const char *everybody)
{
    struct weft_datagram_options options = {.reuse_address = true};
    struct weft_address any, group, local;
    struct weft_datagram *receivers[2], *sender = bind_local(here, &local);
    unsigned loopback = if_nametoindex("lo");
    EXPECT_EQ(weft_address_inet(anywhere, 0, &any), 0);
    EXPECT_EQ(weft_address_inet(everybody, 0, &group), 0);
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(weft_datagram_bind(&any, &options, &receivers[i]), 0);
        EXPECT_EQ(weft_datagram_local_address(receivers[i], &any), 0);
        EXPECT_EQ(weft_datagram_join(receivers[i], &group, loopback), 0);
    }
    EXPECT_EQ(weft_datagram_join(receivers[0], &group, loopback), -EADDRINUSE);
    EXPECT_EQ(weft_datagram_join(receivers[0], &local, loopback), -EINVAL);
    EXPECT_EQ(weft_datagram_set_multicast(sender, loopback, 256, true), -EINVAL);
    EXPECT_EQ(weft_datagram_set_multicast(sender, loopback, 1, true), 0);
    weft_address_set_port(&group, weft_address_port(&any));
    int sent = weft_datagram_send(sender, &group, "all", 3);
    if (weft_address_family(&group) == AF_INET6) {
        expect_option(sender, IPV6_MULTICAST_IF, (int)loopback);
        expect_option(sender, IPV6_MULTICAST_HOPS, 1);
        expect_option(sender, IPV6_MULTICAST_LOOP, 1);
    } else {
        EXPECT_EQ(sent, 0);
    }
    if (sent == 0) {
        expect_message(receivers[0], "all", &local);
        expect_message(receivers[1], "all", &local);
    } else {
        EXPECT_EQ(sent, -ENETUNREACH); /* the loopback of most hosts has no IPv6 multicast */
    }
    EXPECT_EQ(weft_datagram_leave(receivers[0], &group, loopback), 0);
    EXPECT_EQ(weft_datagram_leave(receivers[0], &group, loopback), -EADDRNOTAVAIL);
    weft_datagram_free(receivers[0]);
    weft_datagram_free(receivers[1]);
    weft_datagram_free(sender);
}

static int join_groups(void *arg)
{
    struct weft_listener *probe;
    (void)arg;
    join_a_group_of("127.0.0.1", "0.0.0.0", "239.255.77.1");
    if (weft_listen_tcp("::1", 0, &probe) == 0) { /* a host may be without IPv6 */
        weft_listener_free(probe);
        join_a_group_of("::1", "::", "ff01::7701");
    }
    return 0;
}

Test(datagram, every_member_of_a_multicast_group_receives)
{
    on_fibers_counting_fds(1, join_groups, NULL);
}

static int join_what_has_none(void *arg)
{
    struct weft_address path, group, local;
    struct weft_datagram *inet = bind_local("127.0.0.1", &local), *unix_one;
    (void)arg;
    EXPECT_EQ(weft_address_unix("@weft-datagram-test-multicast", &path), 0);
    EXPECT_EQ(weft_address_inet("239.255.77.1", 0, &group), 0);
    EXPECT_EQ(weft_datagram_bind(&path, NULL, &unix_one), 0);
    EXPECT_EQ(weft_datagram_join(inet, &path, 0), -EINVAL);
    EXPECT_EQ(weft_datagram_set_multicast(unix_one, 0, 1, true), -EINVAL);
    weft_datagram_free(unix_one);
    weft_datagram_free(inet);
    return 0;
}

Test(datagram, unix_sockets_have_no_multicast)
{
    on_fibers_counting_fds(1, join_what_has_none, NULL);
}
