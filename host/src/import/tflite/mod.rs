//! TensorFlow Lite models: floating point ones, and quantized ones, whose constants are dequantized.
//!
//! A file is tables of FlatBuffers. Its operators become those of ONNX, as tf2onnx has them, which then make the
//! graph. Inputs and outputs are real numbers, whatever integers the model has in their place: bitbudget calibrates
//! and quantizes the network itself.

mod activation;
mod constant;
mod convert;
mod emit;
mod error;
mod flat;
mod model;
mod names;
mod options;
mod series;
mod view;
mod window;

use std::collections::{HashMap, HashSet};

use super::onnx::{self, OnnxError, UnsupportedNode};
use super::sizes::Sizes;
use crate::graph::Graph;
pub use convert::operators;
use emit::{Emit, Refusal};
pub use error::{SCHEMA_VERSION, TfliteError};
use model::{Model, Operator};
use series::{Readers, Series};

/// Whether the bytes are those of a TensorFlow Lite model, as far as the first ones tell.
pub(super) fn looks_like_tflite(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"TFL3")
}

/// The float model in the bytes of a TensorFlow Lite file, with the sizes of the input that the model leaves open.
///
/// Every layer of the graph passes [`Op::check`](bitbudget_core::op::Op::check).
///
/// # Errors
/// When the bytes are damaged or are not TensorFlow Lite, or when the model uses what the core has no operators for:
/// [`TfliteError::Unsupported`] lists all of that.
pub fn parse(bytes: &[u8], sizes: &Sizes) -> Result<Graph, TfliteError> {
    if !looks_like_tflite(bytes) {
        return Err(TfliteError::NotTflite);
    }
    let model = Model::read(bytes)?;
    let mut emit = Emit::new(&model);
    let mut operators: HashMap<String, Converted> = HashMap::new();
    let readers = Readers::of(&model);
    let mut converted: HashSet<usize> = HashSet::new();
    for (i, op) in model.operators.iter().enumerate() {
        if converted.contains(&i) {
            continue;
        }
        if let Some(series) = Series::at(&mut emit, &model, &readers, i)? {
            let op = &model.operators[series.window];
            let label = label(&model, op, i, &operators);
            emit.begin(&label);
            match window::series(&mut emit, &model, &series) {
                Ok(()) => {
                    converted.extend(series.operators);
                    let op = op.op.clone();
                    operators.insert(label, Converted { op, refused: None });
                    continue;
                }
                Err(Refusal::Broken(error)) => return Err(error),
                // each of them by itself, then
                Err(Refusal::Unsupported(_)) => {}
            }
        }
        let label = label(&model, op, i, &operators);
        emit.begin(&label);
        let refused = match convert::convert(&mut emit, op) {
            Ok(()) => None,
            Err(Refusal::Broken(error)) => return Err(error),
            Err(Refusal::Unsupported(reason)) => {
                emit.unsupported(op)?;
                Some(reason)
            }
        };
        let op = op.op.clone();
        operators.insert(label, Converted { op, refused });
    }
    let graph = emit.finish();
    let network = onnx::Network {
        graph: &graph,
        opset: onnx::NEWEST_OPSET,
        is_channels_last: true,
        file_bytes: bytes.len(),
    };
    onnx::lower(&network, sizes).map_err(|error| told(error, &operators))
}

/// An operator of which nodes were made.
struct Converted {
    op: String,
    /// Why none were.
    refused: Option<String>,
}

/// The name of an operator, which no other one has: that of what it gives, or of its weights where only that tells a
/// path.
fn label(
    model: &Model<'_>,
    op: &Operator<'_>,
    i: usize,
    taken: &HashMap<String, Converted>,
) -> String {
    let tensors = op.outputs.first().copied();
    let tensors = tensors.into_iter().chain(op.optional(1));
    let mut names = tensors.map(|tensor| &model.tensors[tensor].name);
    let first = names.clone().next();
    let path = names.find(|name| name.contains('/'));
    let name = path.or(first).cloned();
    let mut label = name.unwrap_or_else(|| format!("operator {i}"));
    while taken.contains_key(&label) {
        label = format!("{label}#{i}");
    }
    label
}

/// The error of the nodes, as one of the operators that they were made of.
fn told(error: OnnxError, operators: &HashMap<String, Converted>) -> TfliteError {
    let OnnxError::Unsupported { nodes } = error else {
        return TfliteError::Network(Box::new(error));
    };
    let mut told: Vec<UnsupportedNode> = Vec::new();
    for mut node in nodes {
        if let Some(converted) = operators.get(&node.node) {
            node.op.clone_from(&converted.op);
            if let Some(reason) = &converted.refused {
                node.reason.clone_from(reason);
            }
        }
        if !told.contains(&node) {
            told.push(node);
        }
    }
    TfliteError::Unsupported { nodes: told }
}
