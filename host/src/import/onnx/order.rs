//! The order of the input's dimensions.

use rten_onnx::onnx::{Dimension, GraphProto};

use super::node::Node;
use super::tensor::{Data, Int, Tensor};

/// Whether the input is `[N, H, W, C]` or `[N, L, C]`: all that reads it puts the channels first, as tf2onnx has it,
/// by a Transpose or, of one channel, by a Reshape.
pub(super) fn is_channels_last(
    graph: &GraphProto,
    nodes: &[Node<'_>],
    input: &str,
    dims: &[Dimension],
) -> bool {
    let mut readers = readers(nodes, input).peekable();
    readers.peek().is_some()
        && readers.all(|node| match node.op.as_str() {
            "Transpose" => matches!(node.ints("perm"), Ok(Some([0, 3, 1, 2] | [0, 2, 1]))),
            "Reshape" => ends_with_one(dims) && target(graph, node) == image(dims),
            _ => false,
        })
}

/// Whether an input of three dimensions is `[N, H, W]`: all that reads it gives it other dimensions.
pub(super) fn is_one_channel(nodes: &[Node<'_>], input: &str) -> bool {
    let mut readers = readers(nodes, input);
    readers.all(|node| matches!(node.op.as_str(), "Flatten" | "Reshape" | "Unsqueeze"))
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
    let sizes: Vec<i64> = sizes.iter().map(known).collect::<Option<_>>()?;
    (sizes.len() == 4).then(|| sizes[1..].to_vec())
}
