/* SPDX-License-Identifier: MIT */
/*
 * context_switch(void **ret_saved_sp, void *next_sp) for x86-64, System V.
 *
 * Only what the ABI lets a callee destroy nothing of is saved: rbx, rbp, r12-r15 and the return
 * address.  The return is `pop; jmp`: a `ret` would be mispredicted every time, because the
 * return-stack predictor belongs to the other context (12-16 ns against 3-5).
 *
 * Frame of a suspended context, from its stack pointer up:
 *     r15 r14 r13 r12 rbx rbp return-address
 *
 * A first frame has context_start as its return address and the entry function in rbx.
 * No endbr64 and no shadow-stack note: the library says that it does not support CET shadow stacks
 * by leaving the property out, and refuses to start where the kernel enforces them.
 */
    .text
    .globl context_switch
    .hidden context_switch
    .type context_switch, @function
    .p2align 4
context_switch:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    jmpq *%rcx
    .cfi_endproc
    .size context_switch, .-context_switch

    .globl context_start
    .hidden context_start
    .type context_start, @function
    .p2align 4
context_start:
    .cfi_startproc
    .cfi_undefined %rip
    xorl %ebp, %ebp
    callq *%rbx
    ud2
    .cfi_endproc
    .size context_start, .-context_start

    .section .note.GNU-stack,"",@progbits
