/* SPDX-License-Identifier: MIT */
#include "support/test.h"

#include <liburing.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "core/ring.h"
#include "support/files.h"

enum { MORE_THAN_A_RING = 600 };

/* ---- what a machine may refuse */

/* From now on this system call fails with `error` in this thread, and in those it starts. */
static void refuse_call(unsigned number, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(*code), .filter = code};

    EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EXPECT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void refuse_rings(int error)
{
    refuse_call(SYS_io_uring_setup, error);
}

static int not_reached(void *arg)
{
    (void)arg;
    abort();
}

static int run_with(enum weft_file_backend backend, int (*fn)(void *))
{
    struct weft_options options;

    weft_options_init(&options);
    options.workers = 2;
    options.handle_signals = false;
    options.file_backend = backend;
    return weft_run(&options, fn, NULL);
}

Test(file_uring, an_unknown_backend_is_refused)
{
    cr_assert_eq(run_with((enum weft_file_backend)7, not_reached), -EINVAL);
}

Test(file_uring, where_rings_are_not_permitted_insisting_on_them_fails)
{
    int before = open_fds();

    refuse_rings(EPERM);
    cr_assert_eq(run_with(WEFT_FILE_URING, not_reached), -EPERM);
    cr_assert_eq(open_fds(), before);
}

Test(file_uring, where_rings_are_unknown_insisting_on_them_fails)
{
    refuse_rings(ENOSYS);
    cr_assert_eq(run_with(WEFT_FILE_URING, not_reached), -ENOSYS);
}

static int by_the_pool_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;
    char buffer[8];
    int fds = open_fds();

    EXPECT_EQ(weft_file_open(at(folder, "a"), O_RDWR | O_CREAT, 0600, &file), 0);
    for (int i = 0; i < 5000; i++)
        EXPECT_EQ(weft_file_pwrite(file, "data", 4, 0, NULL), 0);
    EXPECT_EQ(weft_file_pread(file, buffer, sizeof(buffer), 0), 4);
    EXPECT_EQ(weft_path_exists(at(folder, "a")), 1);
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(ring_submitted(), 0);
    EXPECT_EQ(open_fds(), fds);
    return 0;
}

Test(file_uring, where_rings_are_refused_the_pool_does_the_work)
{
    refuse_rings(EPERM);
    in_folder("/tmp", WEFT_FILE_AUTO, false, 1, by_the_pool_body);
}

Test(file_uring, where_there_is_no_memory_for_rings_the_pool_does_the_work)
{
    refuse_rings(ENOMEM);
    in_folder("/tmp", WEFT_FILE_AUTO, false, 1, by_the_pool_body);
}

Test(file_uring, who_wants_the_pool_gets_the_pool)
{
    in_folder("/tmp", WEFT_FILE_OFFLOAD, false, 1, by_the_pool_body);
}

static int by_the_ring_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_file *file;
    char buffer[8];
    int fds = open_fds();
    uint64_t submitted;

    EXPECT_EQ(ring_submitted(), 0);
    EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(open_fds(), fds); /* no ring before it is needed */
    EXPECT_EQ(weft_file_open(at(folder, "a"), O_RDWR | O_CREAT, 0600, &file), 0);
    EXPECT_EQ(open_fds(), fds + 2);
    EXPECT_EQ(weft_file_write(file, "data", 4, NULL), 0);
    EXPECT_EQ(weft_file_pread(file, buffer, sizeof(buffer), 0), 4);
    EXPECT_EQ(ring_submitted(), 3);
    ring_forget_opcode(IORING_OP_READV);
    EXPECT_EQ(weft_file_pread(file, buffer, sizeof(buffer), 0), 4);
    submitted = ring_submitted();
    EXPECT_EQ(submitted, 3); /* the kernel does not know it: the pool does it */
    EXPECT_EQ(weft_file_close(file), 0);
    EXPECT_EQ(ring_submitted(), 4);
    return 0;
}

Test(file_uring, a_ring_is_made_when_it_is_needed_and_does_what_the_kernel_knows)
{
    in_folder("/tmp", WEFT_FILE_URING, false, 1, by_the_ring_body);
}

static int no_descriptor_body(void *arg)
{
    struct folder *folder = arg;
    struct rlimit before, none;
    struct weft_dir *dir;

    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(weft_path_mkdir(at(folder, "d"), 0700), 0); /* no descriptor for a ring: the pool */
    EXPECT_EQ(ring_submitted(), 0);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(weft_dir_open(at(folder, "d"), &dir), 0);
    weft_dir_free(dir);
    for (int i = 0; i < 10000 && ring_submitted() == 0; i++)
        EXPECT_EQ(weft_path_exists(at(folder, "d")), 1);
    EXPECT(ring_submitted() > 0); /* it is asked for again, now and then */
    return 0;
}

Test(file_uring, where_there_is_no_descriptor_for_a_ring_the_pool_does_the_work)
{
    if (ring_probe() == 0)
        in_folder("/tmp", WEFT_FILE_AUTO, false, 1, no_descriptor_body);
}

static int read_byte(void *arg)
{
    char byte;

    return (int)read(*(int *)arg, &byte, 1);
}

static int hold_offload(void *arg)
{
    return weft_offload(read_byte, arg, NULL);
}

static int busy_offload_body(void *arg)
{
    struct weft_group group;
    int fds[2];
    (void)arg;

    raw_pipe(fds);
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "holder", hold_offload, &fds[0]), 0);
    EXPECT_EQ(weft_path_exists("/tmp"), 1);
    EXPECT_EQ(write(fds[1], "x", 1), 1);
    EXPECT_EQ(weft_group_join(&group), 0);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(file_uring, a_busy_offload_pool_does_not_hold_files_up)
{
    struct weft_options options;

    weft_options_init(&options);
    one_at_a_time(&options);
    options.offload_threads = 1;
    options.file_threads = 1;
    options.file_backend = WEFT_FILE_OFFLOAD;
    cr_assert_eq(weft_run(&options, busy_offload_body, NULL), 0);
}

/* Where neither a ring nor a thread is to be had. */
static int no_threads_body(void *arg)
{
    struct folder *folder = arg;
    struct weft_dir_entry entry;
    struct weft_file *file;
    struct weft_dir *dir;

    raw_file(at(folder, "a"), "data", 4);
    refuse_call(SYS_clone3,
                EAGAIN); /* the one worker's thread is the one that would start others */
    refuse_call(SYS_clone, EAGAIN);
    EXPECT_EQ(weft_path_exists(at(folder, "a")), -EAGAIN);
    EXPECT_EQ(weft_path_mkdir(at(folder, "d"), 0700), -EAGAIN);
    EXPECT_EQ(weft_copy_file(at(folder, "a"), at(folder, "b"), NULL, NULL), -EAGAIN);
    EXPECT_EQ(weft_file_open(at(folder, "c"), O_RDWR | O_CREAT, 0600, &file), -EAGAIN);
    EXPECT_EQ(weft_file_write_all(at(folder, "c"), "x", 1, 0600, WEFT_WRITE_ATOMIC), -EAGAIN);
    EXPECT_EQ(weft_file_open(at(folder, "a"), O_RDWR, 0, &file), 0); /* it is cached */
    EXPECT_EQ(weft_file_sync(file), -EAGAIN);
    EXPECT_EQ(weft_file_pwrite(file, "x", 1, 0, NULL), -EAGAIN);
    EXPECT_EQ(weft_file_close(file), 0); /* by the worker itself, then */
    EXPECT_EQ(weft_dir_open(folder->path, &dir), 0);
    EXPECT_EQ(weft_dir_next(dir, &entry), -EAGAIN);
    weft_dir_free(dir);
    EXPECT_EQ(names_in(folder->path), 1);
    return 0;
}

Test(file_uring, where_no_thread_can_be_started_it_is_said_and_nothing_is_left)
{
    in_folder("/tmp", WEFT_FILE_OFFLOAD, false, 1, no_threads_body);
}

/* ---- requests that wait, on a pipe */

struct reader {
    int fd;
    atomic_int *arrivals;
    uint64_t word;
    int returned;
    int32_t result;
};

static int read_word(void *arg)
{
    struct reader *reader = arg;
    struct io_uring_sqe request = {0};

    io_uring_prep_read(&request, reader->fd, &reader->word, sizeof(reader->word), 0);
    arrive(reader->arrivals);
    reader->returned = ring_run(&request, &reader->result);
    return 0;
}

static int cancel_body(void *arg)
{
    struct weft_group group;
    atomic_int arrivals = 0;
    struct reader reader = {.arrivals = &arrivals, .word = 7};
    uint64_t word = 42, back = 0;
    int fds[2];
    (void)arg;

    raw_pipe(fds);
    reader.fd = fds[0];
    weft_group_init(&group);
    EXPECT_EQ(weft_group_spawn(&group, "reader", read_word, &reader), 0);
    await_arrivals(&arrivals, 1);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    EXPECT_EQ(reader.returned, -ECANCELED);
    EXPECT_EQ(write(fds[1], &word, sizeof(word)), sizeof(word));
    EXPECT_EQ(weft_yield(), 0);
    EXPECT_EQ(reader.word, 7); /* the kernel has let go of it */
    EXPECT_EQ(read(fds[0], &back, sizeof(back)), sizeof(back));
    EXPECT_EQ(back, 42);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

Test(file_uring, a_cancelled_request_is_taken_back_from_the_kernel)
{
    in_folder("/tmp", WEFT_FILE_URING, false, 1, cancel_body);
}

static int both_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        struct weft_group group;
        atomic_int arrivals = 0;
        struct reader reader = {.arrivals = &arrivals};
        uint64_t word = 42, back = 0;
        int fds[2];

        raw_pipe(fds);
        reader.fd = fds[0];
        weft_group_init(&group);
        EXPECT_EQ(weft_group_spawn(&group, "reader", read_word, &reader), 0);
        await_arrivals(&arrivals, 1);
        EXPECT_EQ(write(fds[1], &word, sizeof(word)), sizeof(word));
        weft_group_cancel(&group);
        EXPECT_EQ(weft_group_join(&group), -ECANCELED);
        if (reader.returned == 0) {
            EXPECT_EQ(reader.result, sizeof(word));
            EXPECT_EQ(reader.word, 42);
        } else {
            EXPECT_EQ(reader.returned, -ECANCELED);
            EXPECT_EQ(read(fds[0], &back, sizeof(back)), sizeof(back));
            EXPECT_EQ(back, 42);
        }
        close(fds[0]);
        close(fds[1]);
    }
    return 0;
}

Test(file_uring, what_was_read_before_a_cancel_is_returned)
{
    in_folder("/tmp", WEFT_FILE_URING, false, 2, both_body);
}

/* More requests than a ring takes; each word that is written ends one of them. */
static int full_body(void *arg)
{
    struct reader *readers = calloc(MORE_THAN_A_RING, sizeof(*readers));
    struct weft_group group;
    atomic_int arrivals = 0;
    int fds[2], refused = 0;
    uint64_t sum = 0;
    (void)arg;

    EXPECT(readers);
    raw_pipe(fds);
    weft_group_init(&group);
    for (int i = 0; i < MORE_THAN_A_RING; i++) {
        readers[i] = (struct reader){.fd = fds[0], .arrivals = &arrivals};
        EXPECT_EQ(weft_group_spawn(&group, "reader", read_word, &readers[i]), 0);
    }
    await_arrivals(&arrivals, MORE_THAN_A_RING);
    for (int i = 0; i < MORE_THAN_A_RING; i++)
        refused += readers[i].returned == RING_REFUSED;
    EXPECT(refused > 0 && refused < MORE_THAN_A_RING);
    for (uint64_t i = 1; i <= (uint64_t)(MORE_THAN_A_RING - refused); i++)
        EXPECT_EQ(write(fds[1], &i, sizeof(i)), sizeof(i));
    EXPECT_EQ(weft_group_join(&group), 0);
    for (int i = 0; i < MORE_THAN_A_RING; i++)
        sum += readers[i].word;
    EXPECT_EQ(sum, (uint64_t)(MORE_THAN_A_RING - refused) *
                       (uint64_t)(MORE_THAN_A_RING - refused + 1) / 2);
    close(fds[0]);
    close(fds[1]);
    free(readers);
    return 0;
}

Test(file_uring, a_full_ring_refuses_and_loses_nothing)
{
    in_folder("/tmp", WEFT_FILE_URING, false, 1, full_body);
}

/* All of them are cancelled at once: as many cancellations as requests. */
static int cancel_many_body(void *arg)
{
    struct reader *readers = calloc(MORE_THAN_A_RING, sizeof(*readers));
    struct weft_group group;
    atomic_int arrivals = 0;
    int fds[2];
    (void)arg;

    EXPECT(readers);
    raw_pipe(fds);
    weft_group_init(&group);
    for (int i = 0; i < MORE_THAN_A_RING; i++) {
        readers[i] = (struct reader){.fd = fds[0], .arrivals = &arrivals};
        EXPECT_EQ(weft_group_spawn(&group, "reader", read_word, &readers[i]), 0);
    }
    await_arrivals(&arrivals, MORE_THAN_A_RING);
    weft_group_cancel(&group);
    EXPECT_EQ(weft_group_join(&group), -ECANCELED);
    for (int i = 0; i < MORE_THAN_A_RING; i++)
        EXPECT(readers[i].returned == -ECANCELED || readers[i].returned == RING_REFUSED);
    close(fds[0]);
    close(fds[1]);
    free(readers);
    return 0;
}

Test(file_uring, as_many_are_cancelled_as_a_ring_holds)
{
    in_folder("/tmp", WEFT_FILE_URING, false, 2, cancel_many_body);
}

static int wait_for_ever(void *arg)
{
    static atomic_int arrivals;
    struct reader reader = {.fd = *(int *)arg, .arrivals = &arrivals};

    return read_word(&reader);
}

/* The runtime's stop cancels what fibers of its own wait for. */
Test(file_uring, a_stop_takes_every_request_back)
{
    struct weft_options options;
    struct weft_runtime *runtime;
    int fds[2], before = open_fds();

    raw_pipe(fds);
    weft_options_init(&options);
    options.workers = 2;
    options.file_backend = WEFT_FILE_AUTO;
    cr_assert_eq(weft_runtime_new(&options, &runtime), 0);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(weft_runtime_spawn(runtime, "reader", wait_for_ever, &fds[0]), 0);
    cr_assert_eq(weft_runtime_free(runtime), 0);
    close(fds[0]);
    close(fds[1]);
    cr_assert_eq(open_fds(), before);
}
