//! Decide at which precision each layer of a CNN is stored, so that it fits a memory budget with the
//! least loss.
#![forbid(unsafe_code)]

pub mod batches;
pub mod bench;
pub mod budget;
pub mod calibrate;
pub mod compare;
pub mod dataset;
pub mod device;
pub mod evaluate;
pub mod explain;
pub mod file;
pub mod graph;
pub mod grid;
pub mod import;
pub mod latency;
pub mod layouts;
pub mod loss;
pub mod metric;
pub mod pack;
pub mod problem;
pub mod profile;
mod random;
pub mod rules;
