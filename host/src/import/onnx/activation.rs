//! Activations, and softmax.

use bitbudget_core::op::{Activation, Function, Op};
use bitbudget_core::shape::Shape;

use super::arguments::axis;
use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::layers::dimension;
use super::node::Node;
use super::tensor::Data;
use super::value::{Order, Value, View, dims_text};

/// Relu.
pub(super) fn relu<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let view = b.view_in_any_order(node, 0)?;
    activate(b, &view, Activation::Relu)
}

/// A function of every element, in a layer of its own.
pub(super) fn unary<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    function: Function,
) -> Result<Value, Fault> {
    let view = b.view_in_any_order(node, 0)?;
    apply(b, view, function)
}

/// A function of every element of a tensor.
pub(super) fn apply(b: &mut Builder<'_>, view: View, function: Function) -> Result<Value, Fault> {
    let shape = b.layers.shape(view.tensor);
    let tensor = b
        .layers
        .push_plain(Op::Unary(function), vec![view.tensor], shape)?;
    Ok(Value::Activation(View { tensor, ..view }))
}

/// Elu.
pub(super) fn elu<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let alpha = node.float("alpha", 1.0)?;
    unary(b, node, Function::Elu { alpha })
}

/// Gelu, as it is defined or approximated by a hyperbolic tangent.
pub(super) fn gelu<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    match node.string("approximate", "none")? {
        "none" => unary(b, node, Function::Gelu),
        "tanh" => unary(b, node, Function::GeluTanh),
        _ => Err(node.bad_attribute("approximate", "`none` or `tanh`").into()),
    }
}

/// HardSigmoid.
pub(super) fn hard_sigmoid<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (alpha, beta) = (node.float("alpha", 0.2)?, node.float("beta", 0.5)?);
    unary(b, node, Function::HardSigmoid { alpha, beta })
}

/// LeakyRelu.
pub(super) fn leaky_relu<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let alpha = node.float("alpha", 0.01)?;
    unary(b, node, Function::LeakyRelu { alpha })
}

/// Swish of factor 1.
pub(super) fn swish<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    match node.float("alpha", 1.0)? {
        1.0 => unary(b, node, Function::Silu),
        alpha => unsupported(format!("its alpha is {alpha}, only 1 is supported")),
    }
}

/// Clip.
pub(super) fn clip<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let low = bound(b, node, 1, "min", f32::NEG_INFINITY)?;
    let high = bound(b, node, 2, "max", f32::INFINITY)?;
    let view = b.view_in_any_order(node, 0)?;
    clip_to(b, view, [low, high])
}

/// Max of a tensor and one number.
pub(super) fn max<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (view, low) = with_number(b, node)?;
    clip_to(b, view, [low, f32::INFINITY])
}

/// Min of a tensor and one number.
pub(super) fn min<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (view, high) = with_number(b, node)?;
    clip_to(b, view, [f32::NEG_INFINITY, high])
}

/// The two inputs of a node, in either order: a tensor and one number.
fn with_number<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<(View, f32), Fault> {
    if node.inputs().len() != 2 {
        let count = node.inputs().len();
        return unsupported(format!("it has {count} inputs, only 2 are supported"));
    }
    let (tensor, number) = match b.value(node, 0)? {
        Value::Const(_) => (1, 0),
        Value::Activation(_) | Value::Missing => (0, 1),
    };
    let number = b.number(node, number)?;
    Ok((b.view_in_any_order(node, tensor)?, number))
}

/// Values from `low` to `high`: by the layer before where that is a ReLU.
fn clip_to(b: &mut Builder<'_>, view: View, [low, high]: [f32; 2]) -> Result<Value, Fault> {
    let activation = if low <= f32::MIN && high >= f32::MAX {
        Activation::None
    } else if low == 0.0 && high >= f32::MAX {
        Activation::Relu
    } else if low == 0.0 && high == 6.0 {
        Activation::Relu6
    } else {
        // an open end is the last finite number
        let finite = |end: f32| {
            if end.is_infinite() {
                f32::MAX.copysign(end)
            } else {
                end
            }
        };
        let [low, high] = [low, high].map(finite);
        return apply(b, view, Function::Clip { low, high });
    };
    match activation {
        Activation::None => Ok(Value::Activation(view)),
        Activation::Relu | Activation::Relu6 => activate(b, &view, activation),
    }
}

/// A bound of Clip, which is an attribute before operator set 11 and an input since.
fn bound<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    index: usize,
    name: &str,
    default: f32,
) -> Result<f32, Fault> {
    if node.has(name) {
        return Ok(node.float(name, default)?);
    }
    if node.input(index).is_none() {
        return Ok(default);
    }
    match &b.constant(node, index)?.data {
        Data::Float(values) if values.len() == 1 => Ok(values[0]),
        Data::Float(_) | Data::Int(_) => unsupported(format!("its {name} is not one number")),
    }
}

/// The activation, in the layer that gives the view, else in a layer of its own.
fn activate(b: &mut Builder<'_>, view: &View, activation: Activation) -> Result<Value, Fault> {
    let mut tensor = view.tensor;
    if b.layers.sole_producer(tensor).is_none() {
        tensor = b
            .layers
            .push_plain(Op::Reshape, vec![tensor], b.layers.shape(tensor))?;
    }
    if let Some(layer) = b.layers.sole_producer(tensor) {
        layer.activation = match (layer.activation, activation) {
            (Activation::None, next) => next,
            (Activation::Relu6, _) | (_, Activation::Relu6) => Activation::Relu6,
            (Activation::Relu, Activation::None | Activation::Relu) => Activation::Relu,
        };
    }
    Ok(Value::Activation(View {
        tensor,
        ..view.clone()
    }))
}

/// Softmax.
pub(super) fn softmax<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    over_classes(b, node, Op::Softmax { log: false })
}

/// LogSoftmax.
pub(super) fn log_softmax<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    over_classes(b, node, Op::Softmax { log: true })
}

/// A softmax over all elements of a sample, over the channels, or over the last dimension of elements that stand as
/// they do in their tensor.
fn over_classes<'a>(b: &mut Builder<'a>, node: &Node<'a>, op: Op) -> Result<Value, Fault> {
    // Before operator set 13, all dimensions from the axis on count as one.
    let is_flat = b.opset < 13;
    let given = node.int("axis", if is_flat { 1 } else { -1 })?;
    let view = b.view_in_any_order(node, 0)?;
    let axis = axis(given, view.dims.len() + 1)?;
    let shape = b.layers.shape(view.tensor);
    let outside = |(i, d): (usize, &usize)| *d > 1 && (i + 1 < axis || !is_flat && i + 1 > axis);
    let is_over_all = axis > 0 && !view.dims.iter().enumerate().any(outside);
    let is_last = axis > 0 && axis == view.dims.len();
    let is_over_channels = !is_flat
        && match view.order {
            Order::ChannelsFirst => axis == 1 && view.dims[0] == usize::from(shape.c),
            Order::ChannelsLast => is_last && view.is_own(shape),
        };
    let is_over_last = !is_flat && is_last && view.has_own_order(shape);
    let (classes, order) = if is_over_channels {
        (shape, view.order)
    } else if is_over_all {
        (Shape::vector(dimension(shape.len())?), view.order)
    } else if is_over_last {
        let [classes, rows] = [view.dims[axis - 1], view.dims[..axis - 1].iter().product()];
        let rows = Shape::new(dimension(rows)?, 1, dimension(classes)?);
        (rows, Order::ChannelsLast)
    } else {
        return unsupported(format!(
            "it runs along dimension {axis} of {}, only over all classes, or those of each pixel, is supported",
            dims_text(&view.dims)
        ));
    };
    let source = b.layers.reshaped(view.tensor, classes)?;
    let mut tensor = b.layers.push_plain(op, vec![source], classes)?;
    if !is_over_last {
        tensor = b.layers.reshaped(tensor, shape)?;
    }
    let shape = b.layers.shape(tensor);
    let seen = View::new(tensor, view.dims).in_order(order, shape);
    Ok(Value::Activation(seen))
}
