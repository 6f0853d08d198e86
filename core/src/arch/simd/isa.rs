//! The vectors and words of an instruction set, and loops over any of them.

#![expect(unsafe_code, reason = "instructions of some processors")]

use bytemuck::Pod;

use super::geometry::LANES;
use crate::arch::requantize::Clamp;

/// An instruction set: vectors of 32-bit sums, and the product of words of inputs and of weights, which
/// hold [`TAPS`](Self::TAPS) taps each.
///
/// # Safety
/// - Every function reads and writes through its pointers only what its own `# Safety` lists.
/// - Every function may be called inside [`run`](Self::run), which needs nothing but a processor that has the
///   instruction set.
/// - [`LANES`](Self::LANES) is 4, 8 or 16, and a `Vector` holds as many words.
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
    /// Bias added to every input when it is copied: 128 where the dot product wants unsigned inputs, else 0.
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
    /// Four rows of words as columns. Every processor of the target has the instructions.
    fn transpose(rows: [&[u8; 16]; 4]) -> [[u8; 16]; 4];
    /// # Safety
    /// `LANES` sums are readable at `sums`; called inside [`run`](Self::run).
    unsafe fn load(sums: *const i32) -> Self::Vector;
    /// # Safety
    /// `LANES` sums are writable at `sums`; called inside [`run`](Self::run).
    unsafe fn store(sums: *mut i32, vector: Self::Vector);
    /// One word of inputs in all lanes.
    ///
    /// # Safety
    /// `TAPS` inputs are readable at `inputs`; called inside [`run`](Self::run).
    unsafe fn splat(inputs: *const Self::Input) -> Self::Vector;
    /// Words of inputs, one for each lane.
    ///
    /// # Safety
    /// `LANES * TAPS` inputs are readable at `inputs`; called inside [`run`](Self::run).
    unsafe fn inputs(inputs: *const Self::Input) -> Self::Vector;
    /// Words of weights, one for each lane.
    ///
    /// # Safety
    /// `LANES * TAPS` weights are readable at `weights`; called inside [`run`](Self::run).
    unsafe fn words(weights: *const Self::Weight) -> Self::Vector;
    /// As [`words`](Self::words), from weights of one byte.
    ///
    /// # Safety
    /// `LANES * TAPS` bytes are readable at `weights`; called inside [`run`](Self::run).
    unsafe fn bytes(weights: *const i8) -> Self::Vector;
    /// The first words of the lanes' rows, their second words, and so on; row `i` begins `i * pitch` bytes
    /// behind `rows`.
    ///
    /// # Safety
    /// 16 bytes of a row for each lane are readable; called inside [`run`](Self::run).
    #[inline(always)]
    unsafe fn columns(rows: *const u8, pitch: usize) -> [Self::Vector; 4] {
        let mut words = [[0_u8; LANES * size_of::<u32>()]; 4];
        for four in 0..Self::LANES / 4 {
            // SAFETY: the caller has 16 readable bytes for each of the `LANES` rows, of which this is one;
            // an array of bytes needs no alignment
            let block = [0, 1, 2, 3].map(|i| unsafe { &*rows.add((4 * four + i) * pitch).cast() });
            for (words, column) in words.iter_mut().zip(Self::transpose(block)) {
                words[four * column.len()..][..column.len()].copy_from_slice(&column);
            }
        }
        // SAFETY: the arrays have words for the most lanes, and loads need no alignment
        words.map(|words| unsafe { Self::load(words.as_ptr().cast()) })
    }
    /// The sums and, in each lane, the products of a word of inputs and one of weights; wraps.
    ///
    /// # Safety
    /// Called inside [`run`](Self::run).
    unsafe fn dot(sums: Self::Vector, inputs: Self::Vector, weights: Self::Vector) -> Self::Vector;
    /// The sum of all lanes; wraps.
    ///
    /// # Safety
    /// Called inside [`run`](Self::run).
    unsafe fn total(sums: Self::Vector) -> i32;
    /// Requantizes sums as [`Clamp::apply`] does; wraps.
    ///
    /// # Safety
    /// Called inside [`run`](Self::run).
    #[inline(always)]
    unsafe fn requantize(
        sums: Self::Vector,
        multiplier: Self::Vector,
        shift: Self::Vector,
        clamp: Clamp,
    ) -> Self::Vector {
        let mut lanes = [[0; LANES]; 3];
        // SAFETY: the arrays have the most lanes, and the caller is inside `run`
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
                *sum = clamp.apply(*sum, *multiplier, shift.cast_unsigned());
            }
            Self::load(sums.as_ptr())
        }
    }
    /// Writes results, which fit 8 bits.
    ///
    /// # Safety
    /// `LANES` bytes are writable at `to`; called inside [`run`](Self::run).
    #[inline(always)]
    unsafe fn store_results(to: *mut i8, results: Self::Vector) {
        let mut lanes = [0; LANES];
        // SAFETY: the array has the most lanes, the caller has `LANES` writable bytes, and is inside `run`
        unsafe {
            Self::store(lanes.as_mut_ptr(), results);
            for (i, result) in lanes.iter().enumerate().take(Self::LANES) {
                to.add(i).write(*result as i8);
            }
        }
    }
}

/// A loop over the vectors of any instruction set. Its function and all that it calls are inlined into
/// [`Isa::run`].
pub(super) trait Task {
    /// Its result.
    type Output;
    /// Runs it.
    ///
    /// # Safety
    /// Called inside [`Isa::run`].
    unsafe fn run<I: Isa>(self) -> Self::Output;
}
