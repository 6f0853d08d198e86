//! Refusals: answers of the device when it does not do what it was asked.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::frame::FrameError;
use crate::engine::EngineError;
use crate::image::ImageError;
use crate::plan::CapacityError;

/// Why something was not done; the device goes on serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes were no frame, or the frame no request.
    Frame(FrameError),
    /// The request does not follow the one before.
    Sequence {
        /// The number that would.
        expected: u16,
        /// The frame's number.
        found: u16,
    },
    /// No image is in use.
    NoImage,
    /// There was no [`Request::LoadBegin`](super::Request::LoadBegin).
    NotLoading,
    /// An image or a sample is larger than the room for it.
    TooLarge {
        /// Its bytes.
        bytes: u32,
        /// The bytes that there is room for.
        limit_bytes: u32,
    },
    /// A chunk does not follow the one before.
    Offset {
        /// The offset that would.
        expected: u32,
        /// The chunk's offset.
        found: u32,
    },
    /// The image has not arrived as a whole.
    Incomplete {
        /// Its bytes.
        expected: u32,
        /// Bytes that have arrived.
        found: u32,
    },
    /// The image that has arrived is not the one that was announced.
    Checksum {
        /// As announced.
        expected: u32,
        /// Of the bytes that have arrived.
        found: u32,
    },
    /// The bytes are not a usable image.
    Image(ImageError),
    /// The engine could not do it.
    Engine(EngineError),
    /// The device's planner has no room for such a plan.
    Planner(CapacityError),
    /// No step of the last measured inference made such a tensor, or there was no such inference since
    /// the image came into use.
    NotMeasured,
    /// The program failed and started anew, without an image; a request that was not answered is lost.
    Restarted(Failure),
}

/// Why a device's program could not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failure {
    /// The cause.
    pub cause: Cause,
    /// An address in the program that tells where; 0 where that is not known.
    pub address: u32,
}

/// The cause of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Cause {
    /// It panicked.
    Panic,
    /// The processor met an access or an instruction that it cannot do.
    HardFault,
    /// The stack left its memory.
    StackOverflow,
    /// A request took longer than the watchdog waits.
    Watchdog,
    /// An exception or interrupt without a handler.
    Exception,
}

impl Cause {
    /// All causes, by number.
    pub const ALL: [Self; 5] = [
        Self::Panic,
        Self::HardFault,
        Self::StackOverflow,
        Self::Watchdog,
        Self::Exception,
    ];
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.cause {
            Cause::Panic => "it panicked",
            Cause::HardFault => "a hard fault",
            Cause::StackOverflow => "its stack overflowed",
            Cause::Watchdog => "a request took longer than its watchdog waits",
            Cause::Exception => "an exception that nobody handles",
        })?;
        match self.address {
            0 => Ok(()),
            address => write!(f, " at {address:#010x}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "{error}"),
            Self::Sequence { expected, found } => {
                write!(f, "request number {found} where {expected} was due")
            }
            Self::NoImage => f.write_str("no image is loaded"),
            Self::NotLoading => f.write_str("part of an image that was not announced"),
            Self::TooLarge { bytes, limit_bytes } => {
                write!(f, "{bytes} bytes where there is room for {limit_bytes}")
            }
            Self::Offset { expected, found } => {
                write!(f, "a chunk at offset {found} where {expected} was due")
            }
            Self::Incomplete { expected, found } => {
                write!(f, "{found} bytes of {expected} have arrived")
            }
            Self::Checksum { expected, found } => write!(
                f,
                "the image's checksum is {found:#010x}, announced was {expected:#010x}"
            ),
            Self::Image(error) => write!(f, "{error}"),
            Self::Engine(error) => write!(f, "{error}"),
            Self::Planner(error) => write!(f, "{error}"),
            Self::NotMeasured => f.write_str("no such step was measured"),
            Self::Restarted(failure) => write!(f, "its program started anew: {failure}"),
        }
    }
}

impl core::error::Error for Refusal {}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl From<CapacityError> for Refusal {
    fn from(error: CapacityError) -> Self {
        Self::Planner(error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}
