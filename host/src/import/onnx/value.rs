//! The model's tensors while the graph grows.

use std::rc::Rc;

use super::tensor::Tensor;

/// One of the model's tensors.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A constant.
    Const(Rc<Tensor>),
    /// Computed by a layer.
    Activation(View),
    /// An unsupported node would have given it; that is reported.
    Missing,
}

/// A tensor of the graph as the model sees it.
///
/// Row-major over `dims`, the elements are those of the graph's tensor in `[C, H, W]` order: a
/// flatten or reshape changes the view, not the tensor.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Which tensor of the graph.
    pub(super) tensor: usize,
    /// Without the batch, with the padding.
    pub(super) dims: Vec<usize>,
    /// Elements around rows and columns that the tensor itself does not have: top, left, bottom,
    /// right.
    pub(super) pad: [usize; 4],
    /// The value of those elements.
    pub(super) fill: Fill,
}

/// The value of padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// 0, as convolutions and means pad.
    Zero,
    /// −∞ or the least float, as maxima pad: it never wins.
    Lowest,
}

impl Fill {
    /// `value` as padding, if an operator pads with it.
    pub(super) fn of(value: f32) -> Option<Self> {
        match value {
            0.0 => Some(Self::Zero),
            lowest if lowest <= f32::MIN => Some(Self::Lowest),
            _ => None,
        }
    }
}

impl View {
    /// The whole tensor `tensor`, seen as `dims`.
    pub(super) fn new(tensor: usize, dims: Vec<usize>) -> Self {
        Self {
            tensor,
            dims,
            pad: [0; 4],
            fill: Fill::Zero,
        }
    }
}

/// The dimensions, for messages.
pub(super) fn dims_text(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[N, {}]", dims.join(", "))
}
