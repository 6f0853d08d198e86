//! The instruction sets of AArch64: NEON, which all have, and its dot products where the processor was found
//! to have them (feature `std`) or the program is built for them (`-C target-feature=+dotprod`).

#![expect(unsafe_code, reason = "instructions of some processors")]

use core::arch::aarch64::*;
use core::arch::asm;

use super::isa::{Isa, Task};
use crate::arch::requantize::Clamp;

pub(super) use crate::arch::portable::dots_f32;

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backend(Extension);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Neon,
    Dot,
}

/// Whether there are dot products.
#[cfg(any(test, feature = "std"))]
fn has_dot() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(any(test, feature = "std")))]
const fn has_dot() -> bool {
    cfg!(target_feature = "dotprod")
}

impl Backend {
    /// The fastest.
    pub(super) fn best() -> Self {
        Self(if has_dot() {
            Extension::Dot
        } else {
            Extension::Neon
        })
    }

    /// Calls `test` with each that this processor has, and says which it lacks.
    #[cfg(test)]
    pub(super) fn on_each(mut test: impl FnMut(Self)) {
        test(Self(Extension::Neon));
        if has_dot() {
            test(Self(Extension::Dot));
        } else {
            println!("dot products: not on this processor, not tested");
        }
    }

    /// [`Isa::LANES`].
    pub(super) const fn lanes(self) -> usize {
        Neon::LANES
    }

    /// Bytes of an [`Isa::Input`].
    pub(super) const fn input_bytes(self) -> usize {
        match self.0 {
            Extension::Neon => size_of::<i16>(),
            Extension::Dot => size_of::<i8>(),
        }
    }

    /// Runs a task.
    pub(super) fn run<T: Task>(self, task: T) -> T::Output {
        // SAFETY: a `Backend` is made only by `best` and `on_each`, of extensions that the processor was found to
        // have
        unsafe {
            match self.0 {
                Extension::Neon => Neon::run(task),
                Extension::Dot => Dot::run(task),
            }
        }
    }
}

/// Four rows of words as columns.
#[inline(always)]
fn transpose(rows: [&[u8; 16]; 4]) -> [[u8; 16]; 4] {
    // SAFETY: 16 bytes are read from each row and written to each column, which are arrays of as many; NEON is
    // always there, since this file is compiled only where the target has it
    unsafe {
        let [a, b, c, d] = rows.map(|row| vreinterpretq_u32_u8(vld1q_u8(row.as_ptr())));
        let low = [vzip1q_u32(a, c), vzip1q_u32(b, d)];
        let high = [vzip2q_u32(a, c), vzip2q_u32(b, d)];
        [
            vzip1q_u32(low[0], low[1]),
            vzip2q_u32(low[0], low[1]),
            vzip1q_u32(high[0], high[1]),
            vzip2q_u32(high[0], high[1]),
        ]
        .map(|column| {
            let mut to = [0; 16];
            vst1q_u8(to.as_mut_ptr(), vreinterpretq_u8_u32(column));
            to
        })
    }
}

/// The part that both extensions share.
macro_rules! four_lanes {
    () => {
        type Vector = int32x4_t;
        const LANES: usize = 4;
        const OFFSET: i32 = 0;
        const PIXELS: usize = 8;

        #[inline(always)]
        unsafe fn run<T: Task>(task: T) -> T::Output {
            // SAFETY: the caller has promised that the processor has the instruction set
            unsafe { task.run::<Self>() }
        }

        #[inline(always)]
        fn transpose(rows: [&[u8; 16]; 4]) -> [[u8; 16]; 4] {
            transpose(rows)
        }

        #[inline(always)]
        fn input(tap: i8) -> Self::Input {
            tap.into()
        }

        #[inline(always)]
        fn weight(weight: i8) -> Self::Weight {
            weight.into()
        }

        #[inline(always)]
        unsafe fn load(sums: *const i32) -> int32x4_t {
            // SAFETY: `LANES` sums are readable, as the caller has promised; it is inside `run`
            unsafe { vld1q_s32(sums) }
        }

        #[inline(always)]
        unsafe fn store(sums: *mut i32, vector: int32x4_t) {
            // SAFETY: `LANES` sums are writable, as the caller has promised; it is inside `run`
            unsafe { vst1q_s32(sums, vector) }
        }

        #[inline(always)]
        unsafe fn splat(inputs: *const Self::Input) -> int32x4_t {
            // SAFETY: a word of inputs is readable, as the caller has promised; it is inside `run`
            unsafe { vdupq_n_s32(inputs.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn inputs(inputs: *const Self::Input) -> int32x4_t {
            // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
            unsafe { vreinterpretq_s32_s8(vld1q_s8(inputs.cast())) }
        }

        #[inline(always)]
        unsafe fn words(weights: *const Self::Weight) -> int32x4_t {
            // SAFETY: words of `LANES` lanes are readable, as the caller has promised; it is inside `run`
            unsafe { vreinterpretq_s32_s8(vld1q_s8(weights.cast())) }
        }

        #[inline(always)]
        unsafe fn requantize(
            sums: int32x4_t,
            multiplier: int32x4_t,
            shift: int32x4_t,
            clamp: Clamp,
        ) -> int32x4_t {
            // SAFETY: only registers are read and written; the caller is inside `run`
            unsafe {
                let low = vmull_s32(vget_low_s32(sums), vget_low_s32(multiplier));
                let high = vmull_high_s32(sums, multiplier);
                let upper = vuzp2q_s32(vreinterpretq_s32_s64(low), vreinterpretq_s32_s64(high));
                let twice = vshlq_s32(upper, vnegq_s32(shift));
                let twice = vaddq_s32(twice, vdupq_n_s32(clamp.offset));
                let steps = vshrq_n_s32::<1>(twice);
                let steps = vmaxq_s32(steps, vdupq_n_s32(clamp.low));
                vminq_s32(steps, vdupq_n_s32(clamp.high))
            }
        }

        #[inline(always)]
        unsafe fn store_results(to: *mut i8, results: int32x4_t) {
            // SAFETY: `LANES` bytes are writable, as the caller has promised; it is inside `run`
            unsafe {
                let words = vmovn_s32(results);
                let bytes = vmovn_s16(vcombine_s16(words, words));
                let four = vget_lane_s32::<0>(vreinterpret_s32_s8(bytes));
                to.cast::<i32>().write_unaligned(four);
            }
        }

        #[inline(always)]
        unsafe fn total(sums: int32x4_t) -> i32 {
            // SAFETY: only registers are read and written; the caller is inside `run`
            unsafe { vaddvq_s32(sums) }
        }
    };
}

/// Products of 16 bits.
#[derive(Clone, Copy)]
struct Neon;

// SAFETY: every processor has all instructions used, and pointers are read and written for one vector or one word
// at most, as the trait says
unsafe impl Isa for Neon {
    type Input = i16;
    type Weight = i16;
    four_lanes!();

    #[inline(always)]
    unsafe fn bytes(weights: *const i8) -> int32x4_t {
        // SAFETY: `LANES * TAPS` bytes are readable, as the caller has promised; it is inside `run`
        unsafe { vreinterpretq_s32_s16(vmovl_s8(vld1_s8(weights))) }
    }

    #[inline(always)]
    unsafe fn dot(sums: int32x4_t, inputs: int32x4_t, weights: int32x4_t) -> int32x4_t {
        // SAFETY: only registers are read and written; the caller is inside `run`
        unsafe {
            let [inputs, weights] = [inputs, weights].map(|words| vreinterpretq_s16_s32(words));
            let low = vmull_s16(vget_low_s16(inputs), vget_low_s16(weights));
            let high = vmull_high_s16(inputs, weights);
            vaddq_s32(sums, vpaddq_s32(low, high))
        }
    }
}

/// Dot products of four bytes.
#[derive(Clone, Copy)]
struct Dot;

// SAFETY: `run` is called where the processor has dot products, and pointers are read and written for one vector
// or one word at most, as the trait says
unsafe impl Isa for Dot {
    type Input = i8;
    type Weight = i8;
    four_lanes!();

    #[inline(always)]
    unsafe fn bytes(weights: *const i8) -> int32x4_t {
        // SAFETY: `LANES * TAPS` bytes are readable, as the caller has promised; it is inside `run`
        unsafe { Self::words(weights) }
    }

    #[inline(always)]
    unsafe fn dot(mut sums: int32x4_t, inputs: int32x4_t, weights: int32x4_t) -> int32x4_t {
        // SAFETY: the instruction reads and writes registers only; the caller is inside `run`, where the processor
        // has it
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
                inout(vreg) sums, in(vreg) inputs, in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sums
    }
}
