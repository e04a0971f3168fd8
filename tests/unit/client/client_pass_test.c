/* SPDX-License-Identifier: MIT */
/* client: descriptors that are passed along with replies, and client_output, which asks for one. */
#include "fake_server.h"

#include "protocol/error.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define BIG ((size_t)4 << 20)

static size_t descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* An id in a file, so that the test sees whose it is. */
static int file_with(long long id)
{
    int file = memfd_create("passed", MFD_CLOEXEC);
    dprintf(file, "%lld", id);
    return file;
}

static long long id_in(int file)
{
    char text[32] = "";
    cr_assert_gt(pread(file, text, sizeof text - 1, 0), 0);
    return strtoll(text, NULL, 10);
}

/* A reply without a descriptor, then one with: count times, before any is read. */
static void serve_passing(struct fake *fake, FILE *from, int fd)
{
    char line[96];
    for (size_t i = 0; i < fake->count; i++) {
        long long plain = fake_id(fake_read(fake, from)), id = fake_id(fake_read(fake, from));
        fake_say(fd, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":1}\n", plain);
        int file = file_with(id);
        int size =
            snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":2}\n", id);
        fake_pass(fd, file, line, (size_t)size);
        close(file);
    }
    fake_read(fake, from);
}

Test(client_pass, a_descriptor_comes_with_its_own_reply)
{
    struct fake fake = {.serve = serve_passing, .count = 4};
    struct weft_client *client = fake_open(&fake);
    int64_t ids[8];
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(weft_client_send(client, "ping", NULL, &ids[i]), 0);
    for (size_t i = 8; i-- > 0;) {
        struct weft_reply reply;
        cr_assert_eq(weft_client_receive(client, ids[i], &reply), 0);
        cr_assert_eq(reply.fd >= 0, i % 2 == 1, "reply %zu", i);
        if (reply.fd >= 0) {
            cr_assert_eq(id_in(reply.fd), ids[i]);
            cr_assert_eq(fcntl(reply.fd, F_GETFD), FD_CLOEXEC);
        }
        weft_reply_destroy(&reply);
    }
    fake_finish(&fake, client);
}

Test(client_pass, descriptors_that_nobody_took_are_closed)
{
    struct fake fake = {.serve = serve_passing, .count = 2};
    size_t before = descriptors();
    struct weft_client *client = fake_open(&fake);
    struct weft_client_error error;
    json_t *result;
    int64_t id;
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(weft_client_send(client, "ping", NULL, &id), 0);
    cr_assert_eq(weft_client_call(client, "ping", NULL, &result, &error), 0);
    json_decref(result);
    fake_finish(&fake, client); /* the second's was read, and asked for by nobody */
    cr_assert_eq(descriptors(), before);
}

/* The line is longer than a read, so that its descriptor comes with its beginning. */
static void serve_passing_big(struct fake *fake, FILE *from, int fd)
{
    long long id = fake_id(fake_read(fake, from));
    char head[64], *filler = malloc(BIG);
    int file = file_with(id);
    int size = snprintf(head, sizeof head, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":\"", id);
    memset(filler, 'x', BIG);
    fake_pass(fd, file, head, (size_t)size);
    fake_write(fd, filler, BIG);
    fake_say(fd, "\"}\n{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":1}\n", id + 1);
    free(filler);
    close(file);
    fake_read(fake, from);
    fake_read(fake, from);
}

Test(client_pass, a_descriptor_belongs_to_the_line_that_it_begins)
{
    struct fake fake = {.serve = serve_passing_big};
    struct weft_client *client = fake_open(&fake);
    struct weft_reply reply;
    int64_t first, second;
    cr_assert_eq(weft_client_send(client, "ping", NULL, &first), 0);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &second), 0);
    cr_assert_eq(weft_client_receive(client, second, &reply), 0);
    cr_assert_eq(reply.fd, -1);
    weft_reply_destroy(&reply);
    cr_assert_eq(weft_client_receive(client, first, &reply), 0);
    cr_assert_eq(id_in(reply.fd), first);
    cr_assert_eq(json_string_length(reply.result), BIG);
    weft_reply_destroy(&reply);
    fake_finish(&fake, client);
}

/* With an error, with a notification, and with a line that never ends. */
static void serve_passing_wrongly(struct fake *fake, FILE *from, int fd)
{
    static const char refused[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32001,"
                                  "\"message\":\"no\"}}\n",
                      told[] = "{\"jsonrpc\":\"2.0\",\"method\":\"event\",\"params\":{}}\n",
                      begun[] = "{\"jsonrpc\":";
    fake_read(fake, from);
    int file = file_with(0);
    fake_pass(fd, file, refused, strlen(refused));
    fake_pass(fd, file, told, strlen(told));
    fake_pass(fd, file, begun, strlen(begun));
    fake_pass(fd, file, begun, strlen(begun));
    close(file);
}

Test(client_pass, descriptors_that_belong_to_no_result_are_closed)
{
    struct fake fake = {.serve = serve_passing_wrongly};
    size_t before = descriptors();
    struct weft_client *client = fake_open(&fake);
    struct weft_reply reply;
    int64_t id;
    cr_assert_eq(weft_client_send(client, "ping", NULL, &id), 0);
    cr_assert_eq(weft_client_receive(client, id, &reply), 0);
    cr_assert_eq(reply.error.code, RPC_NO_SUCH_JOB);
    weft_reply_destroy(&reply);
    cr_assert_eq(weft_client_receive(client, id + 1, &reply), -ECONNRESET);
    fake_finish(&fake, client);
    cr_assert_eq(descriptors(), before);
}

/* As many as count says with one result, the first of which is its own. */
static void serve_passing_many(struct fake *fake, FILE *from, int fd)
{
    char line[96];
    int files[FAKE_PASS_MAX];
    long long id = fake_id(fake_read(fake, from));
    int other = file_with(0);
    files[0] = file_with(id);
    for (size_t i = 1; i < fake->count; i++)
        files[i] = other;
    int size = snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":1}\n", id);
    fake_pass_many(fd, files, fake->count, line, (size_t)size);
    close(files[0]);
    close(other);
    fake_read(fake, from);
}

static int connect_to(const struct fake *fake)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, fake->path);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* with_sender: the kernel says who sent, in a control message in front of the descriptors. */
static void expect_the_first_of(size_t count, int with_sender)
{
    struct fake fake = {.serve = serve_passing_many, .count = count};
    struct weft_reply reply;
    struct weft_client *client;
    int64_t id;
    size_t before = descriptors();
    fake_start(&fake);
    int fd = connect_to(&fake);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &with_sender, sizeof with_sender), 0);
    cr_assert_eq(weft_client_open_fd(fd, &client), 0);
    cr_assert_eq(weft_client_send(client, "ping", NULL, &id), 0);
    cr_assert_eq(weft_client_receive(client, id, &reply), 0);
    cr_assert_geq(reply.fd, 0, "none of %zu", count);
    cr_assert_eq(id_in(reply.fd), id);
    weft_reply_destroy(&reply);
    fake_finish(&fake, client);
    cr_assert_eq(descriptors(), before, "of %zu, %zu are open", count, descriptors() - before);
}

Test(client_pass, of_several_descriptors_the_first_is_kept_and_the_others_are_closed)
{
    expect_the_first_of(2, 0);
    expect_the_first_of(3, 0);
    expect_the_first_of(FAKE_PASS_MAX, 0);
}

Test(client_pass, a_descriptor_is_found_behind_another_control_message)
{
    expect_the_first_of(1, 1);
    expect_the_first_of(FAKE_PASS_MAX, 1);
}

static int ask_output(const char *answer, int *passed, struct weft_client_output *ret_output,
                      struct weft_client_error *error)
{
    const struct canned canned[] = {{"job.output", answer, passed}, {0}};
    struct fake fake = {.canned = canned};
    size_t before = descriptors();
    struct weft_client *client = fake_open(&fake);
    int err = weft_client_output(client, 7, "stdout", 12, ret_output, error);
    weft_client_close(client);
    fake_stop(&fake);
    cr_assert_eq(descriptors(), before + (err == 0 && passed != NULL));
    expect_params(&fake, "job.output", 0, "{\"id\":7,\"offset\":12,\"stream\":\"stdout\"}");
    fake_free(&fake);
    return err;
}

Test(client_pass, output_is_a_file_and_what_is_said_of_it)
{
    struct weft_client_output output;
    struct weft_client_error error;
    int file = file_with(42);
    cr_assert_eq(fchmod(file, 0600), 0);
    cr_assert_eq(ask_output("\"result\":{\"attempt\":3,\"descriptor\":true,\"begin\":15,\"gap\":3,"
                            "\"eof\":false}",
                            &file, &output, &error),
                 0);
    cr_assert_eq(id_in(output.fd), 42);
    cr_assert(output.attempt == 3 && output.begin == 15 && output.gap == 3 && !output.eof);
    cr_assert_eq(weft_client_output_is_complete(output.fd), 0);
    cr_assert_eq(fchmod(file, 0400), 0);
    cr_assert_eq(weft_client_output_is_complete(output.fd), 1);
    close(output.fd);
    close(file);
    cr_assert_eq(weft_client_output_is_complete(-1), -EBADF);
    cr_assert_eq(ask_output("\"result\":{\"attempt\":3,\"descriptor\":false,\"eof\":true,"
                            "\"dropped\":9}",
                            NULL, &output, &error),
                 0);
    cr_assert(output.fd == -1 && output.eof && output.dropped == 9 && output.gap == 0);
}

Test(client_pass, output_without_its_descriptor_and_nonsense)
{
    struct weft_client_output output;
    struct weft_client_error error;
    int file = file_with(1);
    cr_assert_eq(ask_output("\"result\":{\"attempt\":1,\"descriptor\":true,\"begin\":0}", NULL,
                            &output, &error),
                 -EOPNOTSUPP, "it was lost on the way");
    cr_assert_eq(
        ask_output("\"result\":{\"attempt\":1,\"descriptor\":false}", &file, &output, &error),
        -EBADMSG);
    cr_assert_eq(ask_output("\"result\":[1]", &file, &output, &error), -EBADMSG);
    cr_assert_eq(ask_output("\"error\":{\"code\":-32001,\"message\":\"there is no job 7\"}", NULL,
                            &output, &error),
                 -EREMOTEIO);
    cr_assert_eq(error.code, RPC_NO_SUCH_JOB);
    close(file);
}
