// Floats on their way to INT8.
.syntax unified
.fpu fpv4-sp-d16

// the steps in \s, with the half that rounds to nearest
.macro bb_steps s
    vdiv.f32 \s, \s, s16
    vadd.f32 \s, \s, s17
.endm

// the whole number in \s becomes the next result
.macro bb_put_steps s, bounds
    vmov    r12, \s
    ssat    r12, #10, r12
    add     r12, r12, r4
    .if \bounds
        cmp     r12, r5
        it      lt
        movlt   r12, r5
        cmp     r12, r6
        it      gt
        movgt   r12, r6
    .else
        ssat    r12, #8, r12
    .endif
    strb    r12, [r1], #1
.endm

// r0: numbers; r1: results; r2: eights; r3: the rest; r4: zero point; r5, r6: bounds;
// r7: FPSCR as it rounds here; lr: as it was
.macro bb_quantize name, bounds
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r4-r7, lr}
vpush   {s16-s17}
add     lr, r0, #32
vldmia  lr, {s16-s17}
ldm     r0, {r0-r7}
vmrs    lr, fpscr
orr     r7, r7, lr
cmp     r2, #0
beq     2f
1:
vldmia  r0!, {s0-s7}
bb_steps s0
bb_steps s1
bb_steps s2
bb_steps s3
bb_steps s4
bb_steps s5
bb_steps s6
bb_steps s7
vmsr    fpscr, r7
vcvtr.s32.f32 s0, s0
vcvtr.s32.f32 s1, s1
vcvtr.s32.f32 s2, s2
vcvtr.s32.f32 s3, s3
vcvtr.s32.f32 s4, s4
vcvtr.s32.f32 s5, s5
vcvtr.s32.f32 s6, s6
vcvtr.s32.f32 s7, s7
vmsr    fpscr, lr
bb_put_steps s0, \bounds
bb_put_steps s1, \bounds
bb_put_steps s2, \bounds
bb_put_steps s3, \bounds
bb_put_steps s4, \bounds
bb_put_steps s5, \bounds
bb_put_steps s6, \bounds
bb_put_steps s7, \bounds
subs    r2, r2, #1
bne     1b
2:
cmp     r3, #0
beq     4f
3:
vldmia  r0!, {s0}
bb_steps s0
vmsr    fpscr, r7
vcvtr.s32.f32 s0, s0
vmsr    fpscr, lr
bb_put_steps s0, \bounds
subs    r3, r3, #1
bne     3b
4:
vpop    {s16-s17}
pop     {r4-r7, pc}
.size \name, . - \name
.endm

bb_quantize bitbudget_quantize, 0
bb_quantize bitbudget_quantize_bounds, 1
.text
