//! The sums of strips: tiles of pixels and vectors of channels in registers.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use super::strips::{Segments, Strip, Strips};
use super::{Isa, Task};

/// The sums of a strip.
pub(super) struct Sums<'a> {
    pub(super) inputs: &'a [u8],
    pub(super) weights: &'a [u8],
    pub(super) bias: &'a [i32; Strips::CHANNELS],
    pub(super) shape: Segments,
    pub(super) channels: usize,
    pub(super) strip: Strip,
    pub(super) sums: &'a mut [i32],
    /// From the sums of a pixel to those of the next.
    pub(super) pitch: usize,
}

impl Task for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self {
            bias,
            shape,
            channels,
            strip,
            sums,
            pitch,
            ..
        } = self;
        let inputs: &[I::Input] = bytemuck::cast_slice(self.inputs);
        let weights: &[I::Weight] = bytemuck::cast_slice(self.weights);
        let words = shape.words(I::TAPS);
        let vectors = channels.div_ceil(I::LANES);
        let vector_len = shape.count * words * I::LANES * I::TAPS;
        let Some(last) = strip.pixels.checked_sub(1) else {
            return;
        };
        let end = strip.at
            + last * strip.step
            + shape.count.saturating_sub(1) * strip.pitch
            + words * I::TAPS;
        assert!(end <= inputs.len(), "inputs for all taps");
        assert!(vectors * vector_len <= weights.len() && vectors * I::LANES <= bias.len());
        assert!(vectors * I::LANES <= pitch && strip.pixels * pitch <= sums.len());
        let job = Job::<I> {
            inputs: inputs.as_ptr(),
            step: strip.step,
            pitch: strip.pitch,
            segments: shape.count,
            words,
            weights: weights.as_ptr(),
            vector_len,
            bias: bias.as_ptr(),
            sums: sums.as_mut_ptr(),
            sums_pitch: pitch,
        };
        let mut vector = 0;
        while vector < vectors {
            // SAFETY: the inputs up to `end`, the vectors' weights and biases and the pixels' sums are
            // there, as was checked
            unsafe {
                let job = job.vectors_from(vector);
                if vectors - vector > 1 {
                    job.pixels::<2>(strip.at, strip.pixels);
                    vector += 2;
                } else {
                    job.pixels::<1>(strip.at, strip.pixels);
                    vector += 1;
                }
            }
        }
    }
}

/// What the innermost loops work on.
#[derive(Clone, Copy)]
struct Job<I: Isa> {
    inputs: *const I::Input,
    step: usize,
    pitch: usize,
    segments: usize,
    words: usize,
    weights: *const I::Weight,
    vector_len: usize,
    bias: *const i32,
    sums: *mut i32,
    sums_pitch: usize,
}

impl<I: Isa> Job<I> {
    /// # Safety
    /// There are so many vectors of channels.
    #[inline(always)]
    unsafe fn vectors_from(mut self, vector: usize) -> Self {
        // SAFETY: inside the weights, biases and sums
        unsafe {
            self.weights = self.weights.add(vector * self.vector_len);
            self.bias = self.bias.add(vector * I::LANES);
            self.sums = self.sums.add(vector * I::LANES);
        }
        self
    }

    /// # Safety
    /// The pixels' inputs and sums and two vectors' weights are there; called by a task.
    #[inline(always)]
    unsafe fn pixels<const VECTORS: usize>(self, at: usize, pixels: usize) {
        let mut pixel = 0;
        // SAFETY: as this function's
        unsafe {
            while pixels - pixel >= I::PIXELS {
                match I::PIXELS {
                    8 => self.tile::<8, VECTORS>(at, pixel),
                    _ => self.tile::<4, VECTORS>(at, pixel),
                }
                pixel += I::PIXELS.clamp(4, 8);
            }
            if I::PIXELS > 4 && pixels - pixel >= 4 {
                self.tile::<4, VECTORS>(at, pixel);
                pixel += 4;
            }
            while pixel < pixels {
                self.tile::<1, VECTORS>(at, pixel);
                pixel += 1;
            }
        }
    }

    /// # Safety
    /// As [`Self::pixels`]', of so many pixels.
    #[inline(always)]
    unsafe fn tile<const PIXELS: usize, const VECTORS: usize>(self, at: usize, pixel: usize) {
        // SAFETY: as this function's
        unsafe {
            let bias: [_; VECTORS] = core::array::from_fn(|v| I::load(self.bias.add(v * I::LANES)));
            let mut sums = [bias; PIXELS];
            let mut segment = self.inputs.add(at + pixel * self.step);
            let mut weights = self.weights;
            for _ in 0..self.segments {
                let mut inputs = segment;
                for _ in 0..self.words {
                    let words: [_; VECTORS] =
                        core::array::from_fn(|v| I::words(weights.add(v * self.vector_len)));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let input = I::splat(inputs.add(p * self.step));
                        for (sum, words) in sums.iter_mut().zip(words) {
                            *sum = I::dot(*sum, input, words);
                        }
                    }
                    inputs = inputs.add(I::TAPS);
                    weights = weights.add(I::LANES * I::TAPS);
                }
                segment = segment.wrapping_add(self.pitch);
            }
            for (p, sums) in sums.into_iter().enumerate() {
                let to = self.sums.add((pixel + p) * self.sums_pitch);
                for (v, sum) in sums.into_iter().enumerate() {
                    I::store(to.add(v * I::LANES), sum);
                }
            }
        }
    }
}
