//! MPS2 with application note 386: Cortex-M4F.

pub(crate) use super::mps2::*;

pub(crate) const NAME: &str = "mps2-an386";
