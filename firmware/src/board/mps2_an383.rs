//! MPS2 with application note 383: Cortex-M0+.

pub(crate) use super::mps2::*;

pub(crate) const NAME: &str = "mps2-an383";
