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
use embedded_storage::nor_flash::ReadNorFlash;

use crate::level::Level;
use crate::op::conv2d::{Fp32Weights, Int8Weights};
use crate::quant::{QParams, Requant, quantize_bias, quantize_weight};
use crate::storage::stream;

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

/// One layer's encoder: the layer's size, and the INT8 maps of its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Output channels.
    pub channels: usize,
    /// Weights, without biases.
    pub weights: usize,
    /// The INT8 map of the input.
    pub input: QParams,
    /// The INT8 map of the output.
    pub output: QParams,
}

impl Encoder {
    /// Writes the layer at `level` into `block`, whose length is what [`bytes`] says, from the master
    /// that begins at `start` of the storage: weights, biases, INT8 scales.
    ///
    /// # Errors
    /// The storage's; the block's content is then unspecified.
    pub fn encode<S: ReadNorFlash>(
        &self,
        level: Level,
        storage: &mut S,
        start: u32,
        block: &mut [u8],
    ) -> Result<(), S::Error> {
        match level {
            Level::Fp32 => self.encode_fp32(storage, start, block),
            Level::Int8(_) => self.encode_int8(storage, start, block),
        }
    }

    fn bias_at(&self, start: u32) -> u32 {
        start + 4 * self.weights as u32
    }

    fn scale_at(&self, start: u32) -> u32 {
        self.bias_at(start) + 4 * self.channels as u32
    }

    fn encode_fp32<S: ReadNorFlash>(
        &self,
        storage: &mut S,
        start: u32,
        block: &mut [u8],
    ) -> Result<(), S::Error> {
        let (bias, weight) = block.split_at_mut(4 * self.channels);
        storage.read(self.bias_at(start), bias)?;
        storage.read(start, weight)?;
        for word in cast_slice_mut::<u8, u32>(block) {
            *word = u32::from_le(*word);
        }
        Ok(())
    }

    fn encode_int8<S: ReadNorFlash>(
        &self,
        storage: &mut S,
        start: u32,
        block: &mut [u8],
    ) -> Result<(), S::Error> {
        let channels = self.channels;
        let (bias, rest) = block.split_at_mut(4 * channels);
        let (multiplier, rest) = rest.split_at_mut(4 * channels);
        let (shift, weight) = rest.split_at_mut(channels.next_multiple_of(4));
        // the master's words first lie where what is made of them will
        storage.read(self.bias_at(start), bias)?;
        storage.read(self.scale_at(start), multiplier)?;
        let bias: &mut [u32] = cast_slice_mut(bias);
        let multiplier: &mut [u32] = cast_slice_mut(multiplier);
        shift[channels..].fill(0);
        weight[self.weights..].fill(0);
        let len = self.weights / channels;
        for channel in 0..channels {
            let real = |word: u32| f32::from_bits(u32::from_le(word));
            let scale = real(multiplier[channel]);
            let row = &mut weight[channel * len..][..len];
            let at = start + 4 * (channel * len) as u32;
            let sum = encode_row(storage, at, scale, row)?;
            let step = self.input.scale * scale;
            let own = quantize_bias(real(bias[channel]), step);
            let folded = own - i32::from(self.input.zero_point) * sum;
            bias[channel] = folded.cast_unsigned();
            let requant = Requant::from_real(step / self.output.scale);
            multiplier[channel] = requant.multiplier.cast_unsigned();
            shift[channel] = requant.shift;
        }
        Ok(())
    }
}

/// Quantizes the FP32 weights of one channel, which begin at `start`, and returns their sum.
fn encode_row<S: ReadNorFlash>(
    storage: &mut S,
    start: u32,
    scale: f32,
    row: &mut [u8],
) -> Result<i32, S::Error> {
    let mut sum = 0;
    let mut resident = row.iter_mut();
    let end = start + 4 * resident.len() as u32;
    stream(storage, start, end, |bytes| {
        let words = 0..bytes.len() / 4;
        for (word, resident) in words.zip(&mut resident) {
            let q = quantize_weight(f32_at(bytes, word), scale);
            sum += i32::from(q);
            *resident = q.cast_unsigned();
        }
    })?;
    Ok(sum)
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
