//! Accumulators on their way to INT8.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

use crate::arch::pixels::Pixels;
use crate::arch::requantize::Requants;

/// As [`requantize`](fn@crate::arch::requantize::requantize).
///
/// # Panics
/// When there are fewer sums, multipliers, shifts or results.
pub(super) fn requantize(
    sums: &[i32],
    requants: &Requants<'_>,
    pixels: Pixels,
    to: &mut [i8],
    pitch: usize,
) {
    let channels = requants.multiplier.len();
    if channels == 0 {
        return;
    }
    assert!(requants.shift.len() >= channels, "the shifts end");
    let sums_needed = channels.saturating_mul(pixels.count());
    assert!(sums.len() >= sums_needed, "the sums end");
    let last = pitch.saturating_mul(pixels.count() - 1);
    let end = last.saturating_add(channels);
    assert!(to.len() >= end && pitch >= channels, "room for the results");
    let mut args = RequantizeArgs {
        sums: sums.as_ptr(),
        multiplier: requants.multiplier.as_ptr(),
        shift: requants.shift.as_ptr(),
        to: to.as_mut_ptr(),
        pitch,
        pitch3: pitch.wrapping_mul(3),
        channels,
        offset: requants.clamp.offset,
        low: requants.clamp.low,
        high: requants.clamp.high,
    };
    let run = match (pixels, requants.clamp.is_whole()) {
        (Pixels::One, true) => bitbudget_requantize1,
        (Pixels::One, false) => bitbudget_requantize1_bounds,
        (Pixels::Four, true) => bitbudget_requantize4,
        (Pixels::Four, false) => bitbudget_requantize4_bounds,
    };
    // SAFETY: the loop reads the first `channels` multipliers and shifts and as many sums of each pixel, and
    // writes as many results of each pixel, a pitch apart: all of that is there, as was asserted in numbers
    // that saturate. It uses three times the pitch for four pixels only, where that is within the results
    unsafe { run(&raw mut args) };
}

/// Arguments of the loops, which know their offsets.
#[repr(C)]
struct RequantizeArgs {
    sums: *const i32,
    multiplier: *const i32,
    shift: *const u8,
    to: *mut i8,
    /// Once and three times.
    pitch: usize,
    pitch3: usize,
    /// At least 1.
    channels: usize,
    offset: i32,
    low: i32,
    high: i32,
}

unsafe extern "C" {
    fn bitbudget_requantize1(args: *mut RequantizeArgs);
    fn bitbudget_requantize1_bounds(args: *mut RequantizeArgs);
    fn bitbudget_requantize4(args: *mut RequantizeArgs);
    fn bitbudget_requantize4_bounds(args: *mut RequantizeArgs);
}

global_asm!(cpu!(), include_str!("requantize.s"), options(raw));
