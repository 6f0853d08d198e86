//! Floats on their way to INT8.

#![expect(unsafe_code, reason = "instructions that Rust has no name for")]

use core::arch::global_asm;

use super::products::LANES;
use crate::quant::{QParams, Rounding};

/// As [`portable::quantize`](crate::arch::portable::quantize), where the unit is told how to round.
pub(super) fn quantize(
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
    let mut args = QuantizeArgs {
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
    // SAFETY: the loop reads `count` numbers and writes `count` results, and neither slice is shorter; it puts
    // FPSCR back as it was
    unsafe { run(&raw mut args) };
}

/// Arguments of the loops, which know their offsets.
#[repr(C)]
struct QuantizeArgs {
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
    /// Added before rounding.
    addend: f32,
}

unsafe extern "C" {
    fn bitbudget_quantize(args: *mut QuantizeArgs);
    fn bitbudget_quantize_bounds(args: *mut QuantizeArgs);
}

global_asm!(include_str!("quantize.s"), options(raw));
