//! Exports: an image in the shape in which other tools take it.

pub mod c;
