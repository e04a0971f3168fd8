/* SPDX-License-Identifier: MIT */
/*
 * client: see <weft/client.h>.
 *
 * I1  Whoever waits for a reply also writes what is still to be sent: two sides that each wait for
 *     the other to read cannot happen.
 * I2  A failed write is not yet the end: the server may have said why before it closed.  The end
 *     comes with the end of input, and stays (broken).
 * I3  Every whole line that was read is in `first` or `heard`; the framer holds only a part of the
 *     next.
 * I4  Notifications are read only while nobody has one to look at, or a reply is waited for: what is
 *     kept of them is bounded by what comes before that reply, and else by one read.
 * I5  A descriptor belongs to the reply that is the last line, whole or begun, of what was read with it:
 *     weftd sends that reply alone, and the kernel ends a read behind such a piece.
 * I6  A request's connection is the one that is open, or it is lost: ids go on over connections, and
 *     first_id is the first of this one.
 * I7  Every descriptor that the kernel hands over is kept or closed: of several the first is kept.
 *     There is room for as many as it passes at once, behind what else a caller may have switched on
 *     for its socket (SO_PASSCRED); what finds no room (MSG_CTRUNC) it does not hand over.
 */
#include "client/client_impl.h"
#include "client/clock.h"
#include "client/socket_path.h"

#include "protocol/error.h"
#include "protocol/framer.h"
#include "protocol/jsonrpc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE      65536
#define PASSED_MAX     253 /* the kernel's SCM_MAX_FD */
#define CONTROL_SIZE   (CMSG_SPACE(PASSED_MAX * sizeof(int)) + 512)
#define REPLY_LINE_MAX ((size_t)1 << 30) /* replies have no limit of their own: a page of jobs */

struct held {
    struct weft_reply reply;
    struct held *next;
};

struct weft_client {
    int fd;
    char *path; /* where it is connected to; NULL: unknown */
    uint64_t patience_ns;
    int interrupt_fd;        /* -1: none */
    int broken;              /* -errno after which nothing comes any more; 0: good */
    int64_t last_id;         /* of the request sent last */
    int64_t first_id;        /* I6 */
    struct framer in;        /* I3 */
    struct jsonrpc_text out; /* whole requests */
    size_t sent;             /* bytes of out that the socket took */
    struct held *first;      /* I3: replies that nobody has asked for yet, oldest first */
    struct held **last;      /* where the next one is linked */
    struct held *newest;     /* of the line that was read last; NULL: no reply, or taken since */
    int passed;              /* I5: of the line that is begun; -1: none */
    json_t *heard;           /* I4: params of notifications, oldest first; NULL: passed over */
};

_Static_assert(WEFT_CLIENT_MESSAGE_MAX == RPC_MESSAGE_MAX && WEFT_CLIENT_PARAM_MAX == RPC_PARAM_MAX,
               "an error of the protocol fits");

const char *weft_client_error_name(const struct weft_client_error *error)
{
    return error->code == RPC_OK ? "ok" : rpc_code_info(error->code)->name;
}

void weft_reply_destroy(struct weft_reply *reply)
{
    if (reply->result && reply->fd >= 0)
        close(reply->fd);
    json_decref(reply->result);
    reply->result = NULL;
    reply->fd = -1;
}

/* ---- opening and closing ---- */

int weft_client_open_fd(int fd, struct weft_client **ret_client)
{
    struct weft_client *client = calloc(1, sizeof *client);
    if (!client) {
        close(fd);
        return -ENOMEM;
    }
    client->fd = fd;
    client->interrupt_fd = -1;
    client->passed = -1;
    client->first_id = 1;
    client->last = &client->first;
    framer_init(&client->in, REPLY_LINE_MAX);
    *ret_client = client;
    return 0;
}

/* Returns the socket. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int open_path(const char *path, struct weft_client **ret_client)
{
    int fd = connect_to(path);
    if (fd < 0)
        return fd;
    char *copy = strdup(path);
    if (!copy) {
        close(fd);
        return -ENOMEM;
    }
    int err = weft_client_open_fd(fd, ret_client);
    if (err)
        free(copy);
    else
        (*ret_client)->path = copy;
    return err;
}

int weft_client_open(const char *path, struct weft_client **ret_client)
{
    struct socket_paths paths;
    if (path)
        return open_path(path, ret_client);
    socket_paths_find(NULL, &paths);
    return socket_paths_open(&paths, ret_client);
}

static struct held *unlink_held(struct weft_client *client, struct held **link)
{
    struct held *held = *link;
    *link = held->next;
    if (client->last == &held->next)
        client->last = link;
    return held;
}

/* I5.  One that is there still was sent with no line. */
static void keep_passed(struct weft_client *client, int fd)
{
    if (client->passed >= 0)
        close(client->passed);
    client->passed = fd;
}

static void drop_output(struct weft_client *client)
{
    client->out.size = 0;
    client->sent = 0;
}

/* What came and went on a connection. */
static void drop_all(struct weft_client *client)
{
    while (client->first) {
        struct held *held = unlink_held(client, &client->first);
        weft_reply_destroy(&held->reply);
        free(held);
    }
    client->newest = NULL;
    keep_passed(client, -1);
    framer_destroy(&client->in);
    drop_output(client);
}

void weft_client_close(struct weft_client *client)
{
    if (!client)
        return;
    drop_all(client);
    json_decref(client->heard);
    jsonrpc_text_destroy(&client->out);
    close(client->fd);
    free(client->path);
    free(client);
}

int client_reopen(struct weft_client *client)
{
    drop_all(client);
    framer_init(&client->in, REPLY_LINE_MAX);
    client->first_id = client->last_id + 1;
    client->broken = -ECONNRESET;
    int fd = connect_to(client->path);
    if (fd < 0)
        return fd;
    close(client->fd);
    client->fd = fd;
    client->broken = 0;
    return 0;
}

void weft_client_set_patience(struct weft_client *client, uint64_t ns)
{
    client->patience_ns = ns;
}

uint64_t client_patience(const struct weft_client *client)
{
    return client->path ? client->patience_ns : 0;
}

int client_sleep(const struct weft_client *client, uint64_t ns)
{
    struct pollfd interrupt = {.fd = client->interrupt_fd, .events = POLLIN};
    int rc = poll(&interrupt, 1, (int)(ns / 1000000 + 1));
    return rc > 0 ? -EINTR : 0;
}

void weft_client_interrupt_on(struct weft_client *client, int fd)
{
    client->interrupt_fd = fd;
}

/* ---- sending ---- */

static bool is_retry(int err)
{
    return err == EAGAIN || err == EWOULDBLOCK || err == EINTR;
}

/* Write what the socket takes now. */
static void flush(struct weft_client *client)
{
    while (client->sent < client->out.size) {
        ssize_t count = send(client->fd, client->out.data + client->sent,
                             client->out.size - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && is_retry(errno))
            return;
        if (count < 0)
            break; /* I2 */
        client->sent += (size_t)count;
    }
    drop_output(client);
}

int weft_client_send(struct weft_client *client, const char *method, const json_t *params,
                     int64_t *ret_id)
{
    json_t *id = json_integer(client->last_id + 1);
    int err = id ? jsonrpc_append_request(&client->out, id, method, params) : -ENOMEM;
    json_decref(id);
    if (err)
        return err;
    client->last_id++;
    flush(client);
    *ret_id = client->last_id;
    return 0;
}

/* ---- receiving ---- */

static void convert_error(const struct jsonrpc_reply *from, struct weft_client_error *ret_error)
{
    struct rpc_error error;
    const char *param = json_string_value(json_object_get(from->data, "param"));
    const char *nearest = json_string_value(json_object_get(from->data, "nearest"));
    rpc_error_set_param(&error, from->code, param, nearest, "%s", from->message);
    ret_error->code = error.code;
    memcpy(ret_error->message, error.message, sizeof ret_error->message);
    memcpy(ret_error->param, error.param, sizeof ret_error->param);
    memcpy(ret_error->nearest, error.nearest, sizeof ret_error->nearest);
}

static int convert_reply(const struct jsonrpc_reply *from, struct weft_reply *ret_reply)
{
    struct weft_reply reply = {.id = json_integer_value(from->id), .fd = -1};
    if (!json_is_integer(from->id) && !json_is_null(from->id))
        return -EBADMSG;
    if (from->code != 0)
        convert_error(from, &reply.error);
    reply.result = json_incref(from->result);
    *ret_reply = reply;
    return 0;
}

static int hold(struct weft_client *client, const struct jsonrpc_reply *reply)
{
    struct held *held = calloc(1, sizeof *held);
    if (!held)
        return -ENOMEM;
    int err = convert_reply(reply, &held->reply);
    if (err) {
        free(held);
        return err;
    }
    *client->last = held;
    client->last = &held->next;
    client->newest = held;
    return 0;
}

/* I5.  What is sent with anything else than a result is not for us. */
static void give_passed(struct weft_client *client)
{
    struct weft_reply *reply = client->newest ? &client->newest->reply : NULL;
    if (reply && reply->result && reply->fd < 0) {
        reply->fd = client->passed;
        client->passed = -1;
    }
    keep_passed(client, -1);
}

static int take_line(struct weft_client *client, const char *line, size_t size)
{
    struct jsonrpc_reply reply;
    int err = jsonrpc_parse_reply(line, size, &reply);
    client->newest = NULL;
    if (err)
        return err;
    if (!reply.method)
        err = hold(client, &reply);
    else if (client->heard && reply.params && json_array_append(client->heard, reply.params) < 0)
        err = -ENOMEM;
    jsonrpc_reply_destroy(&reply);
    return err;
}

static int take_lines(struct weft_client *client)
{
    char *line;
    size_t size;
    for (;;) {
        int rc = framer_next(&client->in, &line, &size);
        if (rc == 0)
            return 0;
        if (rc > 0)
            rc = take_line(client, line, size);
        if (rc < 0)
            return rc;
        give_passed(client); /* it came with the beginning of this line, or is not there */
    }
}

/* I7.  -1: there is none. */
static int first_passed(struct msghdr *message)
{
    int first = -1, fd;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        size_t size = at->cmsg_len - CMSG_LEN(0);
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < size / sizeof fd; i++) {
            memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
            if (first < 0)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

/* As recv(2), with the first descriptor that comes along, or -1. */
static ssize_t receive(int fd, void *space, size_t size, int *ret_passed)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char room[CONTROL_SIZE];
    } control;
    struct iovec piece = {.iov_base = space, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t count = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *ret_passed = count > 0 ? first_passed(&message) : -1;
    return count;
}

static int read_some(struct weft_client *client)
{
    char *space;
    size_t size;
    int passed;
    int err = framer_reserve(&client->in, READ_SIZE, &space, &size);
    if (err)
        return err;
    ssize_t count = receive(client->fd, space, size, &passed);
    int read_errno = errno;
    framer_commit(&client->in, count > 0 ? (size_t)count : 0);
    if (count <= 0)
        return count < 0 && is_retry(read_errno) ? 0 : -ECONNRESET;
    err = take_lines(client);
    if (passed >= 0)
        keep_passed(client, passed);
    if (!framer_is_partial(&client->in))
        give_passed(client);
    return err;
}

/* Milliseconds until then, rounded up; -1: no end. */
static int wait_ms(uint64_t deadline_ns)
{
    uint64_t now = clock_now_ns();
    if (deadline_ns == CLIENT_FOR_EVER)
        return -1;
    uint64_t ms = deadline_ns > now ? (deadline_ns - now + 999999) / 1000000 : 0;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* Wait until something can be read, writing meanwhile (I1). */
static int exchange(struct weft_client *client, uint64_t deadline_ns)
{
    bool has_output = client->sent < client->out.size;
    struct pollfd wait_for[] = {
        {.fd = client->fd, .events = (short)(POLLIN | (has_output ? POLLOUT : 0))},
        {.fd = client->interrupt_fd, .events = POLLIN},
    };
    int count = poll(wait_for, 2, wait_ms(deadline_ns));
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    if (count == 0)
        return -ETIMEDOUT;
    if (wait_for[1].revents)
        return -EINTR;
    if (wait_for[0].revents & POLLOUT)
        flush(client);
    if (!(wait_for[0].revents & ~POLLOUT))
        return 0;
    client->broken = read_some(client);
    return 0;
}

static struct held **find_held(struct weft_client *client, int64_t id)
{
    for (struct held **link = &client->first; *link; link = &(*link)->next) {
        int64_t held_id = (*link)->reply.id;
        if (held_id == id || held_id == 0 || id == 0)
            return link;
    }
    return NULL;
}

static int receive_until(struct weft_client *client, int64_t id, uint64_t deadline_ns,
                         struct weft_reply *ret_reply)
{
    struct held **link;
    if (id != 0 && id < client->first_id)
        return -ECONNRESET; /* I6 */
    while (!(link = find_held(client, id))) {
        int err = client->broken ? client->broken : exchange(client, deadline_ns);
        if (err)
            return err;
    }
    struct held *held = unlink_held(client, link);
    if (client->newest == held)
        client->newest = NULL;
    *ret_reply = held->reply;
    free(held);
    return 0;
}

int weft_client_receive(struct weft_client *client, int64_t id, struct weft_reply *ret_reply)
{
    return receive_until(client, id, CLIENT_FOR_EVER, ret_reply);
}

int weft_client_receive_within(struct weft_client *client, int64_t id, uint64_t ns,
                               struct weft_reply *ret_reply)
{
    uint64_t now = clock_now_ns();
    return receive_until(client, id, ns < CLIENT_FOR_EVER - now ? now + ns : CLIENT_FOR_EVER,
                         ret_reply);
}

int weft_client_listen(struct weft_client *client)
{
    if (!client->heard)
        client->heard = json_array();
    return client->heard ? 0 : -ENOMEM;
}

int weft_client_hear(struct weft_client *client, json_t **ret_params)
{
    while (json_array_size(client->heard) == 0) {
        int err = client->broken ? client->broken : exchange(client, CLIENT_FOR_EVER);
        if (err)
            return err;
    }
    *ret_params = json_incref(json_array_get(client->heard, 0));
    return json_array_remove(client->heard, 0);
}

int weft_client_call(struct weft_client *client, const char *method, const json_t *params,
                     json_t **ret_result, struct weft_client_error *error)
{
    int64_t id;
    struct weft_reply reply;
    int err = weft_client_send(client, method, params, &id);
    if (!err)
        err = weft_client_receive(client, id, &reply);
    if (err)
        return err;
    if (reply.error.code != RPC_OK) {
        *error = reply.error;
        return -EREMOTEIO;
    }
    if (reply.fd >= 0)
        close(reply.fd); /* who wants it receives */
    *ret_result = reply.result;
    return 0;
}
