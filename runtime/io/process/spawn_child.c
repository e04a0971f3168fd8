/* SPDX-License-Identifier: MIT */
/*
 * What a child does between clone(2) and execve(2).
 *
 *   I1  The child may share the parent's memory and, with it, the thread-locals of the thread that
 *       made it (errno, a sanitizer's state).  So nothing here calls libc, is instrumented, or
 *       takes a lock: bare system calls on the stack that it was given.
 *   I2  Signals stay blocked until the parent's handlers are gone, so none of them runs here.
 *   I3  All its descriptors above 2 are close-on-exec before the first is set, so that none leaks,
 *       whoever opened it.  Sources below first_free are moved out of the way first, so that
 *       setting one number does not destroy the source of another.
 *   I4  What needs the parent's privileges comes before the change of the user; the working
 *       directory and the program are looked up as the user.
 *   I5  A step that fails ends the child, which says at what: in the memory that it shares, or on
 *       the pipe of a child that shares none.
 *
 * The steps and their order are the table near the end.  x86-64 and aarch64.
 */
#include "io/process/spawn_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/ioprio.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#if defined(__clang__)
#define UNINSTRUMENTED __attribute__((disable_sanitizer_instrumentation, no_sanitize("all")))
#else
#define UNINSTRUMENTED                                                                             \
    __attribute__((no_sanitize("address"), no_sanitize("undefined"), no_sanitize("thread")))
#endif
/* A loop with this in it is not turned into a call of memcpy or strlen. */
#define STAY_A_LOOP() __asm__ volatile("" ::: "memory")

enum { SIGNALS = 64, MASK_BYTES = SIGNALS / 8, NICE_BASE = 20, EXIT_UNSTARTED = 127 };

/* ---- bare system calls -------------------------------------------------------------------- */

#if defined(__x86_64__)
UNINSTRUMENTED static inline long call5(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

/* As call5; but where there are two returns, the second is a call of entry(arg) on the new
 * stack. */
UNINSTRUMENTED static long call_clone(long number, long a, long b, long c, long d,
                                      void (*entry)(struct child *), struct child *arg)
{
    register long r10 __asm__("r10") = d;
    register void (*r12)(struct child *) __asm__("r12") = entry;
    register struct child *r13 __asm__("r13") = arg;
    long result;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "ud2\n"
                     "1:"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r12), "r"(r13)
                     : "rcx", "r11", "cc", "memory");
    return result;
}
#elif defined(__aarch64__)
UNINSTRUMENTED static inline long call5(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}

UNINSTRUMENTED static long call_clone(long number, long a, long b, long c, long d,
                                      void (*entry)(struct child *), struct child *arg)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register void (*x9)(struct child *) __asm__("x9") = entry;
    register struct child *x10 __asm__("x10") = arg;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x30, #0\n\t"
                     "mov x0, x10\n\t"
                     "blr x9\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x9), "r"(x10)
                     : "cc", "memory");
    return x0;
}
#else
#error "no way to make a child on this processor"
#endif

#define CALL0(name)             call5(SYS_##name, 0, 0, 0, 0, 0)
#define CALL1(name, a)          call5(SYS_##name, (long)(a), 0, 0, 0, 0)
#define CALL2(name, a, b)       call5(SYS_##name, (long)(a), (long)(b), 0, 0, 0)
#define CALL3(name, a, b, c)    call5(SYS_##name, (long)(a), (long)(b), (long)(c), 0, 0)
#define CALL4(name, a, b, c, d) call5(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0)

/* ---- signals, groups, priorities, limits ---------------------------------------------------- */

/* Default dispositions (I2).  Those that may not be changed have them. */
UNINSTRUMENTED static int reset_signals(struct child *child)
{
    static const struct {
        uint64_t handler, flags, restorer, mask;
    } by_default = {0};

    (void)child;
    for (int number = 1; number <= SIGNALS; number++)
        CALL4(rt_sigaction, number, &by_default, 0, MASK_BYTES);
    return 0;
}

/* Where there is no clone3(2) to start in it. */
UNINSTRUMENTED static int enter_cgroup(struct child *child)
{
    if (child->cgroup_fd < 0)
        return 0;
    long fd = CALL4(openat, child->cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return (int)fd;
    long r = CALL3(write, fd, "0", 1); /* who writes */
    CALL1(close, fd);
    return r < 0 ? (int)r : 0;
}

UNINSTRUMENTED static int enter_group(struct child *child)
{
    const struct weft_process_options *options = child->options;
    long r = 0;

    if (options->new_session)
        r = CALL0(setsid);
    else if (options->group > 0)
        r = CALL2(setpgid, 0, options->group);
    else if (options->new_group)
        r = CALL2(setpgid, 0, 0);
    return r < 0 ? (int)r : 0;
}

UNINSTRUMENTED static int prioritise(int nice, int ionice)
{
    long r = 0;

    if (nice) {
        long now = NICE_BASE - CALL2(getpriority, PRIO_PROCESS, 0);
        r = CALL3(setpriority, PRIO_PROCESS, 0, now + nice);
    }
    if (r == 0 && ionice)
        r = CALL3(ioprio_set, IOPRIO_WHO_PROCESS, 0, ionice);
    return (int)r;
}

UNINSTRUMENTED static int set_priority(struct child *child)
{
    return prioritise(child->options->nice, child->options->ionice);
}

UNINSTRUMENTED static int set_user_priority(struct child *child)
{
    return prioritise(child->options->user_nice, child->options->user_ionice);
}

UNINSTRUMENTED static int limit_to(struct child *child, const struct weft_process_limit *limits,
                                   size_t count)
{
    for (size_t i = 0; i < count; i++) {
        child->report.limit = &limits[i];
        long r = CALL4(prlimit64, 0, limits[i].resource, &limits[i].limit, 0);
        if (r < 0)
            return (int)r;
    }
    return 0;
}

UNINSTRUMENTED static int set_limits(struct child *child)
{
    const struct weft_process_options *options = child->options;

    if (options->umask != (mode_t)-1)
        CALL1(umask, options->umask);
    return limit_to(child, options->limits, options->limits_count);
}

UNINSTRUMENTED static int set_user_limits(struct child *child)
{
    return limit_to(child, child->options->user_limits, child->options->user_limits_count);
}

/* ---- descriptors -------------------------------------------------------------------------- */

/* The number of a folder's entry; -1: it is none. */
UNINSTRUMENTED static int number_of(const char *name)
{
    int number = 0;

    if (!*name)
        return -1;
    for (; *name; name++) {
        STAY_A_LOOP();
        if (*name < '0' || *name > '9')
            return -1;
        number = number * 10 + (*name - '0');
    }
    return number;
}

struct folder_entry { /* linux_dirent64 */
    uint64_t inode;
    int64_t offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

/* What close_range is for, where there is none. */
UNINSTRUMENTED static int mark_each(struct child *child)
{
    _Alignas(8) char buffer[1024];
    long folder = CALL4(openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    long size = folder;

    (void)child;
    while (folder >= 0 && (size = CALL3(getdents64, folder, buffer, sizeof(buffer))) > 0) {
        for (long at = 0; at < size;) {
            const struct folder_entry *entry = (const void *)(buffer + at);
            int fd = number_of(entry->name);
            if (fd > 2)
                CALL3(fcntl, fd, F_SETFD, FD_CLOEXEC);
            at += entry->size;
        }
    }
    if (folder >= 0)
        CALL1(close, folder);
    return (int)size;
}

/* I3 */
UNINSTRUMENTED static int mark_all(struct child *child)
{
    long r = CALL3(close_range, 3, UINT_MAX, CLOSE_RANGE_CLOEXEC);

    return r == 0 ? 0 : mark_each(child);
}

/* Move a descriptor that stands where the child's are to be (I3). */
UNINSTRUMENTED static int lift(const struct child *child, int *fd)
{
    if (*fd < 0 || *fd >= child->first_free)
        return 0;
    long moved = CALL3(fcntl, *fd, F_DUPFD_CLOEXEC, child->first_free);
    if (moved < 0)
        return moved == -EINVAL ? -EMFILE : (int)moved;
    *fd = (int)moved;
    return 0;
}

UNINSTRUMENTED static int lift_all(struct child *child)
{
    int r = lift(child, &child->cwd_fd);

    if (r == 0)
        r = lift(child, &child->report_fd);
    for (size_t i = 0; r == 0 && i < child->fds_count; i++)
        if (child->fds[i].source != child->fds[i].child)
            r = lift(child, &child->fds[i].source);
    return r;
}

UNINSTRUMENTED static int open_null(int target)
{
    int flags = target == 0 ? O_RDONLY : O_WRONLY;
    long fd = CALL4(openat, AT_FDCWD, "/dev/null", flags, 0);

    if (fd < 0 || fd == target)
        return fd < 0 ? (int)fd : 0;
    long r = CALL3(dup3, fd, target, 0);
    CALL1(close, fd);
    return r < 0 ? (int)r : 0;
}

UNINSTRUMENTED static int set_one(const struct child_fd *fd)
{
    long r;

    if (fd->source < 0)
        return open_null(fd->child);
    if (fd->source == fd->child)
        r = CALL3(fcntl, fd->child, F_SETFD, 0);
    else
        r = CALL3(dup3, fd->source, fd->child, 0);
    if (r == -EBADF && fd->optional)
        return 0;
    return r < 0 ? (int)r : 0;
}

UNINSTRUMENTED static int set_descriptors(struct child *child)
{
    int r = mark_all(child);

    if (r == 0)
        r = lift_all(child);
    for (size_t i = 0; r == 0 && i < child->fds_count; i++)
        r = set_one(&child->fds[i]);
    return r;
}

/* ---- user, folder, program ------------------------------------------------------------------ */

UNINSTRUMENTED static int set_user(struct child *child)
{
    const struct weft_process_options *options = child->options;
    gid_t gid = options->gid;
    uid_t uid = options->uid;
    long r = 0;

    if (!child->changes_user)
        return 0;
    r = CALL2(setgroups, options->groups ? options->groups_count : 0, options->groups);
    if (r == 0 && gid != (gid_t)-1)
        r = CALL3(setresgid, gid, gid, gid);
    if (r == 0 && uid != (uid_t)-1)
        r = CALL3(setresuid, uid, uid, uid);
    return (int)r;
}

UNINSTRUMENTED static int enter_folder(struct child *child)
{
    long r = 0;

    if (child->cwd_fd >= 0)
        r = CALL1(fchdir, child->cwd_fd);
    if (r == 0 && child->options->cwd)
        r = CALL1(chdir, child->options->cwd);
    return (int)r;
}

/* In the place of 0, which is free then and below any limit on descriptors, of which the child has
 * all of its parent's still.  O_NONBLOCK, because an open that waits would hold up the parent's
 * thread too. */
UNINSTRUMENTED static int open_stdin(struct child *child)
{
    const char *path = child->options->stdin_path;

    if (!path)
        return 0;
    CALL1(close, 0);
    long r = CALL4(openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (r == 0)
        r = CALL3(fcntl, 0, F_SETFL, 0);
    return (int)r;
}

/* After the change of the user, which takes the death signal back. */
UNINSTRUMENTED static int set_last(struct child *child)
{
    const struct weft_process_options *options = child->options;
    long r = 0;

    if (options->no_new_privileges)
        r = call5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (r == 0 && options->death_signal) {
        r = CALL2(prctl, PR_SET_PDEATHSIG, options->death_signal);
        if (r == 0 && CALL0(getppid) != child->parent)
            CALL1(exit_group, EXIT_UNSTARTED); /* it came too late for that */
    }
    if (r == 0)
        r = CALL4(rt_sigprocmask, SIG_SETMASK, &child->signal_mask, 0, MASK_BYTES);
    return (int)r;
}

/* Append `length` bytes of text.  Returns: the new size, or 0 when they do not fit. */
UNINSTRUMENTED static size_t append(char *buffer, size_t size, const char *text, size_t length)
{
    if (length >= PATH_MAX - size)
        return 0;
    for (size_t i = 0; i < length; i++) {
        STAY_A_LOOP();
        buffer[size + i] = text[i];
    }
    buffer[size + length] = '\0';
    return size + length;
}

UNINSTRUMENTED static size_t length_until(const char *text, char end)
{
    size_t length = 0;

    while (text[length] && text[length] != end) {
        STAY_A_LOOP();
        length++;
    }
    return length;
}

/* Make child->candidate the program in a folder; an empty one is the working directory. */
UNINSTRUMENTED static bool make_candidate(struct child *child, const char *folder, size_t length)
{
    char *candidate = child->candidate;
    size_t size = 0;

    if (length > 0) {
        size = append(candidate, 0, folder, length);
        if (size > 0)
            size = append(candidate, size, "/", 1);
        if (size == 0)
            return false;
    }
    return append(candidate, size, child->program, length_until(child->program, '\0')) > 0;
}

UNINSTRUMENTED static int call_execve(struct child *child, const char *program)
{
    return (int)CALL3(execve, program, child->options->argv, child->envp);
}

/* Whether the search goes on after this refusal, as execvp(3)'s does. */
UNINSTRUMENTED static bool is_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -ESTALE || r == -ENODEV ||
           r == -ETIMEDOUT;
}

/* The first that can be executed; one that may not be is told only if none can. */
UNINSTRUMENTED static int execute(struct child *child)
{
    const char *folder = child->path;
    int result = -ENOENT;

    if (!folder)
        return call_execve(child, child->program);
    for (;;) {
        size_t length = length_until(folder, ':');
        int r = -ENOENT;
        if (make_candidate(child, folder, length))
            r = call_execve(child, child->candidate);
        if (!is_absent(r))
            return r;
        if (r == -EACCES)
            result = r;
        if (folder[length] == '\0')
            return result;
        folder += length + 1;
    }
}

/* ---- the child ---------------------------------------------------------------------------- */

static const struct {
    enum weft_process_fault fault;
    int (*run)(struct child *child);
} steps[] = {
    {WEFT_PROCESS_FAULT_OTHER, reset_signals},   /* I2 */
    {WEFT_PROCESS_FAULT_CGROUP, enter_cgroup},   /* before it costs anything */
    {WEFT_PROCESS_FAULT_GROUP, enter_group},     /* or session */
    {WEFT_PROCESS_FAULT_PRIORITY, set_priority}, /* which may need privilege */
    {WEFT_PROCESS_FAULT_STDIO, set_descriptors}, /* I3 */
    {WEFT_PROCESS_FAULT_LIMIT, set_limits},      /* one of which is on descriptors */
    {WEFT_PROCESS_FAULT_USER, set_user},         /* I4 */
    {WEFT_PROCESS_FAULT_PRIORITY, set_user_priority},
    {WEFT_PROCESS_FAULT_LIMIT, set_user_limits},
    {WEFT_PROCESS_FAULT_CWD, enter_folder}, /* as the user */
    {WEFT_PROCESS_FAULT_STDIN, open_stdin}, /* the same, in that folder */
    {WEFT_PROCESS_FAULT_OTHER, set_last},   /* what a change of the user takes back */
    {WEFT_PROCESS_FAULT_PROGRAM, execute},  /* does not return when it succeeds */
};

/* I5 */
UNINSTRUMENTED static void child_main(struct child *child)
{
    struct spawn_report *report = &child->report;

    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        report->fault = steps[i].fault;
        report->error = steps[i].run(child);
        if (report->error < 0)
            break;
    }
    if (child->report_fd >= 0)
        CALL3(write, child->report_fd, report, sizeof(*report));
    for (;;)
        CALL1(exit_group, EXIT_UNSTARTED);
}

UNINSTRUMENTED uint64_t child_block_signals(uint64_t mask)
{
    uint64_t before = 0;

    CALL4(rt_sigprocmask, SIG_SETMASK, &mask, &before, MASK_BYTES);
    return before;
}

/* With clone3, which alone can name a control group. */
UNINSTRUMENTED static long start_in_cgroup(const struct child_clone *how, struct child *child,
                                           int *pidfd)
{
    struct clone_args args = {.flags = how->flags | CLONE_INTO_CGROUP,
                              .pidfd = (uintptr_t)pidfd,
                              .exit_signal = SIGCHLD,
                              .stack = (uintptr_t)how->stack,
                              .stack_size = how->stack_size,
                              .cgroup = (uint64_t)how->cgroup_fd};

    return call_clone(SYS_clone3, (long)&args, sizeof(args), 0, 0, child_main, child);
}

UNINSTRUMENTED pid_t child_start(const struct child_clone *how, struct child *child, int *ret_pidfd)
{
    int pidfd = -1;
    long r;

    if (how->cgroup_fd >= 0)
        r = start_in_cgroup(how, child, &pidfd);
    else
        r = call_clone(SYS_clone, (long)(how->flags | SIGCHLD),
                       (long)how->stack + (long)how->stack_size, (long)&pidfd, 0, child_main,
                       child);
    if (r >= 0)
        *ret_pidfd = pidfd;
    return (pid_t)r;
}
