//! Sums on their way to INT8.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

use crate::arch::Factors;

/// As [`requantize`](fn@crate::arch::requantize::requantize).
///
/// # Panics
/// When there are fewer sums, factors or results, or another number of pixels.
pub fn requantize(sums: &[i32], factors: &Factors<'_>, pixels: usize, to: &mut [i8], pitch: usize) {
    let channels = factors.multiplier.len();
    if channels == 0 {
        return;
    }
    assert!(matches!(pixels, 1 | 4), "one pixel or four");
    assert!(factors.shift.len() >= channels, "the factors end");
    assert!(sums.len() >= channels * pixels, "the sums end");
    let end = pitch.saturating_mul(pixels - 1).saturating_add(channels);
    assert!(to.len() >= end && pitch >= channels, "room for the results");
    let mut job = Requantize {
        sums: sums.as_ptr(),
        multiplier: factors.multiplier.as_ptr(),
        shift: factors.shift.as_ptr(),
        to: to.as_mut_ptr(),
        pitch,
        pitch3: 3 * pitch,
        channels,
        offset: factors.bounds.offset,
        low: factors.bounds.low,
        high: factors.bounds.high,
    };
    let run = match (pixels, factors.bounds.is_whole()) {
        (1, true) => bitbudget_requantize1,
        (1, false) => bitbudget_requantize1_bounds,
        (_, true) => bitbudget_requantize4,
        (_, false) => bitbudget_requantize4_bounds,
    };
    // SAFETY: it reads sums and factors and writes results that were found to be there
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
