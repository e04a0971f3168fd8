/* SPDX-License-Identifier: MIT */
/* What /proc says, and who is a root and who an orphan. */
#include "daemon/tree.h"

#include "support/fibers.h"
#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that waits to be killed; it dies with its parent. */
static pid_t start_child(void)
{
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
}

static void end_child(pid_t pid)
{
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_EQ(waitpid(pid, NULL, 0), pid);
}

/* Without reaping. */
static void await_death(pid_t pid)
{
    siginfo_t info;
    EXPECT_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static bool has(const struct tree_pids *list, pid_t pid)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->pids[i] == pid)
            return true;
    return false;
}

Test(tree, reads_a_process_whatever_its_name)
{
    struct tree_stat stat, again;
    prctl(PR_SET_NAME, "a) S 1 (\n2");
    EXPECT_EQ(tree_stat_read(getpid(), &stat), 0);
    EXPECT_EQ(stat.pid, getpid());
    EXPECT_EQ(stat.parent, getppid());
    EXPECT_EQ(stat.group, getpgrp());
    EXPECT_EQ(stat.session, getsid(0));
    EXPECT_EQ(stat.state, 'R');
    EXPECT(stat.threads >= 1);
    EXPECT(!tree_stat_is_dead(&stat));
    EXPECT(!tree_stat_is_still(&stat));
    EXPECT_EQ(tree_stat_read(getpid(), &again), 0);
    EXPECT_EQ(again.started, stat.started);
    EXPECT_EQ(tree_stat_read(0x3fffffff, &again), -ESRCH);
}

Test(tree, tells_the_dead_and_the_stopped)
{
    struct tree_stat stat;
    pid_t pid = start_child();
    EXPECT_EQ(kill(pid, SIGSTOP), 0);
    EXPECT_EQ(waitpid(pid, NULL, WUNTRACED), pid);
    EXPECT_EQ(tree_stat_read(pid, &stat), 0);
    EXPECT(tree_stat_is_still(&stat));
    EXPECT(!tree_stat_is_dead(&stat));
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    await_death(pid);
    EXPECT_EQ(tree_stat_read(pid, &stat), 0);
    EXPECT(tree_stat_is_dead(&stat));
    EXPECT_EQ(waitpid(pid, NULL, 0), pid);
    EXPECT_EQ(tree_stat_read(pid, &stat), -ESRCH);
}

Test(tree, opens_no_pidfd_of_a_recycled_pid)
{
    struct tree_stat stat;
    pid_t pid = start_child();
    EXPECT_EQ(tree_stat_read(pid, &stat), 0);
    int fd = tree_pidfd_open(&stat);
    EXPECT(fd >= 0);
    close(fd);
    stat.started++; /* as if the number had been another's before */
    EXPECT_EQ(tree_pidfd_open(&stat), -ESRCH);
    stat.started--;
    end_child(pid);
    EXPECT_EQ(tree_pidfd_open(&stat), -ESRCH);
}

Test(tree, lists_children)
{
    struct tree_pids list = {0}, all = {0};
    pid_t pids[200];
    for (int i = 0; i < 200; i++) /* more than one read of the list */
        pids[i] = start_child();
    EXPECT_EQ(tree_children(getpid(), &list), 0);
    EXPECT_EQ(tree_everybody(&all), 0);
    EXPECT_EQ(list.count, 200);
    for (int i = 0; i < 200; i++)
        EXPECT(has(&list, pids[i]) && has(&all, pids[i]));
    EXPECT(has(&all, getpid()));
    for (int i = 0; i < 200; i++)
        end_child(pids[i]);
    tree_pids_destroy(&list);
    tree_pids_destroy(&all);
    EXPECT_EQ(tree_children(0x3fffffff, &list), -ESRCH);
}

/* Dies with its parent. */
static pid_t start_program(const char *const *argv, const char *const *env)
{
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execve(argv[0], (char **)argv, (char **)env);
    _exit(1);
}

Test(tree, never_denies_marks_while_the_process_calls_exec)
{
    const char *again = "exec /bin/sh -c \"$0\" \"$0\"", *marks[] = {"A=1"};
    const char *argv[] = {"/bin/sh", "-c", again, again, NULL}, *env[] = {"A=1", NULL};
    pid_t pid = start_program(argv, env);
    uint64_t deadline_ns = weft_deadline_after(30 * WEFT_SECOND);
    int seen[2] = {0};
    while (tree_environ_has(pid, marks, 1) != 1)
        EXPECT(weft_now_ns() < deadline_ns);
    while (seen[0] < 1000 || seen[1] < 5) {
        int rc = tree_environ_has(pid, marks, 1);
        EXPECT(rc == 1 || rc == -EAGAIN);
        seen[rc < 0]++;
        EXPECT(weft_now_ns() < deadline_ns);
    }
    end_child(pid);
}

Test(tree, an_empty_environment_has_no_marks)
{
    const char *argv[] = {"/bin/sleep", "1000", NULL}, *env[] = {NULL}, *marks[] = {"A=1"};
    int ends[2], rc;
    char none;
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = start_program(argv, env);
    close(ends[1]);
    EXPECT_EQ(read(ends[0], &none, 1), 0); /* its copy was closed by exec */
    close(ends[0]);
    uint64_t deadline_ns = weft_deadline_after(30 * WEFT_SECOND);
    while ((rc = tree_environ_has(pid, marks, 1)) == -EAGAIN)
        EXPECT(weft_now_ns() < deadline_ns);
    EXPECT_EQ(rc, 0);
    end_child(pid);
}

Test(tree, compares_whole_variables)
{
    const char *argv[] = {"/bin/sleep", "1000", NULL};
    char large[100000];
    memset(large, 'x', sizeof(large) - 1);
    memcpy(large, "LARGE=", 6);
    large[sizeof(large) - 1] = '\0';
    const char *env[] = {"A=1", large, "WEFT_JOB_ID=17", "B=2", NULL};
    pid_t pid = start_program(argv, env);
    uint64_t deadline_ns = weft_deadline_after(30 * WEFT_SECOND);
    while (tree_environ_has(pid, (const char *[]){"A=1"}, 1) != 1) /* until it has called exec */
        EXPECT(weft_now_ns() < deadline_ns);
    EXPECT_EQ(tree_environ_has(pid, (const char *[]){"WEFT_JOB_ID=17", "A=1", "B=2"}, 3), 1);
    EXPECT_EQ(tree_environ_has(pid, (const char *[]){"A=1", "B=1"}, 2), 0);
    EXPECT_EQ(tree_environ_has(pid, (const char *[]){"WEFT_JOB_ID=1"}, 1), 0);
    EXPECT_EQ(tree_environ_has(pid, (const char *[]){"WEFT_JOB_ID=170"}, 1), 0);
    EXPECT_EQ(tree_environ_has(pid, (const char *[]){"JOB_ID=17"}, 1), 0);
    end_child(pid);
    EXPECT_EQ(tree_environ_has(pid, (const char *[]){"A=1"}, 1), 0);
}

Test(tree, reaps_orphans_and_never_roots)
{
    struct tree_roots roots;
    struct tree_root root = {0}, second = {0}, none = {0};
    struct tree_pids orphans = {0};
    tree_roots_init(&roots);
    tree_roots_begin(&roots);
    root.pid = start_child();
    tree_roots_end(&roots, &root);
    tree_roots_begin(&roots);
    second.pid = start_child();
    tree_roots_end(&roots, &second);
    tree_roots_begin(&roots); /* a spawn that failed */
    tree_roots_end(&roots, &none);
    pid_t orphan = start_child(), lively = start_child();
    EXPECT_EQ(kill(root.pid, SIGKILL), 0);
    EXPECT_EQ(kill(orphan, SIGKILL), 0);
    await_death(root.pid);
    await_death(orphan);
    EXPECT_EQ(tree_roots_orphans(&roots, &orphans), 0);
    EXPECT_EQ(orphans.count, 2);
    EXPECT(has(&orphans, orphan) && has(&orphans, lively));
    tree_roots_reap(&roots);
    orphans.count = 0;
    EXPECT_EQ(tree_roots_orphans(&roots, &orphans), 0);
    EXPECT_EQ(orphans.count, 1);
    EXPECT_EQ(orphans.pids[0], lively);
    EXPECT_EQ(atomic_load(&roots.reaped), 1);
    EXPECT_EQ(waitpid(orphan, NULL, WNOHANG), -1);
    EXPECT_EQ(waitpid(root.pid, NULL, WNOHANG), root.pid); /* still its owner's to reap */
    tree_roots_remove(&roots, &root);
    end_child(second.pid);
    tree_roots_remove(&roots, &second);
    end_child(lively);
    tree_pids_destroy(&orphans);
    tree_roots_destroy(&roots);
}

/* A root with a child in a session of its own, and an orphan of another job. */
Test(tree, finds_members_and_leaves_others)
{
    struct tree_roots roots;
    struct tree_root root = {0};
    struct run_tree tree;
    int fds[2];
    pid_t child;
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    tree_roots_init(&roots);
    tree_roots_begin(&roots);
    root.pid = fork();
    EXPECT(root.pid >= 0);
    if (root.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        child = start_child();
        EXPECT_EQ(write(fds[1], &child, sizeof(child)), sizeof(child));
        for (;;)
            pause();
    }
    tree_roots_end(&roots, &root);
    EXPECT_EQ(read(fds[0], &child, sizeof(child)), sizeof(child));
    pid_t other = start_child(); /* no marks, another session */
    tree_init(&tree, &roots, root.pid, "00", 1, 1);
    EXPECT_EQ(tree_scan(&tree), 2);
    EXPECT_EQ(tree.members[0].pid, root.pid);
    EXPECT_EQ(tree.members[1].pid, child);
    EXPECT_EQ(tree_kill(&tree), 2);
    EXPECT_EQ(waitpid(root.pid, NULL, 0), root.pid);
    tree_roots_remove(&roots, &root);
    EXPECT_EQ(kill(other, 0), 0);
    end_child(other);
    close(fds[0]);
    close(fds[1]);
    tree_destroy(&tree);
    tree_roots_destroy(&roots);
    (void)waitpid(child, NULL, 0); /* where this process is a subreaper */
}
