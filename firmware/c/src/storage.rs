//! Where an image lies: in memory, or behind a function of the caller's.

use core::ffi::c_void;

use bitbudget_core::storage::{Mapped, OutOfBounds};
use embedded_storage::nor_flash::{ErrorType, ReadNorFlash};

/// Reads `len` bytes of the storage, from its byte `at` on, to `to`; both are multiples of four. Returns 0, or
/// anything else when that failed.
pub type Read =
    Option<unsafe extern "C" fn(context: *mut c_void, at: u32, to: *mut u8, len: usize) -> i32>;

/// The storage of an image.
#[derive(Clone, Copy)]
pub(crate) enum Storage {
    Mapped(Mapped<'static>),
    Callback {
        read: unsafe extern "C" fn(*mut c_void, u32, *mut u8, usize) -> i32,
        context: *mut c_void,
        bytes: usize,
    },
}

impl ErrorType for Storage {
    type Error = OutOfBounds;
}

impl ReadNorFlash for Storage {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        match self {
            Self::Mapped(mapped) => mapped.read(offset, bytes),
            Self::Callback { read, context, .. } => {
                // SAFETY: the caller of bb_open_storage promised that it may be called so
                match unsafe { read(*context, offset, bytes.as_mut_ptr(), bytes.len()) } {
                    0 => Ok(()),
                    _ => Err(OutOfBounds),
                }
            }
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Self::Mapped(mapped) => mapped.capacity(),
            Self::Callback { bytes, .. } => *bytes,
        }
    }
}
