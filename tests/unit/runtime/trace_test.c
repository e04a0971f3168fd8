/* SPDX-License-Identifier: MIT */
/* trace_test: observe/trace.c, trace_json.c, hooks.c.  What is exported is read by
 * tests/support/check_trace.py. */
#include <pthread.h>
#include <sys/wait.h>

#include "support/test.h"

#include "support/io.h"

/* --- exporting and checking */

struct buffer {
    char *data;
    size_t size;
};

static int keep(const char *text, size_t size, void *arg)
{
    struct buffer *buffer = arg;

    buffer->data = realloc(buffer->data, buffer->size + size + 1);
    EXPECT(buffer->data != NULL);
    memcpy(buffer->data + buffer->size, text, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 0;
}

static struct buffer export_trace(struct weft_runtime *runtime)
{
    struct buffer buffer = {0};

    EXPECT_EQ(weft_trace_export(runtime, keep, &buffer), 0);
    return buffer;
}

/* The folder of the sources, however the test was started. */
static const char *source_folder(void)
{
    const char *folder = getenv("WEFT_SOURCE");

    return folder ? folder : ".";
}

/* Whether the checker accepts what was exported. */
static void check(const struct buffer *trace, const char *expectations)
{
    char path[] = "/tmp/weft-trace-XXXXXX";
    char command[1024];
    int fd = mkstemp(path), status;

    EXPECT(fd >= 0);
    EXPECT_EQ(write(fd, trace->data, trace->size), trace->size);
    close(fd);
    if (system("command -v python3 >/dev/null") != 0) {
        fprintf(stderr, "no python3 here: the JSON is not checked\n");
        unlink(path);
        return;
    }
    snprintf(command, sizeof(command), "python3 '%s/tests/support/check_trace.py' %s %s",
             source_folder(), path, expectations);
    status = system(command);
    unlink(path);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool says(const struct buffer *trace, const char *what)
{
    return strstr(trace->data, what) != NULL;
}

/* --- what happens while it records */

static int yield_thrice(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(weft_yield(), 0);
    return 0;
}

static int sleep_a_little(void *arg)
{
    (void)arg;
    return weft_sleep(WEFT_MICROSECOND);
}

static int await_event(void *arg)
{
    return weft_event_wait(arg, WEFT_NO_DEADLINE);
}

static int see_waiter(const struct weft_fiber_info *info, void *arg)
{
    if (strcmp(info->name, "waiter") == 0 && info->state == WEFT_FIBER_WAITING)
        *(bool *)arg = true;
    return 0;
}

static bool waiter_waits(void)
{
    bool waits = false;

    EXPECT_EQ(weft_fibers_each(weft_runtime_self(), 0, see_waiter, &waits), 0);
    return waits;
}

static int act(void *arg)
{
    struct weft_event event;
    struct weft_group group;

    (void)arg;
    weft_event_init(&event);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "yielder", yield_thrice, NULL), 0);
    EXPECT_EQ(weft_group_spawn(&group, "other yielder", yield_thrice, NULL), 0);
    EXPECT_EQ(weft_group_spawn(&group, "sleeper", sleep_a_little, NULL), 0);
    EXPECT_EQ(weft_group_spawn(&group, "waiter", await_event, &event), 0);
    weft_trace_mark("acts", 42);
    weft_trace_mark("acts", -1);
    do /* the waiter may be on another worker, whose thread has not had its turn yet */
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    while (!waiter_waits());
    weft_event_set(&event);
    return weft_group_join(&group);
}

static int record_acts(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();

    EXPECT_EQ(weft_trace_start(runtime, 0), 0);
    EXPECT_EQ(act(NULL), 0);
    weft_trace_stop(runtime);
    *(struct buffer *)arg = export_trace(runtime);
    return 0;
}

Test(trace, turns_waits_wakes_and_marks_are_in_the_json)
{
    for (unsigned workers = 1; workers <= 2; workers++) {
        struct buffer trace = {0};

        on_fibers(workers, record_acts, &trace);
        /* A yield that finds nobody else goes on in the same turn. */
        check(&trace, "turn yielder 1 turn sleeper 2 turn waiter 2 turn main 1 mark acts 42 "
                      "mark acts -1 phase i 6 arrow 3");
        cr_assert(says(&trace, "\"waits for\":\"event\""));
        cr_assert(says(&trace, "\"waits for\":\"sleep\""));
        cr_assert(says(&trace, "\"left by\":\"end\""));
        cr_assert(says(&trace, "\"first\":true"));
        cr_assert(says(&trace, "\"name\":\"worker 0\""));
        free(trace.data);
    }
}

static int spin(void *stop)
{
    while (!atomic_load((atomic_bool *)stop))
        ;
    return 0;
}

/* The spinner takes this worker; the other one steals what comes next. */
static int be_stolen(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();
    struct weft_group group;
    atomic_bool stop = false;

    EXPECT_EQ(weft_trace_start(runtime, 0), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "spinner", spin, &stop), 0);
    weft_trace_stop(runtime);
    *(struct buffer *)arg = export_trace(runtime);
    atomic_store(&stop, true);
    return weft_group_join(&group);
}

Test(trace, a_steal_says_from_whom)
{
    struct buffer trace = {0};
    struct weft_options options;

    weft_options_init(&options);
    options.workers = 2;
    options.handle_signals = false;
    options.handoff_ns = WEFT_HANDOFF_NEVER; /* or the worker might be given away instead */
    EXPECT_EQ(weft_run(&options, be_stolen, &trace), 0);
    check(&trace, "phase i 1");
    cr_assert(says(&trace, "\"name\":\"steal\""));
    cr_assert(says(&trace, ",\"from worker\":"));
    free(trace.data);
}

/* --- the ring */

static int overwrite(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();

    EXPECT_EQ(weft_trace_start(runtime, 64), 0);
    for (int i = 0; i < 1000; i++)
        weft_trace_mark("count", i);
    weft_trace_stop(runtime);
    *(struct buffer *)arg = export_trace(runtime);
    return 0;
}

Test(trace, the_latest_events_are_kept)
{
    struct buffer trace = {0};

    on_fibers(1, overwrite, &trace);
    check(&trace, "overwritten mark count 999 mark count 940 phase C 60");
    cr_assert(!says(&trace, "\"value\":900}"));
    free(trace.data);
}

static int twice(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();
    struct buffer trace;

    (void)arg;
    EXPECT_EQ(weft_trace_start(runtime, 16), 0);
    EXPECT_EQ(weft_trace_start(runtime, 16), -EALREADY);
    weft_trace_mark("first", 1);
    weft_trace_stop(runtime);
    weft_trace_stop(runtime);
    weft_trace_mark("between", 1);
    trace = export_trace(runtime);
    EXPECT(says(&trace, "first") && !says(&trace, "between"));
    free(trace.data);
    EXPECT_EQ(weft_trace_start(runtime, 100000), 0);
    weft_trace_mark("second", 1);
    trace = export_trace(runtime); /* while it records */
    EXPECT(says(&trace, "second") && !says(&trace, "first"));
    free(trace.data);
    return 0; /* the runtime ends while it records */
}

Test(trace, it_may_be_started_again_and_then_forgets)
{
    on_fibers(2, twice, NULL);
}

static int wrong_calls(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();

    EXPECT_EQ(weft_trace_export(runtime, keep, arg), -ENODATA);
    EXPECT_EQ(weft_trace_start(runtime, (1 << 24) + 1), -EINVAL);
    weft_trace_stop(runtime);
    weft_trace_mark("nobody listens", 1);
    EXPECT_EQ(weft_trace_export_fd(runtime, 1), -ENODATA);
    EXPECT_EQ(weft_trace_start(runtime, 16), 0);
    EXPECT_EQ(weft_trace_export_fd(runtime, -1), -EBADF);
    return 0;
}

static int refuse(const char *text, size_t size, void *arg)
{
    (void)text, (void)size, (void)arg;
    return -ENOSPC;
}

static int refused(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();

    (void)arg;
    EXPECT_EQ(weft_trace_start(runtime, 16), 0);
    EXPECT_EQ(weft_trace_export(runtime, refuse, NULL), -ENOSPC);
    return 0;
}

Test(trace, wrong_calls_and_writers_errors_are_returned)
{
    struct buffer none = {0};

    on_fibers(1, wrong_calls, &none);
    on_fibers(1, refused, NULL);
    weft_trace_mark("on a plain thread", 1);
}

/* --- names, and plain threads */

static int odd_names(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();

    EXPECT_EQ(weft_trace_start(runtime, 0), 0);
    weft_trace_mark("quote\" back\\slash\n\x01", 1);
    weft_trace_mark("half a sequence \xc3", 2);
    weft_trace_mark("\xff\xc0\x80\xed\xa0\x80", 3);
    weft_trace_mark("a name that is longer than thirty-one bytes", 4);
    weft_trace_mark("thirty bytes and then an ö: öö", 5);
    weft_trace_mark("", 6);
    *(struct buffer *)arg = export_trace(runtime);
    return 0;
}

Test(trace, any_name_makes_valid_json)
{
    struct buffer trace = {0};

    on_fibers(1, odd_names, &trace);
    check(&trace, "mark 'half a sequence ?' 2 mark '\?\?\?\?\?\?' 3 "
                  "mark 'a name that is longer than thir' 4 phase C 6");
    free(trace.data);
}

struct outsider {
    struct weft_runtime *runtime;
    struct weft_event event;
    atomic_int arrivals;
};

static int be_woken(void *arg)
{
    struct outsider *outsider = arg;

    arrive(&outsider->arrivals);
    return weft_event_wait(&outsider->event, WEFT_NO_DEADLINE);
}

static void *wake_and_spawn(void *arg)
{
    struct outsider *outsider = arg;

    while (atomic_load(&outsider->arrivals) < 1)
        sched_yield();
    EXPECT_EQ(weft_runtime_spawn(outsider->runtime, "from outside", sleep_a_little, NULL), 0);
    weft_event_set(&outsider->event);
    return NULL;
}

static int meet_outsider(void *arg)
{
    struct outsider outsider = {.runtime = weft_runtime_self()};
    struct weft_group group;
    pthread_t thread;

    weft_event_init(&outsider.event);
    EXPECT_EQ(weft_trace_start(outsider.runtime, 0), 0);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "woken", be_woken, &outsider), 0);
    EXPECT_EQ(pthread_create(&thread, NULL, wake_and_spawn, &outsider), 0);
    EXPECT_EQ(weft_group_join(&group), 0);
    EXPECT_EQ(pthread_join(thread, NULL), 0);
    EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
    *(struct buffer *)arg = export_trace(outsider.runtime);
    return 0;
}

Test(trace, what_plain_threads_do_has_a_track)
{
    struct buffer trace = {0};

    on_fibers(1, meet_outsider, &trace);
    check(&trace, "turn 'from outside' 1 turn woken 1 turn spawn 1 arrow 2");
    cr_assert(says(&trace, "\"name\":\"other threads\""));
    free(trace.data);
}

/* --- while others go on */

struct storm {
    atomic_bool stop;
};

static int spawn_many(void *arg)
{
    struct storm *storm = arg;

    while (!atomic_load(&storm->stop)) {
        struct weft_group group;

        weft_group_init(&group);
        for (int i = 0; i < 8; i++)
            EXPECT_EQ(weft_group_spawn(&group, "leaf", yield_thrice, NULL), 0);
        EXPECT_EQ(weft_group_join(&group), 0);
    }
    return 0;
}

static int export_in_a_storm(void *arg)
{
    struct weft_runtime *runtime = weft_runtime_self();
    struct storm storm = {0};
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(weft_group_spawn(&group, "storm", spawn_many, &storm), 0);
    for (int i = 0; i < 4; i++) {
        struct buffer trace;

        EXPECT_EQ(weft_trace_start(runtime, i % 2 ? 256 : 1024), 0);
        EXPECT_EQ(weft_sleep(WEFT_MILLISECOND), 0);
        trace = export_trace(runtime);
        if (i == 3)
            check(&trace, "overwritten");
        free(trace.data);
        weft_trace_stop(runtime);
    }
    atomic_store(&storm.stop, true);
    return weft_group_join(&group);
}

Test(trace, it_is_started_exported_and_stopped_while_fibers_go_on)
{
    on_fibers(2, export_in_a_storm, NULL);
}
