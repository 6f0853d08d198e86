//! Memory that costs nothing before it is used.

#![expect(unsafe_code, reason = "memory without a value")]

use core::fmt;
use core::mem::MaybeUninit;

use bytemuck::Pod;

/// Up to `BYTES` bytes, aligned for vectors.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Buffer<const BYTES: usize> {
    bytes: [MaybeUninit<u8>; BYTES],
    /// Bytes from the beginning on that have a value.
    len: usize,
}

impl<const BYTES: usize> Buffer<BYTES> {
    /// No bytes.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self {
            bytes: [MaybeUninit::uninit(); BYTES],
            len: 0,
        }
    }

    /// Makes it `len` times `value`.
    ///
    /// # Panics
    /// When there is no room.
    #[inline(always)]
    pub(super) fn reset<T: Pod>(&mut self, len: usize, value: T) -> &mut [T] {
        self.room(len).fill(MaybeUninit::new(value));
        // SAFETY: `room` gave `len` elements (it panics where there are not so many), and `fill` wrote each
        unsafe { self.written(len * size_of::<T>()) };
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// Makes it empty, and gives the room of its first `len` elements.
    ///
    /// # Panics
    /// When there is no room.
    #[inline(always)]
    pub(super) fn room<T: Pod>(&mut self, len: usize) -> &mut [MaybeUninit<T>] {
        const { assert!(align_of::<T>() <= 64, "aligned for vectors") };
        self.len = 0;
        let bytes = &mut self.bytes[..len.saturating_mul(size_of::<T>())];
        // SAFETY: the slice has `len` elements' bytes: their number saturates, and no slice has so many as
        // that. It begins at the buffer's beginning, which is aligned to 64 bytes, and no `T` asks for more
        // (asserted above). The elements need no value, and `self` stays borrowed as long as they are.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), len) }
    }

    /// Takes over what was written to the [`room`](Self::room).
    ///
    /// # Safety
    /// The first `len` bytes have a value.
    ///
    /// # Panics
    /// When there is no room.
    pub(super) unsafe fn written(&mut self, len: usize) {
        assert!(len <= BYTES);
        self.len = len;
    }

    /// Appends zeros where it has fewer than `len` bytes, and gives the first `len`.
    ///
    /// # Panics
    /// When there is no room.
    pub(super) fn grow(&mut self, len: usize) -> &mut [u8] {
        if len > self.len {
            self.bytes[self.len..len].fill(MaybeUninit::new(0));
            self.len = len;
        }
        &mut self.bytes_mut()[..len]
    }

    /// The bytes.
    #[must_use]
    pub(super) const fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the array have a value: `len` is set only to 0, by `grow` to what it has
        // filled, and by `written`, whose caller has promised so; it is never more than the array, as both check
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.len) }
    }

    /// The bytes.
    pub(super) const fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the first `len` bytes of the array have a value, as for `bytes`, and bytes can only be replaced by
        // others
        unsafe { core::slice::from_raw_parts_mut(self.bytes.as_mut_ptr().cast(), self.len) }
    }
}

impl<const BYTES: usize> fmt::Debug for Buffer<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {BYTES})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::battery::{huge, refused};

    #[test]
    fn more_elements_than_there_is_room_for_are_refused() {
        let mut buffer = Buffer::<64>::new();
        buffer.reset(16, 7_u32).fill(9);
        for len in huge().chain([17]) {
            refused(|| buffer.room::<u32>(len).len());
            refused(|| buffer.reset(len, 1_i32).len());
        }
        for len in huge().chain([65]) {
            refused(|| buffer.room::<u8>(len).len());
            refused(|| buffer.grow(len).len());
            // SAFETY: it panics before there is anything to believe
            refused(|| unsafe { buffer.written(len) });
        }
        assert_eq!(buffer.room::<u64>(8).len(), 8);
    }
}
