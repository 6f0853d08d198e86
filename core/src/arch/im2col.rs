//! The im2col buffer: the inputs under the windows of one output pixel or four, laid side by side as the taps
//! that a row of weights meets.

use super::pixels::Pixels;
use crate::quant::Width;

/// Taps of some pixels: [`begin`](Self::begin), write every tap once, those of a pixel in any order but after those of
/// the pixel before it, [`seal`](Self::seal), then [`dots`](Self::dots) with as many rows of weights as there are.
pub(crate) trait Im2col: Sized {
    /// An empty buffer.
    fn new() -> Self;

    /// Calls `test` with a buffer for each instruction set that the processor may turn out to have.
    #[cfg(test)]
    fn on_each(mut test: impl FnMut(Self)) {
        test(Self::new());
    }

    /// The most taps of each of `pixels`; a multiple of 16.
    fn capacity(pixels: Pixels) -> usize;

    /// Makes ready for the taps of `pixels`.
    fn begin(&mut self, pixels: Pixels);

    /// Writes inputs as the taps from `at` on of a pixel.
    ///
    /// # Panics
    /// Past the capacity.
    fn put(&mut self, pixel: usize, at: usize, from: &[i8]);

    /// Writes `rows` runs of `run` inputs, which begin `pitch` inputs apart, as the first taps of a pixel.
    ///
    /// # Panics
    /// Past the capacity, or when the inputs end early.
    #[inline(always)]
    fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize) {
        for row in 0..rows {
            self.put(pixel, row * run, &from[row.saturating_mul(pitch)..][..run]);
        }
    }

    /// Writes `value` as `len` taps from `at` on of a pixel.
    ///
    /// # Panics
    /// Past the capacity.
    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8);

    /// Ends the taps, of which 0..`len` were all written, for weights of this width.
    ///
    /// # Panics
    /// Past the capacity.
    fn seal(&mut self, len: usize, width: Width);

    /// Adds to `sums`, one for each pixel of each row of weights, the products of taps 0..`len` and
    /// weights; the taps were sealed for this length and width.
    ///
    /// # Panics
    /// Past the capacity, or when a row of weights ends early.
    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]);
}

/// Rows of integer weights, one for each output channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    /// Width of the packed weights.
    pub(crate) width: Width,
    /// From the first row's first weight to the last row's last.
    pub(crate) bytes: &'a [u8],
    /// From the beginning of a row to the next.
    pub(crate) pitch: usize,
}

impl<'a> Rows<'a> {
    /// The first `len` weights of a row.
    ///
    /// # Panics
    /// When they are not there.
    #[must_use]
    pub(crate) fn row(&self, channel: usize, len: usize) -> &'a [u8] {
        &self.bytes[channel.saturating_mul(self.pitch)..][..self.width.row_bytes(len)]
    }
}
