//! The log: one place for what the server writes to it.

pub(crate) use defmt::{info, warn};
