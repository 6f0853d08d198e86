//! Patches against rows of weights where they lie.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use super::unpack::unpack;
use super::{Isa, Path, Task};
use crate::arch::pixels::Pixels;
use crate::arch::scalar::Rows;
use crate::level::Width;

/// The most taps of one pixel beside three others.
const TAPS: usize = 1024;
/// The most inputs of a vector.
const STEP: usize = 64;

/// As [`scalar::Patches`](crate::arch::scalar::Patches).
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Patches {
    inputs: [u8; 2 * Pixels::MOST * TAPS],
    pixels: Pixels,
    path: Path,
}

impl Default for Patches {
    fn default() -> Self {
        Self::new()
    }
}

impl Patches {
    /// Room for patches.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Path::best())
    }

    /// Room for patches that go this way.
    #[must_use]
    pub const fn on(path: Path) -> Self {
        Self {
            inputs: [0; _],
            pixels: Pixels::Four,
            path,
        }
    }

    /// As [`scalar::Patches::capacity`](crate::arch::scalar::Patches::capacity).
    #[must_use]
    pub const fn capacity(pixels: Pixels) -> usize {
        Pixels::MOST * TAPS / pixels.count()
    }

    /// As [`scalar::Patches::begin`](crate::arch::scalar::Patches::begin).
    pub fn begin(&mut self, pixels: Pixels) {
        self.pixels = pixels;
    }

    /// As [`scalar::Patches::put`](crate::arch::scalar::Patches::put).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn put(&mut self, pixel: usize, at: usize, from: &[i8]) {
        let capacity = Self::capacity(self.pixels);
        let end = at.saturating_add(from.len());
        assert!(end <= capacity, "room for the taps");
        let inputs = &mut self.inputs;
        let at = pixel * capacity + at;
        self.path.run(Put { inputs, at, from });
    }

    /// As [`scalar::Patches::put_rows`](crate::arch::scalar::Patches::put_rows).
    ///
    /// # Panics
    /// Past the capacity, or when the inputs end early.
    pub fn put_rows(&mut self, pixel: usize, from: &[i8], rows: usize, run: usize, pitch: usize) {
        for row in 0..rows {
            self.put(pixel, row * run, &from[row.saturating_mul(pitch)..][..run]);
        }
    }

    /// As [`scalar::Patches::fill`](crate::arch::scalar::Patches::fill).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn fill(&mut self, pixel: usize, at: usize, len: usize, value: i8) {
        const RUN: usize = 64;
        let run = [value; RUN];
        for done in (0..len).step_by(RUN) {
            self.put(pixel, at + done, &run[..RUN.min(len - done)]);
        }
    }

    /// As [`scalar::Patches::seal`](crate::arch::scalar::Patches::seal).
    ///
    /// # Panics
    /// Past the capacity.
    pub fn seal(&mut self, len: usize, _: Width) {
        assert!(len <= Self::capacity(self.pixels), "room for the taps");
    }

    /// As [`scalar::Patches::dots`](crate::arch::scalar::Patches::dots).
    ///
    /// # Panics
    /// When a row of weights ends early.
    pub fn dots(&self, len: usize, rows: &Rows<'_>, sums: &mut [i32]) {
        let capacity = Self::capacity(self.pixels);
        assert!(len <= capacity, "room for the taps");
        let patches = Inputs {
            inputs: &self.inputs,
            capacity,
            len,
        };
        match self.pixels {
            Pixels::One => {
                let (sums, _) = sums.as_chunks_mut::<1>();
                self.path.run(Dots {
                    patches,
                    rows,
                    sums,
                });
            }
            Pixels::Four => {
                let (sums, _) = sums.as_chunks_mut::<{ Pixels::MOST }>();
                self.path.run(Dots {
                    patches,
                    rows,
                    sums,
                });
            }
        }
    }
}

/// Writes taps as inputs from index `at` on.
struct Put<'a> {
    inputs: &'a mut [u8],
    at: usize,
    from: &'a [i8],
}

impl Task for Put<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let inputs: &mut [I::Input] = bytemuck::cast_slice_mut(self.inputs);
        let to = inputs[self.at..][..self.from.len()].iter_mut();
        to.zip(self.from).for_each(|(to, tap)| *to = I::input(*tap));
    }
}

/// The first `len` inputs of every `capacity`, which is a multiple of [`STEP`].
struct Inputs<'a> {
    inputs: &'a [u8],
    capacity: usize,
    len: usize,
}

/// The products with all rows.
struct Dots<'a, const PIXELS: usize> {
    patches: Inputs<'a>,
    rows: &'a Rows<'a>,
    sums: &'a mut [[i32; PIXELS]],
}

impl<const PIXELS: usize> Task for Dots<'_, PIXELS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Inputs {
            inputs,
            capacity,
            len,
        } = self.patches;
        let inputs: &[I::Input] = bytemuck::cast_slice(inputs);
        assert!(PIXELS * capacity <= inputs.len() && len.next_multiple_of(STEP) <= capacity);
        let width = self.rows.width;
        let mut bytes = [0_i8; STEP];
        for (channel, sums) in self.sums.iter_mut().enumerate() {
            let row = self.rows.row(channel, len);
            // SAFETY: this function runs inside `Isa::run`
            let mut sums_of = unsafe { Row::<I, PIXELS>::new() };
            let whole = if width == Width::Int8 {
                let step = I::LANES * I::TAPS;
                len - len % step
            } else {
                0
            };
            // SAFETY: of each pixel the inputs up to `capacity` can be read, of a row the weights up to
            // `whole`, of the bytes all
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
struct Row<I: Isa, const PIXELS: usize> {
    sums: [I::Vector; PIXELS],
    /// The products with inputs that stand for 0.
    zeros: I::Vector,
}

impl<I: Isa, const PIXELS: usize> Row<I, PIXELS> {
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

    /// # Safety
    /// `len` weights, whole vectors, and as many inputs of each pixel can be read; called by a task.
    #[inline(always)]
    unsafe fn add(
        &mut self,
        inputs: *const I::Input,
        capacity: usize,
        weights: *const i8,
        len: usize,
    ) {
        let origin = [I::input(0); STEP];
        // SAFETY: as this function's
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

    /// # Safety
    /// Called by a task.
    #[inline(always)]
    unsafe fn finish(self, sums: &mut [i32; PIXELS]) {
        // SAFETY: as this function's
        unsafe {
            let zeros = I::total(self.zeros);
            for (sum, vector) in sums.iter_mut().zip(self.sums) {
                *sum = sum.wrapping_add(I::total(vector)).wrapping_sub(zeros);
            }
        }
    }
}
