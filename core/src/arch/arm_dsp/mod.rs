//! Loops for the DSP extension of Armv7E-M (Cortex-M4, M7) and Armv8-M (M33 and up): two 16-bit products
//! and their sum in one instruction.
//!
//! Inputs are widened to 16 bits once and meet every row of weights. Two of them share a word, as the
//! bytes of weights do once they are extended: of four INT8 weights the even and the odd ones, of INT4
//! those of the same half of a byte, four taps apart, of INT2 eight taps apart.

/// The processor that assembly is for where the target's name does not imply DSP instructions: LLVM reads
/// it once without the options that the program is built with.
macro_rules! cpu {
    () => {
        cfg_select! {
            armv8m_dsp => { ".cpu cortex-m33\n" }
            _ => { "" }
        }
    };
}

mod depthwise;
mod dots;
mod elements;
mod im2col;
mod instructions;
mod requantize;

use im2col::DspIm2col;

use super::kernels::IntKernels;
use super::pixels::Pixels;
use super::requantize::Requants;
use super::strips::NoStrips;

/// The DSP extension.
pub(crate) struct Dsp;

impl IntKernels for Dsp {
    type Im2col = DspIm2col;
    type Strips = NoStrips;

    #[inline(always)]
    fn dots_i8(
        input: &[i8],
        weights: &[i8],
        pitch: usize,
        bias: &[i32],
        each: impl FnMut(usize, &[i32]),
    ) {
        dots::dots_i8(input, weights, pitch, bias, each);
    }

    #[inline(always)]
    fn depthwise(
        input: &[i8],
        offsets: &[u32],
        weights: &[[i16; 4]],
        bias: &[[i32; 4]],
        sums: &mut [[i32; 4]],
    ) {
        depthwise::depthwise(input, offsets, weights, bias, sums);
    }

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

    #[inline(always)]
    fn add_i8(sums: &mut [i32], elements: &[i8]) {
        elements::add_i8(sums, elements);
    }

    #[inline(always)]
    fn max_i8(to: &mut [i8], from: &[i8]) {
        elements::max_i8(to, from);
    }
}

#[cfg(test)]
battery!(int, Dsp);
