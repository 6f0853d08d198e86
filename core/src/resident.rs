//! How a layer's weights lie in RAM at each level, and how they are made from the FP32 master.
//!
//! | level | resident, in this order, each part padded to four bytes |
//! |---|---|
//! | `fp32` | bias `f32[O]`, weights `f32[O, …]` |
//! | `fp16` | bias `f32[O]`, weights binary16 `[O, …]` |
//! | `int8` | bias `i32[O]`, multiplier `i32[O]`, shift `u8[O]`, weights `i8[O, …]` |
//! | `int4` | the same, weights two in a byte, the first in the low bits; a channel begins at a byte |
//! | `int2` | the same, weights four in a byte; the two's complement of (w − 1) / 2 |
//!
//! The bias of integer weights is in units of input scale · weight scale and has the input's zero point
//! folded in; multiplier and shift are those of input scale · weight scale / output scale. All of it
//! depends on the layer's own level only, because a tensor has one INT8 map whoever reads it.

use bytemuck::{cast_slice, cast_slice_mut};
use embedded_storage::nor_flash::ReadNorFlash;

use crate::arch::Rows;
use crate::level::{Stored, Width};
use crate::op::weights::{FloatRows, FloatWeights, IntWeights};
use crate::quant::{QParams, Requant, quantize_bias, quantize_half, quantize_weight};
use crate::storage::stream;

/// The bytes that `weights` weights of `channels` output channels occupy when `stored` so.
#[must_use]
pub const fn bytes(stored: Stored, weights: u64, channels: u16) -> u64 {
    let rows = channels as u64;
    match stored {
        Stored::F32 => 4 * rows + 4 * weights,
        Stored::F16 => 4 * rows + (2 * weights).next_multiple_of(4),
        Stored::Int(width) => {
            let len = match weights.checked_div(rows) {
                Some(len) => len,
                None => 0,
            };
            let row = (len * width.bits() as u64).div_ceil(8);
            8 * rows + rows.next_multiple_of(4) + (rows * row).next_multiple_of(4)
        }
    }
}

/// The `f32` at index `i` of little-endian bytes.
#[must_use]
pub fn f32_at(bytes: &[u8], i: usize) -> f32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[4 * i..4 * i + 4]);
    f32::from_le_bytes(word)
}

/// One layer's encoder: where its FP32 master lies, and the INT8 maps of its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    /// Output channels.
    pub channels: usize,
    /// Weights, without biases.
    pub weights: usize,
    /// Where the master begins in the storage: weights, biases.
    pub master_at: u32,
    /// For integer weights: where the scales of their width begin, and behind them their biases.
    pub scales_at: u32,
    /// The INT8 map of the input.
    pub input: QParams,
    /// The INT8 map of the output.
    pub output: QParams,
}

impl Encoder {
    /// Writes the layer into `block`, whose length is what [`bytes`] says.
    ///
    /// # Errors
    /// The storage's; the block's content is then unspecified.
    pub fn encode<S: ReadNorFlash>(
        &self,
        stored: Stored,
        storage: &mut S,
        block: &mut [u8],
    ) -> Result<(), S::Error> {
        match stored {
            Stored::F32 | Stored::F16 => {
                let (bias, weight) = block.split_at_mut(4 * self.channels);
                let words = 4 * self.weights as u32;
                storage.read(self.master_at + words, bias)?;
                for word in cast_slice_mut::<u8, u32>(bias) {
                    *word = u32::from_le(*word);
                }
                if stored == Stored::F32 {
                    storage.read(self.master_at, weight)?;
                    for word in cast_slice_mut::<u8, u32>(weight) {
                        *word = u32::from_le(*word);
                    }
                    return Ok(());
                }
                let weight: &mut [u16] = cast_slice_mut(weight);
                weight[self.weights..].fill(0);
                let mut resident = weight.iter_mut();
                self.stream_weights(storage, 0..self.weights, |w| {
                    if let Some(resident) = resident.next() {
                        *resident = quantize_half(w).to_bits();
                    }
                })
            }
            Stored::Int(width) => self.encode_int(width, storage, block),
        }
    }

    fn encode_int<S: ReadNorFlash>(
        &self,
        width: Width,
        storage: &mut S,
        block: &mut [u8],
    ) -> Result<(), S::Error> {
        let channels = self.channels;
        let (bias, rest) = block.split_at_mut(4 * channels);
        let (multiplier, rest) = rest.split_at_mut(4 * channels);
        let (shift, weight) = rest.split_at_mut(channels.next_multiple_of(4));
        // the master's words first lie where what is made of them will
        storage.read(self.scales_at, multiplier)?;
        storage.read(self.scales_at + 4 * channels as u32, bias)?;
        let bias: &mut [u32] = cast_slice_mut(bias);
        let multiplier: &mut [u32] = cast_slice_mut(multiplier);
        shift[channels..].fill(0);
        weight.fill(0);
        let len = self.weights / channels;
        let row_bytes = width.row_bytes(len);
        for channel in 0..channels {
            let real = |word: u32| f32::from_bits(u32::from_le(word));
            let scale = real(multiplier[channel]);
            let row = &mut weight[channel * row_bytes..][..row_bytes];
            let (mut sum, mut at) = (0, 0);
            self.stream_weights(storage, channel * len..(channel + 1) * len, |w| {
                let q = quantize_weight(w, scale, width);
                sum += i32::from(q);
                put(row, at, q, width);
                at += 1;
            })?;
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

    /// Calls `each` with these weights of the master in order.
    fn stream_weights<S: ReadNorFlash>(
        &self,
        storage: &mut S,
        weights: core::ops::Range<usize>,
        mut each: impl FnMut(f32),
    ) -> Result<(), S::Error> {
        let [start, end] = [weights.start, weights.end].map(|i| self.master_at + 4 * i as u32);
        stream(storage, start, end, |bytes| {
            for word in 0..bytes.len() / 4 {
                each(f32_at(bytes, word));
            }
        })
    }
}

/// Writes weight `i` of a row whose bytes were 0.
fn put(row: &mut [u8], i: usize, q: i8, width: Width) {
    let (per_byte, code) = match width {
        Width::Int8 => (1, q.cast_unsigned()),
        Width::Int4 => (2, q.cast_unsigned() & 0xf),
        Width::Int2 => (4, (q >> 1).cast_unsigned() & 0x3),
    };
    row[i / per_byte] |= code << (width.bits() as usize * (i % per_byte));
}

/// The `weights` weights of a layer at a float level as they lie in `block`.
#[must_use]
pub fn float(block: &[u8], channels: usize, weights: usize, half: bool) -> FloatWeights<'_> {
    let (bias, weight) = block.split_at(4 * channels);
    let rows = if half {
        FloatRows::F16(&cast_slice(weight)[..weights])
    } else {
        FloatRows::F32(cast_slice(weight))
    };
    FloatWeights {
        bias: cast_slice(bias),
        rows,
    }
}

/// The `weights` weights of a layer at a level with integer weights as they lie in `block`.
#[must_use]
pub fn int(block: &[u8], channels: usize, weights: usize, width: Width) -> IntWeights<'_> {
    let (bias, rest) = block.split_at(4 * channels);
    let (multiplier, rest) = rest.split_at(4 * channels);
    let (shift, weight) = rest.split_at(channels.next_multiple_of(4));
    let row_bytes = width.row_bytes(weights / channels);
    IntWeights {
        bias: cast_slice(bias),
        multiplier: cast_slice(multiplier),
        shift: &shift[..channels],
        rows: Rows {
            width,
            bytes: &weight[..channels * row_bytes],
            pitch: row_bytes,
        },
    }
}
