//! Loops for processors with vectors, written once for all of their instruction sets.
//!
//! An `Isa` says how vectors are loaded and multiplied; a `Task` is a loop over any of them; the
//! instruction set's file runs tasks on the best one that the processor has.

#![expect(unsafe_code, reason = "instructions of some processors")]

use bytemuck::Pod;

use super::requantize::Bounds;

mod buffer;
mod floats;
mod patches;
mod requantize;
mod strips;
mod tile;
mod unpack;
mod weigh;

pub use buffer::Buffer;
pub use floats::FloatStrips;
pub use patches::Patches;
pub use strips::{Frame, Grid, Segments, Strip, StripSums, Strips};

#[cfg(target_arch = "aarch64")]
pub use super::aarch64::Path;
#[cfg(target_arch = "aarch64")]
use super::aarch64::transpose;
#[cfg(target_arch = "x86_64")]
pub use super::x86_64::Path;
#[cfg(target_arch = "x86_64")]
use super::x86_64::transpose;

/// An instruction set: vectors of 32-bit sums, and the product of words of inputs and of weights, which
/// hold [`TAPS`](Self::TAPS) taps each.
///
/// # Safety
/// The functions do what they say and read and write nothing but what they say; they may be called inside
/// [`run`](Self::run). [`LANES`](Self::LANES) is 4, 8 or 16.
pub(super) unsafe trait Isa: Copy {
    /// 32-bit sums, as many words of inputs, or as many words of weights.
    type Vector: Copy;
    /// An input as it lies in a word.
    type Input: Pod;
    /// A weight as it lies in a word.
    type Weight: Pod;
    /// Words of a vector.
    const LANES: usize;
    /// Taps of a word.
    const TAPS: usize = size_of::<u32>() / size_of::<Self::Input>();
    /// What an input is larger than the tap that it stands for.
    const OFFSET: i32;
    /// Pixels whose sums fit the registers beside those of a second vector of channels.
    const PIXELS: usize;

    /// Runs a task in a function of this instruction set.
    ///
    /// # Safety
    /// The processor has it.
    unsafe fn run<T: Task>(task: T) -> T::Output;
    /// The input that stands for a tap.
    fn input(tap: i8) -> Self::Input;
    /// The weight as it lies in a word.
    fn weight(weight: i8) -> Self::Weight;
    /// # Safety
    /// [`LANES`](Self::LANES) sums can be read.
    unsafe fn load(sums: *const i32) -> Self::Vector;
    /// # Safety
    /// [`LANES`](Self::LANES) sums can be written.
    unsafe fn store(sums: *mut i32, vector: Self::Vector);
    /// One word of inputs in all lanes.
    ///
    /// # Safety
    /// [`TAPS`](Self::TAPS) inputs can be read.
    unsafe fn splat(inputs: *const Self::Input) -> Self::Vector;
    /// Words of inputs, one for each lane.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn inputs(inputs: *const Self::Input) -> Self::Vector;
    /// Words of weights, one for each lane.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn words(weights: *const Self::Weight) -> Self::Vector;
    /// The same from weights in bytes.
    ///
    /// # Safety
    /// They can be read.
    unsafe fn bytes(weights: *const i8) -> Self::Vector;
    /// The first words of the lanes' rows, their second words, and so on; the rows are a pitch apart.
    ///
    /// # Safety
    /// 16 bytes of a row for each lane can be read.
    #[inline(always)]
    unsafe fn columns(rows: *const u8, pitch: usize) -> [Self::Vector; 4] {
        let mut words = [[0_u8; strips::LANES * size_of::<u32>()]; 4];
        for four in 0..Self::LANES / 4 {
            // SAFETY: as this function's
            let block = [0, 1, 2, 3].map(|i| unsafe { &*rows.add((4 * four + i) * pitch).cast() });
            for (words, column) in words.iter_mut().zip(transpose(block)) {
                words[four * column.len()..][..column.len()].copy_from_slice(&column);
            }
        }
        // SAFETY: there are the most lanes
        words.map(|words| unsafe { Self::load(words.as_ptr().cast()) })
    }
    /// The sums and, in each lane, the products of a word of inputs and one of weights; wraps.
    ///
    /// # Safety
    /// That of all.
    unsafe fn dot(sums: Self::Vector, inputs: Self::Vector, weights: Self::Vector) -> Self::Vector;
    /// The sum of all lanes; wraps.
    ///
    /// # Safety
    /// That of all.
    unsafe fn total(sums: Self::Vector) -> i32;
    /// The results of sums, as [`requantize`](crate::arch::requantize()) makes them; wraps.
    ///
    /// # Safety
    /// That of all.
    #[inline(always)]
    unsafe fn requantize(
        sums: Self::Vector,
        multiplier: Self::Vector,
        shift: Self::Vector,
        bounds: Bounds,
    ) -> Self::Vector {
        let mut lanes = [[0; strips::LANES]; 3];
        // SAFETY: arrays of the most lanes
        unsafe {
            for (lanes, vector) in lanes.iter_mut().zip([sums, multiplier, shift]) {
                Self::store(lanes.as_mut_ptr(), vector);
            }
            let [sums, multipliers, shifts] = &mut lanes;
            for ((sum, multiplier), shift) in sums
                .iter_mut()
                .zip(multipliers)
                .zip(shifts)
                .take(Self::LANES)
            {
                *sum = bounds.result(*sum, *multiplier, shift.cast_unsigned());
            }
            Self::load(sums.as_ptr())
        }
    }
    /// Writes results, which fit 8 bits.
    ///
    /// # Safety
    /// [`LANES`](Self::LANES) bytes can be written.
    #[inline(always)]
    unsafe fn store_results(to: *mut i8, results: Self::Vector) {
        let mut lanes = [0; strips::LANES];
        // SAFETY: an array of the most lanes; as this function's
        unsafe {
            Self::store(lanes.as_mut_ptr(), results);
            for (i, result) in lanes.iter().enumerate().take(Self::LANES) {
                to.add(i).write(*result as i8);
            }
        }
    }
}

/// Behind `first`, after steps of some lengths so many times each; saturates.
#[inline(always)]
fn end<const N: usize>(first: usize, steps: [(usize, usize); N]) -> usize {
    let steps = steps.map(|(count, len)| count.saturating_mul(len));
    steps.into_iter().fold(first, usize::saturating_add)
}

/// A loop over the vectors of any instruction set. Its function and all that it calls are inlined into
/// [`Isa::run`].
pub(super) trait Task {
    /// What it gives.
    type Output;
    /// Runs it.
    ///
    /// # Safety
    /// Called by [`Isa::run`].
    unsafe fn run<I: Isa>(self) -> Self::Output;
}
