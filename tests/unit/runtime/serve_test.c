/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <pthread.h>
#include <sys/resource.h>

#include "support/io.h"

/* A server that runs on a fiber of `group`, and what its handlers saw. */
struct world {
    struct weft_server server;
    struct weft_listener *listener;
    struct weft_group group;
    char name[108];
    struct weft_event go; /* handlers that wait are let go */
    atomic_int began, ended, active, peak;
    atomic_bool returned;
    int result;
};

static int run_server(void *arg)
{
    struct world *world = arg;
    world->result = weft_server_run(&world->server);
    atomic_store(&world->returned, true);
    return 0;
}

static void world_start(struct world *world, int (*handler)(struct weft_stream *, void *),
                        const struct weft_server_options *options)
{
    *world = (struct world){0};
    abstract_name(world->name, "server");
    EXPECT_EQ(weft_listen_unix(world->name, 0600, &world->listener), 0);
    weft_server_init(&world->server, world->listener, handler, world, options);
    weft_group_init(&world->group);
    EXPECT_EQ(weft_group_spawn(&world->group, "server", run_server, world), 0);
}

static void world_end(struct world *world, int joined, int result)
{
    EXPECT_EQ(weft_group_join(&world->group), joined);
    EXPECT_EQ(world->result, result);
    weft_listener_free(world->listener);
}

static struct weft_stream *dial(const struct world *world)
{
    struct weft_stream *stream;
    EXPECT_EQ(weft_stream_connect_unix(world->name, soon(), &stream), 0);
    return stream;
}

static struct weft_server_stats stats_of(struct world *world)
{
    struct weft_server_stats stats;
    weft_server_stats(&world->server, &stats);
    return stats;
}

static void note_peak(struct world *world)
{
    int active = atomic_fetch_add(&world->active, 1) + 1, peak = atomic_load(&world->peak);
    while (peak < active && !atomic_compare_exchange_weak(&world->peak, &peak, active))
        ;
}

/* ---- serving --------------------------------------------------------------------------------- */

static int echo(struct weft_stream *stream, void *arg)
{
    struct world *world = arg;
    char buffer[64];
    ssize_t n;
    note_peak(world);
    while ((n = weft_read(stream, buffer, sizeof(buffer))) > 0)
        EXPECT_EQ(weft_write(stream, buffer, (size_t)n, NULL), 0);
    atomic_fetch_sub(&world->active, 1);
    atomic_fetch_add(&world->ended, 1);
    return n < 0 ? (int)n : 0;
}

static int ask(void *arg)
{
    struct world *world = arg;
    struct weft_stream *stream = dial(world);
    char buffer[8];
    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(weft_write(stream, "question", 8, NULL), 0);
        read_exactly(stream, buffer, 8);
        EXPECT(memcmp(buffer, "question", 8) == 0);
    }
    weft_stream_free(stream);
    return 0;
}

enum { CLIENTS = 200, LIMIT = 5 };

static void serve_clients(const struct weft_server_options *options, int peak)
{
    struct weft_group clients;
    struct world world;
    world_start(&world, echo, options);
    weft_group_init(&clients);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(weft_group_spawn(&clients, "client", ask, &world), 0);
    EXPECT_EQ(weft_group_join(&clients), 0);
    await_arrivals(&world.ended, CLIENTS);
    weft_server_stop(&world.server);
    world_end(&world, 0, 0);
    EXPECT_EQ(stats_of(&world).accepted, CLIENTS);
    EXPECT_EQ(stats_of(&world).failed, 0);
    EXPECT_EQ(stats_of(&world).active, 0);
    EXPECT(atomic_load(&world.peak) <= peak);
}

static int serve(void *arg)
{
    struct weft_server_options options = {.max_connections = LIMIT, .name = "echo"};
    (void)arg;
    serve_clients(NULL, CLIENTS);
    serve_clients(&options, LIMIT);
    return 0;
}

Test(server, a_fiber_per_connection_and_no_more_than_the_limit)
{
    on_fibers_counting_fds(1, serve, NULL);
    on_fibers_counting_fds(2, serve, NULL);
}

static int fail(struct weft_stream *stream, void *arg)
{
    struct world *world = arg;
    (void)stream;
    atomic_fetch_add(&world->ended, 1);
    return -EPROTO;
}

static int serve_failing_handlers(void *arg)
{
    struct weft_stream *stream;
    struct world world;
    char byte;
    (void)arg;
    world_start(&world, fail, NULL);
    for (int i = 0; i < 3; i++) {
        stream = dial(&world);
        EXPECT_EQ(weft_read(stream, &byte, 1), 0); /* the server closed it */
        weft_stream_free(stream);
    }
    weft_server_stop(&world.server);
    weft_server_stop(&world.server);
    world_end(&world, 0, 0);
    EXPECT_EQ(stats_of(&world).failed, 3);
    return 0;
}

Test(server, a_failed_handler_is_counted_and_concerns_nobody_else)
{
    on_fibers_counting_fds(1, serve_failing_handlers, NULL);
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* Until the other end says something, or the server ends. */
static int linger(struct weft_stream *stream, void *arg)
{
    struct world *world = arg;
    char byte;
    arrive(&world->began);
    int r = (int)weft_read(stream, &byte, 1);
    atomic_fetch_add(&world->ended, 1);
    return r;
}

static int stop_with_grace(void *arg)
{
    struct weft_server_options options = {.grace_ns = UINT64_MAX};
    struct weft_stream *stream, *late;
    struct world world;
    char byte;
    world_start(&world, linger, &options);
    stream = dial(&world);
    await_arrivals(&world.began, 1);
    weft_server_stop(&world.server);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    late = dial(&world); /* the listener is there, but nobody accepts any more */
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(weft_yield(), 0);
    EXPECT(!atomic_load(&world.returned));
    weft_stream_free(late);
    EXPECT_EQ(weft_write(stream, "x", 1, NULL), 0);
    EXPECT_EQ(weft_read(stream, &byte, 1), 0);
    world_end(&world, 0, 0);
    EXPECT_EQ(atomic_load(&world.ended), atomic_load(&world.began));
    if (*(int *)arg == 1)
        EXPECT_EQ(atomic_load(&world.ended), 1);
    EXPECT_EQ(stats_of(&world).failed, 0);
    weft_stream_free(stream);
    return 0;
}

Test(server, a_stop_waits_for_the_handlers)
{
    for (int workers = 1; workers <= 2; workers++)
        on_fibers_counting_fds((unsigned)workers, stop_with_grace, &workers);
}

static int stop_without_grace(void *arg)
{
    static const uint64_t graces[] = {0, WEFT_MILLISECOND};
    struct weft_stream *stream;
    struct world world;
    (void)arg;
    for (int i = 0; i < 2; i++) {
        struct weft_server_options options = {.grace_ns = graces[i]};
        world_start(&world, linger, &options);
        stream = dial(&world);
        await_arrivals(&world.began, 1);
        weft_server_stop(&world.server);
        world_end(&world, 0, 0);
        EXPECT_EQ(atomic_load(&world.ended), 1);
        EXPECT_EQ(stats_of(&world).failed, 1);
        weft_stream_free(stream);
    }
    return 0;
}

Test(server, after_the_grace_the_handlers_are_cancelled)
{
    on_fibers_counting_fds(1, stop_without_grace, NULL);
}

static int cancel_it(void *arg)
{
    struct weft_server_options options = {.grace_ns = UINT64_MAX};
    struct weft_stream *stream;
    struct weft_scope scope;
    struct world world;
    (void)arg;
    world_start(&world, linger, &options);
    stream = dial(&world);
    await_arrivals(&world.began, 1);
    weft_group_cancel(&world.group);
    world_end(&world, -ECANCELED, -ECANCELED);
    EXPECT_EQ(atomic_load(&world.ended), 1);
    weft_stream_free(stream);
    EXPECT_EQ(weft_listen_unix(world.name, 0600, &world.listener), 0);
    weft_scope_enter(&scope, weft_deadline_after(WEFT_MILLISECOND));
    EXPECT_EQ(weft_serve(world.listener, linger, &world, NULL), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    weft_listener_free(world.listener);
    return 0;
}

Test(server, its_scope_ends_it_and_its_handlers)
{
    on_fibers_counting_fds(1, cancel_it, NULL);
    on_fibers_counting_fds(2, cancel_it, NULL);
}

static void *stop_as_thread(void *arg)
{
    struct world *world = arg;
    weft_server_stop(&world->server);
    return NULL;
}

static int stop_from_outside(void *arg)
{
    struct weft_server server;
    struct world world;
    pthread_t thread;
    (void)arg;
    world_start(&world, linger, NULL);
    EXPECT_EQ(pthread_create(&thread, NULL, stop_as_thread, &world), 0);
    EXPECT_EQ(weft_group_join(&world.group), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(world.result, 0);
    weft_server_init(&server, world.listener, linger, &world, NULL);
    weft_server_stop(&server); /* before it runs */
    EXPECT_EQ(weft_server_run(&server), 0);
    weft_listener_free(world.listener);
    return 0;
}

Test(server, any_thread_may_stop_it_and_even_before_it_runs)
{
    on_fibers_counting_fds(1, stop_from_outside, NULL);
}

static int accept_once(void *arg)
{
    struct weft_stream *stream;
    struct world *world = arg;
    arrive(&world->began);
    return weft_accept(world->listener, &stream);
}

static int lose_the_listener(void *arg)
{
    struct weft_group group;
    struct world world;
    (void)arg;
    world_start(&world, linger, NULL);
    EXPECT_EQ(weft_yield(), 0);
    weft_listener_free(world.listener);
    EXPECT_EQ(weft_group_join(&world.group), 0);
    EXPECT_EQ(world.result, -EBADF);
    EXPECT_EQ(weft_listen_unix(world.name, 0600, &world.listener), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "acceptor", accept_once, &world), 0);
    await_arrivals(&world.began, 1);
    EXPECT_EQ(weft_serve(world.listener, linger, &world, NULL), -EBUSY);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    weft_listener_free(world.listener);
    return 0;
}

Test(server, it_ends_when_it_can_accept_no_more)
{
    on_fibers_counting_fds(1, lose_the_listener, NULL);
}

/* ---- shortage -------------------------------------------------------------------------------- */

static int run_out_of_fds(void *arg)
{
    struct weft_stream *streams[3];
    struct rlimit before, none;
    struct world world;
    (void)arg;
    world_start(&world, echo, NULL);
    for (int i = 0; i < 3; i++)
        streams[i] = dial(&world);
    await_arrivals(&world.active, 3);
    for (int i = 0; i < 3; i++)
        weft_stream_free(streams[i]);
    await_arrivals(&world.ended, 3);
    struct weft_stream *waiting = dial(&world);
    weft_stream_free(waiting);
    await_arrivals(&world.ended, 4);

    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(weft_listener_fd(world.listener), (struct sockaddr *)&address, &size), 0);
    EXPECT_EQ(connect(fd, (struct sockaddr *)&address, size), 0);
    while (stats_of(&world).shortage < 3)
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    EXPECT(stats_of(&world).shortage < 100); /* it does not spin */
    EXPECT_EQ(atomic_load(&world.active), 0);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    await_arrivals(&world.active, 1);
    close(fd);
    await_arrivals(&world.ended, 5);
    weft_server_stop(&world.server);
    world_end(&world, 0, 0);
    EXPECT_EQ(stats_of(&world).accepted, 5);
    return 0;
}

Test(server, without_descriptors_it_pauses_and_goes_on)
{
    on_fibers_counting_fds(1, run_out_of_fds, NULL);
}

static int run_out_of_fibers(void *arg)
{
    struct weft_stream *streams[8];
    struct world world;
    int served = 0;
    char byte;
    (void)arg;
    world_start(&world, echo, NULL);
    for (int i = 0; i < 8; i++)
        streams[i] = dial(&world);
    /* This fiber, the server and its acceptor leave room for two handlers; the rest is closed. */
    for (int i = 0; i < 8; i++) {
        weft_write(streams[i], "x", 1, NULL);
        ssize_t n = weft_read(streams[i], &byte, 1);
        EXPECT(n == 1 || n == 0 || n == -ECONNRESET);
        served += n == 1;
    }
    EXPECT_EQ(served, 2);
    EXPECT_EQ(stats_of(&world).refused, 6);
    for (int i = 0; i < 8; i++)
        weft_stream_free(streams[i]);
    await_arrivals(&world.ended, 2);
    streams[0] = dial(&world);
    await_arrivals(&world.active, 1);
    weft_stream_free(streams[0]);
    weft_server_stop(&world.server);
    world_end(&world, 0, 0);
    EXPECT(stats_of(&world).shortage >= 6);
    return 0;
}

Test(server, without_fibers_it_refuses_and_goes_on)
{
    struct weft_options options;
    weft_options_init(&options);
    one_at_a_time(&options);
    options.handle_signals = false;
    options.max_fibers = 5;
    int before = open_fds();
    EXPECT_EQ(weft_run(&options, run_out_of_fibers, NULL), 0);
    EXPECT_EQ(open_fds(), before);
}
