//! MPS2 with application note 505: Cortex-M33, with FPU and DSP instructions.

pub(crate) use super::mps2::*;

pub(crate) const NAME: &str = "mps2-an505";
