//! The widths of integer weights.

use serde::{Deserialize, Serialize};

/// Bits of a quantized weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Width {
    /// −127..=127, one in a byte.
    Int8,
    /// −7..=7, two in a byte.
    Int4,
    /// −3, −1, 1 or 3, four in a byte: the grid of four evenly spaced values that is symmetric, and so
    /// without a 0.
    Int2,
}

impl Width {
    /// All widths, widest first.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int4, Self::Int2];

    /// Bits of one weight.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Int8 => 8,
            Self::Int4 => 4,
            Self::Int2 => 2,
        }
    }

    /// The largest weight.
    #[must_use]
    pub const fn max(self) -> i8 {
        match self {
            Self::Int8 => 127,
            Self::Int4 => 7,
            Self::Int2 => 3,
        }
    }

    /// Whether a byte of weights holds one below −[`Self::max`], which is none.
    #[must_use]
    pub const fn has_lowest(self, byte: u8) -> bool {
        match self {
            Self::Int8 => byte == 0x80,
            Self::Int4 => byte & 0xf == 0x8 || byte >> 4 == 0x8,
            Self::Int2 => false,
        }
    }

    /// The distance of neighbouring weights.
    #[must_use]
    pub const fn step(self) -> u8 {
        match self {
            Self::Int8 | Self::Int4 => 1,
            Self::Int2 => 2,
        }
    }

    /// Bytes of `len` weights that begin at a byte of their own.
    #[must_use]
    pub const fn row_bytes(self, len: usize) -> usize {
        let per_byte = (8 / self.bits()) as usize;
        len.div_ceil(per_byte)
    }
}
