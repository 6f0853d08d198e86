//! Sizes that packed weights, copied inputs and tiles have in common.

use crate::arch::strips::KernelRows;

/// The most lanes of a vector.
pub(super) const LANES: usize = 16;
/// The most taps of a word.
pub(super) const TAPS: usize = 4;
/// The most channels whose weights are packed at a time.
pub(super) const CHANNELS: usize = 64;
/// Bytes of packed weights.
pub(super) const WEIGHT_BYTES: usize = 64 << 10;

/// Words of a kernel row, of `taps` taps each.
pub(super) const fn words(shape: KernelRows, taps: usize) -> usize {
    shape.len.div_ceil(taps)
}

/// The index behind `first` and, for each (count, length), that many steps of that length; saturates.
#[inline(always)]
pub(super) fn end<const N: usize>(first: usize, steps: [(usize, usize); N]) -> usize {
    let steps = steps.map(|(count, len)| count.saturating_mul(len));
    steps.into_iter().fold(first, usize::saturating_add)
}
