//! Strips of real inputs against weights of many channels, in the order of additions of
//! [`scalar::dots_f32`](crate::arch::scalar::dots_f32), of which each run of taps is one: a vector's lanes
//! are channels, and the pixels of a strip share each load of weights.

#![expect(unsafe_code, reason = "loads from checked pointers")]

use core::array::from_fn;
use core::ops::Range;

use bytemuck::cast;

use super::strips::{Segments, Strip};
use super::{Buffer, Isa, Path, Task, end, transpose};

/// Bytes of weights.
const WEIGHT_BYTES: usize = 128 << 10;
/// The sums that a run of taps is added up in.
const RUN_SUMS: usize = 8;

/// Rearranged weights. Each sum is over some segments, as those of [`Strips`](super::Strips).
#[derive(Clone, Debug)]
pub struct FloatStrips {
    path: Path,
    weights: Buffer<WEIGHT_BYTES>,
    bias: [f32; Self::CHANNELS],
    sums: Buffer<{ Self::CHANNELS * Strip::PIXELS * size_of::<f32>() }>,
    shape: Segments,
    channels: usize,
}

impl Default for FloatStrips {
    fn default() -> Self {
        Self::new()
    }
}

impl FloatStrips {
    /// The most channels.
    pub const CHANNELS: usize = 64;

    /// Room for weights.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Path::best())
    }

    /// The same, to go this way.
    #[must_use]
    pub const fn on(path: Path) -> Self {
        Self {
            path,
            weights: Buffer::new(),
            bias: [0.0; _],
            sums: Buffer::new(),
            shape: Segments { count: 0, len: 0 },
            channels: 0,
        }
    }

    /// For how many channels the weights have room, at most [`Self::CHANNELS`].
    #[must_use]
    pub fn room(&self, shape: Segments) -> usize {
        let lanes = self.path.lanes();
        let taps = shape.count.saturating_mul(shape.len);
        let channel = taps.saturating_mul(size_of::<f32>());
        if channel == 0 {
            return 0;
        }
        (WEIGHT_BYTES / channel / lanes * lanes).min(Self::CHANNELS)
    }

    /// Takes the biases and weights of some channels, [`room`](Self::room) at most: rows of weights, of
    /// the first segment first, which `real` makes real numbers of.
    ///
    /// # Panics
    /// When there is no room, or a row ends early.
    pub fn weigh<T: Copy>(
        &mut self,
        bias: &[f32],
        rows: &[T],
        shape: Segments,
        real: impl Fn(T) -> f32,
    ) {
        let channels = bias.len();
        assert!(channels <= self.room(shape), "room for the weights");
        self.shape = shape;
        self.channels = channels;
        self.bias[..channels].copy_from_slice(bias);
        self.path.run(Weigh {
            rows,
            channels,
            taps: shape.count.saturating_mul(shape.len),
            weights: &mut self.weights,
            real,
        });
    }

    /// From the sums of a pixel to those of the next.
    #[must_use]
    pub fn pitch(&self) -> usize {
        self.channels.next_multiple_of(self.path.lanes())
    }

    /// The sums of a strip over some of the segments and some taps of each, biases included: pixel by
    /// pixel, [`pitch`](Self::pitch) apart. The strip begins at the first of these inputs.
    ///
    /// # Panics
    /// When there are more pixels than [`Strip::PIXELS`], there are not so many segments or taps, or the
    /// inputs end early.
    pub fn sums(
        &mut self,
        inputs: &[f32],
        strip: Strip,
        segments: Range<usize>,
        taps: Range<usize>,
    ) -> &[f32] {
        let within = |range: &Range<usize>, len| range.start <= range.end && range.end <= len;
        assert!(
            within(&segments, self.shape.count) && within(&taps, self.shape.len),
            "segments and taps of the weights"
        );
        let pitch = self.pitch();
        let len = strip.pixels.saturating_mul(pitch * size_of::<f32>());
        let sums = self.sums.grow(len);
        let sums = bytemuck::cast_slice_mut(sums);
        self.path.run(Sums {
            inputs,
            weights: bytemuck::cast_slice(self.weights.bytes()),
            bias: &self.bias,
            shape: self.shape,
            strip,
            segments,
            taps,
            sums,
            pitch,
        });
        sums
    }
}

/// Rearranges weights: by vector of channels, tap and channel.
struct Weigh<'a, T, F> {
    rows: &'a [T],
    channels: usize,
    taps: usize,
    weights: &'a mut Buffer<WEIGHT_BYTES>,
    real: F,
}

impl<T: Copy, F: Fn(T) -> f32> Task for Weigh<'_, T, F> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        const BLOCK: usize = 4;
        let Self {
            rows, taps, real, ..
        } = self;
        let vector_len = taps.saturating_mul(I::LANES);
        let vectors = self.channels.div_ceil(I::LANES);
        let weights = self.weights.reset(vectors.saturating_mul(vector_len), 0.0);
        for first in (0..self.channels).step_by(BLOCK) {
            let row = |i: usize| &rows[(first + i) * taps..][..taps];
            let vector = &mut weights[first / I::LANES * vector_len..][..vector_len];
            let columns = vector[first % I::LANES..].chunks_mut(I::LANES);
            let mut columns = columns.map(|column| &mut column[..BLOCK]);
            let mut done = 0;
            if first + BLOCK <= self.channels {
                let [a, b, c, d] = from_fn(|i| row(i).as_chunks::<BLOCK>().0);
                for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
                    let [a, b, c, d] = [a, b, c, d].map(|block| {
                        let [a, b, c, d] = *block;
                        let reals = [real(a), real(b), real(c), real(d)];
                        cast::<[f32; BLOCK], [u8; 16]>(reals)
                    });
                    for (column, to) in transpose([&a, &b, &c, &d]).into_iter().zip(&mut columns) {
                        to.copy_from_slice(&cast::<[u8; 16], [f32; BLOCK]>(column));
                    }
                }
                done = taps / BLOCK * BLOCK;
            }
            for (tap, to) in (done..taps).zip(columns) {
                for (i, to) in (0..self.channels - first).zip(to) {
                    *to = real(row(i)[tap]);
                }
            }
        }
    }
}

/// The sums of a strip.
struct Sums<'a> {
    inputs: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32; FloatStrips::CHANNELS],
    shape: Segments,
    strip: Strip,
    segments: Range<usize>,
    taps: Range<usize>,
    sums: &'a mut [f32],
    pitch: usize,
}

impl Task for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: as this function's
        unsafe {
            match I::LANES {
                16 => self.run_tiles::<16, 8>(),
                8 => self.run_tiles::<8, 4>(),
                _ => self.run_tiles::<4, 4>(),
            }
        }
    }
}

impl Sums<'_> {
    /// # Safety
    /// Called by a task.
    #[inline(always)]
    unsafe fn run_tiles<const LANES: usize, const PIXELS: usize>(self) {
        let Strip {
            at,
            pitch,
            step,
            pixels,
        } = self.strip;
        let (Some(last), Some(last_segment)) =
            (pixels.checked_sub(1), self.segments.len().checked_sub(1))
        else {
            return;
        };
        let end = end(
            at,
            [(last, step), (last_segment, pitch), (1, self.taps.len())],
        );
        assert!(end <= self.inputs.len(), "inputs for all taps");
        let taps = self.shape.count.saturating_mul(self.shape.len);
        let vector_len = taps.saturating_mul(LANES);
        let vectors = self.pitch / LANES;
        assert!(
            vectors.saturating_mul(vector_len) <= self.weights.len(),
            "weights of all channels"
        );
        for vector in 0..vectors {
            let first = self.segments.start * self.shape.len + self.taps.start;
            let job = Job::<LANES> {
                inputs: self.inputs[at..].as_ptr(),
                step,
                pitch,
                weights: self.weights[vector * vector_len + first * LANES..].as_ptr(),
                weights_pitch: self.shape.len * LANES,
                segments: self.segments.len(),
                taps: self.taps.len(),
                bias: from_fn(|lane| self.bias[vector * LANES + lane]),
            };
            let mut put = |pixel: usize, sums: &[[f32; LANES]]| {
                for (sums, pixel) in sums.iter().zip(pixel..) {
                    let to = &mut self.sums[pixel * self.pitch + vector * LANES..];
                    to[..LANES].copy_from_slice(sums);
                }
            };
            // the last tile may have pixels of the one before once more
            // SAFETY: the inputs and weights of all taps are there, as was checked
            unsafe {
                if pixels >= PIXELS {
                    for pixel in (0..pixels).step_by(PIXELS) {
                        let pixel = pixel.min(pixels - PIXELS);
                        put(pixel, &job.tile::<PIXELS>(pixel));
                    }
                } else if pixels >= FEW {
                    for pixel in (0..pixels).step_by(FEW) {
                        let pixel = pixel.min(pixels - FEW);
                        put(pixel, &job.tile::<FEW>(pixel));
                    }
                } else {
                    (0..pixels).for_each(|pixel| put(pixel, &job.tile::<1>(pixel)));
                }
            }
        }
    }
}

/// Pixels of a smaller tile.
const FEW: usize = 3;

/// What the innermost loops work on.
#[derive(Clone, Copy)]
struct Job<const LANES: usize> {
    inputs: *const f32,
    step: usize,
    pitch: usize,
    weights: *const f32,
    weights_pitch: usize,
    segments: usize,
    taps: usize,
    bias: [f32; LANES],
}

impl<const LANES: usize> Job<LANES> {
    /// The sums of some pixels.
    ///
    /// # Safety
    /// The pixels' inputs and the weights are there; called by a task.
    #[inline(always)]
    unsafe fn tile<const PIXELS: usize>(&self, pixel: usize) -> [[f32; LANES]; PIXELS] {
        let mut sums = [self.bias; PIXELS];
        for segment in 0..self.segments {
            // SAFETY: as this function's
            unsafe {
                let inputs = self.inputs.add(pixel * self.step + segment * self.pitch);
                let weights = self.weights.add(segment * self.weights_pitch);
                let whole = self.taps / RUN_SUMS * RUN_SUMS;
                let mut totals = [[0.0; LANES]; PIXELS];
                for first in 0..RUN_SUMS {
                    let taps = (first..whole).step_by(RUN_SUMS);
                    let run = self.products::<PIXELS>(inputs, weights, taps);
                    add(&mut totals, &run);
                }
                if whole < self.taps {
                    let rest = self.products::<PIXELS>(inputs, weights, whole..self.taps);
                    add(&mut totals, &rest);
                }
                add(&mut sums, &totals);
            }
        }
        sums
    }

    /// The sums of some taps' products.
    ///
    /// # Safety
    /// The pixels' inputs and the weights are there; called by a task.
    #[inline(always)]
    unsafe fn products<const PIXELS: usize>(
        &self,
        inputs: *const f32,
        weights: *const f32,
        taps: impl Iterator<Item = usize>,
    ) -> [[f32; LANES]; PIXELS] {
        let mut sums = [[0.0; LANES]; PIXELS];
        for tap in taps {
            // SAFETY: as this function's
            let weights: [f32; LANES] =
                unsafe { weights.add(tap * LANES).cast::<[f32; LANES]>().read() };
            for (pixel, sums) in sums.iter_mut().enumerate() {
                // SAFETY: as this function's
                let input = unsafe { *inputs.add(pixel * self.step + tap) };
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += input * weight;
                }
            }
        }
        sums
    }
}

#[inline(always)]
fn add<const LANES: usize, const PIXELS: usize>(
    to: &mut [[f32; LANES]; PIXELS],
    from: &[[f32; LANES]; PIXELS],
) {
    for (to, from) in to.as_flattened_mut().iter_mut().zip(from.as_flattened()) {
        *to += from;
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::arch::battery::guards::{huge, refused};
    use crate::arch::scalar;

    fn bits(reals: &[f32]) -> Vec<u32> {
        reals.iter().map(|real| real.to_bits()).collect()
    }

    fn some(rng: &mut SmallRng, range: Range<usize>) -> Range<usize> {
        let start = rng.random_range(range.clone());
        start..rng.random_range(start + 1..=range.end)
    }

    #[test]
    fn sums_are_bit_for_bit_those_of_the_reference() {
        for (name, path) in Path::all() {
            let Some(path) = path else {
                println!("{name}: not on this processor, not tested");
                continue;
            };
            let rng = &mut SmallRng::seed_from_u64(43);
            for i in 0..400 {
                let shape = Segments {
                    count: rng.random_range(1..5),
                    len: 1 + (i * 7) % 70,
                };
                let mut strips = FloatStrips::on(path);
                let channels = 1 + i % strips.room(shape);
                let taps = shape.count * shape.len;
                let mut reals = |len| -> Vec<f32> {
                    let sign = [-1.0, 0.0, 1.0];
                    let real = |rng: &mut SmallRng| {
                        rng.random_range(0.0..9.0) * sign[rng.random_range(0..3)]
                    };
                    (0..len).map(|_| real(rng)).collect()
                };
                let bias = reals(channels);
                let weights = reals(channels * taps);
                let halves: Vec<u16> = weights
                    .iter()
                    .map(|weight| half::f16::from_f32(*weight).to_bits())
                    .collect();
                let inputs = reals(4000);
                let [segments, of_each] = [shape.count, shape.len].map(|len| some(rng, 0..len));
                let strip = Strip {
                    at: rng.random_range(0..9),
                    pitch: rng.random_range(0..200),
                    step: rng.random_range(0..40),
                    pixels: 1 + i % Strip::PIXELS,
                };
                let is_half = i % 2 == 1;
                if is_half {
                    strips.weigh(&bias, &halves, shape, scalar::half);
                } else {
                    strips.weigh(&bias, &weights, shape, |x| x);
                }
                let apart = strips.pitch();
                let sums = strips.sums(&inputs, strip, segments.clone(), of_each.clone());
                assert_eq!(sums.len(), strip.pixels * apart);
                for (pixel, sums) in sums.chunks(apart).enumerate() {
                    let mut want = bias.clone();
                    for (row, segment) in segments.clone().enumerate() {
                        let at = strip.at + pixel * strip.step + row * strip.pitch;
                        let inputs = &inputs[at..][..of_each.len()];
                        let first = segment * shape.len + of_each.start;
                        if is_half {
                            scalar::dots_f16(inputs, &halves[first..], taps, &mut want);
                        } else {
                            scalar::dots_f32(inputs, &weights[first..], taps, &mut want);
                        }
                    }
                    let found = &sums[..channels];
                    assert_eq!(bits(found), bits(&want), "{name} {shape:?} {strip:?}");
                }
            }
        }
    }

    #[test]
    fn huge_steps_and_lengths_are_refused() {
        for path in Path::all().filter_map(|(_, path)| path) {
            let shape = Segments { count: 2, len: 5 };
            let mut strips = FloatStrips::on(path);
            let (bias, rows) = ([0.0; 20], [0.5; 200]);
            strips.weigh(&bias, &rows, shape, |x| x);
            let inputs = [1.0; 100];
            for at in [0, 1] {
                let strip = Strip {
                    at,
                    pitch: at,
                    step: at,
                    pixels: 3,
                };
                strips.sums(&inputs, strip, 0..2, 0..5);
                for huge in huge() {
                    let strips_of = [
                        Strip { at: huge, ..strip },
                        Strip {
                            pitch: huge,
                            ..strip
                        },
                        Strip {
                            step: huge,
                            ..strip
                        },
                        Strip {
                            pixels: huge,
                            ..strip
                        },
                    ];
                    for strip in strips_of {
                        refused(|| strips.sums(&inputs, strip, 0..2, 0..5).len());
                    }
                    for (segments, taps) in [
                        (0..huge, 0..5),
                        (huge..huge, 0..5),
                        (huge..2, 0..5),
                        (0..2, 0..huge),
                        (0..2, huge..huge),
                        (0..2, huge..5),
                    ] {
                        refused(|| strips.sums(&inputs, strip, segments, taps).len());
                    }
                }
            }
            for huge in huge() {
                let shapes = [
                    Segments {
                        count: huge,
                        len: 5,
                    },
                    Segments {
                        count: 2,
                        len: huge,
                    },
                    Segments {
                        count: huge,
                        len: huge,
                    },
                ];
                for shape in shapes {
                    assert_eq!(strips.room(shape), 0);
                    refused(|| strips.weigh(&bias[..1], &rows, shape, |x| x));
                }
            }
        }
    }
}
