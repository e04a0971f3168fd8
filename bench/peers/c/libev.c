/* SPDX-License-Identifier: MIT */
/*
 * What bare libev takes to call back once: the floor of anything that goes through its loop.
 *
 * The loop is made as Weft's workers make theirs (epoll, no environment, no signal mask).
 * Called as `libev MODE yield`; ns per callback, by one of three ways:
 *
 * feed:  ev_feed_event and ev_invoke_pending; a callback with no turn of the loop.
 * idle:  one ev_idle; a callback and a whole turn, with its epoll_wait(0).
 * async: an ev_async that sends to itself; a callback, a turn, and the flag that replaces a write.
 */
#include "peer.h"

#include <ev.h>

#define WARM   100000
#define ROUNDS 1000000

static uint64_t calls, start_ns;

static void count_call(struct ev_loop *loop)
{
    calls++;
    if (calls == WARM)
        start_ns = peer_now_ns();
    if (calls == WARM + ROUNDS)
        ev_break(loop, EVBREAK_ALL);
}

static void on_idle(struct ev_loop *loop, struct ev_idle *watcher, int events)
{
    (void)watcher;
    (void)events;
    count_call(loop);
}

static void on_async(struct ev_loop *loop, struct ev_async *watcher, int events)
{
    (void)events;
    ev_async_send(loop, watcher);
    count_call(loop);
}

static void run_idle(struct ev_loop *loop)
{
    struct ev_idle watcher;

    ev_idle_init(&watcher, on_idle);
    ev_idle_start(loop, &watcher);
    ev_run(loop, 0);
}

static void run_async(struct ev_loop *loop)
{
    struct ev_async watcher;

    ev_async_init(&watcher, on_async);
    ev_async_start(loop, &watcher);
    ev_async_send(loop, &watcher);
    ev_run(loop, 0);
}

static void run_feed(struct ev_loop *loop)
{
    struct ev_idle watcher;

    ev_idle_init(&watcher, on_idle);
    while (calls < WARM + ROUNDS) {
        ev_feed_event(loop, &watcher, EV_CUSTOM);
        ev_invoke_pending(loop);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct ev_loop *loop);
    } modes[] = {{"feed", run_feed}, {"idle", run_idle}, {"async", run_async}};
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);

    for (size_t i = 0; loop && argc == 3 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(argv[1], modes[i].name) != 0 || strcmp(argv[2], "yield") != 0)
            continue;
        modes[i].run(loop);
        printf("yield\t%.3f\tns\n", peer_ns_per(start_ns, ROUNDS));
        ev_loop_destroy(loop);
        return 0;
    }
    fprintf(stderr, "usage: %s feed|idle|async yield\n", argv[0]);
    return 1;
}
