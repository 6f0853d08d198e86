//! Memory that costs nothing before it is used.

#![expect(unsafe_code, reason = "memory without a value")]

use core::fmt;
use core::mem::MaybeUninit;

use bytemuck::Pod;

/// Up to `BYTES` bytes, aligned for vectors.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Buffer<const BYTES: usize> {
    bytes: [MaybeUninit<u8>; BYTES],
    /// Bytes from the beginning on that have a value.
    len: usize,
}

impl<const BYTES: usize> Buffer<BYTES> {
    /// No bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [MaybeUninit::uninit(); BYTES],
            len: 0,
        }
    }

    /// Makes it `len` zeros.
    ///
    /// # Panics
    /// When there is no room.
    pub fn reset(&mut self, len: usize) -> &mut [u8] {
        self.clear();
        self.grow(len)
    }

    /// Makes it empty.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends zeros where it has fewer than `len` bytes, and gives the first `len`.
    ///
    /// # Panics
    /// When there is no room.
    pub fn grow(&mut self, len: usize) -> &mut [u8] {
        if len > self.len {
            self.bytes[self.len..len].fill(MaybeUninit::new(0));
            self.len = len;
        }
        &mut self.bytes_mut()[..len]
    }

    /// Appends an element made of each of `from`.
    ///
    /// # Panics
    /// When there is no room, or the buffer ends where no such element can begin.
    #[inline(always)]
    pub fn append<F: Copy, T: Pod>(&mut self, from: &[F], element: impl Fn(F) -> T) {
        let bytes = from.len() * size_of::<T>();
        let room = &mut self.bytes[self.len..self.len + bytes];
        let to = room.as_mut_ptr().cast::<MaybeUninit<T>>();
        assert!(to.is_aligned(), "whole elements");
        // SAFETY: it is aligned, and there is room for so many elements, which need no value yet
        let to = unsafe { core::slice::from_raw_parts_mut(to, from.len()) };
        for (to, from) in to.iter_mut().zip(from) {
            to.write(element(*from));
        }
        self.len += bytes;
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the array have a value
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }

    /// The bytes.
    pub const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes of the array have a value, and keep one
        unsafe { core::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.len) }
    }
}

impl<const BYTES: usize> Default for Buffer<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BYTES: usize> fmt::Debug for Buffer<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {BYTES})", self.len)
    }
}
