//! The contract of an instruction set. It implements what it does better; all else is the portable loop.

use super::im2col::Im2col;
use super::pixels::Pixels;
use super::portable::{self, Portable, PortableIm2col};
use super::requantize::{self, Requants};
use super::strips::{FloatStrips, NoStrips, Strips};
use crate::quant::{QParams, Rounding};

/// Largest error of an FP32 sum of n products relative to the sum of the products' magnitudes:
/// reordering n additions of 24-bit mantissas moves the result by at most n · 2^-24; the layers of
/// this crate sum up to a few thousand products, whose errors largely cancel.
pub const FP32_TOLERANCE: f32 = 1e-5;

/// Kernels over INT8. They are exact: every instruction set gives the same bytes.
pub(crate) trait IntKernels {
    /// Convolution by way of an im2col buffer.
    type Im2col: Im2col;
    /// Direct convolution, where there is one.
    type Strips: Strips;

    /// As [`portable::dots_i8`].
    ///
    /// # Panics
    /// When a row of weights ends early.
    #[inline(always)]
    fn dots_i8(
        input: &[i8],
        weights: &[i8],
        pitch: usize,
        bias: &[i32],
        each: impl FnMut(usize, &[i32]),
    ) {
        portable::dots_i8(input, weights, pitch, bias, each);
    }

    /// As [`portable::depthwise`].
    ///
    /// # Panics
    /// When the input, the weights or the biases end early.
    #[inline(always)]
    fn depthwise(
        input: &[i8],
        offsets: &[u32],
        weights: &[[i16; 4]],
        bias: &[[i32; 4]],
        sums: &mut [[i32; 4]],
    ) {
        portable::depthwise(input, offsets, weights, bias, sums);
    }

    /// As [`requantize`](requantize::requantize()).
    ///
    /// # Panics
    /// When there are fewer sums, multipliers, shifts or results.
    #[inline(always)]
    fn requantize(
        sums: &[i32],
        requants: &Requants<'_>,
        pixels: Pixels,
        to: &mut [i8],
        pitch: usize,
    ) {
        requantize::requantize(sums, requants, pixels, to, pitch);
    }

    /// Adds each element to its sum.
    #[inline(always)]
    fn add_i8(sums: &mut [i32], elements: &[i8]) {
        portable::add_i8(sums, elements);
    }

    /// Writes the larger of each two elements.
    #[inline(always)]
    fn max_i8(to: &mut [i8], from: &[i8]) {
        portable::max_i8(to, from);
    }
}

/// Kernels over FP32. Sums may differ within [`FP32_TOLERANCE`]; quantized results may not.
pub(crate) trait FloatKernels {
    /// Direct convolution, where there is one.
    type Strips: FloatStrips;

    /// As [`portable::dots_f32`].
    ///
    /// # Panics
    /// When a row of weights ends early.
    #[inline(always)]
    fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
        portable::dots_f32(input, weights, pitch, sums);
    }

    /// As [`portable::dots_f16`].
    ///
    /// # Panics
    /// When a row of weights ends early.
    #[inline(always)]
    fn dots_f16(input: &[f32], weights: &[u16], pitch: usize, sums: &mut [f32]) {
        portable::dots_f16(input, weights, pitch, sums);
    }

    /// As [`portable::depthwise_f32`].
    ///
    /// # Panics
    /// When the input or the weights end early.
    #[inline(always)]
    fn depthwise_f32(
        input: &[f32],
        step_and_count: (usize, usize),
        weights: &[[f32; 8]],
        pitch: usize,
        sums: &mut [[f32; 8]],
    ) {
        portable::depthwise_f32(input, step_and_count, weights, pitch, sums);
    }

    /// Writes [`QParams::quantize`] of each real number, but at least `low` and at most `high`.
    #[inline(always)]
    fn quantize(
        reals: &[f32],
        q: QParams,
        rounding: Rounding,
        low_and_high: [i8; 2],
        to: &mut [i8],
    ) {
        portable::quantize(reals, q, rounding, low_and_high, to);
    }
}

impl IntKernels for Portable {
    type Im2col = PortableIm2col;
    type Strips = NoStrips;
}

impl FloatKernels for Portable {
    type Strips = NoStrips;
}

/// The reference is complete on every target, also where other kernels are chosen.
const _: fn() = {
    const fn is_complete<K: IntKernels + FloatKernels>() {}
    is_complete::<Portable>
};

#[cfg(test)]
battery!(int, Portable);
#[cfg(test)]
battery!(float, Portable);
