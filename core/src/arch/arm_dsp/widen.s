// Rows of inputs to taps.
.syntax unified

// r0: inputs; r1: taps; r2: rows; r3: words; r4: bytes; r5: the gap
.macro bb_widen_begin name
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r4-r11, lr}
mov     lr, r0
ldm     lr, {r0-r5}
.endm

// the four taps in \four
.macro bb_store four, pitch
    sxtb16  r6, \four
    sxtb16  r7, \four, ror #8
    str     r6, [r1], #\pitch
    str     r7, [r1], #\pitch
.endm

.macro bb_widen_word pitch
    ldr     r8, [r0], #4
    bb_store r8, \pitch
.endm

.macro bb_widen name, pitch
bb_widen_begin \name
1:
lsrs    r12, r3, #2
beq     3f
2:
bb_widen_word \pitch
bb_widen_word \pitch
bb_widen_word \pitch
bb_widen_word \pitch
subs    r12, r12, #1
bne     2b
3:
ands    r12, r3, #3
beq     5f
4:
bb_widen_word \pitch
subs    r12, r12, #1
bne     4b
5:
add     r0, r5
subs    r2, r2, #1
bne     1b
pop     {r4-r11, pc}
.size \name, . - \name
.endm

// rows that end within a word: r9: its bytes so far, r10: how many bits they have, r11: how many not
.macro bb_widen_odd name, pitch
bb_widen_begin \name
mov     r9, #0
mov     r10, #0
mov     r11, #32
1:
mov     r12, r3
2:
ldr     r8, [r0], #4
lsl     r6, r8, r10
orr     r9, r9, r6
bb_store r9, \pitch
lsr     r9, r8, r11
subs    r12, r12, #1
bne     2b
// the bytes left are the upper ones of the word before their end
add     r0, r4
ldr     r8, [r0, #-4]
rsb     r12, r4, #4
lsl     r12, r12, #3
lsr     r8, r8, r12
lsl     r6, r8, r10
orr     r9, r9, r6
add     r10, r10, r4, lsl #3
cmp     r10, #32
blt     3f
bb_store r9, \pitch
lsr     r9, r8, r11
sub     r10, r10, #32
3:
rsb     r11, r10, #32
add     r0, r5
subs    r2, r2, #1
bne     1b
cmp     r10, #0
beq     4f
bb_store r9, \pitch
4:
pop     {r4-r11, pc}
.size \name, . - \name
.endm

bb_widen bitbudget_widen4, 16
bb_widen bitbudget_widen1, 4
bb_widen_odd bitbudget_widen4_odd, 16
bb_widen_odd bitbudget_widen1_odd, 4

.text
