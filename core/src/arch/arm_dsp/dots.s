// Products of inputs and rows of INT8 weights where they lie.
.syntax unified

// the sum in \sum and the products of four taps and the weights in r11
.macro bb_row sum
    sxtb16  r12, r11
    smlad   \sum, r12, r9, \sum
    sxtb16  r12, r11, ror #8
    smlad   \sum, r12, r10, \sum
.endm

// four taps, in r9 yet, with those of each row; r0: input; r1: weights; r2, r3: a pitch and three;
// r4 to r8: sums
.macro bb_taps rows
    sxtb16  r10, r9, ror #8
    sxtb16  r9, r9
    .if \rows == 5
        ldr     r11, [r1, r2]
        bb_row  r5
        ldr     r11, [r1, r2, lsl #1]
        bb_row  r6
        ldr     r11, [r1, r3]
        bb_row  r7
        ldr     r11, [r1, r2, lsl #2]
        bb_row  r8
    .endif
    ldr     r11, [r1], #4
    bb_row  r4
.endm

.macro bb_next_taps rows
    ldr     r9, [r0], #4
    bb_taps \rows
.endm

.macro bb_dots_i8 name, rows
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r0, r4-r11, lr}
1:
ldr     lr, [sp]
ldm     lr, {r0-r3, r12}
.if \rows == 5
    ldm     r12!, {r4-r8}
.else
    ldr     r4, [r12], #4
.endif
str     r12, [lr, #16]
ldr     lr, [lr, #28]
cmp     lr, #0
beq     3f
2:
bb_next_taps \rows
bb_next_taps \rows
bb_next_taps \rows
bb_next_taps \rows
subs    lr, lr, #1
bne     2b
3:
ldr     lr, [sp]
ldr     lr, [lr, #32]
cmp     lr, #0
beq     5f
4:
bb_next_taps \rows
subs    lr, lr, #1
bne     4b
5:
ldr     lr, [sp]
ldr     r12, [lr, #36]
cmp     r12, #0
beq     6f
// the word that ends with the row, without the taps that were there before
sub     r0, r0, r12
sub     r1, r1, r12
lsl     r12, r12, #3
ldr     r9, [r0]
lsr     r9, r9, r12
lsl     r9, r9, r12
bb_taps \rows
6:
ldrd    r12, r0, [lr, #20]
ldr     r1, [lr, #4]
.if \rows == 5
    stm     r12!, {r4-r8}
    add     r1, r1, r2, lsl #2
.else
    str     r4, [r12], #4
.endif
add     r1, r1, r2
subs    r0, r0, #1
str     r1, [lr, #4]
strd    r12, r0, [lr, #20]
bne     1b
pop     {r0, r4-r11, pc}
.size \name, . - \name
.endm

bb_dots_i8 bitbudget_dots_i8_5, 5
bb_dots_i8 bitbudget_dots_i8_1, 1

.text
