//! What a function says of its success.

use core::ffi::{CStr, c_char};

use bitbudget_core::engine::EngineError;
use bitbudget_core::image::ImageError;
use bitbudget_core::plan::CapacityError;

/// What a function returns: BB_STATUS_OK, or what went wrong.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It went well.
    Ok = 0,
    /// A pointer is NULL, a number is out of range, or there is nothing of that number.
    Argument,
    /// The memory for the state is smaller than bb_state_bytes() or not aligned to BB_ALIGN.
    State,
    /// The arena is not aligned to BB_ALIGN.
    Align,
    /// These bytes are no image.
    Magic,
    /// An image of another version: pack it with the release of this library.
    Version,
    /// The image is cut off, or longer than its header says.
    Length,
    /// The image was damaged: its checksum is wrong.
    Checksum,
    /// The image has more layers than bb_max_layers().
    Layers,
    /// A layer has more levels than bb_max_levels().
    Levels,
    /// The image's checksum is right and its contents are wrong.
    Malformed,
    /// The buffer for what is before the blocks is smaller than bb_info.meta_bytes.
    Meta,
    /// The storage could not be read.
    Storage,
    /// No plan is within the limits; the plan of before, if any, is still in place.
    Limits,
    /// The image was packed without this: cycles (--board), or plans (--store-plans).
    NotStored,
    /// Weights cannot stay in flash: the image is not in memory, or not aligned to BB_ALIGN.
    NotMapped,
    /// There is no plan yet: bb_replan comes first.
    NoPlan,
    /// The input has another number of elements than bb_info.input_len.
    InputLen,
}

impl Status {
    const ALL: [Self; 18] = [
        Self::Ok,
        Self::Argument,
        Self::State,
        Self::Align,
        Self::Magic,
        Self::Version,
        Self::Length,
        Self::Checksum,
        Self::Layers,
        Self::Levels,
        Self::Malformed,
        Self::Meta,
        Self::Storage,
        Self::Limits,
        Self::NotStored,
        Self::NotMapped,
        Self::NoPlan,
        Self::InputLen,
    ];

    const fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"no error",
            Self::Argument => c"a pointer is NULL or a number is out of range",
            Self::State => {
                c"the memory for the state is too small (bb_state_bytes) or not aligned to 8 bytes"
            }
            Self::Align => c"the arena is not aligned to 8 bytes",
            Self::Magic => c"not a bitbudget image",
            Self::Version => {
                c"an image of another version: pack it with the release of this library"
            }
            Self::Length => c"the image is cut off, or longer than its header says",
            Self::Checksum => c"the image was damaged: its checksum is wrong",
            Self::Layers => {
                c"the image has more layers than the library was built for (BITBUDGET_LAYERS)"
            }
            Self::Levels => {
                c"a layer has more levels than the library was built for (BITBUDGET_LEVELS)"
            }
            Self::Malformed => c"the image's checksum is right and its contents are wrong",
            Self::Meta => {
                c"the buffer for what is before the blocks is too small (bb_info.meta_bytes)"
            }
            Self::Storage => c"the storage could not be read",
            Self::Limits => c"no plan is within the limits",
            Self::NotStored => {
                c"the image was packed without this: cycles (--board) or plans (--store-plans)"
            }
            Self::NotMapped => {
                c"weights cannot stay in flash: the image is not in memory at a multiple of 8 bytes"
            }
            Self::NoPlan => c"there is no plan yet: bb_replan comes first",
            Self::InputLen => c"the input has another number of elements than the network takes",
        }
    }

    /// The status of an outcome.
    pub(crate) fn of<E: Into<Self>>(outcome: Result<(), E>) -> Self {
        outcome.err().map_or(Self::Ok, Into::into)
    }
}

impl From<ImageError> for Status {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Magic => Self::Magic,
            ImageError::Version(_) => Self::Version,
            ImageError::Length { .. } => Self::Length,
            ImageError::Crc { .. } => Self::Checksum,
            ImageError::Layers { .. } => Self::Layers,
            ImageError::Levels { .. } => Self::Levels,
            ImageError::MetaBytes { .. } => Self::Meta,
            ImageError::Storage => Self::Storage,
            ImageError::Network
            | ImageError::Check(_)
            | ImageError::Names
            | ImageError::Tables
            | ImageError::Plans
            | ImageError::BlockBytes { .. }
            | ImageError::Block { .. }
            | _ => Self::Malformed,
        }
    }
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Misaligned => Self::Align,
            EngineError::Limits(_) | EngineError::ArenaTooSmall { .. } => Self::Limits,
            EngineError::NotMapped => Self::NotMapped,
            EngineError::Storage { .. } => Self::Storage,
            EngineError::NoPlan => Self::NoPlan,
            EngineError::InputLen { .. } => Self::InputLen,
            // of plans that no planner makes
            EngineError::NoSuchLevel { .. } | EngineError::Schedule | _ => Self::Argument,
        }
    }
}

impl From<CapacityError> for Status {
    fn from(_: CapacityError) -> Self {
        Self::Argument
    }
}

/// What a bb_status means, in English: a text that is always there.
#[unsafe(no_mangle)]
pub extern "C" fn bb_strerror(status: u32) -> *const c_char {
    let known = Status::ALL.iter().find(|known| **known as u32 == status);
    known
        .map_or(c"no such status", |known| known.text())
        .as_ptr()
}
