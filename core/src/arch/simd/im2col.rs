//! The im2col buffer, whose taps meet rows of weights where they lie.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use super::backend::Backend;
use super::isa::{Isa, Task};
use super::pack::unpack;
use crate::arch::im2col::{Im2col, Rows};
use crate::arch::pixels::Pixels;
use crate::quant::Width;

/// The most taps of one pixel beside three others.
const TAPS: usize = 1024;
/// The most inputs of a vector.
const STEP: usize = 64;

/// Taps of a pixel side by side, as the instruction set's inputs.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct SimdIm2col {
    inputs: [u8; 2 * Pixels::MOST * TAPS],
    pixels: Pixels,
    backend: Backend,
}

impl SimdIm2col {
    /// An empty buffer for an instruction set.
    const fn on(backend: Backend) -> Self {
        Self {
            inputs: [0; _],
            pixels: Pixels::Four,
            backend,
        }
    }
}

impl Im2col for SimdIm2col {
    fn new() -> Self {
        Self::on(Backend::best())
    }

    #[cfg(test)]
    fn on_each(mut test: impl FnMut(Self)) {
        Backend::on_each(|backend| test(Self::on(backend)));
    }

    fn capacity(pixels: Pixels) -> usize {
        Pixels::MOST * TAPS / pixels.count()
    }

    fn begin(&mut self, pixels: Pixels) {
        self.pixels = pixels;
    }

    fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        let capacity = Self::capacity(self.pixels);
        let end = at.saturating_add(from.len());
        assert!(end <= capacity, "room for the taps");
        let inputs = &mut self.inputs;
        let at = pixel * capacity + at;
        self.backend.run(CopyTaps { inputs, at, from });
    }

    fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        const RUN: usize = 64;
        let run = [value; RUN];
        for done in (0..len).step_by(RUN) {
            self.put(pixel, at.saturating_add(done), &run[..RUN.min(len - done)]);
        }
    }

    fn seal(&mut self, len: usize, _: Width) {
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
    }

    fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let capacity = Self::capacity(self.pixels);
        assert!(len <= capacity, "room for the taps");
        let taps = Taps {
            inputs: &self.inputs,
            capacity,
            len,
        };
        match self.pixels {
            Pixels::One => {
                let (sums, _) = sums.as_chunks_mut::<1>();
                self.backend.run(Dots { taps, rows, sums });
            }
            Pixels::Four => {
                let (sums, _) = sums.as_chunks_mut::<{ Pixels::MOST }>();
                self.backend.run(Dots { taps, rows, sums });
            }
        }
    }
}

/// As [`portable::dots_i8`](crate::arch::portable::dots_i8): the inputs are widened once for many rows.
///
/// # Panics
/// When a row of weights ends early.
#[inline]
pub(super) fn dots_i8(
    input: &[i8],
    weights: &[i8],
    pitch: usize,
    bias: &[i32],
    mut each: impl FnMut(usize, &[i32]),
) {
    /// Rows whose sums are held at a time.
    const ROWS: usize = 64;
    let capacity = SimdIm2col::capacity(Pixels::One);
    let mut im2col = SimdIm2col::new();
    im2col.begin(Pixels::One);
    let mut held = 0;
    for (block, bias) in bias.chunks(ROWS).enumerate() {
        let first = block * ROWS;
        let mut sums = [0; ROWS];
        let sums = &mut sums[..bias.len()];
        sums.copy_from_slice(bias);
        for (part, taps) in input.chunks(capacity).enumerate() {
            // a single part stays where it is for all blocks
            if held == 0 || taps.len() < input.len() {
                im2col.put(0, 0, taps);
                im2col.seal(taps.len(), Width::Int8);
                held = taps.len();
            }
            let at = first.saturating_mul(pitch).saturating_add(part * capacity);
            let rows = Rows {
                width: Width::Int8,
                bytes: bytemuck::cast_slice(&weights[at..]),
                pitch,
            };
            im2col.dots(taps.len(), &rows, sums);
        }
        each(first, sums);
    }
}

/// Writes taps as inputs from index `at` on.
struct CopyTaps<'a> {
    inputs: &'a mut [u8],
    at: usize,
    from: &'a [i8],
}

impl Task for CopyTaps<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let inputs: &mut [I::Input] = bytemuck::cast_slice_mut(self.inputs);
        let to = inputs[self.at..][..self.from.len()].iter_mut();
        to.zip(self.from).for_each(|(to, tap)| *to = I::input(*tap));
    }
}

/// The first `len` inputs of every `capacity`, which is a multiple of [`STEP`].
struct Taps<'a> {
    inputs: &'a [u8],
    capacity: usize,
    len: usize,
}

/// The products with all rows.
struct Dots<'a, const PIXELS: usize> {
    taps: Taps<'a>,
    rows: &'a Rows<'a>,
    sums: &'a mut [[i32; PIXELS]],
}

impl<const PIXELS: usize> Task for Dots<'_, PIXELS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Taps {
            inputs,
            capacity,
            len,
        } = self.taps;
        let inputs: &[I::Input] = bytemuck::cast_slice(inputs);
        assert!(PIXELS * capacity <= inputs.len() && len.next_multiple_of(STEP) <= capacity);
        let width = self.rows.width;
        let mut bytes = [0_i8; STEP];
        for (channel, sums) in self.sums.iter_mut().enumerate() {
            let row = self.rows.row(channel, len);
            // SAFETY: this function runs inside `Isa::run`
            let mut sums_of = unsafe { RowSums::<I, PIXELS>::new() };
            let whole = if width == Width::Int8 {
                let step = I::LANES * I::TAPS;
                len - len % step
            } else {
                0
            };
            // SAFETY: of each pixel all inputs up to `capacity` are readable, as was asserted, and `len` rounded up
            // to `STEP` is no more; the row has `len` weights, of one byte each where `whole` is not 0; the
            // bytes are `STEP`, a multiple of any vector's; this function runs inside `Isa::run`
            unsafe {
                sums_of.add(inputs.as_ptr(), capacity, row.as_ptr().cast(), whole);
                for at in (whole..len).step_by(STEP) {
                    let count = STEP.min(len - at);
                    bytes[count..].fill(0);
                    unpack(&row[width.row_bytes(at)..], width, &mut bytes[..count]);
                    let step = I::LANES * I::TAPS;
                    let count = count.next_multiple_of(step);
                    sums_of.add(inputs.as_ptr().add(at), capacity, bytes.as_ptr(), count);
                }
                sums_of.finish(sums);
            }
        }
    }
}

/// The sums of one row of weights.
struct RowSums<I: Isa, const PIXELS: usize> {
    sums: [I::Vector; PIXELS],
    /// The products with inputs that stand for 0.
    zeros: I::Vector,
}

impl<I: Isa, const PIXELS: usize> RowSums<I, PIXELS> {
    /// # Safety
    /// Called inside [`Isa::run`].
    #[inline(always)]
    unsafe fn new() -> Self {
        let zeros = [0; STEP];
        // SAFETY: the array has more sums than any vector; the caller is inside `Isa::run`
        let zero = unsafe { I::load(zeros.as_ptr()) };
        Self {
            sums: [zero; PIXELS],
            zeros: zero,
        }
    }

    /// Adds the products of `len` weights, whole vectors of them, and as many inputs of each pixel.
    ///
    /// # Safety
    /// The weights and, `capacity` inputs apart, the pixels' inputs are readable; called inside [`Isa::run`].
    #[inline(always)]
    unsafe fn add(
        &mut self,
        inputs: *const I::Input,
        capacity: usize,
        weights: *const i8,
        len: usize,
    ) {
        let origin = [I::input(0); STEP];
        // SAFETY: the array has the inputs of the longest vector, and the caller has promised all others, up to
        // `len`, a multiple of a vector's; it is inside `Isa::run`
        unsafe {
            let origin = I::inputs(origin.as_ptr());
            for at in (0..len).step_by(I::LANES * I::TAPS) {
                let weights = I::bytes(weights.add(at));
                for (pixel, sums) in self.sums.iter_mut().enumerate() {
                    let inputs = I::inputs(inputs.add(pixel * capacity + at));
                    *sums = I::dot(*sums, inputs, weights);
                }
                if I::OFFSET != 0 {
                    self.zeros = I::dot(self.zeros, origin, weights);
                }
            }
        }
    }

    /// Adds the lanes to the sums.
    ///
    /// # Safety
    /// Called inside [`Isa::run`].
    #[inline(always)]
    unsafe fn finish(self, sums: &mut [i32; PIXELS]) {
        // SAFETY: only registers are read; the caller is inside `Isa::run`
        unsafe {
            let zeros = I::total(self.zeros);
            for (sum, vector) in sums.iter_mut().zip(self.sums) {
                *sum = sum.wrapping_add(I::total(vector)).wrapping_sub(zeros);
            }
        }
    }
}
