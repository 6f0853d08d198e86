//! Why nothing is counted.

use bitbudget_core::level::Level;

use crate::device::DeviceError;
use crate::pack::PackError;

/// Why nothing was counted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum BenchError {
    /// The device did not do what it was asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Device(#[from] DeviceError),
    /// The image of a random network could not be made.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Pack(#[from] PackError),
    /// The image is larger than the board's room for one.
    #[error("the image has {bytes} bytes, {board} has room for {limit_bytes}")]
    #[diagnostic(help(
        "link it into the firmware, BITBUDGET_IMAGE=FILE.image cargo firmware, and give that: --firmware ELF"
    ))]
    ImageTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The room.
        limit_bytes: u32,
        /// The board.
        board: String,
    },
    /// A sample is larger than the board's room for one.
    #[error("a sample has {bytes} bytes, {board} has room for {limit_bytes}")]
    #[diagnostic(help("a model with a smaller input fits"))]
    SampleTooLarge {
        /// Its bytes.
        bytes: usize,
        /// The room.
        limit_bytes: u32,
        /// The board.
        board: String,
    },
    /// The board has too little RAM for a layer at a level, wherever its weights lie.
    #[error(
        "a layout with {layer} at {level} takes {needed_bytes} bytes of RAM, {board} has {arena_bytes}"
    )]
    #[diagnostic(help(
        "`bitbudget pack --forbid {layer}={level}` leaves the level out of an image"
    ))]
    NoRoom {
        /// The layer's name.
        layer: String,
        /// The level.
        level: Level,
        /// Bytes of the smallest layout with it that was tried.
        needed_bytes: u64,
        /// Bytes that the board has.
        arena_bytes: usize,
        /// The board.
        board: String,
    },
    /// A layer takes more than an image can say.
    #[error("{layer} at {level} takes {count} cycles, an image has 32 bits for them")]
    TooLong {
        /// The layer's name.
        layer: String,
        /// The level.
        level: Level,
        /// What was counted.
        count: u64,
    },
    /// The network has more layers, or a layer more levels, than the board has room for.
    #[error(
        "the image has {layers} layers of up to {levels} levels, {board} has room for {layer_limit} of {level_limit}"
    )]
    #[diagnostic(help("`bitbudget pack --forbid LEVEL` leaves a level out of an image"))]
    Capacity {
        /// Layers of the network.
        layers: usize,
        /// Levels of the layer with most.
        levels: usize,
        /// The most layers.
        layer_limit: u16,
        /// The most levels.
        level_limit: u16,
        /// The board.
        board: String,
    },
}
