/* SPDX-License-Identifier: MIT */
/*
 * older_kernel PROGRAM [ARGUMENT...]: runs it as on a kernel that has neither io_uring nor guards that
 * are no mappings (MADV_GUARD_INSTALL, Linux 6.13): a seccomp filter, which all that it starts
 * inherits, answers as such a kernel does.
 *
 * It exits with 77 where there is no seccomp, or no older kernel came of it.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOT_HERE = 77, GUARD_INSTALL = 102, GUARD_REMOVE = 103 };

#if defined(__x86_64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "older_kernel: which architecture is this?"
#endif

#define LOAD(field)       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(v, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), 0, (n))
#define SKIP_IF(v, n)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), (n), 0)
#define ALLOW             BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define FAIL(error)       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define LOWER_HALF(i)     args[i] /* both architectures have it first */

/* The advice is the third argument of madvise and the fourth of process_madvise. */
static struct sock_filter older[] = {
    LOAD(arch),
    SKIP_IF(THIS_ARCHITECTURE, 1),
    ALLOW,
    LOAD(nr),
    SKIP_UNLESS(SYS_io_uring_setup, 1),
    FAIL(ENOSYS),
    SKIP_UNLESS(SYS_madvise, 2),
    LOAD(LOWER_HALF(2)),
    BPF_STMT(BPF_JMP | BPF_JA, 3),
    SKIP_IF(SYS_process_madvise, 1),
    ALLOW,
    LOAD(LOWER_HALF(3)),
    SKIP_IF(GUARD_INSTALL, 2),
    SKIP_IF(GUARD_REMOVE, 1),
    ALLOW,
    FAIL(EINVAL),
};

static int not_here(const char *what)
{
    fprintf(stderr, "older_kernel: %s: %s\n", what, strerror(errno));
    return NOT_HERE;
}

/* Only who may do without gives up the right to gain rights by exec. */
static int install(void)
{
    struct sock_fprog program = {.len = sizeof(older) / sizeof(older[0]), .filter = older};

    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        return 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Refused as by an older kernel, and nothing else is. */
static const char *is_not_as_expected(void)
{
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED || madvise(page, 4096, MADV_DONTNEED) < 0)
        return "memory is not as before";
    if (syscall(SYS_io_uring_setup, 1, NULL) == 0 || errno != ENOSYS)
        return "io_uring_setup is there";
    if (madvise(page, 4096, GUARD_INSTALL) == 0 || errno != EINVAL)
        return "MADV_GUARD_INSTALL is there";
    munmap(page, 4096);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *wrong;

    if (argc < 2) {
        fprintf(stderr, "usage: older_kernel PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    if (install() < 0)
        return not_here("no seccomp");
    wrong = is_not_as_expected();
    if (wrong) {
        fprintf(stderr, "older_kernel: %s\n", wrong);
        return NOT_HERE;
    }
    execvp(argv[1], &argv[1]);
    fprintf(stderr, "older_kernel: %s: %s\n", argv[1], strerror(errno));
    return 126;
}
