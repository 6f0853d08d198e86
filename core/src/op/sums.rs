//! The integer sums of layers with weights, block by block in fixed memory.

use core::ops::Range;

use crate::arch::im2col::{Im2col, Rows};
use crate::arch::pixels::Pixels;
use crate::arch::{Int, IntKernels};
use crate::op::memory::{CHANNELS, KernelMemory};
use crate::op::weights::{IntOutput, IntWeights};

/// A layer's sums on their way into its output.
pub(crate) struct Sums<'a, 'w, 'o, 'm> {
    pub(crate) weights: &'a IntWeights<'a>,
    pub(crate) output: &'a mut IntOutput<'w, 'o>,
    pub(crate) memory: &'a mut KernelMemory<'m>,
}

impl Sums<'_, '_, '_, '_> {
    /// Sums up and stores `pixels` from `pixel` on, in some channels: `len` products each. `gather(taps, i)`
    /// gives all taps of the i-th pixel in order.
    pub(crate) fn run(
        &mut self,
        pixel: usize,
        pixels: Pixels,
        channels: Range<usize>,
        len: usize,
        gather: impl Fn(&mut Taps<'_>, usize),
    ) {
        let Rows {
            width,
            bytes,
            pitch,
        } = self.weights.rows;
        let KernelMemory { im2col, sums, .. } = &mut *self.memory;
        let capacity = <Int as IntKernels>::Im2col::capacity(pixels);
        // the taps that the buffer holds
        let mut held = 0..0;
        for first in channels.clone().step_by(CHANNELS) {
            let block = first..channels.end.min(first + CHANNELS);
            let sums = &mut sums[..block.len() * pixels.count()];
            let biases = &self.weights.bias[block];
            if pixels == Pixels::One {
                sums.copy_from_slice(biases);
            } else {
                let all = sums.as_chunks_mut::<{ Pixels::MOST }>().0;
                for (sums, bias) in all.iter_mut().zip(biases) {
                    *sums = [*bias; _];
                }
            }
            for from in (0..len).step_by(capacity) {
                let wanted = from..len.min(from + capacity);
                if held != wanted {
                    im2col.begin(pixels);
                    for pixel in 0..pixels.count() {
                        let mut taps = Taps {
                            im2col,
                            pixel,
                            wanted: wanted.clone(),
                            at: 0,
                        };
                        gather(&mut taps, pixel);
                    }
                    im2col.seal(wanted.len(), width);
                    held = wanted.clone();
                }
                let rows = Rows {
                    width,
                    bytes: &bytes[first * pitch + width.row_bytes(from)..],
                    pitch,
                };
                im2col.dots(wanted.len(), &rows, sums);
            }
            self.output.put(pixel, pixels, first, sums);
        }
    }
}

/// The taps of one pixel on their way into the im2col buffer, which takes some of them.
pub(crate) struct Taps<'a> {
    im2col: &'a mut <Int as IntKernels>::Im2col,
    pixel: usize,
    wanted: Range<usize>,
    at: usize,
}

impl Taps<'_> {
    /// The next taps.
    #[inline]
    pub(crate) fn put(&mut self, from: &[i8]) {
        if let Some((at, taken)) = self.take(from.len()) {
            self.im2col.put(self.pixel, at, &from[taken]);
        }
    }

    /// All taps: `rows` runs of `run` inputs, which begin `pitch` inputs apart.
    #[inline]
    pub(crate) fn put_rows(&mut self, from: &[i8], rows: usize, run: usize, pitch: usize) {
        if self.wanted == (0..rows * run) {
            self.im2col.put_rows(self.pixel, from, rows, run, pitch);
        } else {
            (0..rows).for_each(|row| self.put(&from[row * pitch..][..run]));
        }
    }

    /// The next `len` taps are all `value`.
    #[inline]
    pub(crate) fn fill(&mut self, len: usize, value: i8) {
        if let Some((at, taken)) = self.take(len) {
            self.im2col.fill(self.pixel, at, taken.len(), value);
        }
    }

    /// Position in the buffer of the wanted ones of the next `len` taps, and their range among these.
    #[inline]
    fn take(&mut self, len: usize) -> Option<(usize, Range<usize>)> {
        if len == 0 {
            return None;
        }
        let inside = |at: usize| at.saturating_sub(self.at).min(len);
        let taken = inside(self.wanted.start)..inside(self.wanted.end);
        let at = (self.at + taken.start).wrapping_sub(self.wanted.start);
        self.at += len;
        (!taken.is_empty()).then_some((at, taken))
    }
}
