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

use crate::arch::im2col::Rows;
use crate::arch::{Float, FloatKernels};
use crate::level::WeightFormat;
use crate::op::weights::{FloatRows, FloatWeights, IntWeights};
use crate::quant::{QParams, Requant, Rounding, Width, quantize_bias, quantize_half};
use crate::storage::{CHUNK_WORDS, stream};

/// The bytes that `weights` weights of `channels` output channels occupy when `stored` so.
#[must_use]
pub const fn bytes(stored: WeightFormat, weights: u64, channels: u16) -> u64 {
    let rows = channels as u64;
    match stored {
        WeightFormat::F32 => 4 * rows + 4 * weights,
        WeightFormat::F16 => 4 * rows + (2 * weights).next_multiple_of(4),
        WeightFormat::Int(width) => {
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
        stored: WeightFormat,
        storage: &mut S,
        block: &mut [u8],
    ) -> Result<(), S::Error> {
        match stored {
            WeightFormat::F32 | WeightFormat::F16 => {
                let (bias, weight) = block.split_at_mut(4 * self.channels);
                let words = 4 * self.weights as u32;
                storage.read(self.master_at + words, bias)?;
                for word in cast_slice_mut::<u8, u32>(bias) {
                    *word = u32::from_le(*word);
                }
                if stored == WeightFormat::F32 {
                    storage.read(self.master_at, weight)?;
                    for word in cast_slice_mut::<u8, u32>(weight) {
                        *word = u32::from_le(*word);
                    }
                    return Ok(());
                }
                let weight: &mut [u16] = cast_slice_mut(weight);
                weight[self.weights..].fill(0);
                let mut at = 0;
                self.stream(storage, 0..self.weights, |words| {
                    put_halves(words, &mut weight[at..]);
                    at += words.len();
                })
            }
            WeightFormat::Int(width) => self.encode_int(width, storage, block),
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
        let len = self.weights / channels;
        let row_bytes = width.row_bytes(len);
        weight[channels * row_bytes..].fill(0);
        for channel in 0..channels {
            let real = |word: u32| f32::from_bits(u32::from_le(word));
            let scale = real(multiplier[channel]);
            let mut row = Row {
                bytes: &mut weight[channel * row_bytes..][..row_bytes],
                at: 0,
                sum: 0,
            };
            self.stream(storage, channel * len..(channel + 1) * len, |words| {
                row.put(words, scale, width);
            })?;
            let sum = row.sum;
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

    /// Calls `each` with the words of these weights of the master in order, [`CHUNK_WORDS`] at a time.
    fn stream<S: ReadNorFlash>(
        &self,
        storage: &mut S,
        weights: core::ops::Range<usize>,
        mut each: impl FnMut(&[[u8; 4]]),
    ) -> Result<(), S::Error> {
        let [start, end] = [weights.start, weights.end].map(|i| self.master_at + 4 * i as u32);
        stream(storage, start, end, |bytes| each(bytes.as_chunks().0))
    }
}

/// Writes each weight as binary16.
#[inline(never)]
fn put_halves(words: &[[u8; 4]], to: &mut [u16]) {
    for (to, word) in to.iter_mut().zip(words) {
        *to = quantize_half(f32::from_le_bytes(*word)).to_bits();
    }
}

/// A row of integer weights that is being written.
struct Row<'a> {
    bytes: &'a mut [u8],
    /// The next byte.
    at: usize,
    /// Sum of the weights so far.
    sum: i32,
}

impl Row<'_> {
    /// Writes [`quantize_weight`](crate::quant::quantize_weight) of each of up to [`CHUNK_WORDS`] weights; after
    /// less than that there come no more.
    #[inline(never)]
    fn put(&mut self, words: &[[u8; 4]], scale: f32, width: Width) {
        let mut reals = [0.0; CHUNK_WORDS];
        let mut codes = [0_i8; CHUNK_WORDS];
        for (real, word) in reals.iter_mut().zip(words) {
            *real = f32::from_le_bytes(*word);
        }
        let (reals, codes) = (&reals[..words.len()], &mut codes[..words.len()]);
        let max = width.max();
        // INT2 is 2 · code + 1, the others are their codes
        let (scale, rounding, bounds) = match width {
            Width::Int8 | Width::Int4 => (scale, Rounding::Nearest, [-max, max]),
            Width::Int2 => (2.0 * scale, Rounding::Floor, [-2, 1]),
        };
        let zero_point = 0;
        Float::quantize(
            reals,
            QParams { scale, zero_point },
            rounding,
            bounds,
            codes,
        );
        let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
        self.sum += match width {
            Width::Int8 | Width::Int4 => sum,
            Width::Int2 => 2 * sum + codes.len() as i32,
        };
        let bytes = &mut self.bytes[self.at..];
        self.at += width.row_bytes(codes.len());
        let codes: &[u8] = cast_slice(codes);
        match width {
            Width::Int8 => bytes[..codes.len()].copy_from_slice(codes),
            Width::Int4 => pack(codes, bytes, |[a, b]: [u8; 2]| a & 0xf | b << 4),
            Width::Int2 => pack(codes, bytes, |[a, b, c, d]: [u8; 4]| {
                a & 3 | (b & 3) << 2 | (c & 3) << 4 | d << 6
            }),
        }
    }
}

/// Writes what `byte` makes of each `N` codes; behind the last there are zeros.
fn pack<const N: usize>(codes: &[u8], bytes: &mut [u8], byte: impl Fn([u8; N]) -> u8) {
    let (whole, rest) = codes.as_chunks::<N>();
    for (to, codes) in bytes.iter_mut().zip(whole) {
        *to = byte(*codes);
    }
    if !rest.is_empty() {
        let mut codes = [0; N];
        codes[..rest.len()].copy_from_slice(rest);
        bytes[whole.len()] = byte(codes);
    }
}

/// The `weights` weights of a layer at a float level as they lie in `block`.
#[must_use]
pub(crate) fn float(block: &[u8], channels: usize, weights: usize, half: bool) -> FloatWeights<'_> {
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
pub(crate) fn int(block: &[u8], channels: usize, weights: usize, width: Width) -> IntWeights<'_> {
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::quant::quantize_weight;

    #[test]
    fn codes_stand_for_quantized_weights() {
        let mut rng = SmallRng::seed_from_u64(51);
        for i in 0..3000 {
            let width = Width::ALL[i % 3];
            let scale: f32 = rng.random_range(1e-4..2.0);
            let len = rng.random_range(0..=CHUNK_WORDS);
            // many of them half way between two steps
            let weights: Vec<f32> = (0..len)
                .map(|_| match rng.random_range(0..3) {
                    0 => scale * rng.random_range(-300..300) as f32 / 2.0,
                    1 => scale * rng.random_range(-3.0..3.0),
                    _ => rng.random_range(-1e9..1e9),
                })
                .collect();
            let mut bytes = vec![0xff; width.row_bytes(len) + 1];
            let mut row = Row {
                bytes: &mut bytes,
                at: 0,
                sum: 7,
            };
            let words: Vec<_> = weights.iter().map(|w| w.to_le_bytes()).collect();
            row.put(&words, scale, width);
            let (at, sum) = (row.at, row.sum);
            assert_eq!((at, bytes[at]), (width.row_bytes(len), 0xff));
            let want = |w: &f32| quantize_weight(*w, scale, width);
            for (i, w) in weights.iter().enumerate() {
                assert_eq!(
                    crate::arch::portable::weight(&bytes, i, width),
                    want(w),
                    "{w} {scale} {width:?}"
                );
            }
            assert_eq!(
                sum,
                7 + weights.iter().map(|w| i32::from(want(w))).sum::<i32>()
            );
        }
    }
}
