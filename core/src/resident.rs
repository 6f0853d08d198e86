//! How a layer's weights lie in RAM at each level, and how they are made from the FP32 master.
//!
//! | level | resident, in this order, each part padded to four bytes |
//! |---|---|
//! | `fp32` | bias `f32[O]`, weights `f32[O, …]` |
//! | `int8` | bias `i32[O]`, multiplier `i32[O]`, shift `u8[O]`, weights `i8[O, …]` |
//!
//! The bias of `int8` is in units of input scale · weight scale and has the input's zero point
//! folded in; multiplier and shift are those of input scale · weight scale / output scale. All of it
//! depends on the layer's own level only, because a tensor has one INT8 map whoever reads it.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::level::Level;
use crate::op::conv2d::{Fp32Weights, Int8Weights};
use crate::quant::{QParams, Requant, quantize_bias, quantize_weight};

/// The bytes that `weights` weights of `channels` output channels occupy at `level`.
#[must_use]
pub const fn bytes(level: Level, weights: u64, channels: u16) -> u64 {
    let channels = channels as u64;
    match level {
        Level::Fp32 => 4 * channels + 4 * weights,
        Level::Int8(_) => 8 * channels + channels.next_multiple_of(4) + weights.next_multiple_of(4),
    }
}

/// The FP32 master of one layer: little-endian `f32`s as they lie in the image.
#[derive(Clone, Copy, Debug)]
pub struct Master<'a> {
    /// `[O, …]`, the input's elements innermost.
    pub weight: &'a [u8],
    /// `[O]`.
    pub bias: &'a [u8],
    /// `[O]`, the scale of each output channel's INT8 weights.
    pub scale: &'a [u8],
}

/// The `f32` at index `i` of little-endian bytes.
#[must_use]
pub fn f32_at(bytes: &[u8], i: usize) -> f32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[4 * i..4 * i + 4]);
    f32::from_le_bytes(word)
}

impl Master<'_> {
    const fn channels(&self) -> usize {
        self.bias.len() / 4
    }

    /// Writes the layer at `level` into `block`, whose length is what [`bytes`] says.
    ///
    /// `input` and `output` are the INT8 maps of the layer's tensors.
    pub fn encode(&self, level: Level, input: QParams, output: QParams, block: &mut [u8]) {
        match level {
            Level::Fp32 => self.encode_fp32(block),
            Level::Int8(_) => self.encode_int8(input, output, block),
        }
    }

    fn encode_fp32(&self, block: &mut [u8]) {
        let (bias, weight) = block.split_at_mut(self.bias.len());
        for (part, master) in [(bias, self.bias), (weight, self.weight)] {
            for (i, x) in cast_slice_mut::<u8, f32>(part).iter_mut().enumerate() {
                *x = f32_at(master, i);
            }
        }
    }

    fn encode_int8(&self, input: QParams, output: QParams, block: &mut [u8]) {
        let channels = self.channels();
        let len = self.weight.len() / 4 / channels;
        let (bias, rest) = block.split_at_mut(4 * channels);
        let (multiplier, rest) = rest.split_at_mut(4 * channels);
        let (shift, weight) = rest.split_at_mut(channels.next_multiple_of(4));
        let bias: &mut [i32] = cast_slice_mut(bias);
        let multiplier: &mut [i32] = cast_slice_mut(multiplier);
        shift[channels..].fill(0);
        weight[channels * len..].fill(0);
        for channel in 0..channels {
            let scale = f32_at(self.scale, channel);
            let mut sum = 0_i32;
            let row = weight[channel * len..].iter_mut().take(len);
            for (i, resident) in row.enumerate() {
                let q = quantize_weight(f32_at(self.weight, channel * len + i), scale);
                sum += i32::from(q);
                *resident = q.cast_unsigned();
            }
            let step = input.scale * scale;
            let own = quantize_bias(f32_at(self.bias, channel), step);
            bias[channel] = own - i32::from(input.zero_point) * sum;
            let requant = Requant::from_real(step / output.scale);
            multiplier[channel] = requant.multiplier;
            shift[channel] = requant.shift;
        }
    }
}

/// The weights of a layer at `fp32` as they lie in `block`.
#[must_use]
pub fn fp32(block: &[u8], channels: usize) -> Fp32Weights<'_> {
    let (bias, weight) = block.split_at(4 * channels);
    Fp32Weights {
        bias: cast_slice(bias),
        weight: cast_slice(weight),
    }
}

/// The `weights` weights of a layer at an INT8 level as they lie in `block`.
#[must_use]
pub fn int8(block: &[u8], channels: usize, weights: usize) -> Int8Weights<'_> {
    let (bias, rest) = block.split_at(4 * channels);
    let (multiplier, rest) = rest.split_at(4 * channels);
    let (shift, weight) = rest.split_at(channels.next_multiple_of(4));
    Int8Weights {
        bias: cast_slice(bias),
        multiplier: cast_slice(multiplier),
        shift: &shift[..channels],
        weight: cast_slice(&weight[..weights]),
    }
}
