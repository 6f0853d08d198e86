//! Output pixels that share a pass over the weights.

/// One pixel or four neighbouring ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Pixels {
    /// A single one.
    One = 1,
    /// Four.
    Four = 4,
}

impl Pixels {
    /// The most.
    pub(crate) const MOST: usize = Self::Four.count();

    /// Four where as many are left, else one.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn of(left: usize) -> Self {
        if left < Self::MOST {
            Self::One
        } else {
            Self::Four
        }
    }

    /// Number of pixels.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn count(self) -> usize {
        self as usize
    }
}
