//! The order of the input's dimensions.

use rten_onnx::onnx::{Dimension, GraphProto, TensorProto};

use super::node::Node;
use super::tensor::{Data, Int, Tensor};

/// Whether the input is `[N, H, W, C]` or `[N, L, C]`: all that reads it puts the channels first, as tf2onnx has it,
/// by a Transpose or, of one channel, by a Reshape. Constants may be added to it or multiplied before, and a series may
/// have been made an image of one row.
pub(super) fn is_channels_last(
    graph: &GraphProto,
    nodes: &[Node<'_>],
    input: &str,
    dims: &[Dimension],
) -> bool {
    let mut tensors = vec![input];
    let mut seen = 0;
    while let Some(tensor) = tensors.get(seen).copied() {
        seen += 1;
        let mut readers = readers(nodes, tensor).peekable();
        if readers.peek().is_none() || seen > MOST_STEPS {
            return false;
        }
        for node in readers {
            let puts_first = match node.op.as_str() {
                "Transpose" => matches!(node.ints("perm"), Ok(Some([0, 3, 1, 2] | [0, 2, 1]))),
                "Reshape" => ends_with_one(dims) && target(graph, node) == image(dims),
                _ => false,
            };
            if puts_first {
                continue;
            }
            match node.outputs().first() {
                Some(result) if rescales(graph, nodes, node, |_| true) => tensors.push(result),
                Some(result) if dims.len() == 3 && makes_row(graph, node) => tensors.push(result),
                Some(_) | None => return false,
            }
        }
    }
    true
}

/// The most tensors that are followed from the input.
const MOST_STEPS: usize = 16;

/// Whether a node makes `[N, 1, L, C]` of `[N, L, C]`.
fn makes_row(graph: &GraphProto, node: &Node<'_>) -> bool {
    let is_first = |axes: &[i64]| matches!(axes, [1 | -3]);
    let attribute = matches!(node.ints("axes"), Ok(Some(axes)) if is_first(axes));
    let input = || integers(graph, node).is_some_and(|axes| is_first(&axes));
    node.op == "Unsqueeze" && (attribute || input())
}

/// Whether a node changes nothing, or adds or multiplies a constant whose number of elements is right.
fn rescales(
    graph: &GraphProto,
    nodes: &[Node<'_>],
    node: &Node<'_>,
    is_right: impl Fn(i64) -> bool,
) -> bool {
    let mut inputs = node.inputs().iter();
    match node.op.as_str() {
        "Identity" => true,
        "Add" | "Sub" | "Mul" | "Div" => {
            inputs.any(|name| constant_len(graph, nodes, name).is_some_and(&is_right))
        }
        _ => false,
    }
}

/// The elements of a tensor, where it is a constant.
fn constant_len(graph: &GraphProto, nodes: &[Node<'_>], name: &str) -> Option<i64> {
    let mut initializers = graph.initializer.iter();
    let own = initializers.find(|tensor| tensor.name.as_deref() == Some(name));
    let mut constants = nodes.iter().filter(|node| node.op == "Constant");
    let mut constant = || constants.find(|node| node.outputs().first().is_some_and(|o| o == name));
    let len = |tensor: &TensorProto| tensor.dims.iter().copied().fold(1, i64::saturating_mul);
    match own {
        Some(tensor) => Some(len(tensor)),
        // a constant that is no tensor is a number or a list of them
        None => constant().map(|node| match node.tensor("value") {
            Ok(Some(tensor)) => len(tensor),
            Ok(None) | Err(_) => i64::from(node.has("value_float")),
        }),
    }
}

/// Whether an input of three dimensions is `[N, H, W]`: all that reads it gives it other dimensions. Numbers may be
/// added to it or multiplied before.
pub(super) fn is_one_channel(graph: &GraphProto, nodes: &[Node<'_>], input: &str) -> bool {
    let mut tensors = vec![input];
    let mut seen = 0;
    while let Some(tensor) = tensors.get(seen).copied() {
        seen += 1;
        for node in readers(nodes, tensor) {
            match (node.op.as_str(), node.outputs().first()) {
                ("Flatten" | "Reshape" | "Unsqueeze", _) => {}
                (_, Some(result)) if seen < MOST_STEPS => {
                    if !rescales(graph, nodes, node, |len| len == 1) {
                        return false;
                    }
                    tensors.push(result);
                }
                (_, _) => return false,
            }
        }
    }
    true
}

fn readers<'n, 'g>(
    nodes: &'n [Node<'g>],
    input: &'n str,
) -> impl Iterator<Item = &'n Node<'g>> + 'n {
    let reads = move |node: &&Node<'g>| node.inputs().iter().any(|name| name == input);
    nodes.iter().filter(reads)
}

fn ends_with_one(dims: &[Dimension]) -> bool {
    dims.last().and_then(|dim| dim.dim_value) == Some(1)
}

/// The sizes of a Reshape to `[N, 1, H, W]` of `[N, H, W, 1]`, without the batch.
fn image(dims: &[Dimension]) -> Option<Vec<i64>> {
    let [_, h, w, _] = dims else {
        return None;
    };
    Some(vec![1, h.dim_value?, w.dim_value?])
}

/// The sizes of a Reshape to four dimensions that the model has as an initializer, without the batch.
fn target(graph: &GraphProto, node: &Node<'_>) -> Option<Vec<i64>> {
    let sizes = integers(graph, node)?;
    (sizes.len() == 4).then(|| sizes[1..].to_vec())
}

/// The integers that input 1 of a node has in an initializer.
fn integers(graph: &GraphProto, node: &Node<'_>) -> Option<Vec<i64>> {
    let name = node.input(1)?;
    let mut initializers = graph.initializer.iter();
    let proto = initializers.find(|tensor| tensor.name.as_deref() == Some(name))?;
    let tensor = Tensor::decode(&node.label, name, proto).ok()?;
    let Data::Int(sizes) = &tensor.data else {
        return None;
    };
    let known = |size: &Int| match size {
        Int::Known(size) => Some(*size),
        Int::Batch => None,
    };
    sizes.iter().map(known).collect()
}
