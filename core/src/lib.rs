//! Mixed-precision CNN inference in a fixed memory budget: quantizers, the price-matrix math, an
//! exact layout solver, and an engine with INT8 and FP32 kernels. `no_std`, no heap.
//!
//! A host profiles a trained network and packs an [`Image`](image::Image); this crate plans it for a
//! budget and runs it, on the host and on the device, bit for bit the same.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[cfg(all(feature = "std", not(test)))]
extern crate std;

pub mod arch;
pub mod arena;
pub mod clip;
pub mod engine;
pub mod image;
pub mod level;
pub mod mckp;
pub mod network;
pub mod op;
pub mod plan;
pub mod price;
pub mod protocol;
pub mod quant;
pub mod resident;
pub mod rules;
pub mod shape;
pub mod step;
pub mod storage;
pub mod stored;
pub mod tensor;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
