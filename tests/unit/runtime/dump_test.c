/* SPDX-License-Identifier: MIT */
/* dump_test: observe/look.c, frames.c, interrupt.c, describe.c, dump.c, symbols.c, text.c */
#include <pthread.h>

#include "support/test.h"

#include "support/io.h"

enum { FN_SIZE = 1024 };

/* --- finding one fiber */

struct found {
    const char *name;
    int count; /* how many have it */
    struct weft_fiber_info info;
};

static int keep(const struct weft_fiber_info *info, void *arg)
{
    struct found *found = arg;

    if (!info->name || strcmp(info->name, found->name) != 0)
        return 0;
    found->count++;
    found->info = *info;
    return 0;
}

static struct weft_fiber_info find_in(struct weft_runtime *runtime, const char *name,
                                      unsigned flags)
{
    struct found found = {.name = name};

    EXPECT_EQ(weft_fibers_each(runtime, flags, keep, &found), 0);
    EXPECT_EQ(found.count, 1);
    return found.info;
}

static struct weft_fiber_info find(const char *name, unsigned flags)
{
    return find_in(weft_runtime_self(), name, flags);
}

/* Look until the fiber waits for that. */
static struct weft_fiber_info await_wait(const char *name, const char *kind)
{
    for (;;) {
        struct weft_fiber_info info = find(name, WEFT_DUMP_BACKTRACE);

        if (info.state == WEFT_FIBER_WAITING) {
            EXPECT(info.wait_kind != NULL);
            EXPECT_EQ(strcmp(info.wait_kind, kind), 0);
            return info;
        }
        EXPECT_EQ(weft_yield(), 0);
    }
}

static bool stands_in(const struct weft_fiber_info *info, int (*fn)(void *))
{
    for (unsigned i = 0; i < info->frame_count; i++) {
        uintptr_t offset = (uintptr_t)info->frames[i] - (uintptr_t)fn;

        if (offset > 0 && offset <= FN_SIZE)
            return true;
    }
    return false;
}

/* After a call, so that it is no tail call and the caller's frame stays. */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

/* --- text */

struct paper {
    size_t size;
    char text[65536];
};

static int put(const char *text, size_t size, void *arg)
{
    struct paper *paper = arg;

    EXPECT(paper->size + size < sizeof(paper->text));
    memcpy(paper->text + paper->size, text, size);
    paper->size += size;
    return 0;
}

static bool paper_says(const struct paper *paper, const char *what)
{
    return strstr(paper->text, what) != NULL;
}

static struct paper *dump(unsigned flags)
{
    struct paper *paper = calloc(1, sizeof(*paper));

    EXPECT_EQ(weft_dump(weft_runtime_self(), flags, put, paper), 0);
    return paper;
}

/* --- who waits */

static struct weft_event gate;

__attribute__((noinline)) static int wait_at_gate(void *arg)
{
    int r = weft_event_wait(&gate, WEFT_NO_DEADLINE);

    (void)arg;
    KEEP_FRAME();
    return r;
}

static int a_waiter(void *arg)
{
    struct weft_fiber_info info;
    struct weft_group group;

    (void)arg;
    weft_event_init(&gate);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", wait_at_gate, NULL), 0);
    info = await_wait("waiter", "event");
    EXPECT(info.wait_object == &gate);
    EXPECT_EQ(info.wait_owner_id, 0);
    EXPECT_EQ(info.parent_id, find("main", 0).id);
    EXPECT(info.since_ns > 0 && info.since_ns <= weft_now_ns());
    EXPECT_EQ(info.stack_size, 262144);
    EXPECT(stands_in(&info, wait_at_gate));
    EXPECT_EQ(find("waiter", 0).frame_count, 0);
    EXPECT_EQ(find("waiter", 0).id, info.id);
    weft_event_set(&gate);
    return weft_group_join(&group);
}

Test(dump, a_waiting_fiber_is_seen_with_what_it_waits_for_and_where)
{
    on_fibers(1, a_waiter, NULL);
    on_fibers(2, a_waiter, NULL);
}

static int lock_mutex(void *arg)
{
    int r = weft_mutex_lock(arg);

    EXPECT_EQ(r, 0);
    weft_mutex_unlock(arg);
    return 0;
}

static int a_locker(void *arg)
{
    struct weft_fiber_info info;
    struct weft_mutex mutex;
    struct weft_group group;

    (void)arg;
    weft_mutex_init(&mutex);
    EXPECT_EQ(weft_mutex_lock(&mutex), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "locker", lock_mutex, &mutex), 0);
    info = await_wait("locker", "mutex");
    EXPECT(info.wait_object == &mutex);
    EXPECT_EQ(info.wait_owner_id, find("main", 0).id);
    weft_mutex_unlock(&mutex);
    return weft_group_join(&group);
}

Test(dump, who_waits_for_a_mutex_is_seen_with_its_owner)
{
    on_fibers(1, a_locker, NULL);
}

static int read_byte(void *arg)
{
    char byte;

    EXPECT_EQ(weft_read(arg, &byte, 1), 1);
    return 0;
}

static int a_reader(void *arg)
{
    struct weft_stream *pipes[2];
    struct weft_fiber_info info;
    struct weft_group group;
    struct paper *paper;
    int fds[2];

    (void)arg;
    raw_pipe(fds);
    EXPECT_EQ(weft_stream_new(fds[0], &pipes[0]), 0);
    EXPECT_EQ(weft_stream_new(fds[1], &pipes[1]), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_byte, pipes[0]), 0);
    info = await_wait("reader", "readable");
    EXPECT_EQ((intptr_t)info.wait_object, fds[0]);
    paper = dump(0);
    EXPECT(paper_says(paper, " for readable fd "));
    free(paper);
    EXPECT_EQ(weft_write(pipes[1], "x", 1, NULL), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    free_pair(pipes);
    return 0;
}

Test(dump, who_waits_for_a_descriptor_is_seen_with_its_number)
{
    on_fibers(1, a_reader, NULL);
}

static int sleep_long(void *arg)
{
    int r = weft_sleep(600 * WEFT_SECOND);

    (void)arg;
    return r == -ECANCELED ? 0 : r;
}

static int be_joined(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "sleeper", sleep_long, NULL), 0);
    return weft_group_join(&group) == -ECANCELED ? 0 : -EINVAL;
}

static atomic_bool release_thread;

static int block_thread(void *arg)
{
    (void)arg;
    while (!atomic_load(&release_thread))
        usleep(100);
    return 0;
}

static int offload_it(void *arg)
{
    (void)arg;
    return weft_offload(block_thread, NULL, NULL);
}

static int the_core_waits(void *arg)
{
    struct weft_group group;
    struct paper *paper;

    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "joiner", be_joined, NULL), 0);
    EXPECT_EQ(weft_group_spawn(&group, "offloader", offload_it, NULL), 0);
    await_wait("joiner", "group"); /* so it has started the sleeper, on whichever worker it is */
    await_wait("sleeper", "sleep");
    EXPECT_EQ(await_wait("sleeper", "sleep").parent_id, await_wait("joiner", "group").id);
    EXPECT(await_wait("offloader", "offload").wait_object == (void *)block_thread);
    paper = dump(0);
    EXPECT(paper_says(paper, " for offload block_thread+"));
    EXPECT(paper_says(paper, " for sleep\n"));
    free(paper);
    atomic_store(&release_thread, true);
    weft_group_cancel(&group);
    return weft_group_join(&group) == -ECANCELED ? 0 : -EINVAL;
}

Test(dump, sleeps_joins_and_offloads_are_named)
{
    on_fibers(2, the_core_waits, NULL);
}

/* --- who does not wait */

__attribute__((noinline)) static int yield_often(void *arg)
{
    atomic_bool *stop = arg;

    while (!atomic_load(stop))
        EXPECT_EQ(weft_yield(), 0);
    return 0;
}

static int a_yielder(void *arg)
{
    struct weft_fiber_info info;
    struct weft_group group;
    atomic_bool stop = false;

    (void)arg;
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "yielder", yield_often, &stop), 0);
    info = find("yielder", WEFT_DUMP_BACKTRACE);
    EXPECT_EQ(info.state, WEFT_FIBER_READY);
    EXPECT(info.wait_kind == NULL);
    EXPECT_EQ(info.since_ns, 0);
    EXPECT(stands_in(&info, yield_often));
    atomic_store(&stop, true);
    return weft_group_join(&group);
}

Test(dump, a_fiber_that_lets_others_run_is_ready_and_has_a_backtrace)
{
    on_fibers(1, a_yielder, NULL);
}

__attribute__((noinline)) static int look_at_oneself(void *arg)
{
    struct weft_fiber_info info = find("main", WEFT_DUMP_BACKTRACE);

    (void)arg;
    EXPECT_EQ(info.state, WEFT_FIBER_RUNNING);
    EXPECT_EQ(info.worker, 0);
    EXPECT(stands_in(&info, look_at_oneself));
    return 0;
}

Test(dump, who_looks_sees_itself_run_with_its_backtrace)
{
    on_fibers(1, look_at_oneself, NULL);
}

__attribute__((noinline)) static int spin(void *arg)
{
    atomic_bool *stop = arg;

    while (!atomic_load(stop))
        KEEP_FRAME();
    return 0;
}

static int a_spinner(void *arg)
{
    struct weft_fiber_info info;
    struct weft_group group;
    atomic_bool stop = false;

    (void)arg;
    weft_group_init(&group);
    /* The spinner takes this worker; the other one steals what comes next. */
    EXPECT_EQ(weft_group_spawn(&group, "spinner", spin, &stop), 0);
    info = find("spinner", WEFT_DUMP_BACKTRACE);
    EXPECT_EQ(info.state, WEFT_FIBER_RUNNING);
    EXPECT_EQ(info.frame_count, 0);
    do {
        info = find("spinner", WEFT_DUMP_BACKTRACE | WEFT_DUMP_INTERRUPT);
        EXPECT_EQ(info.state, WEFT_FIBER_RUNNING);
    } while (info.frame_count == 0);
    EXPECT(stands_in(&info, spin));
    atomic_store(&stop, true);
    return weft_group_join(&group);
}

Test(dump, a_fiber_that_runs_has_a_backtrace_if_it_may_be_interrupted)
{
    on_fibers(2, a_spinner, NULL);
}

static void *spawn_from_outside(void *arg)
{
    EXPECT_EQ(weft_runtime_spawn(arg, "newcomer", wait_at_gate, NULL), 0);
    return NULL;
}

static int a_newcomer(void *arg)
{
    struct weft_fiber_info info;
    pthread_t thread;

    (void)arg;
    weft_event_init(&gate);
    weft_event_set(&gate);
    EXPECT_EQ(pthread_create(&thread, NULL, spawn_from_outside, weft_runtime_self()), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0); /* the only worker: nobody starts it meanwhile */
    info = find("newcomer", WEFT_DUMP_BACKTRACE);
    EXPECT_EQ(info.state, WEFT_FIBER_READY);
    EXPECT_EQ(info.parent_id, 0);
    EXPECT_EQ(info.frame_count, 1);
    EXPECT(stands_in(&info, wait_at_gate));
    return 0;
}

Test(dump, a_fiber_that_did_not_start_yet_stands_at_its_function)
{
    on_fibers(1, a_newcomer, NULL);
}

/* --- whose they are */

static int start_task(void *arg)
{
    struct weft_fiber_info info;
    struct weft_task *task;

    (void)arg;
    weft_event_init(&gate);
    EXPECT_EQ(weft_task_new("task", wait_at_gate, NULL, &task), 0);
    info = await_wait("task", "event");
    EXPECT_EQ(info.parent_id, find("main", 0).id);
    weft_task_free(task);
    return 0;
}

Test(dump, the_parent_of_a_task_is_who_started_it)
{
    on_fibers(1, start_task, NULL);
}

static int count_fibers(const struct weft_fiber_info *info, void *arg)
{
    (void)info;
    ++*(int *)arg;
    return 0;
}

static int beside_another_runtime(void *arg)
{
    int count = 0;

    EXPECT_EQ(weft_fibers_each(arg, 0, count_fibers, &count), 0);
    EXPECT_EQ(count, 0);
    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, count_fibers, &count), 0);
    EXPECT_EQ(count, 1);
    return 0;
}

Test(dump, only_the_fibers_of_that_runtime_are_seen)
{
    struct weft_runtime *other;

    cr_assert_eq(weft_runtime_new(NULL, &other), 0);
    on_fibers(1, beside_another_runtime, other);
    cr_assert_eq(weft_runtime_free(other), 0);
}

Test(dump, a_plain_thread_may_look_and_there_may_be_no_fiber)
{
    struct paper *paper = calloc(1, sizeof(*paper));
    struct weft_options options;
    struct weft_runtime *runtime;

    weft_options_init(&options);
    options.workers = 2;
    cr_assert_eq(weft_runtime_new(&options, &runtime), 0);
    cr_assert_eq(weft_dump(runtime, WEFT_DUMP_TREE, put, paper), 0);
    cr_assert(paper_says(paper, "0 fibers on 2 workers: 0 running, 0 ready, 0 waiting\n"));
    cr_assert_eq(weft_runtime_free(runtime), 0);
    free(paper);
}

/* --- callbacks, text, errors */

static int refuse(const struct weft_fiber_info *info, void *arg)
{
    (void)info;
    ++*(int *)arg;
    return 7;
}

static int yield_inside(const struct weft_fiber_info *info, void *arg)
{
    (void)info;
    ++*(int *)arg;
    return weft_yield();
}

static int callbacks(void *arg)
{
    int calls = 0;

    (void)arg;
    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, refuse, &calls), 7);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, yield_inside, &calls), 0);
    EXPECT_EQ(calls, 2);
    return 0;
}

Test(dump, the_callback_may_end_it_and_may_suspend)
{
    on_fibers(2, callbacks, NULL);
}

static int write_nothing(const char *text, size_t size, void *arg)
{
    (void)text, (void)size, (void)arg;
    return -EIO;
}

static int bad_writers(void *arg)
{
    int closed = dup(0);

    (void)arg;
    close(closed);
    EXPECT_EQ(weft_dump(weft_runtime_self(), 0, write_nothing, NULL), -EIO);
    EXPECT_EQ(weft_dump_fd(weft_runtime_self(), 0, closed), -EBADF);
    return 0;
}

Test(dump, the_writers_error_is_returned)
{
    on_fibers(1, bad_writers, NULL);
}

static int a_tree(void *arg)
{
    struct weft_group group;
    struct paper *paper;

    (void)arg;
    weft_event_init(&gate);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "joiner", be_joined, NULL), 0);
    EXPECT_EQ(weft_group_spawn(&group, NULL, wait_at_gate, NULL), 0);
    await_wait("joiner", "group");
    paper = dump(WEFT_DUMP_TREE | WEFT_DUMP_BACKTRACE);
    EXPECT(paper_says(paper, "4 fibers on 1 worker: 1 running, 0 ready, 3 waiting\nmain [x.1] "));
    EXPECT(paper_says(paper, "\n├─ joiner [0.1] waits "));
    EXPECT(paper_says(paper, "\n│  └─ sleeper [0.2] waits "));
    EXPECT(paper_says(paper, "\n└─ (unnamed) [0.3] waits "));
    EXPECT(paper_says(paper, "wait_at_gate+0x"));
    free(paper);
    weft_group_cancel(&group);
    return weft_group_join(&group) == -ECANCELED ? 0 : -EINVAL;
}

Test(dump, the_tree_shows_children_below_their_parents)
{
    on_fibers(1, a_tree, NULL);
}

static int to_a_pipe(void *arg)
{
    char text[4096] = "";
    int fds[2];

    (void)arg;
    raw_pipe(fds);
    EXPECT_EQ(weft_dump_fd(weft_runtime_self(), 0, fds[1]), 0);
    EXPECT(read(fds[0], text, sizeof(text) - 1) > 0);
    EXPECT(strstr(text, "main [x.1] runs on worker 0\n") != NULL);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(dump, a_dump_may_go_to_a_descriptor)
{
    on_fibers(1, to_a_pipe, NULL);
}

Test(dump, a_static_function_has_a_name_and_an_unknown_address_is_a_number)
{
    char text[WEFT_SYMBOL_TEXT];

    weft_symbol_text((const char *)spin + 1, text);
    cr_assert(strncmp(text, "spin+0 (dump_test+0x", 20) == 0, "%s", text);
    cr_assert_str_eq(weft_symbol_text((const void *)9, text), "0x8");
    cr_assert(strncmp(weft_symbol_text((const char *)weft_dump + 1, text), "weft_dump+0 (", 13) ==
              0);
}

static int many_and_deep(void *arg)
{
    long depth = (long)(intptr_t)arg;
    struct weft_group group;

    if (depth == 0)
        return weft_event_wait(&gate, WEFT_NO_DEADLINE);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "link", many_and_deep, (void *)(intptr_t)(depth - 1)), 0);
    return weft_group_join(&group);
}

static int a_long_chain(void *arg)
{
    struct weft_group group;
    int count = 0;

    (void)arg;
    weft_event_init(&gate);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "link", many_and_deep, (void *)200), 0);
    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, count_fibers, &count), 0);
    EXPECT_EQ(count, 202);
    free(dump(WEFT_DUMP_TREE));
    weft_event_set(&gate);
    return weft_group_join(&group);
}

Test(dump, a_chain_deeper_than_the_indentation_is_dumped)
{
    on_fibers(1, a_long_chain, NULL);
}
