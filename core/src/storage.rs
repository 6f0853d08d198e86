//! Storage of an image: memory, or a NOR flash that must be read piece by piece.
//!
//! A storage is anything that implements [`ReadNorFlash`] of `embedded-storage`: the drivers of SPI
//! and QSPI flashes do. All reads are aligned to four bytes.

use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Bytes in memory as a storage.
#[derive(Clone, Copy, Debug)]
pub struct Mapped<'a>(pub &'a [u8]);

/// A read beyond the end of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl ErrorType for Mapped<'_> {
    type Error = OutOfBounds;
}

impl ReadNorFlash for Mapped<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let from = self.0.get(offset as usize..).ok_or(OutOfBounds)?;
        let from = from.get(..bytes.len()).ok_or(OutOfBounds)?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

/// Words read at once when a storage is streamed.
pub(crate) const CHUNK_WORDS: usize = 32;
/// Bytes read at once when a storage is streamed.
pub(crate) const CHUNK_BYTES: usize = 4 * CHUNK_WORDS;

/// Calls `each` with the bytes from `start` to `end`, in pieces of at most [`CHUNK_BYTES`].
///
/// # Errors
/// The storage's.
pub(crate) fn stream<S: ReadNorFlash>(
    storage: &mut S,
    start: u32,
    end: u32,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), S::Error> {
    const { assert!(CHUNK_BYTES.is_multiple_of(S::READ_SIZE) && 4 % S::READ_SIZE == 0) };
    let mut piece = [0; CHUNK_BYTES];
    let mut at = start;
    while at < end {
        let len = ((end - at) as usize).min(CHUNK_BYTES);
        storage.read(at, &mut piece[..len])?;
        each(&piece[..len]);
        at += len as u32;
    }
    Ok(())
}
