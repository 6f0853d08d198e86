//! Direct convolution of FP32: a vector's lanes are channels, and the pixels of a strip share each load of
//! weights. Every kernel row is added up in the order of
//! [`portable::dots_f32`](crate::arch::portable::dots_f32).

#![expect(unsafe_code, reason = "loads from checked pointers")]

use core::array::from_fn;
use core::ops::Range;

use bytemuck::cast;

use super::backend::Backend;
use super::buffer::Buffer;
use super::geometry::{CHANNELS, end};
use super::isa::{Isa, Task};
use crate::arch::strips::{FloatStrips, KernelRows, Strip};

/// Bytes of packed weights.
const WEIGHT_BYTES: usize = 128 << 10;
/// The sums that a run of taps is added up in.
const RUN_SUMS: usize = 8;

/// Packed weights, and the sums of a strip.
#[derive(Clone, Debug)]
pub(crate) struct SimdFloatStrips {
    backend: Backend,
    weights: Buffer<WEIGHT_BYTES>,
    bias: [f32; CHANNELS],
    sums: Buffer<{ CHANNELS * Strip::PIXELS * size_of::<f32>() }>,
    shape: KernelRows,
    channels: usize,
}

impl SimdFloatStrips {
    /// Empty buffers for an instruction set.
    const fn on(backend: Backend) -> Self {
        Self {
            backend,
            weights: Buffer::new(),
            bias: [0.0; _],
            sums: Buffer::new(),
            shape: KernelRows { count: 0, len: 0 },
            channels: 0,
        }
    }
}

impl FloatStrips for SimdFloatStrips {
    #[inline(always)]
    fn new() -> Option<Self> {
        Some(Self::on(Backend::best()))
    }

    #[cfg(test)]
    fn on_each(mut test: impl FnMut(Self)) {
        Backend::on_each(|backend| test(Self::on(backend)));
    }

    fn room(&self, shape: KernelRows) -> usize {
        let lanes = self.backend.lanes();
        let taps = shape.count.saturating_mul(shape.len);
        let channel = taps.saturating_mul(size_of::<f32>());
        if channel == 0 {
            return 0;
        }
        (WEIGHT_BYTES / channel / lanes * lanes).min(CHANNELS)
    }

    fn pack<T: Copy>(
        &mut self,
        bias: &[f32],
        rows: &[T],
        shape: KernelRows,
        real: impl Fn(T) -> f32,
    ) {
        let channels = bias.len();
        assert!(channels <= self.room(shape), "room for the weights");
        self.shape = shape;
        self.channels = channels;
        self.bias[..channels].copy_from_slice(bias);
        self.backend.run(PackF32 {
            rows,
            channels,
            taps: shape.count.saturating_mul(shape.len),
            weights: &mut self.weights,
            real,
        });
    }

    fn pitch(&self) -> usize {
        self.channels.next_multiple_of(self.backend.lanes())
    }

    fn sums(
        &mut self,
        inputs: &[f32],
        strip: Strip,
        kernel_rows: Range<usize>,
        taps: Range<usize>,
    ) -> &[f32] {
        let within = |range: &Range<usize>, len| range.start <= range.end && range.end <= len;
        assert!(
            within(&kernel_rows, self.shape.count) && within(&taps, self.shape.len),
            "kernel rows and taps of the weights"
        );
        let pitch = self.pitch();
        let len = strip.pixels.saturating_mul(pitch * size_of::<f32>());
        let sums = bytemuck::cast_slice_mut(self.sums.grow(len));
        self.backend.run(AccumulateF32 {
            inputs,
            weights: bytemuck::cast_slice(self.weights.bytes()),
            bias: &self.bias,
            shape: self.shape,
            strip,
            kernel_rows,
            taps,
            sums,
            pitch,
        });
        sums
    }
}

/// Packs weights: by vector of channels, tap and channel.
struct PackF32<'a, T, F> {
    rows: &'a [T],
    channels: usize,
    taps: usize,
    weights: &'a mut Buffer<WEIGHT_BYTES>,
    real: F,
}

impl<T: Copy, F: Fn(T) -> f32> Task for PackF32<'_, T, F> {
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
                    for (column, to) in I::transpose([&a, &b, &c, &d]).into_iter().zip(&mut columns)
                    {
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

/// Accumulates the sums of a strip.
struct AccumulateF32<'a> {
    inputs: &'a [f32],
    weights: &'a [f32],
    bias: &'a [f32; CHANNELS],
    shape: KernelRows,
    strip: Strip,
    kernel_rows: Range<usize>,
    taps: Range<usize>,
    sums: &'a mut [f32],
    pitch: usize,
}

impl Task for AccumulateF32<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: this function runs inside `Isa::run`, as `run_tiles` has to
        unsafe {
            match I::LANES {
                16 => self.run_tiles::<16, 8>(),
                8 => self.run_tiles::<8, 4>(),
                _ => self.run_tiles::<4, 4>(),
            }
        }
    }
}

impl AccumulateF32<'_> {
    /// # Safety
    /// Called inside [`Isa::run`].
    #[inline(always)]
    unsafe fn run_tiles<const LANES: usize, const PIXELS: usize>(self) {
        let Strip {
            at,
            pitch,
            step,
            pixels,
        } = self.strip;
        let (Some(last), Some(last_kernel_row)) =
            (pixels.checked_sub(1), self.kernel_rows.len().checked_sub(1))
        else {
            return;
        };
        let end = end(
            at,
            [(last, step), (last_kernel_row, pitch), (1, self.taps.len())],
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
            let first = self.kernel_rows.start * self.shape.len + self.taps.start;
            let tiles = Tiles::<LANES> {
                inputs: self.inputs[at..].as_ptr(),
                step,
                pitch,
                weights: self.weights[vector * vector_len + first * LANES..].as_ptr(),
                weights_pitch: self.shape.len * LANES,
                kernel_rows: self.kernel_rows.len(),
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
            // SAFETY: it was asserted that the inputs of the last pixel's last taps are there, and so are those
            // before it, and that there are weights of all vectors, of whose kernel rows and taps `sums` has
            // asserted that these are some; the caller is inside `Isa::run`
            unsafe {
                if pixels >= PIXELS {
                    for pixel in (0..pixels).step_by(PIXELS) {
                        let pixel = pixel.min(pixels - PIXELS);
                        put(pixel, &tiles.tile::<PIXELS>(pixel));
                    }
                } else if pixels >= FEW {
                    for pixel in (0..pixels).step_by(FEW) {
                        let pixel = pixel.min(pixels - FEW);
                        put(pixel, &tiles.tile::<FEW>(pixel));
                    }
                } else {
                    (0..pixels).for_each(|pixel| put(pixel, &tiles.tile::<1>(pixel)));
                }
            }
        }
    }
}

/// Pixels of a smaller tile.
const FEW: usize = 3;

/// Operands of the innermost loops.
#[derive(Clone, Copy)]
struct Tiles<const LANES: usize> {
    inputs: *const f32,
    step: usize,
    pitch: usize,
    weights: *const f32,
    weights_pitch: usize,
    kernel_rows: usize,
    taps: usize,
    bias: [f32; LANES],
}

impl<const LANES: usize> Tiles<LANES> {
    /// The sums of `PIXELS` pixels from `pixel` on.
    ///
    /// # Safety
    /// `taps` inputs of each of the pixels and `taps * LANES` weights are readable in each kernel row; called
    /// inside [`Isa::run`].
    #[inline(always)]
    unsafe fn tile<const PIXELS: usize>(&self, pixel: usize) -> [[f32; LANES]; PIXELS] {
        let mut sums = [self.bias; PIXELS];
        for kernel_row in 0..self.kernel_rows {
            // SAFETY: the caller has promised all taps of this kernel row for all pixels, and each iterator
            // below yields taps before `self.taps` only
            unsafe {
                let inputs = self.inputs.add(pixel * self.step + kernel_row * self.pitch);
                let weights = self.weights.add(kernel_row * self.weights_pitch);
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
    /// For each of the taps, the inputs of `PIXELS` pixels and `LANES` weights are readable; called inside
    /// [`Isa::run`].
    #[inline(always)]
    unsafe fn products<const PIXELS: usize>(
        &self,
        inputs: *const f32,
        weights: *const f32,
        taps: impl Iterator<Item = usize>,
    ) -> [[f32; LANES]; PIXELS] {
        let mut sums = [[0.0; LANES]; PIXELS];
        for tap in taps {
            // SAFETY: the caller has promised `LANES` weights of this tap
            let weights: [f32; LANES] =
                unsafe { weights.add(tap * LANES).cast::<[f32; LANES]>().read() };
            for (pixel, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the caller has promised the input of this tap and pixel
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
