/* SPDX-License-Identifier: MIT */
/*
 * A name server on a thread of its own, on a loopback port of the kernel's choice, UDP and TCP.
 * What it answers depends on the first label of the name that is asked for; see answer_kind.
 */
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/fibers.h"

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_PTR = 12, TYPE_AAAA = 28 };

struct fake_dns {
    pthread_t thread;
    int udp, tcp, stop[2];
    uint16_t port;
    char servers[64]; /* for weft_resolver_options */
    pthread_mutex_t lock;
    char asked[256]; /* the latest question's name; guarded by lock, written before it counts */
    atomic_int queries, tcp_queries;
    atomic_int dropped; /* of those for "once" and "late4" */
};

/* A message in the making. */
struct message {
    unsigned char bytes[4096];
    size_t size;
};

static inline void put16(struct message *message, unsigned value)
{
    message->bytes[message->size++] = (unsigned char)(value >> 8);
    message->bytes[message->size++] = (unsigned char)value;
}

static inline void put_bytes(struct message *message, const void *bytes, size_t size)
{
    memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

static inline void put_name(struct message *message, const char *name)
{
    while (*name) {
        size_t length = strcspn(name, ".");
        message->bytes[message->size++] = (unsigned char)length;
        put_bytes(message, name, length);
        name += length + (name[length] == '.');
    }
    message->bytes[message->size++] = 0;
}

/* The name of a record; NULL: the question's. */
static inline void put_record(struct message *message, const char *name, unsigned type,
                              const void *data, size_t size)
{
    if (name)
        put_name(message, name);
    else
        put16(message, 0xC00C);
    put16(message, type);
    put16(message, 1);
    put16(message, 0);
    put16(message, 60); /* how long it holds */
    put16(message, (unsigned)size);
    put_bytes(message, data, size);
    unsigned count = (unsigned)(message->bytes[6] << 8 | message->bytes[7]) + 1;
    message->bytes[6] = (unsigned char)(count >> 8);
    message->bytes[7] = (unsigned char)count;
}

static inline void put_name_record(struct message *message, const char *name, unsigned type,
                                   const char *target)
{
    struct message data = {.size = 0};
    put_name(&data, target);
    put_record(message, name, type, data.bytes, data.size);
}

static inline void put_address(struct message *message, const char *name, unsigned type,
                               const char *text)
{
    unsigned char address[16];
    EXPECT_EQ(inet_pton(type == TYPE_A ? AF_INET : AF_INET6, text, address), 1);
    put_record(message, name, type, address, type == TYPE_A ? 4 : 16);
}

struct question {
    char name[256];
    unsigned type;
    size_t end; /* offset behind it */
};

static inline bool question_parse(const unsigned char *bytes, size_t size,
                                  struct question *question)
{
    size_t at = 12, out = 0;
    while (at < size && bytes[at]) {
        size_t length = bytes[at++];
        if (at + length >= size || out + length + 2 > sizeof(question->name))
            return false;
        memcpy(question->name + out, bytes + at, length);
        out += length;
        question->name[out++] = '.';
        at += length;
    }
    question->name[out ? out - 1 : 0] = '\0';
    if (at + 5 > size)
        return false;
    question->type = (unsigned)(bytes[at + 1] << 8 | bytes[at + 2]);
    question->end = at + 5;
    return true;
}

static inline bool named(const struct question *question, const char *label)
{
    size_t length = strlen(label);
    return strncasecmp(question->name, label, length) == 0 &&
           (question->name[length] == '.' || question->name[length] == '\0');
}

static inline void set_code(struct message *message, unsigned code)
{
    message->bytes[3] = (unsigned char)((message->bytes[3] & 0xF0) | code);
}

static inline void answer_big(struct message *message, bool by_tcp)
{
    if (!by_tcp) {
        message->bytes[2] |= 2; /* TC */
        return;
    }
    for (int i = 1; i <= 50; i++) {
        char text[32];
        snprintf(text, sizeof(text), "127.0.1.%d", i);
        put_address(message, NULL, TYPE_A, text);
    }
}

/* Fill in the answer.  False: no answer at all. */
static inline bool answer(struct fake_dns *dns, const struct question *question, bool by_tcp,
                          struct message *message)
{
    bool a = question->type == TYPE_A, aaaa = question->type == TYPE_AAAA;
    if (named(question, "silent"))
        return false;
    if (named(question, "once") && atomic_fetch_add(&dns->dropped, 1) < 2)
        return false; /* the first of each family */
    if ((named(question, "only4") && aaaa) || (named(question, "only6") && a))
        return false;
    if (named(question, "late4") && a && atomic_fetch_add(&dns->dropped, 1) < 2)
        return false;
    if (named(question, "servfail"))
        set_code(message, 2);
    else if (named(question, "refused"))
        set_code(message, 5);
    else if (named(question, "nodata"))
        return true;
    else if (named(question, "wrongid"))
        message->bytes[0] ^= 0xFF;
    else if (named(question, "malformed"))
        put_bytes(message, (message->bytes[7] = 3, "\xC0\xFF\xC0\xFF"), 4);
    else if (named(question, "big") && a)
        answer_big(message, by_tcp);
    else if (named(question, "loop"))
        put_name_record(message, NULL, TYPE_CNAME, question->name);
    else if (named(question, "alias") && a) {
        put_name_record(message, NULL, TYPE_CNAME, "middle.test");
        put_name_record(message, "middle.test", TYPE_CNAME, "end.test");
        put_address(message, "end.test", TYPE_A, "127.0.0.7");
    } else if ((named(question, "only4") || named(question, "late4")) && a) {
        put_address(message, NULL, TYPE_A, "127.0.0.1");
    } else if ((named(question, "only6") || named(question, "late4")) && aaaa) {
        put_address(message, NULL, TYPE_AAAA, "::1");
    } else if (named(question, "good") && a) {
        put_address(message, NULL, TYPE_A, "127.0.0.1");
    } else if (named(question, "good") && aaaa) {
        put_address(message, NULL, TYPE_AAAA, "::1");
    } else if ((named(question, "four") || named(question, "once")) && a) {
        put_address(message, NULL, TYPE_A, "127.0.0.4");
    } else if (named(question, "dead6") && a) {
        put_address(message, NULL, TYPE_A, "127.0.0.1");
    } else if (named(question, "dead6") && aaaa) {
        put_address(message, NULL, TYPE_AAAA, "100::1"); /* the discard prefix: nobody there */
    } else if (question->type == TYPE_PTR && named(question, "9")) {
        put_name_record(message, NULL, TYPE_PTR, "nine.test");
    } else if (!named(question, "four") && !named(question, "once") && !named(question, "big") &&
               !named(question, "alias")) {
        set_code(message, 3); /* no such name */
    }
    return true;
}

static inline bool reply_make(struct fake_dns *dns, const unsigned char *bytes, size_t size,
                              bool by_tcp, struct message *reply)
{
    struct question question;
    if (size < 12 || !question_parse(bytes, size, &question))
        return false;
    pthread_mutex_lock(&dns->lock);
    memcpy(dns->asked, question.name, sizeof(dns->asked));
    pthread_mutex_unlock(&dns->lock);
    atomic_fetch_add(&dns->queries, 1);
    if (by_tcp)
        atomic_fetch_add(&dns->tcp_queries, 1);
    reply->size = 0;
    put_bytes(reply, bytes, question.end);
    reply->bytes[2] = 0x85; /* an answer, with authority */
    reply->bytes[3] = 0x80;
    memset(reply->bytes + 6, 0, 6);
    return answer(dns, &question, by_tcp, reply);
}

static inline void serve_udp(struct fake_dns *dns)
{
    unsigned char bytes[1500];
    struct message reply;
    struct sockaddr_storage from;
    socklen_t from_size = sizeof(from);
    ssize_t n = recvfrom(dns->udp, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &from_size);
    if (n > 0 && reply_make(dns, bytes, (size_t)n, false, &reply))
        sendto(dns->udp, reply.bytes, reply.size, MSG_NOSIGNAL, (struct sockaddr *)&from,
               from_size);
}

static inline bool recv_exactly(int fd, void *buffer, size_t size)
{
    return recv(fd, buffer, size, MSG_WAITALL) == (ssize_t)size;
}

/* Any number of questions on one connection, one after the other. */
static inline void serve_tcp(struct fake_dns *dns)
{
    int fd = accept4(dns->tcp, NULL, NULL, SOCK_CLOEXEC);
    unsigned char prefix[2], bytes[1500];
    struct message reply, framed;
    if (fd < 0)
        return;
    for (;;) {
        struct pollfd wait_for[] = {{fd, POLLIN, 0}, {dns->stop[0], POLLIN, 0}};
        if (poll(wait_for, 2, -1) < 0 || wait_for[1].revents || !recv_exactly(fd, prefix, 2))
            break;
        size_t size = (size_t)prefix[0] << 8 | prefix[1];
        if (size > sizeof(bytes) || !recv_exactly(fd, bytes, size))
            break;
        if (!reply_make(dns, bytes, size, true, &reply))
            continue;
        framed.size = 0;
        put16(&framed, (unsigned)reply.size);
        put_bytes(&framed, reply.bytes, reply.size);
        send(fd, framed.bytes, framed.size, MSG_NOSIGNAL);
    }
    close(fd);
}

static inline void *fake_dns_main(void *arg)
{
    struct fake_dns *dns = arg;
    for (;;) {
        struct pollfd wait_for[] = {
            {dns->stop[0], POLLIN, 0}, {dns->udp, POLLIN, 0}, {dns->tcp, POLLIN, 0}};
        if (poll(wait_for, 3, -1) < 0 || wait_for[0].revents)
            return NULL;
        if (wait_for[1].revents)
            serve_udp(dns);
        if (wait_for[2].revents)
            serve_tcp(dns);
    }
}

/* Both sockets must have one port, so the second may have to be tried a few times. */
static inline void fake_dns_bind(struct fake_dns *dns)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    for (int i = 0; i < 100; i++) {
        address.sin_port = 0;
        dns->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        dns->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(bind(dns->tcp, (struct sockaddr *)&address, size), 0);
        EXPECT_EQ(getsockname(dns->tcp, (struct sockaddr *)&address, &size), 0);
        if (bind(dns->udp, (struct sockaddr *)&address, size) == 0) {
            dns->port = ntohs(address.sin_port);
            EXPECT_EQ(listen(dns->tcp, 16), 0);
            return;
        }
        close(dns->tcp);
        close(dns->udp);
    }
    EXPECT(!"a port that is free for UDP and TCP");
}

static inline void fake_dns_start(struct fake_dns *dns)
{
    memset(dns, 0, sizeof(*dns));
    fake_dns_bind(dns);
    snprintf(dns->servers, sizeof(dns->servers), "127.0.0.1:%u", dns->port);
    EXPECT_EQ(pipe2(dns->stop, O_CLOEXEC), 0);
    EXPECT_EQ(pthread_create(&dns->thread, NULL, fake_dns_main, dns), 0);
}

static inline void fake_dns_stop(struct fake_dns *dns)
{
    EXPECT_EQ(write(dns->stop[1], "", 1), 1);
    EXPECT_EQ(pthread_join(dns->thread, NULL), 0);
    close(dns->udp);
    close(dns->tcp);
    close(dns->stop[0]);
    close(dns->stop[1]);
}
