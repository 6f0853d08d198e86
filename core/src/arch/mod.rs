//! The innermost loops, one file for each instruction set. They know slices only.
//!
//! `scalar` is the reference in safe Rust: always compiled, and what every other file must equal
//! (INT8 exactly, FP32 within [`FP32_TOLERANCE`]).

#[cfg(all(wide, target_arch = "aarch64"))]
pub mod aarch64;
#[cfg(arm_dsp)]
pub mod arm_dsp;
#[cfg(arm_fpu)]
pub mod arm_fpu;
#[cfg(any(arm_mla, all(arm_dsp, test)))]
pub mod arm_mla;
#[cfg(test)]
mod battery;
pub mod pixels;
pub mod requantize;
pub mod scalar;
#[cfg(wide)]
pub mod wide;
#[cfg(all(wide, target_arch = "x86_64"))]
pub mod x86_64;

#[cfg(arm_dsp)]
pub use arm_dsp::{Patches, add_i8, depthwise, dots_i8, max_i8, requantize};
#[cfg(arm_fpu)]
pub use arm_fpu::{depthwise_f32, dots_f16, dots_f32, quantize};
#[cfg(arm_mla)]
pub use arm_mla::Patches;
pub use pixels::Pixels;
pub use requantize::Factors;
#[cfg(not(arm_dsp))]
pub use requantize::requantize;
#[cfg(not(any(arm_dsp, arm_mla, wide)))]
pub use scalar::Patches;
#[cfg(not(any(arm_fpu, all(wide, target_arch = "x86_64"))))]
pub use scalar::dots_f32;
#[cfg(not(any(arm_dsp, wide)))]
pub use scalar::dots_i8;
pub use scalar::{Rows, half, weight};
#[cfg(not(arm_dsp))]
pub use scalar::{add_i8, depthwise, max_i8};
#[cfg(not(arm_fpu))]
pub use scalar::{depthwise_f32, dots_f16, quantize};
#[cfg(wide)]
pub use wide::{FloatStrips, Frame, Grid, Patches, Segments, Strip, StripSums, Strips};
#[cfg(all(wide, target_arch = "x86_64"))]
pub use x86_64::dots_f32;

/// Largest error of an FP32 sum of n products relative to the sum of the products' magnitudes:
/// reordering n additions of 24-bit mantissas moves the result by at most n · 2^-24; the layers of
/// this crate sum up to a few thousand products, whose errors largely cancel.
pub const FP32_TOLERANCE: f32 = 1e-5;
