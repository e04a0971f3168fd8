/* SPDX-License-Identifier: MIT */
/*
 * faults: the Nth call of a kind fails.
 *
 * faults.so stands before libc and the allocator of a program, by LD_PRELOAD or because the program
 * is linked with it first, and so sees the calls of every library in it: also those of SQLite,
 * jansson, libcurl and glibc itself, which --wrap at link time would not.  What it is told to do is
 * in a page, `struct faults_page`; with WEFT_FAULTS=FILE in the environment that page is the file,
 * and who started the program arms and reads it from outside while the program runs (faults.py).
 *
 * It cannot see system calls that are made without libc: io_uring's and those of a child between
 * clone and exec.  So the ring is refused as a whole, and `fork` is decided by a seccomp filter that
 * asks a thread of this library about each clone (faults_fork.c).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULTS_KINDS(KIND)                                                                         \
    KIND(ALLOC, "alloc")   /* malloc and its relatives: ENOMEM */                                  \
    KIND(MAP, "map")       /* mmap, mremap, mprotect, madvise: ENOMEM */                           \
    KIND(EPOLL, "epoll")   /* epoll_ctl ADD or MOD: ENOMEM */                                      \
    KIND(ACCEPT, "accept") /* accept, accept4: ECONNABORTED, EMFILE, ENFILE, ENOBUFS in turn */    \
    KIND(FORK, "fork")     /* clone of a process: EAGAIN */                                        \
    KIND(THREAD, "thread") /* pthread_create: EAGAIN */                                            \
    KIND(SYNC, "sync")     /* fsync, fdatasync: EIO */                                             \
    KIND(SPACE, "space")   /* a write to a file, ftruncate, fallocate: ENOSPC */                   \
    KIND(READ, "read")     /* a read of a file: EIO */                                             \
    KIND(SHORT, "short")   /* a read or write of a file does half of it */                         \
    KIND(FD, "fd")         /* whatever makes a descriptor: EMFILE */                               \
    KIND(RING, "ring")     /* io_uring_setup: ENOSYS */

enum faults_kind {
    FAULTS_NONE,
#define FAULTS_ENUM(id, name) FAULTS_##id,
    FAULTS_KINDS(FAULTS_ENUM)
#undef FAULTS_ENUM
        FAULTS_COUNT
};

enum { FAULTS_KINDS_MAX = 32, FAULTS_TEXT = 8192, FAULTS_PAGE = 16384 };

/* What faults.py reads and writes: words of 64 bits, little endian, then text.  Any thread of the
 * program, and its starter; all relaxed but `kind`. */
struct faults_page {
    _Atomic uint64_t pid;   /* of the program; 0: not started.  Others that inherit WEFT_FAULTS
                                * leave the page alone */
    _Atomic uint64_t kind;  /* the armed one, or 0.  Written last (release), read first (acquire),
                                * so that what follows belongs to it */
    _Atomic uint64_t first; /* the call that fails, counted from 1 … */
    _Atomic uint64_t count; /* … and how many from it on */
    _Atomic uint64_t calls; /* of the armed kind since it was armed */
    _Atomic uint64_t injected;   /* of those, failed */
    _Atomic int64_t blocks;      /* of the heap that are in use, always counted */
    _Atomic uint64_t said;       /* bytes of text */
    _Atomic uint64_t fork_asked; /* before the start: `fork` is wanted, which has its price */
    _Atomic uint64_t seen[FAULTS_KINDS_MAX]; /* calls of each kind since the start */
    char names[512];                         /* of the kinds, in order, with spaces between */
    char text[FAULTS_TEXT]; /* where the first failure was injected: OBJECT+OFFSET, one a line */
};

/* For programs that are linked with it.  One at a time. */
void faults_arm(enum faults_kind kind, uint64_t first, uint64_t count);
/* Returns: how many were injected. */
uint64_t faults_disarm(void);
extern struct faults_page *faults_page; /* set before there are threads */
const char *faults_kind_name(enum faults_kind kind);

/* Have each clone asked about, from now on; before there are other threads.  With WEFT_FAULTS: where
 * the starter has set `fork_asked`. */
void faults_fork_begin(void);

/* Within the library: count a call.  Returns: whether it must fail. */
bool faults_hit(enum faults_kind kind);
#define faults_hit_errno(kind, err) (faults_hit(kind) && ((errno = (err)), true))
