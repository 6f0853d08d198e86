// Products of floats.
//
// r0: inputs; r1: weights; r2: sums; r3: a counter; r4: channels; r5: the row; r6: pitch; r7: the arguments;
// s0 to s7: lanes; s8 to s15: inputs; s16 to s23: weights.
.syntax unified
.fpu fpv4-sp-d16
.macro bb_lanes
    vmla.f32 s0, s8, s16
    vmla.f32 s1, s9, s17
    vmla.f32 s2, s10, s18
    vmla.f32 s3, s11, s19
    vmla.f32 s4, s12, s20
    vmla.f32 s5, s13, s21
    vmla.f32 s6, s14, s22
    vmla.f32 s7, s15, s23
.endm

.macro bb_eight_f32
    vldmia  r0!, {s8-s15}
    vldmia  r1!, {s16-s23}
    bb_lanes
.endm

.macro bb_widen_f16
    vcvtb.f32.f16 s16, s24
    vcvtt.f32.f16 s17, s24
    vcvtb.f32.f16 s18, s25
    vcvtt.f32.f16 s19, s25
    vcvtb.f32.f16 s20, s26
    vcvtt.f32.f16 s21, s26
    vcvtb.f32.f16 s22, s27
    vcvtt.f32.f16 s23, s27
    bb_lanes
.endm

.macro bb_eight_f16
    vldmia  r0!, {s8-s15}
    vldmia  r1!, {s24-s27}
    bb_widen_f16
.endm

// words of weights at any address
.macro bb_eight_f16_unaligned
    vldmia  r0!, {s8-s15}
    ldr     lr, [r1], #4
    vmov    s24, lr
    ldr     lr, [r1], #4
    vmov    s25, lr
    ldr     lr, [r1], #4
    vmov    s26, lr
    ldr     lr, [r1], #4
    vmov    s27, lr
    bb_widen_f16
.endm

.macro bb_one_f32
    vldmia  r1!, {s11}
.endm

.macro bb_one_f16
    ldrh    lr, [r1], #2
    vmov    s11, lr
    vcvtb.f32.f16 s11, s11
.endm

.macro bb_dots_float name, eight, one
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r4-r7, lr}
vpush   {s16-s27}
mov     r7, r0
ldr     r2, [r7, #8]
ldr     r4, [r7, #12]
ldr     r5, [r7, #4]
ldr     r6, [r7, #24]
1:
ldr     r0, [r7]
mov     r1, r5
ldr     r3, [r7, #16]
adr     r12, bb_zeros_\name
vldmia  r12, {s0-s7}
lsrs    r12, r3, #1
beq     3f
2:
\eight
\eight
subs    r12, r12, #1
bne     2b
3:
tst     r3, #1
beq     4f
\eight
4:
// from the negative zero on, as a sum of floats begins
ldr     r3, [r7, #20]
mov     r12, #0x80000000
vmov    s8, r12
vmov    s9, r12
vadd.f32 s8, s8, s0
vadd.f32 s8, s8, s1
vadd.f32 s8, s8, s2
vadd.f32 s8, s8, s3
vadd.f32 s8, s8, s4
vadd.f32 s8, s8, s5
vadd.f32 s8, s8, s6
vadd.f32 s8, s8, s7
cmp     r3, #0
beq     6f
5:
vldmia  r0!, {s10}
\one
vmla.f32 s9, s10, s11
subs    r3, r3, #1
bne     5b
6:
vadd.f32 s8, s8, s9
vldr    s9, [r2]
vadd.f32 s8, s9, s8
vstmia  r2!, {s8}
add     r5, r6
subs    r4, r4, #1
bne     1b
vpop    {s16-s27}
pop     {r4-r7, pc}
.p2align 2
bb_zeros_\name:
.word   0, 0, 0, 0, 0, 0, 0, 0
.size \name, . - \name
.endm

bb_dots_float bitbudget_dots_f32, bb_eight_f32, bb_one_f32
bb_dots_float bitbudget_dots_f16, bb_eight_f16, bb_one_f16
bb_dots_float bitbudget_dots_f16_unaligned, bb_eight_f16_unaligned, bb_one_f16

// r0: inputs; r1: step; r2: weights; r3: sums; r4: taps; r5: eights; r6: gap; r7: a tap; r12: a counter
.section .text.bitbudget_depthwise_f32,"ax",%progbits
.p2align 2
.global bitbudget_depthwise_f32
.type bitbudget_depthwise_f32, %function
.thumb_func
bitbudget_depthwise_f32:
push    {r4-r7, lr}
vpush   {s16-s23}
mov     lr, r0
ldm     lr, {r0-r6}
1:
vldmia  r3, {s0-s7}
mov     r7, r0
mov     r12, r4
2:
vldmia  r7, {s8-s15}
vldmia  r2!, {s16-s23}
add     r7, r1
subs    r12, r12, #1
bb_lanes
bne     2b
vstmia  r3!, {s0-s7}
add     r0, #32
add     r2, r6
subs    r5, r5, #1
bne     1b
vpop    {s16-s23}
pop     {r4-r7, pc}
.size bitbudget_depthwise_f32, . - bitbudget_depthwise_f32

.text
