//! Errors of ONNX models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{fmt, io};

use crate::import::MAX_FILE_BYTES;

/// The way to export a model that can be imported, for the end of a help text.
pub(in crate::import) const RE_EXPORT: &str = "with PyTorch: \
    `torch.onnx.export(model.eval(), example, \"model.onnx\")`";

/// The oldest operator set that can be imported.
pub const OLDEST_OPSET: i64 = 7;

/// Why an ONNX model could not be imported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file has no bytes.
    #[error("the file is empty")]
    #[diagnostic(help("was the download or the export interrupted?"))]
    Empty,
    /// The first bytes are those of something else.
    #[error("this is not an ONNX model but {looks_like}")]
    #[diagnostic(help("export the model to ONNX, {RE_EXPORT}"))]
    NotOnnx {
        /// The format that the file seems to have.
        looks_like: &'static str,
    },
    /// The bytes are not a Protocol Buffers message as ONNX has it.
    #[error("damaged or not ONNX: at byte {offset}, in a {message}: {reason}")]
    #[diagnostic(help("the file may be cut off: compare its size with the original"))]
    Malformed {
        /// Position in the file.
        offset: usize,
        /// The kind of message that the fault is in.
        message: &'static str,
        /// The fault.
        reason: &'static str,
    },
    /// The fields are not those of ONNX.
    #[error("damaged or not ONNX: {reason}")]
    Decode {
        /// The decoder's message.
        reason: String,
    },
    /// The model has no graph, or no operator set.
    #[error("the model has no {part}")]
    #[diagnostic(help("the file may be cut off, or it is not ONNX"))]
    MissingPart {
        /// The part that it lacks.
        part: &'static str,
    },
    /// The operator set is too old.
    #[error("the model uses operator set {found}; {OLDEST_OPSET} is the oldest that is supported")]
    #[diagnostic(help("export the model again, {RE_EXPORT}"))]
    OldOpset {
        /// The model's.
        found: i64,
    },
    /// The model has not exactly one input.
    #[error("the model has {} inputs, expected 1: {}", found.len(), found.join(", "))]
    #[diagnostic(help("networks with one image or one vector as their input can be imported"))]
    InputCount {
        /// Their names.
        found: Vec<String>,
    },
    /// The input has another number of dimensions.
    #[error("the input `{input}` is {found}, expected [N, C, H, W], [N, C, L] or [N, F]")]
    InputRank {
        /// Its name.
        input: String,
        /// Its shape.
        found: String,
    },
    /// A dimension of the input is not a number that a tensor can have.
    #[error(
        "dimension {axis} of the input `{input}` is {found}, expected a number from 1 to 65535"
    )]
    #[diagnostic(help(
        "only the batch may be dynamic: give the size with --input-shape (1x3x96x96), or export the model with a \
         fixed {axis}, for PyTorch without `{axis}` among the dynamic axes or shapes"
    ))]
    InputDim {
        /// The input's name.
        input: String,
        /// Which dimension: `C`, `H`, `W`, `L` or `F`.
        axis: char,
        /// The number, or the name of a dynamic dimension.
        found: String,
    },
    /// The sizes that were given are not those of the input.
    #[error("the input `{input}` is {found}, not {given}")]
    #[diagnostic(help("only dimensions that the model leaves open can be given"))]
    InputSizes {
        /// Its name.
        input: String,
        /// Its shape.
        found: String,
        /// The shape that was given, and the input that it was for.
        given: String,
    },
    /// The input has more elements than a tensor may have.
    #[error("the input `{input}` of {found} has too many elements")]
    InputSize {
        /// Its name.
        input: String,
        /// Its shape.
        found: String,
    },
    /// The input is not 32-bit floating point.
    #[error("the input `{input}` is of type {found}, expected FLOAT")]
    InputType {
        /// Its name.
        input: String,
        /// Its type.
        found: String,
    },
    /// An operator lacks an input that it must have.
    #[error("{node} ({op}) lacks its input {index}")]
    MissingInput {
        /// The operator's node.
        node: String,
        /// The operator.
        op: String,
        /// Which input, from 0.
        index: usize,
    },
    /// A node reads a tensor that nothing gives.
    #[error("{node} reads the tensor `{tensor}`, which no node, initializer or input gives")]
    #[diagnostic(help("the file is damaged, or it was cut out of a larger model"))]
    MissingTensor {
        /// The reader.
        node: String,
        /// The tensor.
        tensor: String,
    },
    /// A node reads a tensor that only a later node gives.
    #[error("{node} reads the tensor `{tensor}` before it is computed")]
    #[diagnostic(help("the nodes of an ONNX model must be sorted and free of cycles"))]
    NotSorted {
        /// The reader.
        node: String,
        /// The tensor.
        tensor: String,
    },
    /// Two nodes, initializers or inputs give the same tensor.
    #[error("the tensor `{tensor}` is given more than once")]
    DuplicateTensor {
        /// Its name.
        tensor: String,
    },
    /// A tensor's data lie in another file, which is read only for initializers of a model that is a file.
    #[error("the tensor `{tensor}` lies outside the model, in `{location}`")]
    #[diagnostic(help("export the model into one file: with PyTorch, `external_data=False`"))]
    ExternalData {
        /// Its name.
        tensor: String,
        /// The other file.
        location: String,
    },
    /// A tensor's data lie where no file of the model may be.
    #[error("the tensor `{tensor}` lies in `{location}`, which is not below the model's folder")]
    #[diagnostic(help("ONNX has data in files below the model's folder, by relative paths"))]
    ExternalPath {
        /// Its name.
        tensor: String,
        /// The other file.
        location: String,
    },
    /// The file with a tensor's data cannot be read.
    #[error("cannot read {}, in which the tensor `{tensor}` lies", path.display())]
    #[diagnostic(help(
        "a model and the files with its data belong together: copy all of them, under their own names"
    ))]
    ExternalRead {
        /// Its name.
        tensor: String,
        /// The other file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The files with tensors' data are longer than any model can be.
    #[error("with the data file {}, the model is larger than {MAX_FILE_BYTES} bytes", path.display())]
    ExternalTooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Where a tensor's data lie in their file is not a number.
    #[error(
        "the {key} of the tensor `{tensor}` in its data file is `{found}`, expected a number of bytes"
    )]
    ExternalNumber {
        /// Its name.
        tensor: String,
        /// `offset` or `length`.
        key: &'static str,
        /// The text that is there.
        found: String,
    },
    /// A tensor's data end behind the file that they lie in.
    #[error("the tensor `{tensor}` ends at byte {end} of `{location}`, which has {found}")]
    #[diagnostic(help("the file may be cut off, or it is another model's"))]
    ExternalRange {
        /// Its name.
        tensor: String,
        /// The other file.
        location: String,
        /// The byte behind its last one.
        end: u64,
        /// Bytes of the file.
        found: u64,
    },
    /// Tensors have more bytes in a file than it has.
    #[error("up to the tensor `{tensor}`, tensors have more bytes in `{location}` than it has")]
    #[diagnostic(help("the file is damaged: no byte of it belongs to two tensors"))]
    ExternalOverlap {
        /// The tensor that is too much.
        tensor: String,
        /// The other file.
        location: String,
    },
    /// A tensor has a negative dimension, or more elements than can be counted.
    #[error("the tensor `{tensor}` has the impossible dimensions {dims:?}")]
    TensorDims {
        /// Its name.
        tensor: String,
        /// Its dimensions.
        dims: Vec<i64>,
    },
    /// A tensor has more or less data than its dimensions say.
    #[error("the tensor `{tensor}` has {found} bytes or numbers of data, expected {expected}")]
    TensorSize {
        /// Its name.
        tensor: String,
        /// By its dimensions.
        expected: usize,
        /// Bytes or numbers that are there.
        found: usize,
    },
    /// A tensor has elements of a type that cannot be used there.
    #[error("{node}: the tensor `{tensor}` is of type {found}, expected {expected}")]
    TensorType {
        /// Its reader.
        node: String,
        /// Its name.
        tensor: String,
        /// The types that could be used.
        expected: &'static str,
        /// Its type.
        found: String,
    },
    /// A weight is infinite or not a number.
    #[error("{node}: element {index} of `{tensor}` is {value}")]
    #[diagnostic(help("the training diverged, or a conversion went wrong: check the weights"))]
    NotFinite {
        /// Its reader.
        node: String,
        /// The tensor.
        tensor: String,
        /// Which element, in the file's order.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A weight tensor has another shape than its operator needs.
    #[error("{node}: the tensor `{tensor}` is {found:?}, expected {expected}")]
    WeightShape {
        /// The operator's node.
        node: String,
        /// The tensor.
        tensor: String,
        /// The shape that the operator needs.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// An attribute has a type or value that it cannot have.
    #[error("{node}: the attribute `{attribute}` is not {expected}")]
    Attribute {
        /// The operator's node.
        node: String,
        /// Its name.
        attribute: String,
        /// The kind of value that it should have.
        expected: &'static str,
    },
    /// The graph has more layers than can be planned.
    #[error("the model has more than {limit} layers, the most that can be planned")]
    TooManyLayers {
        /// The most.
        limit: usize,
    },
    /// Layers share weights that no plan could share.
    #[error(
        "the first {layers} layers have {bytes} bytes of weights of their own, at most {limit} for a file of this size"
    )]
    #[diagnostic(help(
        "many layers read one initializer; every layer's weights are planned and stored by themselves"
    ))]
    TooManyWeights {
        /// Layers up to the one that is too many.
        layers: usize,
        /// Bytes of their weights.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// The output is the input: there is nothing to run.
    #[error("the model computes nothing: its output `{output}` is its input")]
    NoLayers {
        /// The output's name.
        output: String,
    },
    /// The model uses what the core cannot run.
    #[error("{}", unsupported_text(nodes))]
    #[diagnostic(help(
        "`bitbudget operators` lists what can be imported. Dropout vanishes in evaluation mode: export {RE_EXPORT}"
    ))]
    Unsupported {
        /// All that cannot be imported, in the order of the file.
        nodes: Vec<UnsupportedNode>,
    },
}

/// One node that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Its name, or its number where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// The part of it that is not supported.
    pub reason: String,
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.node, self.op, self.reason)
    }
}

/// The message for nodes that cannot be imported.
pub(in crate::import) fn unsupported_text(nodes: &[UnsupportedNode]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes {
        *counts.entry(&node.op).or_default() += 1;
    }
    let kinds: Vec<String> = counts.iter().map(|(op, n)| format!("{n} {op}")).collect();
    let head = match nodes.len() {
        1 => "1 node".to_owned(),
        len => format!("{len} nodes ({})", kinds.join(", ")),
    };
    let list: String = nodes.iter().map(|node| format!("\n  {node}")).collect();
    format!("{head} cannot be imported:{list}")
}

/// Why one node could not be converted.
#[derive(Debug)]
pub(super) enum Fault {
    /// The node is not supported, for this reason; the import goes on, to find the others.
    Unsupported(String),
    /// The node reads the output of an unsupported one.
    Upstream,
    /// The model is broken.
    Broken(OnnxError),
}

impl From<OnnxError> for Fault {
    fn from(error: OnnxError) -> Self {
        Self::Broken(error)
    }
}

/// An unsupported `reason`, as a result.
pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unsupported(reason.into()))
}
