//! Weights rearranged for vectors of channels.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use core::mem::MaybeUninit;
use core::ops::Range;

use super::strips::{LANES, Segments, Strips, TAPS, WEIGHT_BYTES};
use super::unpack::unpack;
use super::{Buffer, Isa, Task, end};
use crate::arch::scalar::Rows;
use crate::level::Width;

/// Rearranges weights: by vector of channels, segment, word, channel and tap.
pub(super) struct Weigh<'a, 'r> {
    pub(super) rows: &'a Rows<'r>,
    pub(super) channels: Range<usize>,
    pub(super) shape: Segments,
    pub(super) weights: &'a mut Buffer<WEIGHT_BYTES>,
    pub(super) bias: &'a mut [i32; Strips::CHANNELS],
}

impl Task for Weigh<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let words = self.shape.count.saturating_mul(self.shape.words(I::TAPS));
        let vectors = self.channels.len().div_ceil(I::LANES);
        let vector_len = words.saturating_mul(I::LANES * I::TAPS);
        let len = vectors.saturating_mul(vector_len);
        if size_of::<I::Weight>() != 1 {
            let weights = self.weights.reset(len, I::weight(0));
            return widen::<I>(self.rows, self.channels, self.shape, weights, vector_len);
        }
        // words of one byte each, as the inputs' are
        const { assert!(size_of::<I::Weight>() != 1 || I::TAPS == TAPS) };
        let mut to = self.weights.room(len / I::TAPS);
        for (first, bias) in
            (self.channels.clone().step_by(I::LANES)).zip(self.bias.chunks_mut(I::LANES))
        {
            let channels = first..self.channels.end.min(first + I::LANES);
            let (vector, rest) = to.split_at_mut(words * I::LANES);
            // SAFETY: called by a task
            unsafe { copy::<I>(self.rows, channels, self.shape, vector, bias) };
            to = rest;
        }
        // SAFETY: each vector of channels was copied
        unsafe { self.weights.written(len) };
    }
}

/// Rearranges weights tap by tap.
#[inline(always)]
fn widen<I: Isa>(
    rows: &Rows<'_>,
    channels: Range<usize>,
    shape: Segments,
    weights: &mut [I::Weight],
    vector_len: usize,
) {
    let Segments { count, len } = shape;
    for (i, channel) in channels.enumerate() {
        let vector = &mut weights[i / I::LANES * vector_len..][..vector_len];
        let row = rows.row(channel, count * len);
        for segment in 0..count {
            let first = segment * shape.words(I::TAPS);
            let mut block = [0_i8; BLOCK];
            for from in (0..len).step_by(BLOCK) {
                let block = &mut block[..BLOCK.min(len - from)];
                unpack_from(row, rows.width, segment * len + from, block);
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

/// Writes the words of a vector's rows side by side; behind a segment's taps, and in lanes without a
/// channel, are zeros. Subtracts from the biases what the inputs are too large by, times the weights.
///
/// # Safety
/// Called by a task.
#[inline(always)]
unsafe fn copy<I: Isa>(
    rows: &Rows<'_>,
    channels: Range<usize>,
    shape: Segments,
    to: &mut [MaybeUninit<i32>],
    bias: &mut [i32],
) {
    let Segments { count, len } = shape;
    let words = len.div_ceil(TAPS);
    let mut to = to.chunks_exact_mut(I::LANES);
    let origin = [I::input(0); TAPS];
    // SAFETY: the origin is a word; there are the most lanes
    let (origin, mut sums) = unsafe {
        (
            I::splat(origin.as_ptr()),
            [I::load([0; LANES].as_ptr()); WORDS],
        )
    };
    for segment in 0..count {
        for word in (0..words).step_by(WORDS) {
            let at = segment * len + word * TAPS;
            let bytes = BYTES.min(len - word * TAPS);
            let whole = bytes == BYTES && channels.len() == I::LANES;
            let vectors = if whole && rows.width == Width::Int8 {
                let first = &rows.bytes[end(at, [(channels.start, rows.pitch)])..];
                let end = end(BYTES, [(I::LANES - 1, rows.pitch)]);
                assert!(end <= first.len(), "rows of weights end early");
                // SAFETY: each row has as many bytes, as was checked
                unsafe { I::columns(first.as_ptr(), rows.pitch) }
            } else {
                let mut block = [[0_i8; BYTES]; LANES];
                for (block, channel) in block.iter_mut().zip(channels.clone()) {
                    let row = rows.row(channel, count * len);
                    unpack_from(row, rows.width, at, &mut block[..bytes]);
                }
                // SAFETY: the most rows of so many bytes
                unsafe { I::columns(block.as_ptr().cast(), BYTES) }
            };
            for (i, vector) in vectors.into_iter().enumerate().take(words - word) {
                // the last of a task's chunks is whole
                let Some(to) = to.next() else { return };
                // SAFETY: a chunk has as many lanes
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
        // SAFETY: there are the most lanes
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
