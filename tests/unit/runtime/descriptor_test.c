/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <sys/eventfd.h>

#include "core/wait.h"
#include "core/watch.h"
#include "core/worker.h"
#include "support/io.h"

struct wait {
    struct weft_descriptor *descriptor;
    bool for_writing;
    uint64_t deadline_ns;
    atomic_int arrivals;
    int result;
};

/* The body of a fiber that waits once. */
static int wait_once(void *arg)
{
    struct wait *wait = arg;
    arrive(&wait->arrivals);
    if (wait->for_writing)
        wait->result = weft_descriptor_wait_writable(wait->descriptor, wait->deadline_ns);
    else
        wait->result = weft_descriptor_wait_readable(wait->descriptor, wait->deadline_ns);
    return 0;
}

static void descriptor_pair(struct weft_descriptor **ret_descriptor, int *ret_peer)
{
    int fds[2];
    raw_pair(fds);
    EXPECT_EQ(weft_descriptor_new(fds[0], ret_descriptor), 0);
    *ret_peer = fds[1];
}

/* Fill the send buffer. */
static void fill(int fd)
{
    static char block[4096];
    while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
}

static void drain(int fd)
{
    static char block[4096];
    while (recv(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
}

/* ---- new, release -------------------------------------------------------------------------- */

static int refuse(void *arg)
{
    struct weft_descriptor *descriptor = NULL;
    (void)arg;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int flags = fcntl(file, F_GETFL);
    EXPECT_EQ(weft_descriptor_new(file, &descriptor), -EPERM);
    EXPECT_EQ(fcntl(file, F_GETFL), flags);
    close(file);
    int folder = open("/", O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(weft_descriptor_new(folder, &descriptor), -EPERM);
    close(folder);
    EXPECT_EQ(weft_descriptor_new(folder, &descriptor), -EBADF);
    EXPECT(descriptor == NULL);
    weft_descriptor_free(NULL);
    return 0;
}

Test(descriptor, new_refuses_what_epoll_does_and_leaves_it_as_it_was)
{
    on_fibers_counting_fds(1, refuse, NULL);
}

static int take_and_release(void *arg)
{
    struct weft_descriptor *descriptor;
    int peer;
    (void)arg;
    descriptor_pair(&descriptor, &peer);
    int fd = weft_descriptor_fd(descriptor);
    EXPECT(fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_EQ(watch_count(), 1);
    EXPECT_EQ(weft_descriptor_release(descriptor), fd);
    EXPECT_EQ(watch_count(), 0);
    EXPECT_EQ(send(peer, "x", 1, 0), 1); /* an event that nobody is told of */
    EXPECT_EQ(weft_descriptor_new(fd, &descriptor), 0);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, soon()), 0);
    weft_descriptor_free(descriptor);
    EXPECT_EQ(fcntl(fd, F_GETFL), -1);
    close(peer);
    return 0;
}

Test(descriptor, release_gives_the_fd_back_open)
{
    on_fibers_counting_fds(1, take_and_release, NULL);
    cr_assert_eq(watch_count(), 0);
}

/* ---- waiting ------------------------------------------------------------------------------- */

static int wait_then_write(void *arg)
{
    struct weft_group group;
    struct wait wait = {.deadline_ns = soon()};
    int peer;
    (void)arg;
    descriptor_pair(&wait.descriptor, &peer);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_once, &wait), 0);
    await_arrivals(&wait.arrivals, 1);
    EXPECT_EQ(send(peer, "x", 1, 0), 1);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(wait.result, 0);
    weft_descriptor_free(wait.descriptor);
    close(peer);
    return 0;
}

Test(descriptor, wait_ends_with_data)
{
    on_fibers_counting_fds(1, wait_then_write, NULL);
    on_fibers_counting_fds(2, wait_then_write, NULL);
}

static int write_then_wait(void *arg)
{
    struct weft_descriptor *descriptor;
    int peer;
    (void)arg;
    descriptor_pair(&descriptor, &peer);
    EXPECT_EQ(send(peer, "x", 1, 0), 1);
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(weft_sleep(1), 0); /* the event is delivered to nobody */
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, soon()), 0);
    /* Nothing was read, and no edge came since. */
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, weft_now_ns() + WEFT_MILLISECOND),
              -ETIMEDOUT);
    weft_descriptor_free(descriptor);
    close(peer);
    return 0;
}

Test(descriptor, an_event_before_the_wait_is_kept_once)
{
    on_fibers_counting_fds(1, write_then_wait, NULL);
}

static int wait_for_room(void *arg)
{
    struct weft_group group;
    struct wait wait = {.deadline_ns = soon(), .for_writing = true};
    int peer;
    (void)arg;
    descriptor_pair(&wait.descriptor, &peer);
    for (int round = 0; round < 3; round++) {
        fill(weft_descriptor_fd(wait.descriptor));
        atomic_store(&wait.arrivals, 0);
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_once, &wait), 0);
        await_arrivals(&wait.arrivals, 1);
        drain(peer);
        EXPECT_EQ(weft_group_join(&group), 0);
        EXPECT_EQ(wait.result, 0);
    }
    weft_descriptor_free(wait.descriptor);
    close(peer);
    return 0;
}

Test(descriptor, wait_ends_with_room_again_and_again)
{
    on_fibers_counting_fds(1, wait_for_room, NULL);
}

static int busy_directions(void *arg)
{
    struct weft_group group;
    struct wait reader = {.deadline_ns = soon()};
    struct wait writer = {.deadline_ns = soon(), .for_writing = true};
    int peer;
    (void)arg;
    descriptor_pair(&reader.descriptor, &peer);
    writer.descriptor = reader.descriptor;
    fill(weft_descriptor_fd(reader.descriptor));
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", wait_once, &reader), 0);
    EXPECT_EQ(weft_group_spawn(&group, "writer", wait_once, &writer), 0);
    await_arrivals(&reader.arrivals, 1);
    await_arrivals(&writer.arrivals, 1);
    EXPECT_EQ(weft_descriptor_wait_readable(reader.descriptor, soon()), -EBUSY);
    EXPECT_EQ(weft_descriptor_wait_writable(reader.descriptor, soon()), -EBUSY);
    close(peer); /* a hang-up ends both */
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(reader.result, 0);
    EXPECT_EQ(writer.result, 0);
    weft_descriptor_free(reader.descriptor);
    return 0;
}

Test(descriptor, one_waiter_per_direction_and_a_hang_up_ends_both)
{
    on_fibers_counting_fds(1, busy_directions, NULL);
}

/* ---- deadline and cancellation ------------------------------------------------------------- */

static int time_out(void *arg)
{
    struct weft_descriptor *descriptor;
    struct weft_scope scope;
    int peer;
    (void)arg;
    descriptor_pair(&descriptor, &peer);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, weft_now_ns() + WEFT_MILLISECOND),
              -ETIMEDOUT);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, 0), -ETIMEDOUT);
    weft_scope_enter(&scope, weft_now_ns() + WEFT_MILLISECOND);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, WEFT_NO_DEADLINE), -ETIMEDOUT);
    EXPECT_EQ(weft_scope_leave(&scope), -ETIMEDOUT);
    EXPECT_EQ(send(peer, "x", 1, 0), 1); /* and the event is still for the next wait */
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, soon()), 0);
    weft_descriptor_free(descriptor);
    close(peer);
    return 0;
}

Test(descriptor, wait_ends_at_the_deadline_of_the_call_or_of_the_scope)
{
    on_fibers_counting_fds(1, time_out, NULL);
}

static int cancel_a_wait(void *arg)
{
    struct weft_group group;
    struct wait wait = {.deadline_ns = WEFT_NO_DEADLINE};
    int peer;
    (void)arg;
    descriptor_pair(&wait.descriptor, &peer);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_once, &wait), 0);
    await_arrivals(&wait.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(wait.result, -ECANCELED);
    EXPECT_EQ(send(peer, "x", 1, 0), 1);
    EXPECT_EQ(weft_descriptor_wait_readable(wait.descriptor, soon()), 0);
    weft_descriptor_free(wait.descriptor);
    close(peer);
    return 0;
}

Test(descriptor, cancel_ends_the_wait_and_frees_the_direction)
{
    on_fibers_counting_fds(1, cancel_a_wait, NULL);
    on_fibers_counting_fds(2, cancel_a_wait, NULL);
}

/* The event comes when the wait is lost already and the fiber has not run since. */
static int cancel_then_deliver(void *arg)
{
    struct weft_group group;
    struct wait wait = {.deadline_ns = WEFT_NO_DEADLINE};
    struct wait_batch batch = {0};
    int peer;
    (void)arg;
    descriptor_pair(&wait.descriptor, &peer);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_once, &wait), 0);
    await_arrivals(&wait.arrivals, 1);
    weft_group_cancel(&group);
    EXPECT(watch_deliver(watch_tag(wait.descriptor), 1 /* EPOLLIN */, &batch));
    EXPECT(batch.head == NULL);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(wait.result, -ECANCELED);
    EXPECT_EQ(weft_descriptor_wait_readable(wait.descriptor, soon()), 0);
    weft_descriptor_free(wait.descriptor);
    close(peer);
    return 0;
}

Test(descriptor, an_event_that_comes_after_the_cancel_is_kept)
{
    on_fibers_counting_fds(1, cancel_then_deliver, NULL);
}

static int wait_in_cancelled_scope(void *arg)
{
    struct weft_descriptor *descriptor;
    struct weft_scope scope;
    int peer;
    (void)arg;
    descriptor_pair(&descriptor, &peer);
    EXPECT_EQ(send(peer, "x", 1, 0), 1);
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, soon()), -ECANCELED);
    EXPECT_EQ(weft_descriptor_wait_writable(descriptor, soon()), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, soon()), 0);
    weft_descriptor_free(descriptor);
    close(peer);
    return 0;
}

Test(descriptor, wait_in_a_cancelled_scope_says_so_and_keeps_the_event)
{
    on_fibers_counting_fds(1, wait_in_cancelled_scope, NULL);
}

/* ---- closing ------------------------------------------------------------------------------- */

static int free_under_waiters(void *arg)
{
    struct weft_group group;
    struct wait reader = {.deadline_ns = soon()};
    struct wait writer = {.deadline_ns = soon(), .for_writing = true};
    char byte;
    int peer;
    (void)arg;
    descriptor_pair(&reader.descriptor, &peer);
    writer.descriptor = reader.descriptor;
    fill(weft_descriptor_fd(reader.descriptor));
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", wait_once, &reader), 0);
    EXPECT_EQ(weft_group_spawn(&group, "writer", wait_once, &writer), 0);
    await_arrivals(&reader.arrivals, 1);
    await_arrivals(&writer.arrivals, 1);
    weft_descriptor_free(reader.descriptor);
    EXPECT_EQ(watch_count(), 0); /* nobody was inside a system call: closed at once */
    drain(peer);
    EXPECT_EQ(recv(peer, &byte, 1, 0), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(reader.result, -EBADF);
    EXPECT_EQ(writer.result, -EBADF);
    close(peer);
    return 0;
}

Test(descriptor, free_ends_the_waits_and_closes)
{
    on_fibers_counting_fds(1, free_under_waiters, NULL);
}

/* How many descriptors the caller's worker watches in the kernel. */
static int watched_now(void)
{
    char path[64], line[256];
    int count = 0;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", worker_poller(worker_self())->epoll_fd);
    FILE *file = fopen(path, "re");
    EXPECT(file != NULL);
    while (fgets(line, sizeof(line), file))
        count += strncmp(line, "tfd:", 4) == 0;
    fclose(file);
    return count;
}

static int close_a_duplicated(void *arg)
{
    struct weft_descriptor *descriptor;
    int fds[2], before = watched_now();
    (void)arg;
    raw_pipe(fds);
    int duplicate = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    EXPECT_EQ(weft_descriptor_new(fds[0], &descriptor), 0);
    EXPECT_EQ(watched_now(), before + 1);
    weft_descriptor_free(descriptor);
    EXPECT_EQ(watched_now(), before);
    /* The open file lives on in the duplicate; its events must not reach the slot's next user. */
    int other = eventfd(0, EFD_CLOEXEC);
    EXPECT_EQ(weft_descriptor_new(other, &descriptor), 0);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    EXPECT_EQ(weft_descriptor_wait_readable(descriptor, weft_now_ns() + 2 * WEFT_MILLISECOND),
              -ETIMEDOUT);
    weft_descriptor_free(descriptor);
    close(duplicate);
    close(fds[1]);
    return 0;
}

Test(descriptor, a_duplicate_of_a_closed_one_sends_no_events)
{
    on_fibers_counting_fds(1, close_a_duplicated, NULL);
}

/* ---- the slots ----------------------------------------------------------------------------- */

Test(watch, an_event_of_a_former_generation_is_dropped)
{
    struct weft_descriptor *watch;
    struct wait_batch batch = {0};
    cr_assert_eq(watch_new(100, &watch), 0);
    uint64_t tag = watch_tag(watch);
    cr_assert(watch_deliver(tag, 1 /* EPOLLIN */, &batch));
    cr_assert(watch->side[WATCH_READ].ready);
    cr_assert(!watch->side[WATCH_WRITE].ready);
    watch->generation++;
    cr_assert(!watch_deliver(tag, 1, &batch), "closed");
    watch_put(watch);
    cr_assert_eq(watch_new(101, &watch), 0);
    cr_assert_neq(watch_tag(watch), tag);
    cr_assert(!watch->side[WATCH_READ].ready);
    cr_assert(!watch_deliver(tag, 1, &batch), "another descriptor is there now");
    cr_assert(!watch->side[WATCH_READ].ready);
    cr_assert_null(batch.head);
    watch->generation++;
    watch_put(watch);
}

Test(watch, slots_are_told_apart_and_used_again)
{
    enum { MANY = 1000 };
    static struct weft_descriptor *watches[MANY];
    uint32_t highest = 0;
    for (int i = 0; i < MANY; i++) {
        cr_assert_eq(watch_new(i, &watches[i]), 0);
        for (int j = 0; j < i; j++)
            cr_assert_neq(watches[i]->index, watches[j]->index);
        highest = watches[i]->index > highest ? watches[i]->index : highest;
    }
    cr_assert_eq(watch_count(), MANY);
    for (int i = 0; i < MANY; i++)
        watch_put(watches[i]);
    for (int i = 0; i < MANY; i++) {
        cr_assert_eq(watch_new(i, &watches[i]), 0);
        cr_assert_leq(watches[i]->index, highest);
    }
    for (int i = 0; i < MANY; i++)
        watch_put(watches[i]);
    cr_assert_eq(watch_count(), 0);
}
