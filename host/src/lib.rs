//! Decide which layers of a CNN stay FP32 and which become INT8, so that it fits a memory budget
//! with the least loss.
#![forbid(unsafe_code)]

pub mod budget;
pub mod calibrate;
pub mod dataset;
pub mod device;
pub mod evaluate;
pub mod file;
pub mod graph;
pub mod import;
pub mod loss;
pub mod metric;
pub mod pack;
pub mod profile;
