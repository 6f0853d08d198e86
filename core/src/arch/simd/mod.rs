//! Kernels for processors with vectors, written once for all of their instruction sets.
//!
//! An [`Isa`](isa::Isa) says how vectors are loaded and multiplied, a [`Task`](isa::Task) is a loop over any of
//! them, and a [`Backend`](backend::Backend), found when the program runs, runs tasks on the best instruction
//! set that the processor has. A word holds [`Isa::TAPS`](isa::Isa::TAPS) neighbouring taps of one channel;
//! one dot instruction multiplies a word of inputs, the same in every lane, by a word of weights per lane.
//!
//! Direct convolution ([`strips`], and [`strips_f32`] with one tap a word):
//!
//! ```text
//!  copy_inputs: once a layer          pack: once a block of channels
//!  widened, padding around            by vector of channels, kernel row, word, lane
//!
//!  . . . . . . . . . .                 channel 0 | w00 w01 w02 | w10 ..      lane: 0   1   2
//!  . a b c d e f g h .                 channel 1 | w00 w01 w02 | w10 .. ->  word 0: c0  c1  c2 ..
//!  . i j k l m n o p .                 channel 2 | w00 w01 w02 | w10 ..     word 1: c0  c1  c2 ..
//!  . . . . . . . . . .
//!        |                                         |
//!        v splat: a word of a pixel's inputs       v load: a word of each lane's weights
//!  tile: up to 16 pixels x 2 vectors of channels, whose sums stay in registers over all kernel rows
//!        |
//!        v
//!  epilogue: stores the sums, or requantizes them while they are in registers
//! ```
//!
//! A block is 64 channels: four vectors of the most lanes, so that each copied input is used often, and packed
//! weights of common layers stay within 64 KiB. A strip whose sums are stored has 32 pixels at most: 8 KiB of
//! sums, which the first-level cache keeps. Where a layer has no room here (groups, large kernels) and for one
//! pixel, [`im2col`] multiplies its taps by rows of weights where they lie.

mod backend;
mod buffer;
mod epilogue;
mod geometry;
mod im2col;
mod isa;
mod pack;
mod strips;
mod strips_f32;
mod tile;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use im2col::SimdIm2col;
use strips::SimdStrips;
use strips_f32::SimdFloatStrips;

use super::kernels::{FloatKernels, IntKernels};

/// The best instruction set that the processor has.
pub(crate) struct Simd;

impl IntKernels for Simd {
    type Im2col = SimdIm2col;
    type Strips = SimdStrips;

    #[inline(always)]
    fn dots_i8(
        input: &[i8],
        weights: &[i8],
        pitch: usize,
        bias: &[i32],
        each: impl FnMut(usize, &[i32]),
    ) {
        im2col::dots_i8(input, weights, pitch, bias, each);
    }
}

impl FloatKernels for Simd {
    type Strips = SimdFloatStrips;

    #[inline(always)]
    fn dots_f32(input: &[f32], weights: &[f32], pitch: usize, sums: &mut [f32]) {
        backend::dots_f32(input, weights, pitch, sums);
    }
}

#[cfg(test)]
battery!(int, Simd);
#[cfg(test)]
battery!(float, Simd);
