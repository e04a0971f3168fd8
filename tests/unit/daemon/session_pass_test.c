/* SPDX-License-Identifier: MIT */
/* session: descriptors that go with replies. */
#include "session_support.h"

#include "weft/pass.h"

#define PASS(id, text)                                                                             \
    "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"pass\",\"params\":{\"text\":\"" text "\"}}"  \
    "\n"
#define ECHO "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"echo\"}\n"

static void expect_text(int fd, const char *expected)
{
    char text[64] = "";
    EXPECT(pread(fd, text, sizeof text - 1, 0) >= 0);
    if (strcmp(text, expected) != 0) {
        fprintf(stderr, "the descriptor of \"%s\" is that of \"%s\"\n", expected, text);
        abort();
    }
    close(fd);
}

/* All that is there now, as a client does that knows nothing of descriptors but where they come: with
 * the reply that is the last line of what was read.  Returns how many lines. */
static int read_some(void)
{
    static struct weft_passed passed;
    ssize_t got = weft_stream_recv_fds(world.client, world.text + world.size,
                                       sizeof world.text - world.size, &passed);
    EXPECT(got > 0);
    EXPECT(passed.count <= 1);
    world.size += (size_t)got;
    int lines = 0;
    while (world.size > 0) {
        json_t *reply = hear();
        const char *text = json_string_value(json_object_get(reply, "result"));
        lines++;
        if (passed.count > 0 && world.size == 0)
            expect_text(passed.fds[0], text);
        else
            EXPECT(!text); /* an echo */
        json_decref(reply);
    }
    return lines;
}

static int pipeline_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        say(ECHO PASS(1, "one") PASS(2, "two") ECHO ECHO);
        say(PASS(3, "three") ECHO);
    }
    return 0;
}

static void pipeline(void)
{
    struct weft_group writer;
    weft_group_init(&writer);
    EXPECT_EQ(weft_group_spawn(&writer, "writer", pipeline_main, NULL), 0);
    for (int lines = 0; lines < 700;)
        lines += read_some();
    EXPECT_EQ(weft_group_join(&writer), 0);
}

Test(session, each_of_pipelined_replies_has_its_own_descriptor)
{
    world.limits.max_in_flight = 32;
    with_session(3, pipeline);
    cr_assert_eq(atomic_load(&world.opened), 300);
}

static void refused(void)
{
    say("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pass\"}]\n");
    json_t *reply = hear();
    expect_error(json_incref(json_array_get(reply, 0)), RPC_INVALID_REQUEST);
    json_decref(reply);
    EXPECT_EQ(atomic_load(&world.opened), 0);
    EXPECT_EQ(weft_stream_shutdown_write(world.client), 0);
    expect_end();
}

Test(session, nothing_is_passed_with_a_batch)
{
    with_session(1, refused);
}

/* A descriptor that is left open fails it. */
static void counting_fds(unsigned workers, void (*body)(void))
{
    world.limits.max_in_flight = 8;
    world.limits.line_max = 1000;
    on_fibers_counting_fds(workers, beside_session, (void *)body);
}

/* Without a reply, without a descriptor, and to who does not ask for one: the place is free again. */
static void unwanted(void)
{
    say("{\"jsonrpc\":\"2.0\",\"method\":\"pass\",\"params\":{\"text\":\"silent\"}}\n"
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pass\"}\n");
    expect_result(hear(), 1, "\"nothing\"");
    for (int i = 0; i < 3; i++) {
        say(PASS(2, "unseen"));
        expect_result(hear(), 2, "\"unseen\""); /* weft_read() */
    }
    EXPECT_EQ(atomic_load(&world.opened), 5);
}

Test(session, a_descriptor_that_nobody_takes_is_closed)
{
    counting_fds(1, unwanted);
}

/* Its socket is full of replies, and more wait to be written: of descriptors one does. */
static void no_reader(void)
{
    EXPECT_EQ(weft_stream_set_buffers(world.server, 0, 4096), 0);
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n");
    EXPECT_EQ(weft_stream_wait_readable(world.client, soon()), 0); /* it is being written */
    for (int i = 0; i < 6; i++)
        say(PASS(2, "never"));
    say("{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"block\"}\n");
    await_arrivals(&world.arrivals, 1); /* so it has read those before */
    await_arrivals(&world.opened, 1);
    for (int i = 0; i < 100; i++)
        weft_yield();
    EXPECT_EQ(atomic_load(&world.opened), 1);
    hang_up();
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, of_a_client_that_does_not_read_costs_one_descriptor)
{
    counting_fds(2, no_reader);
}

static void cut_off(void)
{
    say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n" PASS(2, "never") PASS(3, "never"));
    EXPECT_EQ(weft_event_wait(&world.ended, soon()), 0);
}

Test(session, a_descriptor_of_who_is_cut_off_is_closed)
{
    world.limits.write_timeout = 20 * WEFT_MILLISECOND;
    counting_fds(2, cut_off);
}
