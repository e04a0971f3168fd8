/* SPDX-License-Identifier: MIT */
/*
 * What every file of the runtime may use: checks, branch hints, container_of, and the sanitizer
 * switches.
 *
 * ASSERT states an invariant of ours, in debug builds.  CHECK is always on: corruption and misuse
 * that must not be survived.  Neither is ever used on what comes from outside.
 */
#ifndef RUNTIME_CORE_BASE_H
#define RUNTIME_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* For the few steps of a switch that must not cost a call, and whose caller saves registers
 * once. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* For the rare half of a call, so that the other half saves no registers for it. */
#define NOINLINE __attribute__((noinline))

#define CACHE_LINE 64

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Print what failed and where, and abort.  Async-signal-safe. */
_Noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (unlikely(!(expression)))                                                               \
            check_failed(__FILE__, __LINE__, #expression);                                         \
    } while (0)

#ifdef NDEBUG
#define ASSERT(expression)                                                                         \
    do {                                                                                           \
        (void)sizeof(expression);                                                                  \
    } while (0)
#else
#define ASSERT(expression) CHECK(expression)
#endif

#endif
