/* SPDX-License-Identifier: MIT */
/*
 * The change of stacks.  Inline on purpose: the compiler saves what is live at the place, and the
 * assembly keeps only the frame pointer, the resume address and the stack pointer.
 *
 *   A1  It is resumed by an indirect jump, never by a return; and it is not called, so that no
 * entry of the return predictor is left over.  (Called and left by `jmp`, every return behind it
 * was mispredicted: 56-68 ns a switch against 10-15.) A2  Frame of a suspended context, from its
 * stack pointer up: resume address, frame pointer. A3  Neither mxcsr nor the x87 or fpcr control
 * words are changed or restored. A4  On x86-64 the red zone is stepped over before anything is
 * pushed.
 *
 * CET shadow stacks are not supported: the library leaves their property out and refuses to start
 * where the kernel enforces them (refuse_shadow_stack in runtime.c).
 */
#ifndef RUNTIME_CORE_SWITCH_H
#define RUNTIME_CORE_SWITCH_H

/* Save the running stack's pointer in *ret_saved_sp and continue the stack whose pointer is
 * `next_sp`.  Returns when somebody continues the saved one. */
static inline __attribute__((always_inline)) void switch_stacks(void **ret_saved_sp, void *next_sp)
{
#if defined(__x86_64__)
    register void **save __asm__("rdi") = ret_saved_sp;
    register void *next __asm__("rsi") = next_sp;

    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t"
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t"
                     "popq %%rax\n\t"
                     "jmpq *%%rax\n\t"
                     "1:\n\t"
                     "popq %%rbp\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     : "+r"(save), "+r"(next)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "mm0",
                       "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7", "memory", "cc");
#elif defined(__aarch64__)
    register void **save __asm__("x0") = ret_saved_sp;
    register void *next __asm__("x1") = next_sp;

    __asm__ volatile("adr x2, 1f\n\t"
                     "stp x2, x29, [sp, #-16]!\n\t"
                     "mov x3, sp\n\t"
                     "str x3, [x0]\n\t"
                     "mov sp, x1\n\t"
                     "ldr x2, [sp]\n\t"
                     "br x2\n\t"
                     "1:\n\t"
                     "hint 36\n\t" /* bti j */
                     "ldr x29, [sp, #8]\n\t"
                     "add sp, sp, #16"
                     : "+r"(save), "+r"(next)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "memory", "cc");
#else
#error "weft: no context switch for this processor"
#endif
}

/* Lay out below `top` (16-byte aligned) what the first switch to a new stack pops.  entry() starts
 * as if called from nowhere, and must not return.  Returns: the stack pointer. */
static inline void *switch_prepare(void *top, void (*entry)(void))
{
    void **frame = top;

    /* x86-64: a return address of 0, at 8 modulo 16, where unwinders stop.  aarch64: padding. */
    *--frame = (void *)0;
    *--frame = (void *)entry;
    return frame;
}

#endif
