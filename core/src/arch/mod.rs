//! The innermost loops, the one place where processors are known. They know slices, widths and affine maps
//! only.
//!
//! [`kernels`] says what an instruction set offers, [`portable`] does all of it in safe Rust, and each
//! instruction set has a file or a folder that implements what it does better; here the best one is chosen.
//! The battery holds each to naive computations: INT8 exactly, FP32 within [`FP32_TOLERANCE`].

#[cfg(test)]
#[macro_use]
mod battery;

pub(crate) mod im2col;
pub(crate) mod kernels;
pub(crate) mod pixels;
pub(crate) mod portable;
pub(crate) mod requantize;
pub(crate) mod strips;

#[cfg(arm_dsp)]
mod arm_dsp;
#[cfg(arm_fpu)]
mod arm_fpu;
#[cfg(arm_mla)]
mod arm_mla;
#[cfg(arm_v6m)]
mod arm_v6m;
#[cfg(simd)]
mod simd;

pub use kernels::FP32_TOLERANCE;
pub(crate) use kernels::{FloatKernels, IntKernels};

cfg_select! {
    arm_dsp => { pub(crate) type Int = arm_dsp::Dsp; }
    arm_mla => { pub(crate) type Int = arm_mla::Mla; }
    arm_v6m => { pub(crate) type Int = arm_v6m::V6m; }
    simd => { pub(crate) type Int = simd::Simd; }
    _ => { pub(crate) type Int = portable::Portable; }
}

cfg_select! {
    arm_fpu => { pub(crate) type Float = arm_fpu::Fpu; }
    simd => { pub(crate) type Float = simd::Simd; }
    _ => { pub(crate) type Float = portable::Portable; }
}
