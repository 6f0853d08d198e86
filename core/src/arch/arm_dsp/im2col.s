// Products of taps and rows of packed weights.
//
// r0: taps; r1: weights; r2 to r5: sums; r6 to r9: taps; r10: a word of weights; lr: a counter;
// [sp]: the same where lr is needed; [sp, 8]: the arguments
.syntax unified

// the next word of taps of each pixel with the pairs of weights in \w
.macro bb_step4 w
    ldm     r0!, {r6-r9}
    smlad   r2, r6, \w, r2
    smlad   r3, r7, \w, r3
    smlad   r4, r8, \w, r4
    smlad   r5, r9, \w, r5
.endm

.macro bb_word4_int8
    sxtb16  r11, r10
    bb_step4 r11
    sxtb16  r11, r10, ror #8
    bb_step4 r11
.endm

.macro bb_word1_int8
    ldm     r0!, {r6, r7}
    sxtb16  r11, r10
    sxtb16  r12, r10, ror #8
    smlad   r2, r6, r11, r2
    smlad   r2, r7, r12, r2
.endm

// sixteen times each weight
.macro bb_halves_int4
    lsl     r12, r10, #4
    and     r10, r10, #0xf0f0f0f0
    and     r12, r12, #0xf0f0f0f0
.endm

.macro bb_word4_int4
    bb_halves_int4
    sxtb16  r11, r12
    bb_step4 r11
    sxtb16  r11, r10
    bb_step4 r11
    sxtb16  r11, r12, ror #8
    bb_step4 r11
    sxtb16  r11, r10, ror #8
    bb_step4 r11
.endm

.macro bb_word1_int4
    bb_halves_int4
    ldm     r0!, {r6-r9}
    sxtb16  r11, r12
    smlad   r2, r6, r11, r2
    sxtb16  r11, r10
    smlad   r2, r7, r11, r2
    sxtb16  r11, r12, ror #8
    smlad   r2, r8, r11, r2
    sxtb16  r11, r10, ror #8
    smlad   r2, r9, r11, r2
.endm

// 64 times the bits of two of the four weights of each byte, without the half that each lacks
.macro bb_quarters_int2 a, b
    lsl     r12, r10, #\a
    and     r12, r12, #0xc0c0c0c0
    .if \b
        lsl     lr, r10, #\b
        and     lr, lr, #0xc0c0c0c0
    .else
        and     lr, r10, #0xc0c0c0c0
    .endif
.endm

.macro bb_half4_int2 a, b
    bb_quarters_int2 \a, \b
    sxtb16  r11, r12
    bb_step4 r11
    sxtb16  r11, lr
    bb_step4 r11
    sxtb16  r11, r12, ror #8
    bb_step4 r11
    sxtb16  r11, lr, ror #8
    bb_step4 r11
.endm

.macro bb_word4_int2
    bb_half4_int2 6, 4
    bb_half4_int2 2, 0
.endm

.macro bb_half1_int2 a, b
    bb_quarters_int2 \a, \b
    ldm     r0!, {r6-r9}
    sxtb16  r11, r12
    smlad   r2, r6, r11, r2
    sxtb16  r11, lr
    smlad   r2, r7, r11, r2
    sxtb16  r11, r12, ror #8
    smlad   r2, r8, r11, r2
    sxtb16  r11, lr, ror #8
    smlad   r2, r9, r11, r2
.endm

.macro bb_word1_int2
    bb_half1_int2 6, 4
    bb_half1_int2 2, 0
.endm

.macro bb_next word
    ldr     r10, [r1], #4
    \word
.endm

// the sums at [\from] of one or four pixels
.macro bb_load pixels, from
    .if \pixels == 4
        ldm     \from, {r2-r5}
    .else
        ldr     r2, [\from]
    .endif
.endm

// weights were 2^\shift times too large; [sp]: a counter, [sp, 4] and on: the arguments
.macro bb_dots name, word, pixels, shift
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r4-r11, lr}
ldm     r0!, {r1-r6}
ldm     r0, {r7-r10}
push    {r1-r10}
sub     sp, #4
mov     r1, r2
1:
ldr     r0, [sp, #4]
.if \shift == 0
    ldr     r11, [sp, #12]
    bb_load \pixels, r11
.elseif \shift == 5
    ldr     r11, [sp, #40]
    bb_load \pixels, r11
.else
    mov     r2, #0
    .if \pixels == 4
        mov     r3, #0
        mov     r4, #0
        mov     r5, #0
    .endif
.endif
ldr     lr, [sp, #20]
cmp     lr, #0
beq     3f
2:
.if \shift == 5
    str     lr, [sp]
.endif
bb_next \word
bb_next \word
bb_next \word
bb_next \word
.if \shift == 5
    ldr     lr, [sp]
.endif
subs    lr, lr, #1
bne     2b
3:
ldrd    lr, r10, [sp, #24]
orrs    r11, lr, r10
beq     6f
cmp     lr, #0
beq     5f
4:
.if \shift == 5
    str     lr, [sp]
.endif
bb_next \word
.if \shift == 5
    ldr     lr, [sp]
.endif
subs    lr, lr, #1
bne     4b
5:
ldrd    r10, r11, [sp, #28]
cmp     r10, #0
beq     6f
add     r1, r10
ldr     r10, [r1, #-4]
lsr     r10, r10, r11
\word
6:
ldr     r11, [sp, #12]
.if \pixels == 4
    .if \shift
        ldm     r11, {r6-r9}
        add     r2, r6, r2, asr #\shift
        add     r3, r7, r3, asr #\shift
        add     r4, r8, r4, asr #\shift
        add     r5, r9, r5, asr #\shift
    .endif
    stm     r11!, {r2-r5}
.else
    .if \shift
        ldr     r6, [r11]
        add     r2, r6, r2, asr #\shift
    .endif
    str     r2, [r11], #4
.endif
ldr     r10, [sp, #36]
add     r1, r10
ldr     r10, [sp, #16]
subs    r10, r10, #1
strd    r11, r10, [sp, #12]
bne     1b
add     sp, #44
pop     {r4-r11, pc}
.size \name, . - \name
.endm

bb_dots bitbudget_dots4_int8, bb_word4_int8, 4, 0
bb_dots bitbudget_dots4_int4, bb_word4_int4, 4, 4
bb_dots bitbudget_dots4_int2, bb_word4_int2, 4, 5
bb_dots bitbudget_dots1_int8, bb_word1_int8, 1, 0
bb_dots bitbudget_dots1_int4, bb_word1_int4, 1, 4
bb_dots bitbudget_dots1_int2, bb_word1_int2, 1, 5

.text
