// Products of the taps of four pixels and rows of packed weights, without a multiplication that adds: one is for two
// pixels, as in dots_of_four of the portable kernels.
//
// r0: taps; r1: weights; r2, r3: weights of a byte; r4, r5: sums of two pixels each; r6, r7: taps; r8 to r11: sums;
// r12: the end of a row, or HALF in either half; lr: the end of a run; [sp]: the arguments, which r3 points to where a
// row begins.
.syntax unified

// Adds the lower halves of r4 and r5 to r8 and r10, the upper ones to r9 and r11.
.macro bb_v6m_split
    uxth    r6, r4
    add     r8, r6
    lsrs    r4, r4, #16
    add     r9, r4
    uxth    r6, r5
    add     r10, r6
    lsrs    r5, r5, #16
    add     r11, r5
.endm

// Makes r4 HALF in either half, by way of r5.
.macro bb_v6m_halves
    movs    r4, #127
    lsls    r5, r4, #8
    lsls    r4, r4, #24
    adds    r4, r4, r5
.endm

.macro bb_v6m_step_packed weight
    ldm     r0!, {r6, r7}
    muls    r6, \weight, r6
    muls    r7, \weight, r7
    adds    r4, r4, r6
    adds    r5, r5, r7
.endm

.macro bb_v6m_byte_int4
    lsls    r3, r2, #28
    asrs    r3, r3, #28
    bb_v6m_step_packed r3
    sxtb    r2, r2
    asrs    r2, r2, #4
    bb_v6m_step_packed r2
.endm

.macro bb_v6m_byte_int2
    .irp shift, 30, 28, 26, 24
    lsls    r3, r2, #\shift
    asrs    r3, r3, #30
    adds    r3, r3, r3
    adds    r3, #1
    bb_v6m_step_packed r3
    .endr
.endm

// A row of bytes of several weights, in runs of at most \run bytes, whose products share a lower half.
.macro bb_v6m_row_packed byte, run
    ldr     r4, [r3, #16]
    adds    r4, r4, r1
    mov     r12, r4
2:
    movs    r4, #\run
    adds    r4, r4, r1
    cmp     r4, r12
    bls     3f
    mov     r4, r12
3:
    mov     lr, r4
    bb_v6m_halves
    mov     r5, r4
4:
    ldrb    r2, [r1]
    \byte
    adds    r1, #1
    cmp     r1, lr
    bne     4b
    bb_v6m_split
    cmp     r1, r12
    bne     2b
.endm

.macro bb_v6m_row_int4
    bb_v6m_row_packed bb_v6m_byte_int4, 16
.endm

.macro bb_v6m_row_int2
    bb_v6m_row_packed bb_v6m_byte_int2, 8
.endm

// A row of bytes of one weight: two of them share a lower half, four a turn.
.macro bb_v6m_row_int8
    bb_v6m_halves
    mov     r12, r4
    ldr     r2, [r3, #16]
    lsrs    r4, r2, #2
    lsls    r4, r4, #2
    subs    r2, r2, r4
    push    {r2}
    adds    r4, r4, r1
    mov     lr, r4
    b       3f
2:
    .irp at, 0, 2
    ldrb    r2, [r1, #\at]
    sxtb    r2, r2
    ldrb    r3, [r1, #\at + 1]
    sxtb    r3, r3
    ldm     r0!, {r4-r7}
    muls    r4, r2, r4
    muls    r6, r3, r6
    adds    r4, r4, r6
    add     r4, r12
    muls    r5, r2, r5
    muls    r7, r3, r7
    adds    r5, r5, r7
    add     r5, r12
    bb_v6m_split
    .endr
    adds    r1, #4
3:
    cmp     r1, lr
    bne     2b
    pop     {r2}
    adds    r2, r2, r1
    mov     lr, r2
    b       5f
4:
    ldrb    r2, [r1]
    sxtb    r2, r2
    ldm     r0!, {r4, r5}
    muls    r4, r2, r4
    add     r4, r12
    muls    r5, r2, r5
    add     r5, r12
    bb_v6m_split
    adds    r1, #1
5:
    cmp     r1, lr
    bne     4b
.endm

.macro bb_v6m_dots name, row
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r4-r7, lr}
mov     r4, r8
mov     r5, r9
mov     r6, r10
mov     r7, r11
push    {r4-r7}
push    {r0}
1:
ldr     r3, [sp]
ldr     r2, [r3, #8]
ldm     r2!, {r4-r7}
ldr     r1, [r3, #20]
subs    r4, r4, r1
subs    r5, r5, r1
subs    r6, r6, r1
subs    r7, r7, r1
mov     r8, r4
mov     r9, r5
mov     r10, r6
mov     r11, r7
ldr     r0, [r3]
ldr     r1, [r3, #4]
\row
ldr     r3, [sp]
ldr     r2, [r3, #8]
mov     r4, r8
mov     r5, r9
mov     r6, r10
mov     r7, r11
stm     r2!, {r4-r7}
str     r2, [r3, #8]
ldr     r4, [r3, #24]
adds    r4, r4, r1
str     r4, [r3, #4]
ldr     r4, [r3, #12]
subs    r4, #1
str     r4, [r3, #12]
beq     6f
b       1b
6:
pop     {r0}
pop     {r4-r7}
mov     r8, r4
mov     r9, r5
mov     r10, r6
mov     r11, r7
pop     {r4-r7, pc}
.size \name, . - \name
.endm

bb_v6m_dots bitbudget_v6m_int8, bb_v6m_row_int8
bb_v6m_dots bitbudget_v6m_int4, bb_v6m_row_int4
bb_v6m_dots bitbudget_v6m_int2, bb_v6m_row_int2
