//! Lookup tables over INT8.

use crate::op::Activation;
use crate::quant::{QParams, Requant, Rounding};
use crate::tensor::Requantizer;

/// A result for each INT8, or for each byte as one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<T>([T; 256]);

impl<T: Copy + Default> Default for Table<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + Default> Table<T> {
    /// Results of a table.
    pub(crate) const LEN: usize = 256;

    /// Room for them.
    #[inline(always)]
    #[must_use]
    pub(crate) fn new() -> Self {
        Self([T::default(); 256])
    }

    /// Takes the results that `fill` writes for the given elements.
    #[inline(always)]
    pub(crate) fn fill(&mut self, fill: impl FnOnce(&[i8], &mut [T])) {
        /// Every element, in the order of its byte.
        const ALL: [i8; 256] = {
            let mut all = [0; 256];
            let mut i = 0;
            while i < all.len() {
                all[i] = i as u8 as i8;
                i += 1;
            }
            all
        };
        fill(&ALL, &mut self.0);
    }

    /// The result for an element.
    #[inline(always)]
    #[must_use]
    pub(crate) fn get(&self, element: i8) -> T {
        self.0[usize::from(element.cast_unsigned())]
    }
}

impl Table<i8> {
    /// What [`requantize`] makes of every element.
    #[must_use]
    pub(crate) fn requantized(from: QParams, to: (QParams, Rounding), behind: Activation) -> Self {
        let mut table = Self::new();
        table.fill(|all, results| requantize(all, from, to, behind, results));
        table
    }
}

/// Writes what the elements of a tensor with the parameters `from` become in one with `to`, behind an
/// activation.
#[inline(never)]
pub(crate) fn requantize(
    elements: &[i8],
    from: QParams,
    (to, rounding): (QParams, Rounding),
    behind: Activation,
    results: &mut [i8],
) {
    let factor = Requant::from_real(from.scale / to.scale);
    let zero = i32::from(from.zero_point);
    let steps = elements.iter().map(|x| i32::from(*x) - zero);
    Requantizer::new(to, rounding, behind).rescale(steps, factor, results);
}
