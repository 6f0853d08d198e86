//! What is wrong with the bytes of an image.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::VERSION;
use crate::network::NetworkError;

/// Why bytes are not a usable image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ImageError {
    /// The bytes do not begin with [`MAGIC`](super::MAGIC).
    Magic,
    /// Another version of the format.
    Version(u32),
    /// The header promises another length.
    Length {
        /// Bytes that the header promises; `None` where they overflow.
        expected: Option<usize>,
        /// Bytes given.
        found: usize,
    },
    /// The checksum is wrong: the bytes were damaged.
    Crc {
        /// Checksum of the bytes.
        expected: u32,
        /// Checksum that the image carries.
        found: u32,
    },
    /// The network section is not a network.
    Network,
    /// The network has more layers than there is room for.
    Layers {
        /// Its layers.
        found: u32,
        /// The most that there may be.
        limit: u32,
    },
    /// A layer has more levels than there is room for.
    Levels {
        /// The layer.
        layer: u32,
        /// Its levels.
        found: u32,
        /// The most that there may be.
        limit: u32,
    },
    /// The network section is a network that cannot run.
    Check(NetworkError),
    /// The names section has not one name for each layer.
    Names,
    /// There is not one table for each layer that applies a function, or an entry is no rounding of an INT8 result.
    Tables,
    /// The plans section is not made of plans of the network by rising bytes, or does not end in zeros
    /// up to a multiple of four.
    Plans,
    /// The blocks section has another length than the network needs.
    BlockBytes {
        /// Bytes that the network needs.
        expected: u64,
        /// Bytes of the section.
        found: usize,
    },
    /// The buffer for all that is before the blocks is too small.
    MetaBytes {
        /// Bytes of these sections.
        expected: usize,
        /// Bytes of the buffer.
        found: usize,
    },
    /// The storage could not be read.
    Storage,
    /// A block holds what no kernel can run: a real number that is not finite, a bias that the accumulator
    /// has no room for, a factor that is not normalized, a weight out of range, or padding that is not zero.
    Block {
        /// The layer.
        layer: usize,
        /// Where the word lies, in bytes from the beginning of the layer's blocks.
        offset: u32,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a bitbudget image"),
            Self::Version(found) => {
                write!(
                    f,
                    "image version {found}, this program reads version {VERSION}"
                )
            }
            Self::Length {
                expected: Some(expected),
                found,
            } => {
                write!(f, "image of {found} bytes, its header promises {expected}")
            }
            Self::Length {
                expected: None,
                found,
            } => {
                write!(
                    f,
                    "image of {found} bytes, its header promises more than fits memory"
                )
            }
            Self::Crc { expected, found } => write!(
                f,
                "damaged image: checksum {found:#010x}, its bytes give {expected:#010x}"
            ),
            Self::Network => f.write_str("the network section is malformed"),
            Self::Layers { found, limit } => {
                write!(
                    f,
                    "a network of {found} layers where there is room for {limit}"
                )
            }
            Self::Levels {
                layer,
                found,
                limit,
            } => write!(
                f,
                "layer {layer} has {found} levels where there is room for {limit}"
            ),
            Self::Check(error) => write!(f, "{error}"),
            Self::Names => f.write_str("the names section is malformed"),
            Self::Tables => f.write_str("the tables of functions are malformed"),
            Self::Plans => f.write_str("the plans section is malformed"),
            Self::MetaBytes { expected, found } => write!(
                f,
                "a buffer of {found} bytes for network, names, tables and plans, which take {expected}"
            ),
            Self::Storage => f.write_str("the storage could not be read"),
            Self::BlockBytes { expected, found } => {
                write!(f, "{found} bytes of blocks, the network needs {expected}")
            }
            Self::Block { layer, offset } => {
                write!(
                    f,
                    "layer {layer}: what its blocks hold at byte {offset} is no weight, bias or factor"
                )
            }
        }
    }
}

impl core::error::Error for ImageError {}

impl From<NetworkError> for ImageError {
    fn from(error: NetworkError) -> Self {
        Self::Check(error)
    }
}
