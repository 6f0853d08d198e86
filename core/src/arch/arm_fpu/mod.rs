//! Loops for the single-precision floating-point unit of Cortex-M4F and up: products are rounded before
//! they are added (VMLA), as in the reference.

mod products;
mod quantize;

use super::kernels::FloatKernels;
use super::strips::NoStrips;
use crate::quant::{QParams, Rounding};

/// The single-precision floating-point unit.
pub(crate) struct Fpu;

impl FloatKernels for Fpu {
    type Strips = NoStrips;

    #[inline(always)]
    fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
        products::dots_f32(input, weights, pitch, sums);
    }

    #[inline(always)]
    fn dots_f16(input: &[f32], weights: &[u16], pitch: usize, sums: &mut [f32]) {
        products::dots_f16(input, weights, pitch, sums);
    }

    #[inline(always)]
    fn depthwise_f32(
        input: &[f32],
        step_and_count: (usize, usize),
        weights: &[[f32; 8]],
        pitch: usize,
        sums: &mut [[f32; 8]],
    ) {
        products::depthwise_f32(input, step_and_count, weights, pitch, sums);
    }

    #[inline(always)]
    fn quantize(
        reals: &[f32],
        q: QParams,
        rounding: Rounding,
        low_and_high: [i8; 2],
        to: &mut [i8],
    ) {
        quantize::quantize(reals, q, rounding, low_and_high, to);
    }
}

#[cfg(test)]
battery!(float, Fpu);
