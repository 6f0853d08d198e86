//! The header: version and lengths of the sections.

use super::ImageError;

/// The first eight bytes of every image.
pub const MAGIC: [u8; 8] = *b"bitbudgt";
/// The version of the format that this crate reads and writes.
pub const VERSION: u32 = 6;
/// Bytes before the network section.
pub const HEADER_BYTES: usize = 28;
/// Bytes behind the blocks section.
pub const CRC_BYTES: usize = 4;

/// The lengths of the sections.
pub(super) struct Header {
    pub(super) network: u32,
    pub(super) names: u32,
    pub(super) plans: u32,
    pub(super) blocks: u32,
}

impl Header {
    /// The header at the beginning of an image of exactly `len` bytes.
    pub(super) fn read(bytes: &[u8], len: usize) -> Result<Self, ImageError> {
        let header = Self::find(bytes, len)?;
        match header.image_bytes() {
            Some(expected) if expected == len => Ok(header),
            expected => Err(ImageError::Length {
                expected,
                found: len,
            }),
        }
    }

    /// The header at the beginning of at least one image's bytes, `len` of them.
    pub(super) fn find(bytes: &[u8], len: usize) -> Result<Self, ImageError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(ImageError::Magic);
        }
        let short = ImageError::Length {
            expected: Some(HEADER_BYTES + CRC_BYTES),
            found: len,
        };
        let word = |at: usize| {
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map(u32::from_le_bytes).ok_or(short)
        };
        let version = word(8)?;
        if version != VERSION {
            return Err(ImageError::Version(version));
        }
        let header = Self {
            network: word(12)?,
            names: word(16)?,
            plans: word(20)?,
            blocks: word(24)?,
        };
        match header.image_bytes() {
            Some(expected) if expected <= len => Ok(header),
            expected => Err(ImageError::Length {
                expected,
                found: len,
            }),
        }
    }

    /// The length of the whole image; `None` where 32 bits cannot address it.
    pub(super) fn image_bytes(&self) -> Option<usize> {
        let sections = [self.network, self.names, self.plans, self.blocks].map(u64::from);
        let sum = sections.iter().sum::<u64>() + (HEADER_BYTES + CRC_BYTES) as u64;
        u32::try_from(sum).ok().map(|sum| sum as usize)
    }

    /// The length of all that is between the header and the blocks.
    pub(super) const fn meta_bytes(&self) -> usize {
        self.network as usize + self.names as usize + self.plans as usize
    }
}
