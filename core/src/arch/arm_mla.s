// Products of taps and rows of packed weights.
//
// r0: taps; r1: weights; r2 to r5: sums; r6 to r9: taps; r10: a byte of weights; r11: a weight;
// r12: 1; lr: a counter; [sp]: the arguments.
.syntax unified

.macro bb_mla_step pixels, w
    .if \pixels == 4
        ldm     r0!, {r6-r9}
        mla     r2, r6, \w, r2
        mla     r3, r7, \w, r3
        mla     r4, r8, \w, r4
        mla     r5, r9, \w, r5
    .else
        ldr     r6, [r0], #4
        mla     r2, r6, \w, r2
    .endif
.endm

.macro bb_mla_byte_int8 pixels
    ldrsb   r10, [r1], #1
    bb_mla_step \pixels, r10
.endm

.macro bb_mla_byte_int4 pixels
    ldrb    r10, [r1], #1
    sbfx    r11, r10, #0, #4
    bb_mla_step \pixels, r11
    sbfx    r11, r10, #4, #4
    bb_mla_step \pixels, r11
.endm

.macro bb_mla_quarter_int2 pixels, bit
    sbfx    r11, r10, #\bit, #2
    add     r11, r12, r11, lsl #1
    bb_mla_step \pixels, r11
.endm

.macro bb_mla_byte_int2 pixels
    ldrb    r10, [r1], #1
    bb_mla_quarter_int2 \pixels, 0
    bb_mla_quarter_int2 \pixels, 2
    bb_mla_quarter_int2 \pixels, 4
    bb_mla_quarter_int2 \pixels, 6
.endm

.macro bb_mla_dots name, byte, pixels
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r0, r4-r11, lr}
ldr     r1, [r0, #4]
mov     r12, #1
1:
ldr     r10, [sp]
ldr     r0, [r10]
ldr     lr, [r10, #16]
ldr     r11, [r10, #8]
.if \pixels == 4
    ldm     r11, {r2-r5}
.else
    ldr     r2, [r11]
.endif
cmp     lr, #0
beq     3f
2:
\byte  \pixels
\byte  \pixels
\byte  \pixels
\byte  \pixels
subs    lr, lr, #1
bne     2b
3:
ldr     r10, [sp]
ldr     lr, [r10, #20]
cmp     lr, #0
beq     5f
4:
\byte  \pixels
subs    lr, lr, #1
bne     4b
5:
ldr     r10, [sp]
ldr     r11, [r10, #8]
.if \pixels == 4
    stm     r11!, {r2-r5}
.else
    str     r2, [r11], #4
.endif
str     r11, [r10, #8]
ldr     r11, [r10, #24]
add     r1, r11
ldr     r11, [r10, #12]
subs    r11, r11, #1
str     r11, [r10, #12]
bne     1b
add     sp, #4
pop     {r4-r11, pc}
.size \name, . - \name
.endm

bb_mla_dots bitbudget_mla4_int8, bb_mla_byte_int8, 4
bb_mla_dots bitbudget_mla4_int4, bb_mla_byte_int4, 4
bb_mla_dots bitbudget_mla4_int2, bb_mla_byte_int2, 4
bb_mla_dots bitbudget_mla1_int8, bb_mla_byte_int8, 1
bb_mla_dots bitbudget_mla1_int4, bb_mla_byte_int4, 1
bb_mla_dots bitbudget_mla1_int2, bb_mla_byte_int2, 1
.text
