// Products of channels that each have weights of their own.
.syntax unified

// r0: input; r1: offsets; r2: weights; r3: sums; r4 to r7: sums of four channels
.macro bb_tap
    ldr     r8, [r1], #4
    ldrd    r10, r11, [r2], #8
    ldr     r8, [r0, r8]
    sxtb16  r9, r8
    sxtb16  r8, r8, ror #8
    smlabb  r4, r9, r10, r4
    smlabt  r5, r8, r10, r5
    smlatb  r6, r9, r11, r6
    smlatt  r7, r8, r11, r7
.endm

.section .text.bitbudget_depthwise,"ax",%progbits
.p2align 2
.global bitbudget_depthwise
.type bitbudget_depthwise, %function
.thumb_func
bitbudget_depthwise:
push    {r4-r11, lr}
mov     lr, r0
ldm     lr, {r0-r3}
1:
ldr     r1, [lr, #4]
ldrd    r12, r8, [lr, #20]
ldm     r8!, {r4-r7}
str     r8, [lr, #24]
lsrs    r12, r12, #2
beq     3f
2:
bb_tap
bb_tap
bb_tap
bb_tap
subs    r12, r12, #1
bne     2b
3:
ldr     r12, [lr, #20]
ands    r12, r12, #3
beq     5f
4:
bb_tap
subs    r12, r12, #1
bne     4b
5:
stm     r3!, {r4-r7}
add     r0, #4
ldr     r12, [lr, #16]
subs    r12, r12, #1
str     r12, [lr, #16]
bne     1b
pop     {r4-r11, pc}
.size bitbudget_depthwise, . - bitbudget_depthwise

.text
