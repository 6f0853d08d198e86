//! What the device says when it does not do what it was asked.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::frame::FrameError;
use crate::engine::EngineError;
use crate::image::ImageError;
use crate::plan::BudgetTooSmall;

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
    Image(ImageFault),
    /// No layout fits the budget, or none is known to.
    BudgetTooSmall {
        /// The smallest budget of the same kind that some layout is known to fit.
        smallest_bytes: u64,
        /// Whether it is proven that no layout takes less.
        proven: bool,
    },
    /// The device has less RAM than the plan takes.
    ArenaTooSmall {
        /// Bytes that the plan takes.
        needed_bytes: u64,
        /// Bytes of the arena.
        arena_bytes: u32,
    },
    /// The storage of the image failed; nothing is resident until a replan succeeds.
    Storage {
        /// The layer that was read.
        layer: u16,
    },
    /// Nothing is resident: there was no successful [`Request::Replan`](super::Request::Replan).
    NoPlan,
    /// The sample has another number of elements than the network's input.
    InputLen {
        /// Elements of the network's input.
        expected: u32,
        /// Elements of the sample.
        found: u32,
    },
    /// The engine could not do it, for a reason that no request is to blame for.
    Engine,
    /// No step of the last measured inference made such a tensor, or there was no such inference since
    /// the image came into use.
    NotMeasured,
    /// A layer has no such level.
    NoSuchLevel {
        /// The layer.
        layer: u16,
    },
}

/// What is wrong with an image, as [`ImageError`] says in more words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ImageFault {
    /// [`ImageError::Magic`].
    Magic,
    /// [`ImageError::Version`].
    Version,
    /// [`ImageError::Length`].
    Length,
    /// [`ImageError::Crc`].
    Crc,
    /// [`ImageError::Network`]: malformed, or more layers or levels than the device has room for.
    Network,
    /// [`ImageError::Check`].
    Check,
    /// [`ImageError::Names`].
    Names,
    /// [`ImageError::WeightBytes`].
    WeightBytes,
    /// [`ImageError::Weight`].
    Weight,
    /// [`ImageError::MetaBytes`].
    MetaBytes,
    /// [`ImageError::Storage`].
    Storage,
    /// [`ImageError::Plans`].
    Plans,
}

impl fmt::Display for ImageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "not a bitbudget image",
            Self::Version => "an image of another version",
            Self::Length => "an image of another length than its header promises",
            Self::Crc => "a damaged image",
            Self::Network => "a network that is malformed or has too many layers or levels",
            Self::Check => "a network that cannot run",
            Self::Names => "an image with malformed names",
            Self::WeightBytes => "an image with too few or too many weights",
            Self::Weight => "an image with an unusable weight",
            Self::MetaBytes => "an image whose description is larger than the room for it",
            Self::Storage => "an image in a storage that cannot be read",
            Self::Plans => "an image with malformed plans",
        })
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
            Self::Image(fault) => write!(f, "{fault}"),
            Self::BudgetTooSmall {
                smallest_bytes,
                proven,
            } => {
                let known = if *proven { "" } else { " that is known" };
                write!(f, "the smallest layout{known} takes {smallest_bytes} bytes")
            }
            Self::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            } => write!(
                f,
                "the plan takes {needed_bytes} bytes, the device has {arena_bytes}"
            ),
            Self::Storage { layer } => {
                write!(f, "the storage failed while layer {layer} was read")
            }
            Self::NoPlan => f.write_str("no plan is resident"),
            Self::InputLen { expected, found } => write!(
                f,
                "a sample of {found} elements, the network takes {expected}"
            ),
            Self::Engine => f.write_str("the engine could not do it"),
            Self::NotMeasured => f.write_str("no such step was measured"),
            Self::NoSuchLevel { layer } => write!(f, "layer {layer} has no such level"),
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
        Self::Image(match error {
            ImageError::Magic => ImageFault::Magic,
            ImageError::Version(_) => ImageFault::Version,
            ImageError::Length { .. } => ImageFault::Length,
            ImageError::Crc { .. } => ImageFault::Crc,
            ImageError::Network => ImageFault::Network,
            ImageError::Check(_) => ImageFault::Check,
            ImageError::Names => ImageFault::Names,
            ImageError::WeightBytes { .. } => ImageFault::WeightBytes,
            ImageError::Weight { .. } => ImageFault::Weight,
            ImageError::MetaBytes { .. } => ImageFault::MetaBytes,
            ImageError::Storage => ImageFault::Storage,
            ImageError::Plans => ImageFault::Plans,
        })
    }
}

impl From<BudgetTooSmall> for Refusal {
    fn from(error: BudgetTooSmall) -> Self {
        Self::BudgetTooSmall {
            smallest_bytes: error.smallest_bytes,
            proven: error.proven,
        }
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Budget(error) => error.into(),
            EngineError::ArenaTooSmall {
                needed_bytes,
                arena_bytes,
            } => Self::ArenaTooSmall {
                needed_bytes,
                arena_bytes: arena_bytes as u32,
            },
            EngineError::Storage { layer } => Self::Storage {
                layer: layer as u16,
            },
            EngineError::NoPlan => Self::NoPlan,
            EngineError::InputLen { expected, found } => Self::InputLen {
                expected: expected as u32,
                found: found as u32,
            },
            EngineError::NoSuchLevel { layer, .. } => Self::NoSuchLevel {
                layer: layer as u16,
            },
            EngineError::Misaligned => Self::Engine,
        }
    }
}
