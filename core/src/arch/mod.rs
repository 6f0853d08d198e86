//! The innermost loops, one file for each instruction set. They know slices only.
//!
//! `scalar` is the reference in safe Rust: always compiled, and what every other file must equal
//! (INT8 exactly, FP32 within [`FP32_TOLERANCE`]).

#[cfg(armv7em)]
pub mod armv7em;
pub mod scalar;

#[cfg(armv7em)]
pub use armv7em::{dot_i8, dots_i8};
pub use scalar::{Pairs, dot_f16, dot_f32, dot_i2, dot_i4, sum_i2, sum_i4, sum_i8};
#[cfg(not(armv7em))]
pub use scalar::{dot_i8, dots_i8};

/// Largest error of an FP32 sum of n products relative to the sum of the products' magnitudes:
/// reordering n additions of 24-bit mantissas moves the result by at most n · 2^-24; the layers of
/// this crate sum up to a few thousand products, whose errors largely cancel.
pub const FP32_TOLERANCE: f32 = 1e-5;
