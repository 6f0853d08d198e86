//! Decide at which precision each layer of a CNN is stored, so that it fits a memory budget with the
//! least loss.
//!
//! The library behind the command line, in the order of its use:
//!
//! 1. [`import`] reads a trained model into a [`Graph`](graph::Graph), [`dataset`] reads calibration
//!    images; [`analyze`] tells what the model takes of a device at every level.
//! 2. [`profile::profile`] runs the model on them: [`calibrate`] chooses the quantizers, [`metric`] prices
//!    every level of every layer in units of the [`loss`]. The result is a [`Profile`](profile::Profile).
//! 3. A [`HostPlanner`](capacity::HostPlanner) finds the layout of least predicted loss within a budget,
//!    under [`rules`] if there are any; [`explain`] compares it with its neighbours.
//! 4. [`flash`] and [`needed`] choose the levels that are stored, [`pack::pack`] puts network, prices and
//!    weights into one image for the device.
//! 5. [`evaluate`] runs the image with the device's kernels over a data set, [`device`] on a board or in
//!    an emulator; [`export`] writes it as C source.
//!
//! [`problem`] solves layouts whose prices and costs come from elsewhere; [`board`] knows what layers cost on
//! known boards.
#![forbid(unsafe_code)]

pub mod analyze;
pub mod batches;
pub mod bench;
pub mod board;
pub mod budget;
pub mod calibrate;
pub mod capacity;
pub mod clip_rule;
pub mod compare;
pub mod dataset;
pub mod decimal;
pub mod device;
pub mod doubt;
pub mod encode;
pub mod evaluate;
pub mod explain;
pub mod export;
pub mod file;
pub mod flash;
pub mod graph;
pub mod grid;
pub mod import;
pub mod latency;
pub mod layout;
pub mod loss;
pub mod memory;
pub mod metric;
pub mod name;
pub mod needed;
pub mod pack;
pub mod problem;
pub mod profile;
mod random;
pub mod rules;
pub mod search;
pub mod simulate;
pub mod size;
