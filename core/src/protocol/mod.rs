//! The language of host and device: one request, one response, over any byte pipe.
//!
//! The host asks, the device answers every frame that it receives with exactly one response, and goes
//! on serving whatever it received. [`frame`] says how a message becomes bytes.
//!
//! A session begins with [`Request::Info`], at any sequence number but 0; each further request has
//! the next number (after 65,535 comes 1), and its response carries the same. A frame whose
//! number is not known is answered under number 0. Numbers that were left out or came twice
//! are refused with [`Refusal::Sequence`], and `Info` begins anew.
//!
//! A device that failed and started anew says so under number 0 ([`Refusal::Restarted`]), which answers
//! the request that it failed at, if there was one. It has no image then.
//!
//! Anything longer than [`CHUNK_BYTES`] travels in chunks, in order and without holes: each one says
//! at which offset it begins, and offset 0 begins anew.

use serde::{Deserialize, Serialize};

use crate::crc::CRC32;
use crate::place::{Place, Places};
use crate::plan::{Limits, Plan};

pub mod frame;
mod refusal;

pub use refusal::{Cause, Failure, Refusal};

/// The most bytes that one chunk carries.
pub const CHUNK_BYTES: usize = 1024;

/// A request of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Who are you? Begins a session. Answered by [`Response::Info`].
    Info,
    /// Forget the image and make ready for another of `len` bytes with this [`checksum`]. Answered
    /// by [`Response::Received`].
    LoadBegin {
        /// Bytes of the image.
        len: u32,
        /// Its checksum.
        checksum: u32,
    },
    /// The next part of the image. Answered by [`Response::Received`].
    LoadChunk {
        /// Bytes that came before.
        offset: u32,
        /// At most [`CHUNK_BYTES`].
        bytes: &'a [u8],
    },
    /// The image is complete: check it and use it. Answered by [`Response::Loaded`].
    LoadEnd,
    /// Use the image that is linked into the program. Answered by [`Response::Loaded`].
    LoadLinked,
    /// Plan for limits and make the plan resident. Answered by [`Response::Planned`].
    Replan {
        /// The limits.
        limits: Limits,
        /// Where the weights may lie.
        places: Places,
        /// The most nodes that the search may visit.
        node_limit: u64,
    },
    /// The next part of a sample: one byte an element, or four (little-endian `f32`). Answered by
    /// [`Response::Received`].
    Input {
        /// Bytes that came before; 0 begins a new sample.
        offset: u32,
        /// At most [`CHUNK_BYTES`].
        bytes: &'a [u8],
    },
    /// Run the network on the sample. Answered by [`Response::Inferred`].
    Infer {
        /// The sample's elements.
        element: Element,
    },
    /// Part of the last output. Answered by [`Response::Output`].
    Output {
        /// The first element.
        offset: u32,
    },
    /// Memory used and frames counted. Answered by [`Response::Stats`].
    Stats,
    /// As [`Request::Infer`], measuring every step. Answered by [`Response::Inferred`], with the ticks of
    /// all steps together.
    InferMeasured {
        /// The sample's elements.
        element: Element,
    },
    /// Time and stack of a step of the last measured inference. Answered by [`Response::Cost`].
    Cost {
        /// The tensor that the step made: 0 is the input, `i + 1` the output of layer `i`.
        tensor: u16,
    },
    /// Make a plan of these levels resident. Answered by [`Response::Planned`].
    Choose {
        /// Where the weights shall lie.
        place: Place,
        /// One byte for each layer: the place of its level in its row of the price matrix; of layers
        /// without weights, anything.
        items: &'a [u8],
    },
}

/// The type of a sample's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Element {
    /// Bytes.
    U8,
    /// Little-endian `f32`.
    F32,
}

/// A response of the device; `N` is the number of layers that the reader has room for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Response<'a, const N: usize> {
    /// To [`Request::Info`].
    #[serde(borrow)]
    Info(Info<'a>),
    /// To [`Request::LoadBegin`], [`Request::LoadChunk`] and [`Request::Input`].
    Received {
        /// Bytes so far.
        bytes: u32,
    },
    /// To [`Request::LoadEnd`] and [`Request::LoadLinked`].
    Loaded(ImageInfo),
    /// To [`Request::Replan`] and [`Request::Choose`].
    Planned(Planned<N>),
    /// To [`Request::Infer`] and [`Request::InferMeasured`].
    Inferred {
        /// Elements of the output.
        output_len: u32,
        /// Time of the inference.
        ticks: u64,
    },
    /// To [`Request::Output`].
    Output {
        /// Little-endian `f32`s, at most [`CHUNK_BYTES`]; none past the end.
        bytes: &'a [u8],
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To anything that was not done.
    Refused(Refusal),
    /// To [`Request::Cost`].
    Cost(Cost),
}

/// A device and its capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info<'a> {
    /// The board's name.
    pub board: &'a str,
    /// The most layers of a network.
    pub layers: u16,
    /// The most levels of a layer.
    pub levels: u16,
    /// Bytes of RAM for a loaded image; 0 where there is only the linked one.
    pub image_limit_bytes: u32,
    /// The most bytes of a sample.
    pub input_limit_bytes: u32,
    /// Bytes of RAM for weights and activations: no plan can take more.
    pub arena_bytes: u32,
    /// Ticks of the clock in a second.
    pub ticks_hz: u32,
    /// Ticks of an empty measurement: part of every measured number of ticks.
    pub empty_ticks: u64,
    /// The image in use.
    pub image: Option<ImageInfo>,
}

/// An image in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Whether it is the one linked into the program.
    pub linked: bool,
    /// Its length.
    pub bytes: u32,
    /// Its [`checksum`].
    pub checksum: u32,
    /// Number of layers.
    pub layer_count: u16,
    /// Elements of the input.
    pub input_len: u32,
    /// Elements of the output.
    pub output_len: u32,
}

/// A plan that is resident, and what it took to get there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned<const N: usize> {
    /// The plan.
    pub plan: Plan<N>,
    /// Time that solving took.
    pub solve_ticks: u64,
    /// Time that moving and copying weights took.
    pub copy_ticks: u64,
}

/// Time and stack of one step of an inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Ticks of the clock.
    pub ticks: u64,
    /// Bytes of stack that it wrote below the engine's caller.
    pub stack_bytes: u32,
}

/// Memory used and frames counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Bytes of the arena that were written since the image was loaded.
    pub arena_used_bytes: u32,
    /// Bytes of all statics but the arena and the room for a loaded image.
    pub static_bytes: u32,
    /// Bytes of stack that were in use at the deepest.
    pub stack_used_bytes: u32,
    /// Bytes of stack that there are.
    pub stack_bytes: u32,
    /// Frames that were understood and in sequence.
    pub accepted_count: u32,
    /// Frames that were not.
    pub rejected_count: u32,
}

/// CRC-32 (ISO-HDLC) of all bytes but the last four, which for an image is the checksum that it
/// carries there.
#[must_use]
pub fn checksum(image: &[u8]) -> u32 {
    let body = image.len().saturating_sub(size_of::<u32>());
    CRC32.checksum(&image[..body])
}
