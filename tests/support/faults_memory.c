/* SPDX-License-Identifier: MIT */
/*
 * faults_memory: the heap and the mappings; see faults.h.
 *
 * I1  Until the real functions are known (dlsym itself may allocate), memory comes from a small
 *     arena that is never given back.
 */
#include "support/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static void *(*real_memalign)(size_t, size_t);
static void (*real_free)(void *);

static bool resolved, resolving;                       /* both set before there are threads */
static char arena[65536] __attribute__((aligned(16))); /* I1 */
static size_t arena_used;

static void resolve(void)
{
    resolving = true;
#define RESOLVE(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)
    RESOLVE(malloc);
    RESOLVE(calloc);
    RESOLVE(realloc);
    RESOLVE(posix_memalign);
    RESOLVE(aligned_alloc);
    RESOLVE(memalign);
    RESOLVE(free);
#undef RESOLVE
    resolving = false;
    resolved = true;
}

static inline void ready(void)
{
    if (__builtin_expect(!resolved, 0) && !resolving)
        resolve();
}

static bool in_arena(const void *block)
{
    return (const char *)block >= arena && (const char *)block < arena + sizeof arena;
}

static void *arena_take(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof arena - arena_used)
        return NULL;
    arena_used += size;
    return arena + arena_used - size;
}

/* ---- the heap ------------------------------------------------------------------------------ */

static void *counted(void *block)
{
    if (block)
        atomic_fetch_add_explicit(&faults_page->blocks, 1, memory_order_relaxed);
    return block;
}

void *malloc(size_t size)
{
    ready();
    if (resolving)
        return arena_take(size);
    return faults_hit_errno(FAULTS_ALLOC, ENOMEM) ? NULL : counted(real_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    ready();
    if (resolving)
        return arena_take(count * size);
    return faults_hit_errno(FAULTS_ALLOC, ENOMEM) ? NULL : counted(real_calloc(count, size));
}

static void *resized(void *block, void *result, size_t size)
{
    if (!block)
        return counted(result);
    if (!result && size == 0)
        atomic_fetch_sub_explicit(&faults_page->blocks, 1, memory_order_relaxed);
    return result;
}

void *realloc(void *block, size_t size)
{
    ready();
    if (resolving || in_arena(block))
        return NULL; /* nobody grows what dlsym() took */
    return faults_hit_errno(FAULTS_ALLOC, ENOMEM) ? NULL
                                                  : resized(block, real_realloc(block, size), size);
}

void *reallocarray(void *block, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(block, count * size);
}

int posix_memalign(void **ret_block, size_t alignment, size_t size)
{
    ready();
    if (faults_hit(FAULTS_ALLOC))
        return ENOMEM;
    int err = real_posix_memalign(ret_block, alignment, size);
    if (!err)
        counted(*ret_block);
    return err;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    ready();
    return faults_hit_errno(FAULTS_ALLOC, ENOMEM) ? NULL
                                                  : counted(real_aligned_alloc(alignment, size));
}

void *memalign(size_t alignment, size_t size)
{
    ready();
    return faults_hit_errno(FAULTS_ALLOC, ENOMEM) ? NULL : counted(real_memalign(alignment, size));
}

void free(void *block)
{
    if (!block || in_arena(block))
        return;
    ready();
    atomic_fetch_sub_explicit(&faults_page->blocks, 1, memory_order_relaxed);
    real_free(block);
}

/* ---- mappings ------------------------------------------------------------------------------ */

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (faults_hit_errno(FAULTS_MAP, ENOMEM))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

void *mremap(void *at, size_t size, size_t new_size, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(list, void *) : NULL;
    va_end(list);
    if (faults_hit_errno(FAULTS_MAP, ENOMEM))
        return MAP_FAILED;
    return (void *)syscall(SYS_mremap, at, size, new_size, flags, to);
}

int mprotect(void *at, size_t size, int protection)
{
    if (faults_hit_errno(FAULTS_MAP, ENOMEM))
        return -1;
    return (int)syscall(SYS_mprotect, at, size, protection);
}

int madvise(void *at, size_t size, int advice)
{
    if (faults_hit_errno(FAULTS_MAP, ENOMEM))
        return -1;
    return (int)syscall(SYS_madvise, at, size, advice);
}
