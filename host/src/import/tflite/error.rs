//! Errors of TensorFlow Lite models.

use super::flat::FlatFault;
use crate::import::onnx::{OnnxError, UnsupportedNode};

/// The version of the schema that all TensorFlow Lite models have.
pub const SCHEMA_VERSION: u32 = 3;

/// Why a TensorFlow Lite model could not be imported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum TfliteError {
    /// The file has no bytes, or the first ones are not those of a TensorFlow Lite model.
    #[error("the file is not a TensorFlow Lite model: its bytes 4 to 7 are not TFL3")]
    #[diagnostic(help("was the download or the conversion interrupted?"))]
    NotTflite,
    /// The bytes are not tables as FlatBuffers have them.
    #[error("damaged or not TensorFlow Lite: at byte {offset}: {reason}")]
    #[diagnostic(help("the file may be cut off: compare its size with the original"))]
    Damaged {
        /// Position in the file.
        offset: usize,
        /// The fault.
        reason: &'static str,
    },
    /// The schema is of another version.
    #[error("the model has the schema version {found}, expected {SCHEMA_VERSION}")]
    Version {
        /// The model's.
        found: u32,
    },
    /// The model has no graph.
    #[error("the model has no graph")]
    #[diagnostic(help("the file may be cut off"))]
    NoGraph,
    /// A table names an entry of a list that the list does not have.
    #[error("{what} names the {list} {index} of {len}")]
    #[diagnostic(help("the file is damaged"))]
    Index {
        /// The table that names it.
        what: String,
        /// The kind of entry.
        list: &'static str,
        /// The number that is named.
        index: i64,
        /// The entries of the list.
        len: usize,
    },
    /// A constant has more or less data than its dimensions say.
    #[error("the tensor `{tensor}` has {found} bytes of data, expected {expected}")]
    TensorBytes {
        /// Its name.
        tensor: String,
        /// By its dimensions.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A tensor has elements of a type that cannot be used there.
    #[error("the tensor `{tensor}` is of type {found}, expected {expected}")]
    TensorType {
        /// Its name.
        tensor: String,
        /// Its type.
        found: String,
        /// The types that could be used.
        expected: &'static str,
    },
    /// A quantized constant lacks what it takes to dequantize it.
    #[error("the quantization of the tensor `{tensor}` has {found}")]
    Quantization {
        /// Its name.
        tensor: String,
        /// The fault.
        found: &'static str,
    },
    /// Constants share more data than a file of this size can mean.
    #[error("up to the tensor `{tensor}`, constants have more elements than the file could hold")]
    #[diagnostic(help("many tensors read one buffer: the file is damaged"))]
    TooMuchData {
        /// The tensor that is too much.
        tensor: String,
    },
    /// The model uses what the core cannot run.
    #[error("{}", crate::import::onnx::unsupported_text(nodes))]
    #[diagnostic(help("`bitbudget operators --format tflite` lists what can be imported"))]
    Unsupported {
        /// All that cannot be imported, in the order of the file.
        nodes: Vec<UnsupportedNode>,
    },
    /// The network that the operators make cannot be imported.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Network(Box<OnnxError>),
}

impl From<FlatFault> for TfliteError {
    fn from(fault: FlatFault) -> Self {
        Self::Damaged {
            offset: fault.offset,
            reason: fault.reason,
        }
    }
}
