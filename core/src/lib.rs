//! Mixed-precision CNN inference in a fixed memory budget: quantizers, an exact layout solver, and an
//! engine with INT8 and FP32 kernels. `no_std`, no heap.
//!
//! A host profiles a trained network and packs an [`Image`]: for every level of every layer (`fp32` … `int2`)
//! its weights as the kernels read them, its bytes and its predicted change of the loss. From then on the
//! image is all there is. This crate checks it once, solves for the plan of least loss within limits of
//! RAM and cycles, copies weights to an arena that the caller lends, or reads them where they lie, and
//! runs the network, on the host and on the device with the same plan and the same integers.
//!
//! ```text
//!  image (flash)              Planner<N, K>
//! ┌─────────────────┐ parse  ┌───────────────┐ plan     arena (RAM, lent)
//! │ network, prices │───────▶│ Solver        │──┐     ┌────────────────────────┐
//! │ blocks          │──┐     └───────────────┘  └────▶│ blocks in RAM          │
//! │ plans           │  │      Engine<N, K>      load  │ activations            │
//! └─────────────────┘  │     ┌───────────────┐  infer │ spare: still yours     │
//!                      └────▶│ kernels       │───────▶└────────────────────────┘
//!                            └───────────────┘
//! ```
//!
//! ```
//! use bitbudget_core::{Engine, EngineError, Image, Input, Limits, Planner};
//!
//! /// The class of one frame of raw pixels, found with at most `bytes` of RAM.
//! fn classify(
//!     image: &Image<32, 5>,
//!     arena: &mut [u8],
//!     bytes: u64,
//!     frame: &[u8],
//! ) -> Result<Option<usize>, EngineError> {
//!     let mut planner = Planner::<32, 5>::new(image.network());
//!     let mut engine = Engine::new(image, arena)?;
//!     // again whenever memory comes or goes
//!     engine.replan(&mut planner, Limits::ram(bytes))?;
//!     let logits = engine.infer(Input::U8(frame))?;
//!     Ok((0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])))
//! }
//! ```
//!
//! - **Capacities.** `N` is the most layers and `K` the most levels of a layer that a type has room for;
//!   every buffer is a constant of the type. `bitbudget inspect` tells how many an image has.
//! - **Place.** The weights of a layer lie in RAM or, where the image is in mapped memory, stay in flash and
//!   take no RAM ([`Places`]); the place changes no output.
//! - **Memory.** A plan's bytes of RAM are those that the engine takes of the arena, no more; what is left is
//!   [`Engine::spare`]. [`Image`], [`Planner`] and [`Engine`] themselves are the caller's values.
//! - **Time.** A re-plan can be given a limit of nodes; the plan then says how far from the optimum it may
//!   still be ([`Plan::bound`]). [`Image::stored_plans`] needs no search and no planner.
//! - **Exactness.** Integer layers are defined in integers; every instruction set gives the same bytes.
//!
//! [`mckp`] solves multiple-choice knapsack problems of any origin. [`protocol`] is what the firmware and
//! the host say to each other.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[cfg(all(feature = "std", not(test)))]
extern crate std;

pub(crate) mod aligned;
pub(crate) mod arch;
pub mod arena;
pub mod block;
pub mod cascade;
pub mod clip;
pub(crate) mod crc;
pub mod engine;
pub mod form;
pub mod image;
pub(crate) mod input;
pub mod level;
pub mod mckp;
pub mod network;
pub mod op;
pub mod place;
pub mod plan;
pub mod price;
pub mod protocol;
pub mod quant;
pub mod rules;
pub mod shape;
pub(crate) mod sort;
pub(crate) mod span;
pub mod state;
pub mod step;
pub mod storage;
pub mod stored;
pub mod tensor;

pub use aligned::Aligned;
pub use engine::{Engine, EngineError, Input};
pub use image::{Image, ImageError};
pub use level::Level;
pub use place::{Place, Places};
pub use plan::{Limits, LimitsTooSmall, Plan, Planner};
