//! Tiles of pixels and vectors of channels, whose sums stay in registers.

#![expect(unsafe_code, reason = "loads and products of vectors")]

use super::epilogue::Epilogue;
use super::geometry::{CHANNELS, end, words};
use super::isa::{Isa, Task};
use crate::arch::strips::{KernelRows, OutputGrid, Strip};

/// Accumulates the sums of a grid.
pub(super) struct Accumulate<'a, E> {
    pub(super) inputs: &'a [u8],
    pub(super) weights: &'a [u8],
    pub(super) bias: &'a [i32; CHANNELS],
    pub(super) shape: KernelRows,
    pub(super) channels: usize,
    pub(super) grid: OutputGrid,
    pub(super) epilogue: E,
}

impl<E: Epilogue> Task for Accumulate<'_, E> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let Self {
            bias,
            shape,
            channels,
            grid,
            mut epilogue,
            ..
        } = self;
        let strip = grid.strip;
        let inputs: &[I::Input] = bytemuck::cast_slice(self.inputs);
        let weights: &[I::Weight] = bytemuck::cast_slice(self.weights);
        let words = words(shape, I::TAPS);
        let vectors = channels.div_ceil(I::LANES);
        let vector_len = shape
            .count
            .saturating_mul(words)
            .saturating_mul(I::LANES * I::TAPS);
        let (Some(last_row), Some(last)) = (grid.rows.checked_sub(1), strip.pixels.checked_sub(1))
        else {
            return;
        };
        let last_kernel_row = shape.count.saturating_sub(1);
        let steps = [
            (last_row, grid.step),
            (last, strip.step),
            (last_kernel_row, strip.pitch),
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
            epilogue.has_room::<I>(grid.rows.saturating_mul(strip.pixels), channels),
            "room for all sums"
        );
        let mut tiles = Tiles::<I, E> {
            inputs: inputs.as_ptr(),
            grid,
            kernel_rows: shape.count,
            words,
            weights: weights.as_ptr(),
            vector_len,
            bias: bias.as_ptr(),
            epilogue: &mut epilogue,
        };
        let mut vector = 0;
        while vector < vectors {
            // SAFETY: it was asserted that the inputs of the last pixel's last word are there, and so are those
            // before it; that there are weights and biases of all vectors; and that the epilogue has room for
            // all pixels in all channels, of which each vector has one. This function is a task's
            unsafe {
                if vectors - vector > 1 {
                    tiles.pixels::<2>(vector);
                    vector += 2;
                } else {
                    tiles.pixels::<1>(vector);
                    vector += 1;
                }
            }
        }
    }
}

/// Operands of the innermost loops.
struct Tiles<'e, I: Isa, E> {
    inputs: *const I::Input,
    grid: OutputGrid,
    kernel_rows: usize,
    words: usize,
    weights: *const I::Weight,
    vector_len: usize,
    bias: *const i32,
    epilogue: &'e mut E,
}

impl<I: Isa, E: Epilogue> Tiles<'_, I, E> {
    /// Accumulates `VECTORS` vectors of all pixels, from vector `vector` on.
    ///
    /// # Safety
    /// - `words` words of inputs are readable for each pixel of the grid in each kernel row.
    /// - The vectors' weights, `vector_len` each, and biases are readable.
    /// - The epilogue has room for all pixels in these vectors.
    /// - Called inside [`Isa::run`].
    #[inline(always)]
    unsafe fn pixels<const VECTORS: usize>(&mut self, vector: usize) {
        // sums that fit the registers
        let most = I::PIXELS * 2 / VECTORS;
        for row in 0..self.grid.rows {
            // SAFETY: the caller has promised as much for all pixels of all rows
            unsafe {
                let next = self.tiles::<16, VECTORS>([row, 0], vector, most);
                let next = self.tiles::<8, VECTORS>([row, next], vector, most);
                let next = self.tiles::<4, VECTORS>([row, next], vector, most);
                self.tiles::<1, VECTORS>([row, next], vector, most);
            }
        }
    }

    /// Accumulates as many tiles of `PIXELS` pixels, if that is no more than `most`, as there are from a pixel
    /// of a row on; returns the next pixel.
    ///
    /// # Safety
    /// As for [`Self::pixels`].
    #[inline(always)]
    unsafe fn tiles<const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        [row, mut pixel]: [usize; 2],
        vector: usize,
        most: usize,
    ) -> usize {
        while PIXELS <= most && self.grid.strip.pixels - pixel >= PIXELS {
            // SAFETY: the caller has promised as much for all pixels, and there are `PIXELS` left in this row
            unsafe { self.tile::<PIXELS, VECTORS>([row, pixel], vector) };
            pixel += PIXELS;
        }
        pixel
    }

    /// Accumulates one tile and hands it to the epilogue.
    ///
    /// # Safety
    /// As for [`Self::pixels`], and the row has `PIXELS` pixels from `pixel` on.
    #[inline(always)]
    unsafe fn tile<const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        [row, pixel]: [usize; 2],
        vector: usize,
    ) {
        let OutputGrid { strip, .. } = self.grid;
        let Strip { pitch, step, .. } = strip;
        let first = strip.at + row * self.grid.step + pixel * step;
        // SAFETY: the caller has promised the inputs of every pixel and kernel row, of which the loops read
        // `words` words each, and weights and biases of `VECTORS` vectors. Pointers move just behind what was
        // read; only the one to the kernel row may then be further outside, where it wraps and is not read
        unsafe {
            let bias = self.bias.add(vector * I::LANES);
            let bias: [_; VECTORS] = core::array::from_fn(|v| I::load(bias.add(v * I::LANES)));
            let mut sums = [bias; PIXELS];
            let mut kernel_row = self.inputs.add(first);
            let mut weights = self.weights.add(vector * self.vector_len);
            for _ in 0..self.kernel_rows {
                let mut inputs = kernel_row;
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
                kernel_row = kernel_row.wrapping_add(pitch);
            }
            let pixel = row * strip.pixels + pixel;
            self.epilogue.put::<I, PIXELS, VECTORS>(pixel, vector, sums);
        }
    }
}
