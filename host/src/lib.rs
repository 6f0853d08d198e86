//! Host side of bitbudget.
#![forbid(unsafe_code)]
