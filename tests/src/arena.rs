//! Memory to lend to an engine.

use bitbudget_core::engine::ARENA_ALIGN;

/// Exactly as many aligned bytes as a test wants to lend.
#[derive(Debug)]
pub struct Arena {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Arena {
    /// `len` bytes that read as NaN or −1 until something is written there.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let bytes = vec![0xff; len + ARENA_ALIGN];
        let address = bytes.as_ptr().addr();
        Self {
            start: address.next_multiple_of(ARENA_ALIGN) - address,
            bytes,
            len,
        }
    }

    /// All of it.
    pub fn lend(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }

    /// All of it, to be read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }

    /// As many bytes, `off` bytes beyond the aligned address.
    ///
    /// # Panics
    /// When `off` exceeds the room that the alignment left.
    pub fn lend_off(&mut self, off: usize) -> &mut [u8] {
        &mut self.bytes[self.start + off..][..self.len - off]
    }
}
