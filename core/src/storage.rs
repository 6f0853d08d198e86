//! Storage of an image: memory, or a NOR flash that must be read piece by piece.
//!
//! A storage is anything that implements [`ReadNorFlash`] of `embedded-storage`: the drivers of SPI
//! and QSPI flashes do. All reads are aligned to four bytes.

use core::sync::atomic::{Ordering, compiler_fence};

use bytemuck::{try_cast_slice, try_cast_slice_mut};
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
        let from = self.0.get(offset as usize..);
        let from = from.and_then(|from| from.get(..bytes.len()));
        copy(from.ok_or(OutOfBounds)?, bytes);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

/// Copies bytes, eight words at a time where both begin at a word, as blocks of weights do: what `memcpy` is made of on
/// a microcontroller goes word by word.
///
/// # Panics
/// When there are not as many of both.
#[inline(never)]
pub(crate) fn copy(from: &[u8], to: &mut [u8]) {
    type Words = [u32; 8];
    let whole = from.len() - from.len() % size_of::<Words>();
    let mut copied = 0;
    if let (Ok(from), Ok(to)) = (
        try_cast_slice(&from[..whole]),
        try_cast_slice_mut(&mut to[..whole]),
    ) {
        for (to, from) in to.iter_mut().zip(from) {
            let words: &mut Words = to;
            *words = *from;
            // else all of it becomes one call of memcpy
            compiler_fence(Ordering::AcqRel);
        }
        copied = whole;
    }
    to[copied..].copy_from_slice(&from[copied..]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_from_anywhere_to_anywhere() {
        let bytes: [u8; 200] = core::array::from_fn(|i| i as u8);
        for (at, place, len) in [(0, 0, 200), (0, 0, 64), (4, 8, 100), (1, 0, 77), (3, 3, 33)] {
            let from = &bytes[at..][..len];
            let mut to = [0xaa; 240];
            copy(from, &mut to[place..][..len]);
            assert_eq!(to[place..][..len], *from);
            let mut around = to[..place].iter().chain(&to[place + len..]);
            assert!(around.all(|byte| *byte == 0xaa));
        }
    }
}
