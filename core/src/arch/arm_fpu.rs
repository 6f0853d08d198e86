//! Loops for the single-precision floating-point unit of Cortex-M4F and up: products are rounded before
//! they are added (VMLA), as in the reference.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

use crate::level::Rounding;
use crate::quant::QParams;

/// Lanes of a sum.
const LANES: usize = 8;

/// As [`scalar::dots_f32`](super::scalar::dots_f32).
///
/// # Panics
/// When a row of weights ends early.
pub fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
    let Some(last) = sums.len().checked_sub(1) else {
        return;
    };
    let _: &[f32] = &weights[last * pitch..][..input.len()];
    let mut job = Job {
        input: input.as_ptr(),
        weights: weights.as_ptr().cast(),
        sums: sums.as_mut_ptr(),
        channels: sums.len(),
        eights: input.len() / LANES,
        rest: input.len() % LANES,
        pitch: size_of::<f32>() * pitch,
    };
    // SAFETY: it reads the inputs and the rows, which were found to be there, and updates the sums
    unsafe { bitbudget_dots_f32(&raw mut job) };
}

/// As [`scalar::dots_f16`](super::scalar::dots_f16).
///
/// # Panics
/// When a row of weights ends early.
pub fn dots_f16(input: &[f32], weights: &[u16], pitch: usize, sums: &mut [f32]) {
    let Some(last) = sums.len().checked_sub(1) else {
        return;
    };
    let _: &[u16] = &weights[last * pitch..][..input.len()];
    let mut job = Job {
        input: input.as_ptr(),
        weights: weights.as_ptr().cast(),
        sums: sums.as_mut_ptr(),
        channels: sums.len(),
        eights: input.len() / LANES,
        rest: input.len() % LANES,
        pitch: size_of::<u16>() * pitch,
    };
    let whole_words = job.weights.is_aligned() && pitch.is_multiple_of(2);
    let run = if whole_words {
        bitbudget_dots_f16
    } else {
        bitbudget_dots_f16_unaligned
    };
    // SAFETY: it reads the inputs and the rows, which were found to be there, and updates the sums
    unsafe { run(&raw mut job) };
}

/// As [`scalar::depthwise_f32`](super::scalar::depthwise_f32).
///
/// # Panics
/// When the input or the weights end early.
pub fn depthwise_f32(
    input: &[f32],
    (step, count): (usize, usize),
    weights: &[[f32; LANES]],
    pitch: usize,
    sums: &mut [[f32; LANES]],
) {
    let (Some(last), Some(last_tap)) = (sums.len().checked_sub(1), count.checked_sub(1)) else {
        return;
    };
    assert!(pitch >= count, "weights do not overlap");
    let _: &[[f32; LANES]] = &weights[last * pitch..][..count];
    let _: &[f32] = &input[last_tap * step..][..LANES * sums.len()];
    let mut job = Depthwise {
        input: input.as_ptr(),
        step: size_of::<f32>() * step,
        weights: weights.as_ptr(),
        sums: sums.as_mut_ptr(),
        count,
        eights: sums.len(),
        gap: size_of::<[f32; LANES]>() * (pitch - count),
    };
    // SAFETY: it reads inputs and weights that were found to be there, and updates the sums
    unsafe { bitbudget_depthwise_f32(&raw mut job) };
}

/// As [`scalar::quantize`](super::scalar::quantize), where the unit is told how to round.
pub fn quantize(
    reals: &[f32],
    q: QParams,
    rounding: Rounding,
    [low, high]: [i8; 2],
    to: &mut [i8],
) {
    let count = reals.len().min(to.len());
    let (addend, mode) = match rounding {
        Rounding::Nearest => (0.5, 0b10),
        Rounding::Floor => (0.0, 0b10),
        Rounding::Ceil => (0.0, 0b01),
    };
    let mut job = Quantize {
        reals: reals.as_ptr(),
        to: to.as_mut_ptr(),
        eights: count / LANES,
        rest: count % LANES,
        zero_point: q.zero_point.into(),
        low: low.into(),
        high: high.into(),
        mode: mode << 22,
        scale: q.scale,
        addend,
    };
    let run = if [low, high] == [i8::MIN, i8::MAX] {
        bitbudget_quantize
    } else {
        bitbudget_quantize_bounds
    };
    // SAFETY: it reads as many numbers as it writes results, and there are as many of both
    unsafe { run(&raw mut job) };
}

/// What the loops that quantize work on, at the offsets that they know.
#[repr(C)]
struct Quantize {
    reals: *const f32,
    to: *mut i8,
    eights: usize,
    rest: usize,
    zero_point: i32,
    low: i32,
    high: i32,
    /// FPSCR's way to round: up or down.
    mode: u32,
    scale: f32,
    /// What is added before it is rounded.
    addend: f32,
}

/// What the loop over channels of their own works on, at the offsets that it knows.
#[repr(C)]
struct Depthwise {
    input: *const f32,
    /// Bytes from a tap to the next.
    step: usize,
    weights: *const [f32; LANES],
    sums: *mut [f32; LANES],
    /// Taps; at least 1, as are the eights.
    count: usize,
    eights: usize,
    /// Bytes from the end of an eight's weights to the next.
    gap: usize,
}

/// What the loops over rows work on, at the offsets that they know.
#[repr(C)]
struct Job {
    input: *const f32,
    weights: *const u32,
    sums: *mut f32,
    /// At least 1.
    channels: usize,
    /// The length of a row in eights, and what is left.
    eights: usize,
    rest: usize,
    /// Bytes from the beginning of a row to the next.
    pitch: usize,
}

unsafe extern "C" {
    fn bitbudget_dots_f32(job: *mut Job);
    fn bitbudget_dots_f16(job: *mut Job);
    fn bitbudget_dots_f16_unaligned(job: *mut Job);
    fn bitbudget_depthwise_f32(job: *mut Depthwise);
    fn bitbudget_quantize(job: *mut Quantize);
    fn bitbudget_quantize_bounds(job: *mut Quantize);
}

// r0: inputs; r1: weights; r2: sums; r3: a counter; r4: channels; r5: the row; r6: pitch; r7: the job;
// s0 to s7: lanes; s8 to s15: inputs; s16 to s23: weights.
global_asm!(
    "
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
        vldmia  r0!, {{s8-s15}}
        vldmia  r1!, {{s16-s23}}
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
        vldmia  r0!, {{s8-s15}}
        vldmia  r1!, {{s24-s27}}
        bb_widen_f16
    .endm

    // words of weights at any address
    .macro bb_eight_f16_unaligned
        vldmia  r0!, {{s8-s15}}
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
        vldmia  r1!, {{s11}}
    .endm

    .macro bb_one_f16
        ldrh    lr, [r1], #2
        vmov    s11, lr
        vcvtb.f32.f16 s11, s11
    .endm

    .macro bb_dots_float name, eight, one
    .section .text.\\name,\"ax\",%progbits
    .p2align 2
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    push    {{r4-r7, lr}}
    vpush   {{s16-s27}}
    mov     r7, r0
    ldr     r2, [r7, #8]
    ldr     r4, [r7, #12]
    ldr     r5, [r7, #4]
    ldr     r6, [r7, #24]
1:
    ldr     r0, [r7]
    mov     r1, r5
    ldr     r3, [r7, #16]
    adr     r12, bb_zeros_\\name
    vldmia  r12, {{s0-s7}}
    lsrs    r12, r3, #1
    beq     3f
2:
    \\eight
    \\eight
    subs    r12, r12, #1
    bne     2b
3:
    tst     r3, #1
    beq     4f
    \\eight
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
    vldmia  r0!, {{s10}}
    \\one
    vmla.f32 s9, s10, s11
    subs    r3, r3, #1
    bne     5b
6:
    vadd.f32 s8, s8, s9
    vldr    s9, [r2]
    vadd.f32 s8, s9, s8
    vstmia  r2!, {{s8}}
    add     r5, r6
    subs    r4, r4, #1
    bne     1b
    vpop    {{s16-s27}}
    pop     {{r4-r7, pc}}
    .p2align 2
bb_zeros_\\name:
    .word   0, 0, 0, 0, 0, 0, 0, 0
    .size \\name, . - \\name
    .endm

    bb_dots_float bitbudget_dots_f32, bb_eight_f32, bb_one_f32
    bb_dots_float bitbudget_dots_f16, bb_eight_f16, bb_one_f16
    bb_dots_float bitbudget_dots_f16_unaligned, bb_eight_f16_unaligned, bb_one_f16

    // r0: inputs; r1: step; r2: weights; r3: sums; r4: taps; r5: eights; r6: gap; r7: a tap; r12: a counter
    .section .text.bitbudget_depthwise_f32,\"ax\",%progbits
    .p2align 2
    .global bitbudget_depthwise_f32
    .type bitbudget_depthwise_f32, %function
    .thumb_func
bitbudget_depthwise_f32:
    push    {{r4-r7, lr}}
    vpush   {{s16-s23}}
    mov     lr, r0
    ldm     lr, {{r0-r6}}
1:
    vldmia  r3, {{s0-s7}}
    mov     r7, r0
    mov     r12, r4
2:
    vldmia  r7, {{s8-s15}}
    vldmia  r2!, {{s16-s23}}
    add     r7, r1
    subs    r12, r12, #1
    bb_lanes
    bne     2b
    vstmia  r3!, {{s0-s7}}
    add     r0, #32
    add     r2, r6
    subs    r5, r5, #1
    bne     1b
    vpop    {{s16-s23}}
    pop     {{r4-r7, pc}}
    .size bitbudget_depthwise_f32, . - bitbudget_depthwise_f32

    // the steps in \\s, with the half that rounds to nearest
    .macro bb_steps s
        vdiv.f32 \\s, \\s, s16
        vadd.f32 \\s, \\s, s17
    .endm

    // the whole number in \\s becomes the next result
    .macro bb_put_steps s, bounds
        vmov    r12, \\s
        ssat    r12, #10, r12
        add     r12, r12, r4
        .if \\bounds
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
    .section .text.\\name,\"ax\",%progbits
    .p2align 2
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    push    {{r4-r7, lr}}
    vpush   {{s16-s17}}
    add     lr, r0, #32
    vldmia  lr, {{s16-s17}}
    ldm     r0, {{r0-r7}}
    vmrs    lr, fpscr
    orr     r7, r7, lr
    cmp     r2, #0
    beq     2f
1:
    vldmia  r0!, {{s0-s7}}
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
    bb_put_steps s0, \\bounds
    bb_put_steps s1, \\bounds
    bb_put_steps s2, \\bounds
    bb_put_steps s3, \\bounds
    bb_put_steps s4, \\bounds
    bb_put_steps s5, \\bounds
    bb_put_steps s6, \\bounds
    bb_put_steps s7, \\bounds
    subs    r2, r2, #1
    bne     1b
2:
    cmp     r3, #0
    beq     4f
3:
    vldmia  r0!, {{s0}}
    bb_steps s0
    vmsr    fpscr, r7
    vcvtr.s32.f32 s0, s0
    vmsr    fpscr, lr
    bb_put_steps s0, \\bounds
    subs    r3, r3, #1
    bne     3b
4:
    vpop    {{s16-s17}}
    pop     {{r4-r7, pc}}
    .size \\name, . - \\name
    .endm

    bb_quantize bitbudget_quantize, 0
    bb_quantize bitbudget_quantize_bounds, 1
    .text
"
);
