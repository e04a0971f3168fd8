/* SPDX-License-Identifier: MIT */
/*
 * The change of stacks.  Inline on purpose: the compiler saves what is live at the place, and the
 * assembly keeps only the frame pointer, the resume address and the stack pointer.
 *
 *   A1  It is resumed by an indirect jump, never by a return; and it is not called, so that no
 *       entry of the return predictor is left over.  (Called and left by `jmp`, every return behind
 *       it was mispredicted: 56-68 ns a switch against 10-15.)
 *   A2  Frame of a suspended context, from its stack pointer up: resume address, frame pointer.
 *   A3  Neither mxcsr nor the x87 or fpcr control words are changed or restored.
 *   A4  On x86-64 the red zone is stepped over before anything is pushed.
 *   A5  A new stack starts with neither frame pointer nor return address, so that whoever walks it
 *       by frame pointers or by unwind tables comes to its end.
 *   A6  Three words travel in registers to whoever is continued: what it needs first is there
 *       before its stack has been touched.  A new stack's entry gets them as its third to fifth
 *       argument.
 *
 * CET shadow stacks are not supported: the library leaves their property out and refuses to start
 * where the kernel enforces them (refuse_shadow_stack in runtime.c).
 */
#ifndef RUNTIME_CORE_SWITCH_H
#define RUNTIME_CORE_SWITCH_H

/* What no callee saves, as far as the build may use it at all. */
#ifdef __MMX__
#define SWITCH_CLOBBERS_MMX "mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7",
#else
#define SWITCH_CLOBBERS_MMX
#endif
#ifdef __SSE__
#define SWITCH_CLOBBERS_SSE                                                                        \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",       \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
#else
#define SWITCH_CLOBBERS_SSE
#endif
#ifdef __AVX512F__
#define SWITCH_CLOBBERS_AVX512                                                                     \
    "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",      \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5",  \
        "k6", "k7",
#else
#define SWITCH_CLOBBERS_AVX512
#endif
#ifdef __ARM_FEATURE_SVE
#define SWITCH_CLOBBERS_SVE                                                                        \
    "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "p14", \
        "p15",
#else
#define SWITCH_CLOBBERS_SVE
#endif

/* What a stack that is left hands to the one that is continued (A6). */
struct carried {
    void *a, *b, *c;
};

/* Where a new stack starts; `unused` hold nothing. */
typedef void switch_entry(void *unused, void *unused_too, void *a, void *b, void *c);

/* Save the running stack's pointer in *ret_saved_sp and continue the stack whose pointer is
 * `next_sp`, which gets `carried`.  Returns, when somebody continues the saved one, what that one
 * carries. */
static inline __attribute__((always_inline)) struct carried
switch_stacks(void **ret_saved_sp, void *next_sp, struct carried carried)
{
#if defined(__x86_64__)
    register void **save __asm__("rdi") = ret_saved_sp;
    register void *next __asm__("rsi") = next_sp;
    register void *a __asm__("rdx") = carried.a;
    register void *b __asm__("rcx") = carried.b;
    register void *c __asm__("r8") = carried.c;

    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t"
                     "popq %%rax\n\t"
                     "xorl %%ebp, %%ebp\n\t" /* A5 */
                     "jmpq *%%rax\n\t"
                     "1:\n\t"
                     "popq %%rbp\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     : "+r"(save), "+r"(next), "+r"(a), "+r"(b), "+r"(c)
                     :
                     : "rax", "rbx", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       SWITCH_CLOBBERS_MMX SWITCH_CLOBBERS_SSE SWITCH_CLOBBERS_AVX512 "memory",
                       "cc");
#elif defined(__aarch64__)
    register void **save __asm__("x0") = ret_saved_sp;
    register void *next __asm__("x1") = next_sp;
    register void *a __asm__("x2") = carried.a;
    register void *b __asm__("x3") = carried.b;
    register void *c __asm__("x4") = carried.c;

    __asm__ volatile("adr x16, 1f\n\t"
                     "stp x16, x29, [sp, #-16]!\n\t"
                     "mov x5, sp\n\t"
                     "str x5, [x0]\n\t"
                     "mov sp, x1\n\t"
                     "ldr x16, [sp]\n\t"
                     "mov x29, xzr\n\t" /* A5 */
                     "mov x30, xzr\n\t"
                     "br x16\n\t" /* x16: a `bti c` accepts it too */
                     "1:\n\t"
                     "hint 36\n\t" /* bti j */
                     "ldr x29, [sp, #8]\n\t"
                     "add sp, sp, #16"
                     : "+r"(save), "+r"(next), "+r"(a), "+r"(b), "+r"(c)
                     :
                     : SWITCH_CLOBBERS_SVE "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "memory", "cc");
#else
#error "weft: no context switch for this processor"
#endif
    return (struct carried){a, b, c};
}

/* Lay out below `top` (16-byte aligned) what the first switch to a new stack pops.  entry() starts
 * as if called from nowhere, and must not return.  Returns: the stack pointer. */
static inline void *switch_prepare(void *top, switch_entry *entry)
{
    void **frame = top;

    /* x86-64: a return address of 0, at 8 modulo 16, where unwinders stop.  aarch64: padding. */
    *--frame = (void *)0;
    *--frame = (void *)entry;
    return frame;
}

#endif
