//! Blocks: one layer's weights at one level, exactly as the kernels read them. The host makes them; an
//! image holds them ready to run, in one layout for all instruction sets.
//!
//! | level | a block, in this order, each part padded to four bytes by zeros |
//! |---|---|
//! | `fp32` | bias `f32[O]`, weights `f32[O, …]` |
//! | `fp16` | bias `f32[O]`, weights binary16 `[O, …]` |
//! | `int8` | bias `i32[O]`, multiplier `i32[O]`, shift `u8[O]`, weights `i8[O, …]` |
//! | `int4` | the same, weights two in a byte, the first in the low bits; a channel begins at a byte |
//! | `int2` | the same, weights four in a byte; the two's complement of (w − 1) / 2 |
//!
//! All of it is little-endian, as the processors are that run it where it lies. The bias of integer weights
//! is in units of input scale · weight scale and has the input's zero point folded in; multiplier and shift
//! are those of input scale · weight scale / output scale ([`Requant::from_real`]). Because a tensor has one
//! INT8 map whoever reads it, a block depends on the level of its own layer alone, and levels of one
//! [`WeightFormat`] share it.

use bytemuck::cast_slice;
use embedded_storage::nor_flash::ReadNorFlash;
use half::f16;

use crate::arch::im2col::Rows;
use crate::level::WeightFormat;
use crate::op::weights::{FloatRows, FloatWeights, IntWeights};
use crate::quant::{Requant, Width};
use crate::storage::stream;

#[cfg(target_endian = "big")]
compile_error!("blocks of weights are little-endian and run where they lie");

/// The alignment in bytes of every block: that of its widest element.
pub const BLOCK_ALIGN: usize = 4;

/// The bytes of a block of `weights` weights in `channels` output channels.
#[must_use]
pub const fn bytes(format: WeightFormat, weights: u64, channels: u16) -> u64 {
    let rows = channels as u64;
    match format {
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

/// A block in a storage, to be checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unchecked {
    /// Where it begins.
    pub(crate) at: u32,
    /// Output channels.
    pub(crate) channels: usize,
    /// Weights, without biases.
    pub(crate) weights: usize,
}

impl Unchecked {
    /// Checks that the kernels can run this block: reals are finite, accumulators stay within 32 bits
    /// whatever the input, factors are normalized, weights are in the range of their width and padding is
    /// zero. Gives the offset of the first word that is not so.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) fn unsound_word<S: ReadNorFlash>(
        &self,
        format: WeightFormat,
        storage: &mut S,
    ) -> Result<Option<u32>, S::Error> {
        let biases = 4 * self.channels as u32;
        match format {
            WeightFormat::F32 => {
                let all = biases + 4 * self.weights as u32;
                self.find(storage, 0..all, &|_, word| {
                    !f32::from_le_bytes(word).is_finite()
                })
            }
            WeightFormat::F16 => {
                let is_bad = |_, word| !f32::from_le_bytes(word).is_finite();
                if let Some(at) = self.find(storage, 0..biases, &is_bad)? {
                    return Ok(Some(at));
                }
                let all = biases + 2 * self.weights.next_multiple_of(2) as u32;
                self.find(storage, biases..all, &|at, [a, b, c, d]| {
                    let halves = [[a, b], [c, d]].map(f16::from_le_bytes);
                    let first = (at - biases) as usize / 2;
                    let is_padding = first + 1 == self.weights;
                    !halves.iter().all(|half| half.is_finite()) || is_padding && [c, d] != [0; 2]
                })
            }
            WeightFormat::Int(width) => self.unsound_integer(width, storage),
        }
    }

    fn unsound_integer<S: ReadNorFlash>(
        &self,
        width: Width,
        storage: &mut S,
    ) -> Result<Option<u32>, S::Error> {
        let len = self.weights / self.channels;
        let most = i64::from(i32::MAX) - 128 * i64::from(width.max()) * len as i64;
        let [multipliers, shifts] = [4, 8].map(|bytes| bytes * self.channels as u32);
        let rows = shifts + self.channels.next_multiple_of(4) as u32;
        let is_far = |_, word| i64::from(i32::from_le_bytes(word)).abs() > most;
        if let Some(at) = self.find(storage, 0..multipliers, &is_far)? {
            return Ok(Some(at));
        }
        for first in (0..self.channels).step_by(4) {
            let (at, count) = (shifts + first as u32, 4.min(self.channels - first));
            let (mut shift, mut multiplier) = ([0; 4], [0; 16]);
            storage.read(self.at + at, &mut shift)?;
            let multiplier = &mut multiplier[..4 * count];
            storage.read(self.at + multipliers + 4 * first as u32, multiplier)?;
            let factors = multiplier.as_chunks().0.iter().zip(shift);
            let mut factors = factors.map(|(multiplier, shift)| Requant {
                multiplier: i32::from_le_bytes(*multiplier),
                shift,
            });
            let is_padded = shift[count..].iter().all(|byte| *byte == 0);
            if !is_padded || !factors.all(|factor| factor.is_normalized()) {
                return Ok(Some(at));
            }
        }
        let row_bytes = width.row_bytes(len);
        let end = row_bytes * self.channels;
        // bits of the last byte of a row that stand for no weight
        let unused = 8 * row_bytes as u32 - width.bits() * len as u32;
        let is_unsound = |at: usize, byte: u8| {
            let is_last = || at % row_bytes == row_bytes - 1;
            at >= end && byte != 0
                || unused > 0 && at < end && u32::from(byte) >> (8 - unused) != 0 && is_last()
                || width.has_lowest(byte)
        };
        let all = rows + end.next_multiple_of(4) as u32;
        self.find(storage, rows..all, &|at, word: [u8; 4]| {
            let first = (at - rows) as usize;
            let mut bytes = word.into_iter().enumerate();
            bytes.any(|(i, byte)| is_unsound(first + i, byte))
        })
    }

    /// The first word in `range` of the block for which `is_bad`, given its offset, holds.
    fn find<S: ReadNorFlash>(
        &self,
        storage: &mut S,
        range: core::ops::Range<u32>,
        is_bad: &dyn Fn(u32, [u8; 4]) -> bool,
    ) -> Result<Option<u32>, S::Error> {
        let (mut at, mut found) = (range.start, None);
        let [start, end] = [range.start, range.end].map(|offset| self.at + offset);
        stream(storage, start, end, &mut |bytes| {
            for word in bytes.as_chunks().0 {
                if found.is_none() && is_bad(at, *word) {
                    found = Some(at);
                }
                at += 4;
            }
        })?;
        Ok(found)
    }
}

/// The `weights` weights of a layer at a float level, whose block begins at `block`.
#[must_use]
pub(crate) fn float(block: &[u8], channels: usize, weights: usize, half: bool) -> FloatWeights<'_> {
    let (bias, weight) = block.split_at(4 * channels);
    let rows = if half {
        FloatRows::F16(cast_slice(&weight[..2 * weights]))
    } else {
        FloatRows::F32(cast_slice(&weight[..4 * weights]))
    };
    FloatWeights {
        bias: cast_slice(bias),
        rows,
    }
}

/// The `weights` weights of a layer at a level with integer weights, whose block begins at `block`.
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
