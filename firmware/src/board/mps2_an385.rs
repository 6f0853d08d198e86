//! MPS2 with application note 385: Cortex-M3, without FPU and DSP.

pub(crate) use super::mps2::*;

pub(crate) const NAME: &str = "mps2-an385";
