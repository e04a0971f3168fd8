/* SPDX-License-Identifier: MIT */
/*
 * faults_fork: a clone of a process is refused; see faults.h.
 *
 * libweft makes children by a system call of its own, on a stack of its own, so no function stands
 * between.  A seccomp filter has the kernel ask about each clone, and a thread here answers: those
 * that make threads and those of children go on, ours are counted.
 *
 * The filter is inherited, and once we are gone nobody answers what our children ask: their clones
 * fail then.  So a program is only given it where `fork` is swept.
 */
#include "support/faults.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int listener = -1;

/* Of this process, not of a child that has inherited the filter. */
static bool is_ours(const struct seccomp_notif *call)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%u", call->pid);
    return access(path, F_OK) == 0;
}

/* clone3 has its flags in the caller's memory, which is ours too. */
static uint64_t flags_of(const struct seccomp_notif *call)
{
    if (call->data.nr == SYS_clone)
        return call->data.args[0];
    if (call->data.nr == SYS_clone3)
        return *(const uint64_t *)call->data.args[0]; /* NOLINT(performance-no-int-to-ptr) */
    return 0;
}

static bool must_fail(const struct seccomp_notif *call)
{
    return is_ours(call) && !(flags_of(call) & CLONE_THREAD) && faults_hit(FAULTS_FORK);
}

static void *answer_main(void *arg)
{
    (void)arg;
    for (;;) {
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) {
            if (errno == EINTR || errno == ENOENT) /* the caller was killed meanwhile */
                continue;
            return NULL;
        }
        struct seccomp_notif_resp answer = {.id = call.id};
        if (must_fail(&call))
            answer.error = -EAGAIN;
        else
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

#define ASK_ABOUT(number)                                                                          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1),                                           \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

static int install_filter(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ASK_ABOUT(SYS_clone),
        ASK_ABOUT(SYS_clone3),
#ifdef SYS_fork
        ASK_ABOUT(SYS_fork),
        ASK_ABOUT(SYS_vfork),
#endif
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                        &program);
}

/* The thread is made first, and waits for the listener: its clone would have nobody to answer. */
static atomic_bool installed;

static void *await_listener(void *arg)
{
    while (!atomic_load_explicit(&installed, memory_order_acquire)) /* pairs with begin's store */
        sched_yield();
    return listener >= 0 ? answer_main(arg) : NULL;
}

void faults_fork_begin(void)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the program's signals are not for this thread */
    int err = pthread_create(&thread, NULL, await_listener, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return;
    pthread_detach(thread);
    listener = install_filter();
    atomic_store_explicit(&installed, true, memory_order_release); /* pairs with await_listener */
}
