/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/fibers.h"

static int lock_and_leave(struct weft_mutex *mutex, int result)
{
    WEFT_CLEANUP(mutex) struct weft_mutex *held = NULL;
    int r = weft_mutex_lock(mutex);

    if (r < 0)
        return r;
    held = mutex;
    EXPECT_EQ(weft_mutex_trylock(mutex), -EBUSY);
    return result;
}

static int mutex_body(void *arg)
{
    struct weft_mutex mutex = {{0}};
    struct weft_scope scope;
    (void)arg;

    EXPECT_EQ(lock_and_leave(&mutex, 3), 3);
    EXPECT_EQ(weft_mutex_trylock(&mutex), 0); /* it was unlocked */
    EXPECT_EQ(lock_and_leave(&mutex, 3), -EDEADLK);
    weft_mutex_unlock(&mutex); /* not by the attempt that failed */
    weft_scope_enter(&scope, WEFT_NO_DEADLINE);
    weft_scope_cancel(&scope);
    EXPECT_EQ(lock_and_leave(&mutex, 3), -ECANCELED);
    EXPECT_EQ(weft_scope_leave(&scope), -ECANCELED);
    EXPECT_EQ(weft_mutex_trylock(&mutex), 0);
    weft_mutex_unlock(&mutex);
    return 0;
}

Test(cleanup, a_mutex_is_unlocked_on_every_way_out_that_holds_it)
{
    on_fibers(1, mutex_body, NULL);
}

static int take_and_leave(struct weft_semaphore *semaphore)
{
    WEFT_CLEANUP(permit) struct weft_semaphore *taken = NULL;
    int r = weft_semaphore_try_acquire(semaphore);

    if (r == 0)
        taken = semaphore;
    return r;
}

static int permit_body(void *arg)
{
    struct weft_semaphore semaphore;
    (void)arg;

    weft_semaphore_init(&semaphore, 1, 1);
    EXPECT_EQ(take_and_leave(&semaphore), 0);
    EXPECT_EQ(take_and_leave(&semaphore), 0);
    EXPECT_EQ(weft_semaphore_try_acquire(&semaphore), 0);
    EXPECT_EQ(take_and_leave(&semaphore), -EAGAIN);
    EXPECT_EQ(weft_semaphore_try_acquire(&semaphore), -EAGAIN); /* none was given too many */
    return 0;
}

Test(cleanup, a_permit_is_given_back)
{
    on_fibers(1, permit_body, NULL);
}

static int leave_from_inside(bool early)
{
    struct weft_scope scope;
    WEFT_CLEANUP(scope) struct weft_scope *inside = &scope;

    weft_scope_enter(&scope, 0);
    EXPECT_EQ(weft_sleep(1), -ETIMEDOUT);
    if (early)
        return weft_check_cancel();
    inside = NULL;
    return weft_scope_leave(&scope);
}

static int scope_body(void *arg)
{
    (void)arg;
    EXPECT_EQ(leave_from_inside(true), -ETIMEDOUT);
    EXPECT_EQ(weft_check_cancel(), 0); /* it was left */
    EXPECT_EQ(leave_from_inside(false), -ETIMEDOUT);
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

Test(cleanup, a_scope_is_left)
{
    on_fibers(1, scope_body, NULL);
}

static int sleep_for_ever(void *arg)
{
    int r = weft_sleep_until(WEFT_NO_DEADLINE);

    atomic_fetch_add((atomic_int *)arg, 1);
    return r;
}

static int start_and_fail(atomic_int *ended)
{
    struct weft_group group;
    WEFT_CLEANUP(group) struct weft_group *open = &group;

    weft_group_init(&group);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(weft_group_spawn(&group, "child", sleep_for_ever, ended), 0);
    return -EIO; /* before the join */
}

static int group_body(void *arg)
{
    atomic_int ended = 0;
    (void)arg;

    EXPECT_EQ(start_and_fail(&ended), -EIO);
    EXPECT_EQ(atomic_load(&ended), 3);
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

Test(cleanup, a_group_is_cancelled_and_joined)
{
    on_fibers(1, group_body, NULL);
    on_fibers(2, group_body, NULL);
}

static int no_items(struct weft_generator *generator, void *arg)
{
    (void)generator, (void)arg;
    return 0;
}

/* What is on the heap: a leak would be found by LeakSanitizer, a double free by
 * AddressSanitizer. */
static int heap_body(void *arg)
{
    WEFT_CLEANUP(task) struct weft_task *task = NULL;
    WEFT_CLEANUP(task) struct weft_task *none = NULL;
    WEFT_CLEANUP(future) struct weft_future *future = NULL;
    WEFT_CLEANUP(channel) struct weft_channel *channel = NULL, *given_away = NULL;
    WEFT_CLEANUP(generator) struct weft_generator *generator = NULL;
    struct weft_channel *kept;
    atomic_int ended = 0;
    (void)arg;

    EXPECT_EQ(weft_task_new("sleeper", sleep_for_ever, &ended, &task), 0);
    EXPECT_EQ(weft_future_new(&future), 0);
    EXPECT_EQ(weft_channel_new(4, 1, &channel), 0);
    EXPECT_EQ(weft_channel_new(4, 1, &given_away), 0);
    EXPECT_EQ(weft_generator_new("none", no_items, NULL, 1, &generator), 0);
    kept = given_away;
    given_away = NULL;
    weft_channel_free(kept);
    EXPECT(!none);
    return 0;
}

Test(cleanup, what_is_on_the_heap_is_freed_unless_it_was_given_away)
{
    on_fibers(1, heap_body, NULL);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* The rest of the core library.  A descriptor that is not closed would get another number below. */
static void open_one_of_each(const char *folder)
{
    WEFT_CLEANUP(broadcast) struct weft_broadcast *broadcast = NULL;
    WEFT_CLEANUP(queue) struct weft_queue *queue = NULL;
    WEFT_CLEANUP(watch) struct weft_watch *watch = NULL;
    WEFT_CLEANUP(executor) struct weft_executor *executor = NULL;
    WEFT_CLEANUP(descriptor) struct weft_descriptor *descriptor = NULL;
    WEFT_CLEANUP(stream) struct weft_stream *stream = NULL;
    WEFT_CLEANUP(listener) struct weft_listener *listener = NULL, *none = NULL;
    WEFT_CLEANUP(datagram) struct weft_datagram *datagram = NULL;
    WEFT_CLEANUP(signals) struct weft_signals *signals = NULL;
    WEFT_CLEANUP(file) struct weft_file *file = NULL;
    WEFT_CLEANUP(dir) struct weft_dir *dir = NULL;
    int initial = 1, result = -1, ends[2];
    sigset_t set;

    EXPECT_EQ(weft_broadcast_new(4, 4, &broadcast), 0);
    EXPECT_EQ(weft_queue_new(4, 4, WEFT_QUEUE_FIFO, &queue), 0);
    EXPECT_EQ(weft_watch_new(sizeof(initial), &initial, &watch), 0);
    EXPECT_EQ(weft_executor_new(1, NULL, &executor), 0);
    EXPECT_EQ(weft_executor_run(executor, nothing, NULL, &result), 0);
    EXPECT_EQ(result, 0);
    EXPECT_EQ(weft_descriptor_new(eventfd(0, EFD_CLOEXEC), &descriptor), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_EQ(weft_stream_new(ends[0], &stream), 0);
    close(ends[1]);
    EXPECT_EQ(weft_listen_tcp("127.0.0.1", 0, &listener), 0);
    EXPECT(!none);
    EXPECT_EQ(weft_datagram_new(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), &datagram), 0);
    sigemptyset(&set);
    EXPECT_EQ(weft_signals_new(&set, &signals), 0);
    EXPECT_EQ(weft_file_open("/dev/null", O_RDONLY, 0, &file), 0);
    EXPECT_EQ(weft_dir_open(folder, &dir), 0);
}

static int lowest_free_fd(void)
{
    int fd = dup(0);

    EXPECT(fd >= 0);
    close(fd);
    return fd;
}

static int each_body(void *arg)
{
    int before;

    open_one_of_each(arg); /* once before, for what is opened once and kept */
    before = lowest_free_fd();
    for (int i = 0; i < 3; i++)
        open_one_of_each(arg);
    EXPECT_EQ(lowest_free_fd(), before);
    return 0;
}

Test(cleanup, everything_of_the_core_library_has_its_kind)
{
    on_fibers(1, each_body, "/");
}

static int read_lines_of(struct weft_file *file)
{
    struct weft_reader reader;
    struct weft_writer writer;
    WEFT_CLEANUP(reader) struct weft_reader *reads = &reader;
    WEFT_CLEANUP(writer) struct weft_writer *writes = &writer;
    char byte;

    weft_reader_init_file(&reader, file);
    weft_writer_init_file(&writer, file);
    EXPECT_EQ(weft_writer_write(writes, "x", 1), 0); /* which takes a buffer */
    return (int)weft_reader_read(reads, &byte, 1);
}

static int caller_owned_body(void *arg)
{
    WEFT_CLEANUP(file) struct weft_file *file = NULL;
    struct weft_completions completions;
    struct weft_rwlock rwlock = {{0}};
    atomic_int ended = 0;
    (void)arg;

    EXPECT_EQ(weft_file_open("/dev/null", O_RDWR, 0, &file), 0);
    EXPECT_EQ(read_lines_of(file), 0);
    {
        WEFT_CLEANUP(rwlock) struct weft_rwlock *held = NULL;

        EXPECT_EQ(weft_rwlock_wrlock(&rwlock, WEFT_NO_DEADLINE), 0);
        held = &rwlock;
        EXPECT_EQ(weft_rwlock_tryrdlock(&rwlock), -EBUSY);
    }
    EXPECT_EQ(weft_rwlock_tryrdlock(&rwlock), 0);
    weft_rwlock_unlock(&rwlock);
    {
        WEFT_CLEANUP(completions) struct weft_completions *running = NULL;
        struct weft_call call = {.fn = sleep_for_ever, .arg = &ended};

        EXPECT_EQ(weft_completions_init(&completions, &call, 1), 0);
        running = &completions;
    }
    EXPECT_EQ(atomic_load(&ended), 1);
    EXPECT_EQ(weft_check_cancel(), 0);
    return 0;
}

Test(cleanup, what_is_the_callers_own_is_undone)
{
    on_fibers(1, caller_owned_body, NULL);
}

static int process_body(void *arg)
{
    static const char *const argv[] = {"/bin/true", NULL};
    struct weft_process_options options;
    struct weft_process_status status;
    (void)arg;

    weft_process_options_init(&options);
    options.argv = argv;
    WEFT_CLEANUP(process) struct weft_process *process = NULL;
    EXPECT_EQ(weft_process_spawn(&options, &process), 0);
    EXPECT_EQ(weft_process_wait(process, WEFT_NO_DEADLINE, &status), 0);
    return status.exit_code;
}

Test(cleanup, a_process_that_was_waited_for_is_freed)
{
    on_fibers(1, process_body, NULL);
}

static char order[4];
static int entered;

struct first;

static void weft_cleanup_first(struct first **variable)
{
    if (*variable)
        order[entered++] = 'f';
}

static void weft_cleanup_second(struct first **variable)
{
    if (*variable)
        order[entered++] = 's';
}

Test(cleanup, the_last_is_undone_first_and_others_may_add_kinds)
{
    {
        WEFT_CLEANUP(first) struct first *first = (struct first *)order;
        WEFT_CLEANUP(second) struct first *second = (struct first *)order;
        WEFT_CLEANUP(second) struct first *third = NULL;

        cr_assert(first && second && !third);
    }
    cr_assert_str_eq(order, "sf");
}
