/* SPDX-License-Identifier: MIT */
/*
 * faults: see faults.h.
 *
 * I1  Counting and deciding touch nothing but the page, so they may run on any stack, in any thread,
 *     and within any lock.
 * I2  A failure leaves everything as if the call had not been made, and sets errno (or returns the
 *     error, as the real one does).
 */
#include "support/faults.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct faults_page own_page;
struct faults_page *faults_page = &own_page;

/* ---- deciding ------------------------------------------------------------------------------ */

static const char *const names[FAULTS_COUNT] = {"none",
#define FAULTS_NAME(id, name) name,
                                                FAULTS_KINDS(FAULTS_NAME)
#undef FAULTS_NAME
};

const char *faults_kind_name(enum faults_kind kind)
{
    return names[kind];
}

static void say(const char *object, uintptr_t offset)
{
    size_t at = atomic_load_explicit(&faults_page->said, memory_order_relaxed);
    int n = snprintf(faults_page->text + at, sizeof faults_page->text - at, "%s+0x%zx\n", object,
                     (size_t)offset);
    if (n > 0 && at + (size_t)n < sizeof faults_page->text)
        atomic_store_explicit(&faults_page->said, at + (size_t)n, memory_order_relaxed);
}

/* Where the first failure is injected. */
static __attribute__((noinline)) void remember(void)
{
    void *frames[40];
    int count = backtrace(frames, 40);
    for (int i = 2; i < count; i++) {
        Dl_info info;
        if (dladdr(frames[i], &info) && info.dli_fname)
            say(info.dli_fname, (uintptr_t)frames[i] - (uintptr_t)info.dli_fbase);
        else
            say("?", (uintptr_t)frames[i]);
    }
}

__attribute__((noinline)) bool faults_hit(enum faults_kind kind)
{
    atomic_fetch_add_explicit(&faults_page->seen[kind], 1, memory_order_relaxed);
    if (atomic_load_explicit(&faults_page->kind, memory_order_acquire) != kind)
        return false;
    uint64_t call = atomic_fetch_add_explicit(&faults_page->calls, 1, memory_order_relaxed) + 1;
    uint64_t first = atomic_load_explicit(&faults_page->first, memory_order_relaxed);
    if (call < first ||
        call - first >= atomic_load_explicit(&faults_page->count, memory_order_relaxed))
        return false;
    if (atomic_fetch_add_explicit(&faults_page->injected, 1, memory_order_relaxed) == 0)
        remember();
    return true;
}

void faults_arm(enum faults_kind kind, uint64_t first, uint64_t count)
{
    atomic_store_explicit(&faults_page->first, first, memory_order_relaxed);
    atomic_store_explicit(&faults_page->count, count, memory_order_relaxed);
    atomic_store_explicit(&faults_page->calls, 0, memory_order_relaxed);
    atomic_store_explicit(&faults_page->injected, 0, memory_order_relaxed);
    atomic_store_explicit(&faults_page->said, 0, memory_order_relaxed);
    faults_page->text[0] = 0;
    atomic_store_explicit(&faults_page->kind, kind,
                          memory_order_release); /* pairs with faults_hit() */
}

uint64_t faults_disarm(void)
{
    atomic_store_explicit(&faults_page->kind, FAULTS_NONE, memory_order_release);
    return atomic_load_explicit(&faults_page->injected, memory_order_relaxed);
}

/* ---- attaching ----------------------------------------------------------------------------- */

static void name_kinds(void)
{
    size_t at = 0;
    for (size_t i = 1; i < FAULTS_COUNT; i++)
        at += (size_t)snprintf(faults_page->names + at, sizeof faults_page->names - at, "%s ",
                               names[i]);
}

/* A page that our children share, which a crash of theirs leaves to be read. */
static struct faults_page *map_page(int fd)
{
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void *at = mmap(NULL, FAULTS_PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* The file of WEFT_FAULTS, unless another program has it already; one that calls exec keeps it. */
static struct faults_page *attach(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    struct faults_page *file = map_page(fd);
    close(fd);
    uint64_t owner = 0, self = (uint64_t)getpid();
    if (!file || atomic_compare_exchange_strong(&file->pid, &owner, self) || owner == self)
        return file;
    munmap(file, FAULTS_PAGE);
    return NULL;
}

static __attribute__((constructor)) void begin(void)
{
    void *frame;
    backtrace(&frame, 1); /* it loads the unwinder now, not within a failing malloc */
    const char *path = getenv("WEFT_FAULTS");
    struct faults_page *shared = path ? attach(path) : map_page(-1);
    if (!shared)
        return;
    atomic_store(&shared->blocks, atomic_load(&faults_page->blocks));
    faults_page = shared;
    name_kinds();
    if (atomic_load(&faults_page->fork_asked))
        faults_fork_begin();
}
