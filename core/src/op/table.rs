//! Lookup tables over INT8.

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
