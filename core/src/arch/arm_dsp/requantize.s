// Sums on their way to INT8.
.syntax unified

// the factor of the next channel in r12 and lr
.macro bb_factor
    ldr     r12, [r1], #4
    ldrb    lr, [r2], #1
    sub     lr, lr, #33
.endm

// the sum in \sum by the factor; half a step is yet to be cut off
.macro bb_scale sum
    smmul   \sum, \sum, r12
    asr     \sum, \sum, lr
    add     \sum, \sum, r7
.endm

// \sum between the bounds in r12 and lr, or those of the type
.macro bb_bound sum, bounds
    .if \bounds
        asr     \sum, \sum, #1
        cmp     \sum, r12
        it      lt
        movlt   \sum, r12
        cmp     \sum, lr
        it      gt
        movgt   \sum, lr
    .else
        ssat    \sum, #8, \sum, asr #1
    .endif
.endm

.macro bb_load_bounds bounds
    .if \bounds
        ldr     lr, [sp]
        ldrd    r12, lr, [lr, #32]
    .endif
.endm

// the sum in \sum becomes the next result
.macro bb_result sum, bounds
    bb_factor
    bb_scale \sum
    bb_load_bounds \bounds
    bb_bound \sum, \bounds
    strb    \sum, [r3], #1
.endm

// r0: sums; r1, r2: multipliers, shifts; r3: results; r4, r5: a pitch and three; r6: channels;
// r7: the offset; [sp]: the arguments
.macro bb_requantize_begin name
.section .text.\name,"ax",%progbits
.p2align 2
.global \name
.type \name, %function
.thumb_func
\name:
push    {r0, r4-r11, lr}
ldm     r0, {r0-r7}
.endm

.macro bb_requantize1 name, bounds
bb_requantize_begin \name
lsrs    r5, r6, #2
beq     2f
1:
ldm     r0!, {r8-r11}
bb_result r8, \bounds
bb_result r9, \bounds
bb_result r10, \bounds
bb_result r11, \bounds
subs    r5, r5, #1
bne     1b
2:
ands    r6, r6, #3
beq     4f
3:
ldr     r8, [r0], #4
bb_result r8, \bounds
subs    r6, r6, #1
bne     3b
4:
pop     {r0, r4-r11, pc}
.size \name, . - \name
.endm

.macro bb_requantize4 name, bounds
bb_requantize_begin \name
1:
ldm     r0!, {r8-r11}
bb_factor
bb_scale r8
bb_scale r9
bb_scale r10
bb_scale r11
bb_load_bounds \bounds
bb_bound r8, \bounds
bb_bound r9, \bounds
bb_bound r10, \bounds
bb_bound r11, \bounds
strb    r9, [r3, r4]
strb    r10, [r3, r4, lsl #1]
strb    r11, [r3, r5]
strb    r8, [r3], #1
subs    r6, r6, #1
bne     1b
pop     {r0, r4-r11, pc}
.size \name, . - \name
.endm

bb_requantize1 bitbudget_requantize1, 0
bb_requantize1 bitbudget_requantize1_bounds, 1
bb_requantize4 bitbudget_requantize4, 0
bb_requantize4 bitbudget_requantize4_bounds, 1

.text
