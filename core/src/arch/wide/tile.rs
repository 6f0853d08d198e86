//! The sums of strips: tiles of pixels and vectors of channels in registers.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use super::strips::{Grid, Segments, Strip, Strips};
use super::{Isa, Task, end};

/// Where the sums of tiles go.
///
/// # Safety
/// Where [`has_room`](Self::has_room) says so, [`put`](Self::put) writes nothing but what the sink has
/// borrowed, for each pixel before `pixels` and each vector that has one of the channels.
pub(super) unsafe trait Sink {
    /// Whether there is room for so many pixels' sums in so many channels.
    fn has_room<I: Isa>(&self, pixels: usize, channels: usize) -> bool;
    /// Takes the sums of a tile: its first pixel, and its first vector of channels.
    ///
    /// # Safety
    /// There is room for these pixels, and some channel in each vector; called by a task.
    unsafe fn put<I: Isa, const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        pixel: usize,
        vector: usize,
        sums: [[I::Vector; VECTORS]; PIXELS],
    );
}

/// Sums as they are.
pub(super) struct Plain<'a> {
    pub(super) to: &'a mut [i32],
    /// From the sums of a pixel to those of the next, room for whole vectors.
    pub(super) pitch: usize,
}

// SAFETY: the last vector of a pixel ends within the pixel's pitch, since all its vectors do, and the last
// pixel's pitch within the slice; the product saturates, and no slice is so long
unsafe impl Sink for Plain<'_> {
    fn has_room<I: Isa>(&self, pixels: usize, channels: usize) -> bool {
        let vectors = channels.div_ceil(I::LANES);
        vectors.saturating_mul(I::LANES) <= self.pitch
            && pixels.saturating_mul(self.pitch) <= self.to.len()
    }

    #[inline(always)]
    unsafe fn put<I: Isa, const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        pixel: usize,
        vector: usize,
        sums: [[I::Vector; VECTORS]; PIXELS],
    ) {
        for (p, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: a pixel's pitch is whole vectors, and there is room for the pixels
                unsafe {
                    let to = self.to.as_mut_ptr().add((pixel + p) * self.pitch);
                    I::store(to.add((vector + v) * I::LANES), sum);
                }
            }
        }
    }
}

/// The sums of a grid.
pub(super) struct Sums<'a, S> {
    pub(super) inputs: &'a [u8],
    pub(super) weights: &'a [u8],
    pub(super) bias: &'a [i32; Strips::CHANNELS],
    pub(super) shape: Segments,
    pub(super) channels: usize,
    pub(super) grid: Grid,
    pub(super) sink: S,
}

impl<S: Sink> Task for Sums<'_, S> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self {
            bias,
            shape,
            channels,
            grid,
            mut sink,
            ..
        } = self;
        let strip = grid.strip;
        let inputs: &[I::Input] = bytemuck::cast_slice(self.inputs);
        let weights: &[I::Weight] = bytemuck::cast_slice(self.weights);
        let words = shape.words(I::TAPS);
        let vectors = channels.div_ceil(I::LANES);
        let vector_len = shape
            .count
            .saturating_mul(words)
            .saturating_mul(I::LANES * I::TAPS);
        let (Some(last_row), Some(last)) = (grid.rows.checked_sub(1), strip.pixels.checked_sub(1))
        else {
            return;
        };
        let last_segment = shape.count.saturating_sub(1);
        let steps = [
            (last_row, grid.step),
            (last, strip.step),
            (last_segment, strip.pitch),
            (words, I::TAPS),
        ];
        assert!(end(strip.at, steps) <= inputs.len(), "inputs for all taps");
        assert!(
            vectors.saturating_mul(vector_len) <= weights.len(),
            "weights of all channels"
        );
        assert!(
            vectors.saturating_mul(I::LANES) <= bias.len(),
            "biases of all channels"
        );
        assert!(
            sink.has_room::<I>(grid.rows.saturating_mul(strip.pixels), channels),
            "room for all sums"
        );
        let mut job = Job::<I, S> {
            inputs: inputs.as_ptr(),
            grid,
            segments: shape.count,
            words,
            weights: weights.as_ptr(),
            vector_len,
            bias: bias.as_ptr(),
            sink: &mut sink,
        };
        let mut vector = 0;
        while vector < vectors {
            // SAFETY: the inputs up to `end`, the vectors' weights and biases and the pixels' room are
            // there, as was checked
            unsafe {
                if vectors - vector > 1 {
                    job.pixels::<2>(vector);
                    vector += 2;
                } else {
                    job.pixels::<1>(vector);
                    vector += 1;
                }
            }
        }
    }
}

/// What the innermost loops work on.
struct Job<'s, I: Isa, S> {
    inputs: *const I::Input,
    grid: Grid,
    segments: usize,
    words: usize,
    weights: *const I::Weight,
    vector_len: usize,
    bias: *const i32,
    sink: &'s mut S,
}

impl<I: Isa, S: Sink> Job<'_, I, S> {
    /// # Safety
    /// The pixels' inputs and the vectors' weights, biases and room are there; called by a task.
    #[inline(always)]
    unsafe fn pixels<const VECTORS: usize>(&mut self, vector: usize) {
        // sums that fit the registers
        let most = I::PIXELS * 2 / VECTORS;
        for row in 0..self.grid.rows {
            // SAFETY: as this function's
            unsafe {
                let next = self.tiles::<16, VECTORS>([row, 0], vector, most);
                let next = self.tiles::<8, VECTORS>([row, next], vector, most);
                let next = self.tiles::<4, VECTORS>([row, next], vector, most);
                self.tiles::<1, VECTORS>([row, next], vector, most);
            }
        }
    }

    /// As many tiles of so many pixels, if no more than `most`, as there are from a pixel of a row on; gives
    /// the next one.
    ///
    /// # Safety
    /// As [`Self::pixels`]'.
    #[inline(always)]
    unsafe fn tiles<const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        [row, mut pixel]: [usize; 2],
        vector: usize,
        most: usize,
    ) -> usize {
        while PIXELS <= most && self.grid.strip.pixels - pixel >= PIXELS {
            // SAFETY: as this function's
            unsafe { self.tile::<PIXELS, VECTORS>([row, pixel], vector) };
            pixel += PIXELS;
        }
        pixel
    }

    /// # Safety
    /// As [`Self::pixels`]', of so many pixels.
    #[inline(always)]
    unsafe fn tile<const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        [row, pixel]: [usize; 2],
        vector: usize,
    ) {
        let Grid { strip, .. } = self.grid;
        let Strip { pitch, step, .. } = strip;
        let first = strip.at + row * self.grid.step + pixel * step;
        // SAFETY: as this function's
        unsafe {
            let bias = self.bias.add(vector * I::LANES);
            let bias: [_; VECTORS] = core::array::from_fn(|v| I::load(bias.add(v * I::LANES)));
            let mut sums = [bias; PIXELS];
            let mut segment = self.inputs.add(first);
            let mut weights = self.weights.add(vector * self.vector_len);
            for _ in 0..self.segments {
                let mut inputs = segment;
                for _ in 0..self.words {
                    let words: [_; VECTORS] =
                        core::array::from_fn(|v| I::words(weights.add(v * self.vector_len)));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let input = I::splat(inputs.add(p * step));
                        for (sum, words) in sums.iter_mut().zip(words) {
                            *sum = I::dot(*sum, input, words);
                        }
                    }
                    inputs = inputs.add(I::TAPS);
                    weights = weights.add(I::LANES * I::TAPS);
                }
                segment = segment.wrapping_add(pitch);
            }
            let pixel = row * strip.pixels + pixel;
            self.sink.put::<I, PIXELS, VECTORS>(pixel, vector, sums);
        }
    }
}
