//! ONNX models, as both of PyTorch's exporters and most other tools write them.
//!
//! ONNX counts tensors `[N, C, H, W]`, the core `[H, W, C]`: the batch disappears, weights are
//! permuted, and a flattened tensor keeps the core's order because the columns of the dense layer
//! that reads it are permuted instead. A model whose input is `[N, H, W, C]`, as those from TensorFlow are, transposes
//! it before its first convolution, and back before it flattens: both change only how a tensor is seen. A series
//! `[N, C, L]` is an image of L rows and one column; an input `[N, H, W]` that is reshaped before any other operator
//! reads it has one channel. Batch normalization, constant biases, ReLU and padding are folded into the layer that
//! they belong to.

mod activation;
mod affine;
mod arguments;
mod arithmetic;
mod builder;
mod convert;
mod error;
mod external;
mod fold;
mod fuse;
mod joined;
mod layers;
mod live;
mod name;
mod node;
mod order;
mod pool;
mod rearrange;
mod tensor;
mod transposed;
mod value;
mod view;
mod weighted;
mod window;
mod wire;

use std::collections::HashSet;
use std::path::Path;

use bitbudget_core::shape::Shape;
use rten_onnx::onnx::{
    DataType, Dimension, GraphProto, ModelProto, OperatorSetIdProto, TypeProto, ValueInfoProto,
    is_onnx_model,
};
use rten_onnx::protobuf::ValueReader;

use super::sizes::{InputShape, Sizes};
use crate::graph::Graph;
use builder::{Builder, Input};
pub use convert::operators;
pub use error::{OLDEST_OPSET, OnnxError, UnsupportedNode};
pub(super) use error::{RE_EXPORT, unsupported_text};
use live::Live;
use node::Node;
pub(super) use tensor::half;
use value::Order;

/// The float model in the bytes of an ONNX file, all of whose tensors lie in it.
///
/// Every layer of the graph passes [`Op::check`](bitbudget_core::op::Op::check).
///
/// # Errors
/// When the bytes are damaged or are not ONNX, or when the model uses what the core has no
/// operators for: [`OnnxError::Unsupported`] lists all of that.
pub fn parse(bytes: &[u8]) -> Result<Graph, OnnxError> {
    parse_in(bytes, None, &Sizes::None)
}

/// As [`parse`], with the data of tensors that lie in files below the model's folder, and the sizes of the input that
/// the model leaves open.
///
/// # Errors
/// As [`parse`], and when such a file is missing, ends early, or is not below the folder, or when the sizes are not
/// those of the model's input.
pub fn parse_beside(bytes: &[u8], folder: &Path, sizes: &Sizes) -> Result<Graph, OnnxError> {
    parse_in(bytes, Some(folder), sizes)
}

fn parse_in(bytes: &[u8], folder: Option<&Path>, sizes: &Sizes) -> Result<Graph, OnnxError> {
    let model = decode(bytes)?;
    let opset = opset(&model.opset_import)?;
    let mut graph = model
        .graph
        .ok_or(OnnxError::MissingPart { part: "graph" })?;
    let beside = folder.map(|folder| external::read_beside(&mut graph, folder));
    let beside = beside.transpose()?.unwrap_or(0) as usize;
    fuse::gelus(&mut graph);
    let network = Network {
        graph: &graph,
        opset,
        is_channels_last: false,
        file_bytes: bytes.len().saturating_add(beside),
    };
    lower(&network, sizes)
}

/// A network as nodes of ONNX.
pub(super) struct Network<'a> {
    /// The nodes, and the constants that they read.
    pub(super) graph: &'a GraphProto,
    /// The version of the operators.
    pub(super) opset: i64,
    /// Whether images are `[N, H, W, C]` also where no node tells that.
    pub(super) is_channels_last: bool,
    /// Bytes of the file or files that it comes from.
    pub(super) file_bytes: usize,
}

/// The float model of a network, with the sizes of the input that it leaves open.
pub(super) fn lower(network: &Network<'_>, sizes: &Sizes) -> Result<Graph, OnnxError> {
    let graph = network.graph;
    let outputs = outputs(graph)?;
    let nodes: Vec<Node<'_>> = graph.node.iter().enumerate().map(Node::numbered).collect();
    let nodes = Live::new(nodes, &outputs);
    let input = input(network, &nodes.live, sizes)?;
    let mut builder = Builder::new(graph, &nodes, input, network.opset)?;
    let mut unsupported = Vec::new();
    for node in &nodes.live {
        builder.run(node, convert::convert, &mut unsupported)?;
    }
    let graph = builder.finish(&outputs, &mut unsupported)?;
    match graph {
        Some(graph) if unsupported.is_empty() => Ok(graph),
        Some(_) | None => Err(OnnxError::Unsupported { nodes: unsupported }),
    }
}

/// The newest version of the operators that are known.
pub(super) const NEWEST_OPSET: i64 = 21;

/// Whether the bytes are those of an ONNX model, as far as can be told without reading its graph.
pub(super) fn looks_like_onnx(bytes: &[u8]) -> bool {
    wire::check(bytes).is_ok() && is_onnx_model(ValueReader::from_buf(bytes))
}

fn decode(bytes: &[u8]) -> Result<ModelProto, OnnxError> {
    if bytes.is_empty() {
        return Err(OnnxError::Empty);
    }
    if let Err(fault) = wire::check(bytes) {
        if let Some(looks_like) = other_format(bytes) {
            return Err(OnnxError::NotOnnx { looks_like });
        }
        return Err(OnnxError::Malformed {
            offset: fault.offset,
            message: fault.message,
            reason: fault.reason,
        });
    }
    ModelProto::parse_buf(bytes).map_err(|error| OnnxError::Decode {
        reason: error.to_string(),
    })
}

/// The format of the bytes, if it is one that is often taken for a model.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"version https://git-lfs") {
        Some("a pointer of Git LFS: fetch the file with `git lfs pull`")
    } else if bytes.starts_with(b"PK\x03\x04") {
        Some("a ZIP archive, as PyTorch saves its checkpoints")
    } else if bytes.starts_with(b"\x89HDF") {
        Some("an HDF5 file, as Keras saves its models")
    } else if bytes.get(4..8) == Some(b"TFL3") {
        Some("a TensorFlow Lite model")
    } else if str::from_utf8(bytes).is_ok_and(is_text) {
        Some("a text file")
    } else {
        None
    }
}

fn is_text(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || c.is_whitespace())
}

fn opset(imports: &[OperatorSetIdProto]) -> Result<i64, OnnxError> {
    let own = |set: &&OperatorSetIdProto| {
        matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")) && set.version.is_some()
    };
    let part = "operator set";
    let set = imports.iter().find(own).and_then(|set| set.version);
    let found = set.ok_or(OnnxError::MissingPart { part })?;
    if found < OLDEST_OPSET {
        return Err(OnnxError::OldOpset { found });
    }
    Ok(found)
}

/// The one input that is not an initializer.
fn input<'g>(
    network: &Network<'g>,
    nodes: &[Node<'_>],
    given: &Sizes,
) -> Result<Input<'g>, OnnxError> {
    let graph = network.graph;
    let initializers: HashSet<&str> = graph
        .initializer
        .iter()
        .filter_map(|tensor| tensor.name.as_deref())
        .collect();
    let inputs: Vec<&ValueInfoProto> = graph
        .input
        .iter()
        .filter(|info| !initializers.contains(name(info)))
        .collect();
    let [info] = inputs[..] else {
        return Err(OnnxError::InputCount {
            found: inputs
                .into_iter()
                .map(|info| name(info).to_owned())
                .collect(),
        });
    };
    let input = || name(info).to_owned();
    let tensor = info.r#type.as_ref().and_then(tensor_type);
    let (found, dims) = tensor.unwrap_or((DataType(0), &[]));
    if found != DataType::FLOAT {
        return Err(OnnxError::InputType {
            input: input(),
            found: match found {
                DataType(0) => "unknown".to_owned(),
                _ => found.to_string(),
            },
        });
    }
    let mut order = Order::ChannelsFirst;
    let is_channels_last = || order::is_channels_last(graph, nodes, name(info), dims);
    let is_one_channel = || order::is_one_channel(graph, nodes, name(info));
    let (batch, axes) = match dims {
        [n, h, w, c] if network.is_channels_last || is_channels_last() => {
            order = Order::ChannelsLast;
            (n, vec![('H', h), ('W', w), ('C', c)])
        }
        [n, c, h, w] => (n, vec![('C', c), ('H', h), ('W', w)]),
        [n, l, c] if is_channels_last() || network.is_channels_last && !is_one_channel() => {
            order = Order::ChannelsLast;
            (n, vec![('L', l), ('C', c)])
        }
        [n, h, w] if is_one_channel() => (n, vec![('H', h), ('W', w)]),
        [n, c, l] => (n, vec![('C', c), ('L', l)]),
        [n, f] => (n, vec![('F', f)]),
        _ => {
            let dims: Vec<String> = dims.iter().map(describe).collect();
            return Err(OnnxError::InputRank {
                input: input(),
                found: format!("[{}]", dims.join(", ")),
            });
        }
    };
    if let Sizes::Given(given) = given {
        check_given(name(info), dims, given)?;
    }
    let sizes: Vec<u16> = (1..)
        .zip(&axes)
        .map(|(index, &(axis, dim))| {
            let own = dim.dim_value.and_then(|d| u16::try_from(d).ok());
            let size = match (dim.dim_value, given) {
                (Some(_), _) | (None, Sizes::None) => own,
                (None, Sizes::Given(given)) => Some(given.dims[index]),
                (None, Sizes::Of(shape)) => Some(size_of_axis(*shape, axis)),
            };
            size.filter(|d| *d > 0).ok_or_else(|| OnnxError::InputDim {
                input: input(),
                axis,
                found: describe(dim),
            })
        })
        .collect::<Result<_, _>>()?;
    let is_image = axes.first().is_some_and(|(axis, _)| *axis == 'H');
    let shape = match (sizes.as_slice(), order) {
        (&[c, h, w], Order::ChannelsFirst) | (&[h, w, c], Order::ChannelsLast) => {
            Shape::new(h, w, c)
        }
        (&[h, w], _) if is_image => Shape::new(h, w, 1),
        (&[c, l], Order::ChannelsFirst) | (&[l, c], Order::ChannelsLast) => Shape::new(l, 1, c),
        _ => Shape::vector(sizes[0]),
    };
    if shape.is_unusable() {
        return Err(OnnxError::InputSize {
            input: input(),
            found: shape.to_string(),
        });
    }
    Ok(Input {
        name: name(info),
        shape,
        dims: sizes.into_iter().map(usize::from).collect(),
        order,
        batch: batch.dim_value,
        file_bytes: network.file_bytes,
    })
}

/// The size of a shape along one of the axes of an input.
const fn size_of_axis(shape: Shape, axis: char) -> u16 {
    match axis {
        'H' | 'L' => shape.h,
        'W' => shape.w,
        _ => shape.c,
    }
}

/// Checks that a shape can be that of an input with these dimensions.
fn check_given(input: &str, dims: &[Dimension], given: &InputShape) -> Result<(), OnnxError> {
    let is_other = given.name.as_deref().is_some_and(|name| name != input);
    let fits = |(dim, size): (&Dimension, &u16)| {
        let fixed = dim.dim_value;
        fixed.is_none_or(|fixed| fixed == i64::from(*size))
    };
    let mut sizes = dims.iter().zip(&given.dims).skip(1);
    if !is_other && dims.len() == given.dims.len() && sizes.all(fits) {
        return Ok(());
    }
    let found: Vec<String> = dims.iter().map(describe).collect();
    let sizes: Vec<String> = given.dims.iter().map(ToString::to_string).collect();
    Err(OnnxError::InputSizes {
        input: input.to_owned(),
        found: format!("[{}]", found.join(", ")),
        given: match &given.name {
            Some(name) => format!("`{name}` of {}", sizes.join("x")),
            None => sizes.join("x"),
        },
    })
}

fn name(info: &ValueInfoProto) -> &str {
    info.name.as_deref().unwrap_or_default()
}

fn tensor_type(info: &TypeProto) -> Option<(DataType, &[Dimension])> {
    let tensor = info.tensor_type.as_ref()?;
    let dims = tensor.shape.as_ref().map(|shape| shape.dim.as_slice());
    Some((tensor.elem_type?, dims.unwrap_or_default()))
}

fn describe(dim: &Dimension) -> String {
    match (dim.dim_value, &dim.dim_param) {
        (Some(value), _) => value.to_string(),
        (None, Some(name)) if !name.is_empty() => format!("dynamic (`{name}`)"),
        (None, _) => "dynamic".to_owned(),
    }
}

/// The names of the outputs, of which there is one at least.
fn outputs(graph: &GraphProto) -> Result<Vec<&str>, OnnxError> {
    let part = "output";
    match &graph.output[..] {
        [] => Err(OnnxError::MissingPart { part }),
        outputs => Ok(outputs.iter().map(name).collect()),
    }
}

#[cfg(test)]
mod tests;
