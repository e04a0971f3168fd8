/* SPDX-License-Identifier: MIT */
/* overflow_test: core/overflow.c, and the faults that are not ours.  What it says of a stack that
 * overflowed is looked at in stack_test. */
#include "support/test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/fibers.h"

static size_t page;
static char *hole; /* a page that cannot be touched until a handler mends it */
static int file;   /* or one beyond its file's end */
static volatile sig_atomic_t faults;

static void mend_segv(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    if ((char *)info->si_addr != hole || mprotect(hole, page, PROT_READ | PROT_WRITE) < 0)
        abort();
    faults++;
}

static void mend_bus(int signal)
{
    (void)signal;
    if (ftruncate(file, (off_t)page) < 0)
        abort();
    faults++;
}

static int touch(void *arg)
{
    (void)arg;
    *(volatile char *)hole = 7;
    EXPECT_EQ(*(volatile char *)hole, 7);
    return 0;
}

static void map_hole(int protection, int flags, int fd)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    hole = mmap(NULL, page, protection, flags, fd, 0);
    cr_assert_neq((void *)hole, MAP_FAILED);
}

Test(overflow, a_fault_elsewhere_reaches_the_handler_that_was_there)
{
    struct sigaction action = {.sa_sigaction = mend_segv, .sa_flags = SA_SIGINFO};
    cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
    map_hole(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    on_fibers(1, touch, NULL);
    cr_assert_eq(faults, 1);
    munmap(hole, page);
}

Test(overflow, so_does_one_of_the_other_kind)
{
    char path[] = "/tmp/weft-overflow-XXXXXX";
    cr_assert(signal(SIGBUS, mend_bus) != SIG_ERR);
    file = mkstemp(path);
    cr_assert(file >= 0);
    unlink(path);
    map_hole(PROT_READ | PROT_WRITE, MAP_SHARED, file);
    on_fibers(1, touch, NULL);
    cr_assert_eq(faults, 1);
    munmap(hole, page);
    close(file);
}

/* In a process of its own: a runtime, and then a fault that nobody handles. */
static void die_of_fault(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL); /* a sanitizer's would report it */
    map_hole(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    on_fibers(1, touch, NULL);
    _exit(0);
}

Test(overflow, a_fault_that_nobody_handles_ends_the_process_as_ever)
{
    pid_t pid = fork();
    int status;
    if (pid == 0)
        die_of_fault();
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
