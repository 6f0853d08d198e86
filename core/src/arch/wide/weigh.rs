//! Weights rearranged for vectors of channels.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use core::ops::Range;

use super::strips::{LANES, Segments, Strips, TAPS, WEIGHT_BYTES};
use super::unpack::unpack;
use super::{Buffer, Isa, Task, transpose};
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
        let Segments { count, len } = self.shape;
        let words = count * self.shape.words(I::TAPS);
        let vectors = self.channels.len().div_ceil(I::LANES);
        let vector_len = words * I::LANES * I::TAPS;
        let weights = self.weights.reset(vectors * vector_len, I::weight(0));
        // words that lie in a row as they do in a vector are copied, four channels at a time
        let copied = if size_of::<I::Weight>() == 1 && self.rows.width == Width::Int8 {
            self.channels.len() / 4 * 4
        } else {
            0
        };
        for i in (0..copied).step_by(4) {
            let rows = core::array::from_fn(|channel| {
                self.rows
                    .row(self.channels.start + i + channel, count * len)
            });
            let vector = &mut weights[i / I::LANES * vector_len..][..vector_len];
            let vector: &mut [u8] = bytemuck::cast_slice_mut(vector);
            for segment in 0..count {
                let first = segment * self.shape.words(I::TAPS);
                let to = &mut vector[(first * I::LANES + i % I::LANES) * TAPS..];
                copy_words(rows.map(|row| &row[segment * len..][..len]), to, I::LANES);
            }
        }
        for (i, channel) in self.channels.enumerate().skip(copied) {
            let vector = &mut weights[i / I::LANES * vector_len..][..vector_len];
            let row = self.rows.row(channel, count * len);
            for segment in 0..count {
                let first = segment * self.shape.words(I::TAPS);
                let mut block = [0_i8; BLOCK];
                for from in (0..len).step_by(BLOCK) {
                    let block = &mut block[..BLOCK.min(len - from)];
                    unpack_from(row, self.rows.width, segment * len + from, block);
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
        if I::OFFSET == 0 {
            return;
        }
        // what the inputs are too large by, in a few sums that do not wait for each other
        const SUMS: usize = 4;
        let origin = [I::input(0); TAPS];
        let mut lanes = [0; LANES];
        for (vector, bias) in self.bias.chunks_mut(I::LANES).take(vectors).enumerate() {
            let weights = &weights[vector * vector_len..][..vector_len];
            // SAFETY: the origin is a word, the weights are whole vectors, there are the most lanes
            unsafe {
                let origin = I::splat(origin.as_ptr());
                let mut sums = [I::load([0; LANES].as_ptr()); SUMS];
                for weights in weights.chunks(SUMS * I::LANES * I::TAPS) {
                    for (words, sum) in weights.chunks(I::LANES * I::TAPS).zip(&mut sums) {
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
}

/// Copies four channels' words of weights side by side, `pitch` words from one to the next, and what is
/// left at the end.
#[inline(always)]
fn copy_words(rows: [&[u8]; 4], to: &mut [u8], pitch: usize) {
    const WORDS: usize = 4;
    let pitch = pitch * TAPS;
    let blocks = rows.map(|row| row.as_chunks::<{ WORDS * TAPS }>().0);
    let len = blocks[0].len();
    assert!(blocks.iter().all(|blocks| blocks.len() == len));
    assert!(len == 0 || (len * WORDS - 1) * pitch + 4 * TAPS <= to.len());
    for i in 0..len {
        // SAFETY: so many blocks of each row and so many columns, as was checked
        unsafe {
            let block = blocks.map(|blocks| blocks.get_unchecked(i));
            let to = to.as_mut_ptr().add(i * WORDS * pitch);
            for (word, column) in transpose(block).into_iter().enumerate() {
                to.add(word * pitch).cast::<[u8; 4 * TAPS]>().write(column);
            }
        }
    }
    let mut rest = rows.map(|row| row[len * WORDS * TAPS..].chunks(TAPS));
    for to in to.chunks_mut(pitch).skip(len * WORDS).take(rest[0].len()) {
        for (words, to) in rest.iter_mut().zip(to.chunks_mut(TAPS)) {
            let word = words.next().unwrap_or(&[]);
            to[..word.len()].copy_from_slice(word);
        }
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
