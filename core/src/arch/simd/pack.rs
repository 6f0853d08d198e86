//! Weights packed for vectors of channels.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use core::mem::MaybeUninit;
use core::ops::Range;

use super::buffer::Buffer;
use super::geometry::{CHANNELS, LANES, TAPS, WEIGHT_BYTES, end, words};
use super::isa::{Isa, Task};
use crate::arch::im2col::Rows;
use crate::arch::strips::KernelRows;
use crate::quant::Width;

/// Packs weights: by vector of channels, kernel row, word, channel and tap.
pub(super) struct Pack<'a, 'r> {
    pub(super) rows: &'a Rows<'r>,
    pub(super) channels: Range<usize>,
    pub(super) shape: KernelRows,
    pub(super) weights: &'a mut Buffer<WEIGHT_BYTES>,
    pub(super) bias: &'a mut [i32; CHANNELS],
}

impl Task for Pack<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let words = self.shape.count.saturating_mul(words(self.shape, I::TAPS));
        let vectors = self.channels.len().div_ceil(I::LANES);
        let vector_len = words.saturating_mul(I::LANES * I::TAPS);
        let len = vectors.saturating_mul(vector_len);
        if size_of::<I::Weight>() != 1 {
            let weights = self.weights.reset(len, I::weight(0));
            return widen::<I>(self.rows, self.channels, self.shape, weights, vector_len);
        }
        // `copy` writes words of four bytes
        const { assert!(size_of::<I::Weight>() != 1 || I::TAPS == TAPS) };
        let mut to = self.weights.room(len / I::TAPS);
        for (first, bias) in
            (self.channels.clone().step_by(I::LANES)).zip(self.bias.chunks_mut(I::LANES))
        {
            let channels = first..self.channels.end.min(first + I::LANES);
            let (vector, rest) = to.split_at_mut(words * I::LANES);
            // SAFETY: this function runs inside `Isa::run`, and the chunk has the words of one vector
            unsafe { copy::<I>(self.rows, channels, self.shape, vector, bias) };
            to = rest;
        }
        // SAFETY: the room is `vectors` chunks, and `copy` has written each of them as a whole
        unsafe { self.weights.written(len) };
    }
}

/// Packs weights tap by tap, for words that are not bytes.
#[inline(always)]
fn widen<I: Isa>(
    rows: &Rows<'_>,
    channels: Range<usize>,
    shape: KernelRows,
    weights: &mut [I::Weight],
    vector_len: usize,
) {
    let KernelRows { count, len } = shape;
    for (i, channel) in channels.enumerate() {
        let vector = &mut weights[i / I::LANES * vector_len..][..vector_len];
        let row = rows.row(channel, count * len);
        for kernel_row in 0..count {
            let first = kernel_row * words(shape, I::TAPS);
            let mut block = [0_i8; BLOCK];
            for from in (0..len).step_by(BLOCK) {
                let block = &mut block[..BLOCK.min(len - from)];
                unpack_from(row, rows.width, kernel_row * len + from, block);
                for (word, taps) in block.chunks(I::TAPS).enumerate() {
                    let word = first + from / I::TAPS + word;
                    let to = &mut vector[(word * I::LANES + i % I::LANES) * I::TAPS..];
                    to.iter_mut()
                        .zip(taps)
                        .for_each(|(to, tap)| *to = I::weight(*tap));
                }
            }
        }
    }
}

/// Writes the words of a vector's rows side by side, all of `to`; behind a kernel row's taps, and in lanes
/// without a channel, are zeros. Subtracts [`Isa::OFFSET`] times the weights from the biases.
///
/// # Safety
/// Called inside [`Isa::run`]; `to` has [`Isa::LANES`] words for each word of each kernel row.
#[inline(always)]
unsafe fn copy<I: Isa>(
    rows: &Rows<'_>,
    channels: Range<usize>,
    shape: KernelRows,
    to: &mut [MaybeUninit<i32>],
    bias: &mut [i32],
) {
    let KernelRows { count, len } = shape;
    let words = words(shape, TAPS);
    let mut to = to.chunks_exact_mut(I::LANES);
    let origin = [I::input(0); TAPS];
    // SAFETY: the origin has the taps of a word, and the array the most lanes
    let (origin, mut sums) = unsafe {
        (
            I::splat(origin.as_ptr()),
            [I::load([0; LANES].as_ptr()); WORDS],
        )
    };
    for kernel_row in 0..count {
        for word in (0..words).step_by(WORDS) {
            let at = kernel_row * len + word * TAPS;
            let bytes = BYTES.min(len - word * TAPS);
            let whole = bytes == BYTES && channels.len() == I::LANES;
            let vectors = if whole && rows.width == Width::Int8 {
                let first = &rows.bytes[end(at, [(channels.start, rows.pitch)])..];
                let end = end(BYTES, [(I::LANES - 1, rows.pitch)]);
                assert!(end <= first.len(), "rows of weights end early");
                // SAFETY: the last of the `LANES` rows was asserted to have `BYTES` bytes from here on, in
                // numbers that saturate, and so have those before it
                unsafe { I::columns(first.as_ptr(), rows.pitch) }
            } else {
                let mut block = [[0_i8; BYTES]; LANES];
                for (block, channel) in block.iter_mut().zip(channels.clone()) {
                    let row = rows.row(channel, count * len);
                    unpack_from(row, rows.width, at, &mut block[..bytes]);
                }
                // SAFETY: the block has the most rows, of `BYTES` bytes each
                unsafe { I::columns(block.as_ptr().cast(), BYTES) }
            };
            for (i, vector) in vectors.into_iter().enumerate().take(words - word) {
                let to = to.next().expect("a chunk for each word");
                // SAFETY: a chunk has `LANES` words, and the caller is inside `Isa::run`
                unsafe {
                    I::store(to.as_mut_ptr().cast(), vector);
                    if I::OFFSET != 0 {
                        sums[i] = I::dot(sums[i], origin, vector);
                    }
                }
            }
        }
    }
    let mut lanes = [0; LANES];
    for sum in sums {
        // SAFETY: the array has the most lanes, and the caller is inside `Isa::run`
        unsafe { I::store(lanes.as_mut_ptr(), sum) };
        for (bias, sum) in bias.iter_mut().zip(lanes) {
            *bias = bias.wrapping_sub(sum);
        }
    }
}

/// Words of a row that are copied at a time.
const WORDS: usize = 4;
const BYTES: usize = WORDS * TAPS;

/// Weights that are unpacked at a time, a multiple of all words and bytes.
const BLOCK: usize = 64;

/// Writes the weights from index `at` on of a packed row.
#[inline(always)]
fn unpack_from(row: &[u8], width: Width, at: usize, to: &mut [i8]) {
    let per_byte = 8 / width.bits() as usize;
    let lead = at % per_byte;
    let row = &row[at / per_byte..];
    if lead == 0 {
        unpack(row, width, to);
    } else {
        let mut led = [0; BLOCK + 4];
        let led = &mut led[..lead + to.len()];
        unpack(row, width, led);
        to.copy_from_slice(&led[lead..]);
    }
}

/// Writes the first weights of a packed row.
///
/// # Panics
/// When the row ends early.
pub(super) fn unpack(row: &[u8], width: Width, to: &mut [i8]) {
    match width {
        Width::Int8 => to.copy_from_slice(bytemuck::cast_slice(&row[..to.len()])),
        Width::Int4 => each::<2>(row, to, |byte, lane| {
            (byte << (4 - 4 * lane)).cast_signed() >> 4
        }),
        Width::Int2 => each::<4>(row, to, |byte, lane| {
            2 * ((byte << (6 - 2 * lane)).cast_signed() >> 6) + 1
        }),
    }
}

#[inline]
fn each<const PER_BYTE: usize>(row: &[u8], to: &mut [i8], weight: impl Fn(u8, usize) -> i8) {
    let row = &row[..to.len().div_ceil(PER_BYTE)];
    let (whole, rest) = to.as_chunks_mut::<PER_BYTE>();
    for (to, byte) in whole.iter_mut().zip(row) {
        (0..PER_BYTE).for_each(|lane| to[lane] = weight(*byte, lane));
    }
    for (lane, to) in rest.iter_mut().enumerate() {
        *to = weight(row[row.len() - 1], lane);
    }
}
