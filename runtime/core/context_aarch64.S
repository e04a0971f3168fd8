/* SPDX-License-Identifier: MIT */
/*
 * context_switch(void **ret_saved_sp, void *next_sp) for AArch64, AAPCS64.
 *
 * Saved: x19-x30 and the low halves d8-d15.  The return is `br x16`,
 * not `ret`, so as not to disturb the return predictor of the other context.
 *
 * Frame of a suspended context, from its stack pointer up (160 bytes):
 *     x19 x20 x21 x22 x23 x24 x25 x26 x27 x28 x29 x30 d8 d9 d10 d11 d12 d13 d14 d15
 *
 * A first frame has context_start in x30 and the entry function in x19.  `bti j` pads accept the
 * indirect branch where branch target identification is on.
 */
    .text
    .globl context_switch
    .hidden context_switch
    .type context_switch, %function
    .p2align 4
context_switch:
    .cfi_startproc
    hint 34 /* bti c */
    sub sp, sp, #160
    .cfi_def_cfa_offset 160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    .cfi_offset x19, -160
    .cfi_offset x20, -152
    .cfi_offset x21, -144
    .cfi_offset x22, -136
    .cfi_offset x23, -128
    .cfi_offset x24, -120
    .cfi_offset x25, -112
    .cfi_offset x26, -104
    .cfi_offset x27, -96
    .cfi_offset x28, -88
    .cfi_offset x29, -80
    .cfi_offset x30, -72
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    .cfi_def_cfa_offset 0
    mov x16, x30
    br x16
    .cfi_endproc
    .size context_switch, .-context_switch

    .globl context_start
    .hidden context_start
    .type context_start, %function
    .p2align 4
context_start:
    .cfi_startproc
    .cfi_undefined x30
    hint 38 /* bti jc */
    mov x29, xzr
    mov x30, xzr
    blr x19
    brk #1
    .cfi_endproc
    .size context_start, .-context_start

    .section .note.GNU-stack,"",%progbits
