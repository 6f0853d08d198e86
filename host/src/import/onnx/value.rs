//! The model's tensors while the graph grows.

use std::rc::Rc;

use bitbudget_core::shape::Shape;

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
/// Row-major over `dims`, the elements are those of the graph's tensor in the view's order: a
/// flatten, a reshape or a transpose changes the view, not the tensor.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Which tensor of the graph.
    pub(super) tensor: usize,
    /// Without the batch, with the padding.
    pub(super) dims: Vec<usize>,
    /// The order of the tensor's elements; where both are the same, [`Order::ChannelsFirst`].
    pub(super) order: Order,
    /// Elements around rows and columns that the tensor itself does not have: top, left, bottom,
    /// right.
    pub(super) pad: [usize; 4],
    /// The value of those elements.
    pub(super) fill: Fill,
}

/// The order in which a view has the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `[C, H, W]`, as ONNX's convolutions have them.
    ChannelsFirst,
    /// `[H, W, C]`, as models from TensorFlow begin and flatten, and as the graph's tensors are.
    ChannelsLast,
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
    /// The whole tensor `tensor`, seen as `dims`, channels first.
    pub(super) fn new(tensor: usize, dims: Vec<usize>) -> Self {
        Self {
            tensor,
            dims,
            order: Order::ChannelsFirst,
            pad: [0; 4],
            fill: Fill::Zero,
        }
    }
}

impl View {
    /// Whether its dimensions are those of the tensor itself, of this shape and with the channels last; a series
    /// has none for its one column.
    pub(super) fn is_own(&self, shape: Shape) -> bool {
        let [h, w, c] = [shape.h, shape.w, shape.c].map(usize::from);
        self.dims == [h, w, c] || w == 1 && self.dims == [h, c]
    }

    /// Whether it has the elements of a tensor of this shape in the order that the tensor itself has them in.
    pub(super) fn has_own_order(&self, shape: Shape) -> bool {
        self.order == Order::ChannelsLast || has_one_order(shape)
    }

    /// The view in an order, of a tensor of this shape.
    pub(super) fn in_order(self, order: Order, shape: Shape) -> Self {
        let order = match has_one_order(shape) {
            true => Order::ChannelsFirst,
            false => order,
        };
        Self { order, ..self }
    }
}

/// Whether channels first and channels last are the same.
fn has_one_order(shape: Shape) -> bool {
    shape.c == 1 || [shape.h, shape.w] == [1, 1]
}

/// The dimensions, for messages.
pub(super) fn dims_text(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[N, {}]", dims.join(", "))
}
