/* SPDX-License-Identifier: MIT */
/*
 * fake_server: a weftd that says what a test wants it to say.  A thread serves connections on a
 * Unix socket in a temporary folder, one after the other, with the test's own function.
 *
 * I1  The thread blocks every signal, so signals go to the test.
 * I2  The thread asserts nothing: it records, and the test looks after fake_stop().
 */
#pragma once

#include "client/command.h"
#include "support/test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <weft/client.h>

/* One answer.  Each is given once, in order; the last of a method is given for ever. */
struct canned {
    const char *method;
    const char *answer; /* "result": ... or "error": {...}; NULL: none at all */
    int *passed;        /* a descriptor that goes along; NULL: none */
};

/* An answer of a weftd that stops. */
#define STOPPING "\"error\":{\"code\":-32007,\"message\":\"weftd is stopping\"}"

struct fake {
    char folder[64], path[96];
    int listener;
    pthread_t thread;
    void (*serve)(struct fake *fake, FILE *from, int fd);
    const struct canned *canned; /* method NULL ends it */
    bool used[64];
    json_t *requests;                 /* all that came, in order */
    void (*seen)(const char *method); /* called before a canned answer is given, or NULL */
    const char *raw;                  /* what a test's own serve function writes */
    size_t count;                     /* likewise: how many */
};

static inline void fake_write(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t count = send(fd, text, size, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            return;
        text += count > 0 ? count : 0;
        size -= count > 0 ? (size_t)count : 0;
    }
}

__attribute__((format(printf, 2, 3))) static inline void fake_say(int fd, const char *format, ...)
{
    char *text;
    va_list values;
    va_start(values, format);
    int size = vasprintf(&text, format, values);
    va_end(values);
    if (size < 0)
        return;
    fake_write(fd, text, (size_t)size);
    free(text);
}

/* The next request, recorded; borrowed.  NULL: the client is gone. */
static inline json_t *fake_read(struct fake *fake, FILE *from)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size = getline(&line, &capacity, from);
    json_t *request = size > 0 ? json_loadb(line, (size_t)size, 0, NULL) : NULL;
    free(line);
    if (request)
        json_array_append_new(fake->requests, request);
    return request;
}

static inline long long fake_id(const json_t *request)
{
    return (long long)json_integer_value(json_object_get(request, "id"));
}

static inline const char *fake_method(const json_t *request)
{
    return json_string_value(json_object_get(request, "method"));
}

static inline const struct canned *fake_pick(struct fake *fake, const char *method)
{
    const struct canned *last = NULL;
    for (size_t i = 0; fake->canned[i].method; i++) {
        if (strcmp(fake->canned[i].method, method) != 0)
            continue;
        last = &fake->canned[i];
        if (!fake->used[i]) {
            fake->used[i] = true;
            return last;
        }
    }
    return last;
}

#define FAKE_PASS_MAX ((size_t)253) /* the kernel's own limit */

/* All of text in one sendmsg, with descriptors: 1 to FAKE_PASS_MAX. */
static inline void fake_pass_many(int fd, const int *passed, size_t count, const char *text,
                                  size_t size)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(FAKE_PASS_MAX * sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS,
                            .cmsg_len = CMSG_LEN(count * sizeof(int))}};
    struct iovec piece = {.iov_base = (void *)text, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    memcpy(CMSG_DATA(&control.header), passed, count * sizeof(int));
    while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

/* With one, as weftd does it. */
static inline void fake_pass(int fd, int passed, const char *text, size_t size)
{
    fake_pass_many(fd, &passed, 1, text, size);
}

static inline void fake_answer(int fd, const json_t *request, const struct canned *canned)
{
    char *line;
    int size =
        asprintf(&line, "{\"jsonrpc\":\"2.0\",\"id\":%lld,%s}\n", fake_id(request), canned->answer);
    if (size < 0)
        return;
    if (canned->passed)
        fake_pass(fd, *canned->passed, line, (size_t)size);
    else
        fake_write(fd, line, (size_t)size);
    free(line);
}

static inline void fake_serve_canned(struct fake *fake, FILE *from, int fd)
{
    json_t *request;
    while ((request = fake_read(fake, from))) {
        const char *method = fake_method(request);
        const struct canned *canned = fake_pick(fake, method);
        if (fake->seen)
            fake->seen(method);
        if (!canned)
            fake_say(fd,
                     "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"error\":{\"code\":-32601,"
                     "\"message\":\"the test has no %s\"}}\n",
                     fake_id(request), method);
        else if (canned->answer)
            fake_answer(fd, request, canned);
    }
}

static inline void *fake_main(void *arg)
{
    struct fake *fake = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    int fd;
    while ((fd = accept(fake->listener, NULL, NULL)) >= 0) {
        FILE *from = fdopen(dup(fd), "r");
        fake->serve(fake, from, fd);
        fclose(from);
        close(fd);
    }
    return NULL;
}

static inline void fake_start(struct fake *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!fake->serve)
        fake->serve = fake_serve_canned;
    fake->requests = json_array();
    strcpy(fake->folder, "/tmp/weft-client-XXXXXX");
    cr_assert_not_null(mkdtemp(fake->folder));
    snprintf(fake->path, sizeof fake->path, "%s/sock", fake->folder);
    strcpy(address.sun_path, fake->path);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fake->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fake->listener, 8), 0);
    cr_assert_eq(pthread_create(&fake->thread, NULL, fake_main, fake), 0);
}

/* After this, requests may be looked at. */
static inline void fake_stop(struct fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    unlink(fake->path);
    rmdir(fake->folder);
}

static inline void fake_free(struct fake *fake)
{
    json_decref(fake->requests);
}

/* The params of the index-th request of a method, as compact JSON text with sorted keys; the
 * caller's.  NULL: there were not so many. */
static inline char *fake_params(const struct fake *fake, const char *method, size_t index)
{
    size_t i;
    json_t *request;
    json_array_foreach(fake->requests, i, request)
    {
        if (strcmp(fake_method(request), method) == 0 && index-- == 0)
            return json_dumps(json_object_get(request, "params"),
                              JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    }
    return NULL;
}

static inline size_t fake_count(const struct fake *fake, const char *method)
{
    size_t i, count = 0;
    json_t *request;
    json_array_foreach(fake->requests, i, request) count +=
        strcmp(fake_method(request), method) == 0;
    return count;
}

/* ---- the library against it ---- */

static inline struct weft_client *fake_open(struct fake *fake)
{
    struct weft_client *client = NULL;
    fake_start(fake);
    int err = weft_client_open(fake->path, &client);
    cr_assert_eq(err, 0, "open: %d", err);
    return client;
}

static inline void fake_finish(struct fake *fake, struct weft_client *client)
{
    weft_client_close(client);
    fake_stop(fake);
    fake_free(fake);
}

/* ---- the command against it ---- */

struct ran {
    int status;
    char *out, *err;
};

#define WORDS_MAX 16

/* Run weft with these words (NULL behind the last), input as its standard input. */
static inline struct ran run_words(const char *input, const char *const *words)
{
    struct ran ran = {0};
    char *argv[WORDS_MAX + 2] = {(char *)"weft"};
    int argc = 1;
    size_t out_size, err_size;
    while (argc <= WORDS_MAX && *words)
        argv[argc++] = (char *)*words++;
    FILE *in = *input ? fmemopen((void *)input, strlen(input), "r") : fopen("/dev/null", "r");
    FILE *out = open_memstream(&ran.out, &out_size);
    FILE *err = open_memstream(&ran.err, &err_size);
    ran.status = command_main(argc, argv, in, out, err);
    fclose(in);
    fclose(out);
    fclose(err);
    return ran;
}

#define RUN(input, ...) run_words(input, (const char *const[]){__VA_ARGS__, NULL})

static inline void ran_free(struct ran *ran)
{
    free(ran->out);
    free(ran->err);
}

/* The whole of the usual: a canned server, one run against it through WEFT_SOCKET. */
static inline struct ran fake_run(struct fake *fake, const char *input, const char *const *words)
{
    fake_start(fake);
    setenv("WEFT_SOCKET", fake->path, 1);
    struct ran ran = run_words(input, words);
    fake_stop(fake);
    return ran;
}

#define FAKE_RUN(fake, ...)         fake_run(fake, "", (const char *const[]){__VA_ARGS__, NULL})
#define FAKE_FEED(fake, input, ...) fake_run(fake, input, (const char *const[]){__VA_ARGS__, NULL})

static inline bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* Text that a test compares and forgets. */
static inline void expect_params(const struct fake *fake, const char *method, size_t index,
                                 const char *expected)
{
    char *params = fake_params(fake, method, index);
    cr_assert_not_null(params, "there was no %s number %zu", method, index);
    cr_assert_str_eq(params, expected, "%s: %s", method, params);
    free(params);
}

static inline void expect_run(struct ran ran, int status, const char *out, const char *err)
{
    cr_assert_eq(ran.status, status, "status %d; %s", ran.status, ran.err);
    cr_assert_str_eq(ran.out, out, "out: %s", ran.out);
    cr_assert_str_eq(ran.err, err, "err: %s", ran.err);
    ran_free(&ran);
}
