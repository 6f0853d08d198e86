//! Epilogues: the sums of a tile are stored, or requantized while they are in registers.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use super::geometry::{CHANNELS, LANES, end};
use super::isa::Isa;
use crate::arch::requantize::{Clamp, Requants};

/// Takes the sums of tiles.
///
/// # Safety
/// Where [`has_room`](Self::has_room) says so for some pixels and channels, [`put`](Self::put) writes nothing
/// but memory that the epilogue has borrowed, for each pixel before those and each vector that has one of those
/// channels.
pub(super) unsafe trait Epilogue {
    /// Whether there is room for so many pixels' sums in so many channels.
    fn has_room<I: Isa>(&self, pixels: usize, channels: usize) -> bool;
    /// Takes the sums of a tile: its first pixel, and its first vector of channels.
    ///
    /// # Safety
    /// [`has_room`](Self::has_room) was true for more pixels than the tile's last, and for channels of which
    /// each of the tile's vectors has one; called inside [`Isa::run`].
    unsafe fn put<I: Isa, const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        pixel: usize,
        vector: usize,
        sums: [[I::Vector; VECTORS]; PIXELS],
    );
}

/// Stores sums as they are.
pub(super) struct StoreSums<'a> {
    pub(super) to: &'a mut [i32],
    /// From the sums of a pixel to those of the next, room for whole vectors.
    pub(super) pitch: usize,
}

// SAFETY: all vectors of a pixel end within the pixel's pitch, and the last pixel's pitch ends within the slice;
// the products that say so saturate, and no slice is as long as that
unsafe impl Epilogue for StoreSums<'_> {
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
                // SAFETY: `has_room` was true for this pixel and this vector, so that the vector's lanes lie
                // within the pixel's pitch and the pixel's pitch within the slice
                unsafe {
                    let to = self.to.as_mut_ptr().add((pixel + p) * self.pitch);
                    I::store(to.add((vector + v) * I::LANES), sum);
                }
            }
        }
    }
}

/// Multipliers, shifts and clamp of some channels, as vectors read them.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct RequantVectors {
    multiplier: [i32; CHANNELS],
    /// By how many bits the upper words of the products are shifted.
    shift: [i32; CHANNELS],
    clamp: Clamp,
}

impl RequantVectors {
    /// For no channels.
    pub(super) const fn new() -> Self {
        Self {
            multiplier: [0; _],
            shift: [0; _],
            clamp: Clamp {
                offset: 0,
                low: 0,
                high: 0,
            },
        }
    }

    /// Takes those of some channels.
    ///
    /// # Panics
    /// When there are more than [`CHANNELS`].
    pub(super) fn set(&mut self, requants: &Requants<'_>) {
        self.multiplier[..requants.multiplier.len()].copy_from_slice(requants.multiplier);
        for (to, shift) in self.shift.iter_mut().zip(requants.shift) {
            *to = i32::from(*shift).wrapping_sub(33) & 31;
        }
        self.clamp = requants.clamp;
    }
}

/// Requantizes sums and stores them as INT8.
pub(super) struct StoreResults<'a> {
    pub(super) requants: &'a RequantVectors,
    pub(super) channels: usize,
    pub(super) to: &'a mut [i8],
    /// From the results of a pixel to those of the next.
    pub(super) pitch: usize,
}

// SAFETY: the channels of the last pixel end within the slice, in numbers that saturate, and no slice is as long
// as that; only results of channels are written, and there are multipliers and shifts for every vector of them,
// as `CHANNELS` is a multiple of any number of lanes
unsafe impl Epilogue for StoreResults<'_> {
    fn has_room<I: Isa>(&self, pixels: usize, channels: usize) -> bool {
        let end = end(channels, [(pixels.saturating_sub(1), self.pitch)]);
        end <= self.to.len() && channels == self.channels && channels <= CHANNELS
    }

    #[inline(always)]
    unsafe fn put<I: Isa, const PIXELS: usize, const VECTORS: usize>(
        &mut self,
        pixel: usize,
        vector: usize,
        sums: [[I::Vector; VECTORS]; PIXELS],
    ) {
        let first = vector * I::LANES;
        // SAFETY: `has_room` was true for these pixels and vectors. So the vectors begin before channel
        // `CHANNELS`, and multipliers and shifts of whole vectors can be loaded; and each pixel has room for its
        // channels, of which whole vectors are stored where there are as many, else only the rest
        unsafe {
            let vectors: [_; VECTORS] = core::array::from_fn(|v| {
                let at = first + v * I::LANES;
                let of_vector = |of: &[i32; CHANNELS]| I::load(of.as_ptr().add(at));
                [&self.requants.multiplier, &self.requants.shift].map(of_vector)
            });
            for (p, sums) in sums.into_iter().enumerate() {
                let to = self.to.as_mut_ptr().add((pixel + p) * self.pitch);
                for (v, (sum, [multiplier, shift])) in sums.into_iter().zip(vectors).enumerate() {
                    let at = first + v * I::LANES;
                    let results = I::requantize(sum, multiplier, shift, self.requants.clamp);
                    if self.channels - at >= I::LANES {
                        I::store_results(to.add(at), results);
                    } else {
                        let mut all = [0; LANES];
                        I::store_results(all.as_mut_ptr(), results);
                        let some = &all[..self.channels - at];
                        core::ptr::copy_nonoverlapping(some.as_ptr(), to.add(at), some.len());
                    }
                }
            }
        }
    }
}
