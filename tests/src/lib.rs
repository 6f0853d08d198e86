//! Shared pieces of the tests: seeded random models, a dumb reference that is written from the
//! contracts, and memory to lend to an engine.
#![forbid(unsafe_code)]

pub mod arena;
pub mod builder;
pub mod check;
pub mod digits;
pub mod emulated;
pub mod equal;
mod firmware;
pub mod fuzz;
pub mod generate;
pub mod instances;
pub mod model;
pub mod networks;
pub mod oracle;
pub mod shared;
pub mod tamper;
pub mod whole;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
