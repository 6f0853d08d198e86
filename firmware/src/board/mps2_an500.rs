//! MPS2 with application note 500: Cortex-M7.

pub(crate) use super::mps2::*;

pub(crate) const NAME: &str = "mps2-an500";
