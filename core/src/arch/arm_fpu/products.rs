//! Sums of products.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

/// Lanes of a sum.
pub(super) const LANES: usize = 8;

/// As [`portable::dots_f32`](crate::arch::portable::dots_f32).
///
/// # Panics
/// When a row of weights ends early.
pub(super) fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
    if let Some(mut args) = DotsArgs::new(input, weights, pitch, sums) {
        // SAFETY: `DotsArgs::new` has found the last row to be there, and so are those before it; the loop reads as
        // many weights of each as there are inputs, and updates all sums
        unsafe { bitbudget_dots_f32(&raw mut args) };
    }
}

/// As [`portable::dots_f16`](crate::arch::portable::dots_f16).
///
/// # Panics
/// When a row of weights ends early.
pub(super) fn dots_f16(input: &[f32], weights: &[u16], pitch: usize, sums: &mut [f32]) {
    let Some(mut args) = DotsArgs::new(input, weights, pitch, sums) else {
        return;
    };
    let whole_words = args.weights.is_aligned() && pitch.is_multiple_of(2);
    let run = if whole_words {
        bitbudget_dots_f16
    } else {
        bitbudget_dots_f16_unaligned
    };
    // SAFETY: `DotsArgs::new` has found the last row to be there, and so are those before it; the loop reads as
    // many weights of each as there are inputs, by words only where every row begins at one, and updates
    // all sums
    unsafe { run(&raw mut args) };
}

/// As [`portable::depthwise_f32`](crate::arch::portable::depthwise_f32).
///
/// # Panics
/// When the input or the weights end early.
pub(super) fn depthwise_f32(
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
    let _: &[[f32; LANES]] = &weights[last.saturating_mul(pitch)..][..count];
    let _: &[f32] = &input[last_tap.saturating_mul(step)..][..sums.as_flattened().len()];
    let mut args = DepthwiseArgs {
        input: input.as_ptr(),
        step: size_of::<f32>().wrapping_mul(step),
        weights: weights.as_ptr(),
        sums: sums.as_mut_ptr(),
        count,
        eights: sums.len(),
        gap: size_of::<[f32; LANES]>().wrapping_mul(pitch - count),
    };
    // SAFETY: the loop reads `count` taps of all channels, a step apart, and `count` weights of each eight, a
    // pitch apart: the last of both were found to be there, and so are those before them. It updates all
    // sums. Where it takes one tap only, or one eight, it reads nothing a step, or a gap, further
    unsafe { bitbudget_depthwise_f32(&raw mut args) };
}

/// Arguments of the loop over depthwise taps, which knows their offsets.
#[repr(C)]
struct DepthwiseArgs {
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

/// Arguments of the loops over rows, which know their offsets.
#[repr(C)]
struct DotsArgs {
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

impl DotsArgs {
    /// For rows that are there; `None` where there are no sums.
    fn new<T>(input: &[f32], weights: &[T], pitch: usize, sums: &mut [f32]) -> Option<Self> {
        let last = sums.len().checked_sub(1)?;
        let _: &[T] = &weights[last.saturating_mul(pitch)..][..input.len()];
        Some(Self {
            input: input.as_ptr(),
            weights: weights.as_ptr().cast(),
            sums: sums.as_mut_ptr(),
            channels: sums.len(),
            eights: input.len() / LANES,
            rest: input.len() % LANES,
            pitch: size_of::<T>().wrapping_mul(pitch),
        })
    }
}

unsafe extern "C" {
    fn bitbudget_dots_f32(args: *mut DotsArgs);
    fn bitbudget_dots_f16(args: *mut DotsArgs);
    fn bitbudget_dots_f16_unaligned(args: *mut DotsArgs);
    fn bitbudget_depthwise_f32(args: *mut DepthwiseArgs);
}

global_asm!(include_str!("products.s"), options(raw));
