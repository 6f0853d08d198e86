//! Weights rearranged for vectors of channels.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use core::ops::Range;

use super::strips::{LANES, Segments, Strips, TAPS, WEIGHT_BYTES};
use super::unpack::unpack;
use super::{Buffer, Isa, Task};
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
        let words = self.shape.count * self.shape.words(I::TAPS);
        let vectors = self.channels.len().div_ceil(I::LANES);
        let vector_len = words * I::LANES * I::TAPS;
        let weights = self.weights.reset(vectors * vector_len, I::weight(0));
        // words that lie in a row as they do in a vector are copied
        if size_of::<I::Weight>() == 1 && self.rows.width == Width::Int8 {
            let vectors = weights.chunks_exact_mut(vector_len.max(1));
            for (weights, first) in vectors.zip(self.channels.clone().step_by(I::LANES)) {
                let channels = first..self.channels.end.min(first + I::LANES);
                let to = bytemuck::cast_slice_mut(weights);
                // SAFETY: called by a task
                unsafe { copy::<I>(self.rows, channels, self.shape, to) };
            }
        } else {
            widen::<I>(self.rows, self.channels, self.shape, weights, vector_len);
        }
        if I::OFFSET != 0 {
            // SAFETY: called by a task
            unsafe { correct::<I>(weights, vector_len, &mut self.bias[..vectors * I::LANES]) };
        }
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

/// Subtracts from biases what the inputs are too large by, times their weights.
///
/// # Safety
/// Called by a task.
#[inline(always)]
unsafe fn correct<I: Isa>(weights: &[I::Weight], vector_len: usize, bias: &mut [i32]) {
    // a few sums, which do not wait for each other
    const SUMS: usize = 4;
    let origin = [I::input(0); TAPS];
    let mut lanes = [0; LANES];
    let vectors = weights.chunks_exact(vector_len.max(1));
    for (weights, bias) in vectors.zip(bias.chunks_exact_mut(I::LANES)) {
        // SAFETY: the origin is a word, the weights are whole vectors, there are the most lanes
        unsafe {
            let origin = I::splat(origin.as_ptr());
            let mut sums = [I::load([0; LANES].as_ptr()); SUMS];
            for weights in weights.chunks(SUMS * I::LANES * I::TAPS) {
                for (words, sum) in weights.chunks_exact(I::LANES * I::TAPS).zip(&mut sums) {
                    *sum = I::dot(*sum, origin, I::words(words.as_ptr()));
                }
            }
            for sum in sums {
                I::store(lanes.as_mut_ptr(), sum);
                for (bias, sum) in bias.iter_mut().zip(lanes) {
                    *bias = bias.wrapping_sub(sum);
                }
            }
        }
    }
}

/// Copies the words of a vector's rows side by side; behind a segment's taps, and in lanes without a
/// channel, are zeros.
///
/// # Safety
/// Called by a task.
#[inline(always)]
unsafe fn copy<I: Isa>(rows: &Rows<'_>, channels: Range<usize>, shape: Segments, to: &mut [i32]) {
    let Segments { count, len } = shape;
    let mut to = to.chunks_exact_mut(I::LANES);
    let words = len.div_ceil(TAPS);
    for segment in 0..count {
        for word in (0..words).step_by(WORDS) {
            let at = segment * len + word * TAPS;
            let to = to.by_ref().take(WORDS.min(words - word));
            let bytes = BYTES.min(len - word * TAPS);
            if bytes == BYTES && channels.len() == I::LANES {
                let first = &rows.bytes[channels.start * rows.pitch + at..];
                assert!(first.len() >= (I::LANES - 1) * rows.pitch + BYTES);
                // SAFETY: each row has as many bytes, as was checked
                unsafe { put::<I>(first.as_ptr(), rows.pitch, to) };
                continue;
            }
            let mut block = [[0; BYTES]; LANES];
            for (block, channel) in block.iter_mut().zip(channels.clone()) {
                let row = rows.row(channel, count * len);
                block[..bytes].copy_from_slice(&row[at..at + bytes]);
            }
            // SAFETY: the most rows of so many bytes
            unsafe { put::<I>(block.as_ptr().cast(), BYTES, to) };
        }
    }
}

/// Words of a row that are copied at a time.
const WORDS: usize = 4;
const BYTES: usize = WORDS * TAPS;

/// Writes the words of rows as vectors.
///
/// # Safety
/// As [`Isa::columns`]'.
#[inline(always)]
unsafe fn put<'a, I: Isa>(rows: *const u8, pitch: usize, to: impl Iterator<Item = &'a mut [i32]>) {
    // SAFETY: as this function's
    let vectors = unsafe { I::columns(rows, pitch) };
    for (to, vector) in to.zip(vectors) {
        assert!(to.len() >= I::LANES, "a whole vector");
        // SAFETY: as was checked
        unsafe { I::store(to.as_mut_ptr(), vector) };
    }
}

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
