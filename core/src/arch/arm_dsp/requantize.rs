//! Sums on their way to INT8.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

use crate::arch::Factors;
use crate::arch::pixels::Pixels;

/// As [`requantize`](fn@crate::arch::requantize::requantize).
///
/// # Panics
/// When there are fewer sums, factors or results.
pub fn requantize(
    sums: &[i32],
    factors: &Factors<'_>,
    pixels: Pixels,
    to: &mut [i8],
    pitch: usize,
) {
    let channels = factors.multiplier.len();
    if channels == 0 {
        return;
    }
    assert!(factors.shift.len() >= channels, "the factors end");
    let sums_needed = channels.saturating_mul(pixels.count());
    assert!(sums.len() >= sums_needed, "the sums end");
    let last = pitch.saturating_mul(pixels.count() - 1);
    let end = last.saturating_add(channels);
    assert!(to.len() >= end && pitch >= channels, "room for the results");
    let mut job = Requantize {
        sums: sums.as_ptr(),
        multiplier: factors.multiplier.as_ptr(),
        shift: factors.shift.as_ptr(),
        to: to.as_mut_ptr(),
        pitch,
        pitch3: pitch.wrapping_mul(3),
        channels,
        offset: factors.bounds.offset,
        low: factors.bounds.low,
        high: factors.bounds.high,
    };
    let run = match (pixels, factors.bounds.is_whole()) {
        (Pixels::One, true) => bitbudget_requantize1,
        (Pixels::One, false) => bitbudget_requantize1_bounds,
        (Pixels::Four, true) => bitbudget_requantize4,
        (Pixels::Four, false) => bitbudget_requantize4_bounds,
    };
    // SAFETY: the loop reads the first `channels` multipliers and shifts and as many sums of each pixel, and
    // writes as many results of each pixel, a pitch apart: all of that is there, as was asserted in numbers
    // that saturate. It uses three times the pitch for four pixels only, where that is within the results
    unsafe { run(&raw mut job) };
}

/// What the loops that requantize work on, at the offsets that they know.
#[repr(C)]
struct Requantize {
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
    fn bitbudget_requantize1(job: *mut Requantize);
    fn bitbudget_requantize1_bounds(job: *mut Requantize);
    fn bitbudget_requantize4(job: *mut Requantize);
    fn bitbudget_requantize4_bounds(job: *mut Requantize);
}

global_asm!(super::cpu!(), include_str!("requantize.s"), options(raw));
