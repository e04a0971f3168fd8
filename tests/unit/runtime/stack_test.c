/* SPDX-License-Identifier: MIT */
#include "core/stack.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/fibers.h"
#include "support/test.h"

Test(stack, a_plain_thread_is_on_no_fiber)
{
    cr_assert_null(fiber_self());
    cr_assert(!weft_on_fiber());
    cr_assert_null(weft_fiber_name());
    cr_assert_null(weft_runtime_self());
}

Test(stack, every_address_of_a_stack_leads_to_its_control_block)
{
    cr_assert_eq(stack_region_init(), 0);
    for (unsigned class = 0; class < STACK_CLASSES; class ++) {
        for (int i = 0; i < 40; i++) {
            struct fiber *fiber;
            uintptr_t bottom;

            cr_assert_eq(stack_alloc(NULL, (enum stack_class) class, &fiber), 0);
            bottom = (uintptr_t)stack_bottom(fiber);
            cr_assert_eq(bottom % ((uintptr_t)1 << stack_shift(class)), 0);
            cr_assert_eq(stack_fiber_at(bottom), fiber);
            cr_assert_eq(stack_fiber_at((uintptr_t)fiber - 1), fiber);
            cr_assert_eq((uintptr_t)fiber % 16, 0);
        }
    }
}

Test(stack, tops_are_coloured)
{
    struct fiber *first, *second;

    stack_region_init();
    stack_alloc(NULL, STACK_64K, &first);
    stack_alloc(NULL, STACK_64K, &second);
    cr_assert_neq((uintptr_t)first % 4096, (uintptr_t)second % 4096);
}

Test(stack, a_freed_stack_is_used_again)
{
    struct stack_cache cache = {0};
    struct fiber *first, *again;

    stack_region_init();
    cr_assert_eq(stack_alloc(&cache, STACK_256K, &first), 0);
    stack_free(&cache, first);
    cr_assert_eq(stack_alloc(&cache, STACK_256K, &again), 0);
    cr_assert_eq(again, first);
    stack_free(&cache, again);
    stack_cache_flush(&cache);
    cr_assert_eq(stack_alloc(NULL, STACK_256K, &again), 0);
    cr_assert_eq(again, first);
}

Test(stack, what_is_beside_the_region_is_no_stack)
{
    cr_assert_eq(stack_region_init(), 0);
    uintptr_t end = stack_region.base + ((uintptr_t)STACK_CLASSES << stack_region.arena_shift);

    cr_assert_null(stack_fiber_at(stack_region.base - 1));
    cr_assert_not_null(stack_fiber_at(stack_region.base));
    cr_assert_not_null(stack_fiber_at(end - 1));
    cr_assert_null(stack_fiber_at(end));
    cr_assert_null(stack_fiber_at(0));
    cr_assert_null(stack_fiber_at(UINTPTR_MAX));
}

static void *ask_until_told(void *arg)
{
    while (!atomic_load((atomic_bool *)arg))
        EXPECT(!weft_on_fiber());
    return NULL;
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* A data race, for ThreadSanitizer to see. */
Test(stack, plain_threads_may_ask_while_the_region_is_made)
{
    atomic_bool told = false;
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, ask_until_told, &told), 0);
    on_fibers(1, do_nothing, NULL);
    atomic_store(&told, true);
    pthread_join(thread, NULL);
}

/* --- guards */

/* Whether the kernel can read there for us. */
static bool readable(const void *address)
{
    int ends[2];

    EXPECT_EQ(pipe(ends), 0);
    ssize_t n = write(ends[1], address, 1);
    EXPECT(n == 1 || errno == EFAULT);
    close(ends[0]);
    close(ends[1]);
    return n == 1;
}

static void check_guards(void)
{
    stack_region_init();
    for (unsigned i = 0; i < STACK_CLASSES * 40; i++) { /* more than are guarded at once */
        struct fiber *fiber;

        cr_assert_eq(stack_alloc(NULL, (enum stack_class)(i % STACK_CLASSES), &fiber), 0);
        char *bottom = stack_bottom(fiber);
        cr_assert(fiber->guarded);
        cr_assert(!readable(bottom));
        cr_assert(!readable(bottom + STACK_GUARD_SIZE - 1));
        cr_assert(readable(bottom + STACK_GUARD_SIZE));
    }
}

Test(stack, its_lowest_pages_are_a_guard)
{
    check_guards();
}

/* From now on this call fails if its argument of that number is MADV_GUARD_INSTALL. */
static void refuse_guard_install(unsigned call, unsigned argument)
{
    enum { GUARD_INSTALL = 102 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[argument])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GUARD_INSTALL, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(*code), code};

    EXPECT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EXPECT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* Before Linux 6.15, and where a filter of system calls is in force. */
Test(stack, where_they_are_made_one_by_one_they_are_guards_too)
{
    refuse_guard_install(SYS_process_madvise, 3);
    check_guards();
}

Test(stack, an_older_kernel_guards_too) /* before Linux 6.13 */
{
    refuse_guard_install(SYS_process_madvise, 3);
    refuse_guard_install(SYS_madvise, 2);
    check_guards();
}

enum { CARVERS = 4, CARVED = 500 };

static void *carve_many(void *arg)
{
    struct fiber **fibers = arg;

    for (int i = 0; i < CARVED; i++)
        EXPECT_EQ(stack_alloc(NULL, STACK_64K, &fibers[i]), 0);
    return NULL;
}

/* One of them makes the guards of slots that the others carve. */
Test(stack, each_has_its_guard_whoever_carves_beside_it)
{
    static struct fiber *fibers[CARVERS * CARVED];
    pthread_t threads[CARVERS];

    cr_assert_eq(stack_region_init(), 0);
    for (int i = 0; i < CARVERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, carve_many, &fibers[i * CARVED]), 0);
    for (int i = 0; i < CARVERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CARVERS * CARVED; i++) {
        char *bottom = stack_bottom(fibers[i]);

        cr_assert(!readable(bottom) && readable(bottom + STACK_GUARD_SIZE));
    }
}

/* Beyond the mprotect guards that there may be: looked at when the stack comes back. */
Test(stack, without_a_guard_an_overrun_is_seen_at_the_end, .signal = SIGABRT)
{
    struct fiber *fiber;

    stack_region_init();
    cr_assert_eq(stack_alloc(NULL, STACK_64K, &fiber), 0);
    fiber->guarded = false; /* its guard cannot be written, so stand in for the canary's place */
    if (madvise(stack_bottom(fiber), STACK_GUARD_SIZE, 103 /* MADV_GUARD_REMOVE */) < 0)
        cr_assert_eq(mprotect(stack_bottom(fiber), STACK_GUARD_SIZE, PROT_READ | PROT_WRITE), 0);
    fiber->name = "overrun";
    stack_free(NULL, fiber);
}

/* --- overflow */

static int recurse(int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    return depth == 0 ? frame[0] : recurse(depth - 1) + frame[0];
}

static int overflow_fiber(void *arg)
{
    (void)arg;
    return recurse(1 << 20) & 1;
}

static int overflow_main(void *arg)
{
    struct weft_group group;

    (void)arg;
    weft_group_init(&group);
    weft_group_spawn(&group, "deep-diver", overflow_fiber, NULL);
    return weft_group_join(&group);
}

static void overflow_process(int write_fd)
{
    struct weft_options options;

    weft_options_init(&options);
    one_at_a_time(&options);
    options.stack_size = 64 * 1024;
    dup2(write_fd, STDERR_FILENO);
    weft_run(&options, overflow_main, NULL);
    _exit(0);
}

Test(stack, overflow_is_reported_by_the_fiber_s_name)
{
    char text[4096] = "";
    size_t used = 0;
    int pipes[2], status;
    ssize_t n;
    pid_t pid;

    cr_assert_eq(pipe(pipes), 0);
    pid = fork();
    if (pid == 0)
        overflow_process(pipes[1]);
    close(pipes[1]);
    while (used < sizeof(text) - 1 &&
           (n = read(pipes[0], text + used, sizeof(text) - 1 - used)) > 0)
        used += (size_t)n;
    close(pipes[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    cr_assert(strstr(text, "fiber deep-diver overflowed its 64 KiB stack"), "it said: %s", text);
}
