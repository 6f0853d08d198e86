//! Maps of single channels: batch normalization, and arithmetic with constants.

use bitbudget_core::op::{Activation, Function, Op};
use bitbudget_core::shape::{Shape, Window};

use super::activation;
use super::arithmetic::Arithmetic;
use super::builder::Builder;
use super::error::{Fault, OnnxError, unsupported};
use super::fold;
use super::joined;
use super::layers::check_finite;
use super::name;
use super::node::Node;
use super::value::{Order, Value, View, dims_text};
use super::weighted::bad_shape;
use crate::graph::{GraphLayer, Weights};

/// x · scale + shift, for each channel.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

/// BatchNormalization with the statistics of the training (Ioffe and Szegedy 2015, algorithm 2).
pub(super) fn batch_norm<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    if node.int("training_mode", 0)? != 0 {
        return unsupported("it is in training mode: export the model in evaluation mode");
    }
    if node.int("spatial", 1)? == 0 {
        return unsupported("it normalizes each pixel by itself");
    }
    let epsilon = node.float("epsilon", 1e-5)?;
    let mut parameters = Vec::new();
    for index in 1..=4 {
        parameters.push(b.weights(node, index)?);
    }
    let view = b.view(node, 0)?;
    let Some(channels) = view.dims.first().copied() else {
        return unsupported("it reads a scalar for each sample");
    };
    for (index, (dims, _)) in (1..).zip(&parameters) {
        if *dims != [channels] {
            return Err(bad_shape(node, index, format!("[{channels}]"), dims));
        }
    }
    let value = |parameter: usize, channel: usize| f64::from(parameters[parameter].1[channel]);
    let mut map = Affine {
        scale: Vec::new(),
        shift: Vec::new(),
    };
    for channel in 0..channels {
        let variance = value(3, channel) + f64::from(epsilon);
        if variance.is_nan() || variance <= 0.0 {
            return Err(Fault::Broken(OnnxError::NotFinite {
                node: node.label.clone(),
                tensor: node.expect_input(4)?.to_owned(),
                index: channel,
                value: parameters[3].1[channel],
            }));
        }
        let scale = value(0, channel) / variance.sqrt();
        map.scale.push(scale);
        map.shift
            .push(value(1, channel) - value(2, channel) * scale);
    }
    Ok(Value::Activation(affine(b, node, &view, &map, &[1, 2])?))
}

/// Applies the map to the channels of the view: in the layer that gives it, else in a depthwise
/// 1x1 convolution. `parameters` are the node's inputs that may name the layer.
fn affine<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    view: &View,
    map: &Affine,
    parameters: &[usize],
) -> Result<View, Fault> {
    if map.scale.iter().all(|x| *x == 1.0) && map.shift.iter().all(|x| *x == 0.0) {
        return Ok(view.clone());
    }
    let channels = map.scale.len();
    let has_channels = |shape: Shape| usize::from(shape.c) == channels;
    let mut tensor = view.tensor;
    if !has_channels(b.layers.shape(tensor)) {
        tensor = b.layers.materialize(view)?;
    }
    let shape = b.layers.shape(tensor);
    if !has_channels(shape) {
        return unsupported(format!("it has {channels} channels, its input {shape}"));
    }
    let name = name::of_node(node, parameters);
    if !fold_affine(b, node, tensor, map, &name)? {
        let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|x| *x as f32).collect() };
        let (weight, bias) = (narrow(&map.scale), narrow(&map.shift));
        check_folded(node, &weight, &bias)?;
        let window = Window::square(1, 1, 0);
        tensor = b.layers.push(GraphLayer {
            name,
            op: Op::Conv2d {
                window,
                groups: shape.c,
            },
            inputs: vec![tensor],
            activation: Activation::None,
            output: shape,
            weights: Some(Weights { weight, bias }),
        })?;
    }
    let seen = View::new(tensor, view.dims.clone());
    Ok(seen.in_order(view.order, shape))
}

/// Multiplies the map into the weights of the layer that gives `tensor`, if that changes nothing
/// else; says whether it did.
fn fold_affine(
    b: &mut Builder<'_>,
    node: &Node<'_>,
    tensor: usize,
    map: &Affine,
    name: &str,
) -> Result<bool, Fault> {
    let Some(layer) = b.layers.sole_producer(tensor) else {
        return Ok(false);
    };
    let Some(weights) = layer.weights.as_mut() else {
        return Ok(false);
    };
    if layer.activation != Activation::None {
        return Ok(false);
    }
    let per_channel = weights.weight.len() / map.scale.len();
    for (row, scale) in weights.weight.chunks_mut(per_channel).zip(&map.scale) {
        row.iter_mut()
            .for_each(|w| *w = (f64::from(*w) * scale) as f32);
    }
    for ((bias, scale), shift) in weights.bias.iter_mut().zip(&map.scale).zip(&map.shift) {
        *bias = (f64::from(*bias) * scale + shift) as f32;
    }
    check_folded(node, &weights.weight, &weights.bias)?;
    if layer.name.is_empty() {
        name.clone_into(&mut layer.name);
    }
    Ok(true)
}

fn check_folded(node: &Node<'_>, weight: &[f32], bias: &[f32]) -> Result<(), OnnxError> {
    check_finite(&node.label, "folded weights", weight)?;
    check_finite(&node.label, "folded bias", bias)
}

/// Add, Sub, Mul and Div: of two tensors (Add and Mul), of a tensor and a constant for each channel,
/// or of constants.
pub(super) fn arithmetic<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    operation: Arithmetic,
) -> Result<Value, Fault> {
    match (b.value(node, 0)?, b.value(node, 1)?) {
        (Value::Const(left), Value::Const(right)) => fold::arithmetic(operation, &left, &right),
        (Value::Activation(_), Value::Activation(_)) => match operation {
            Arithmetic::Add => joined::add(b, node),
            Arithmetic::Mul => joined::mul(b, node),
            Arithmetic::Sub => difference(b, node),
            Arithmetic::Div => unsupported("it divides by a computed tensor"),
        },
        (Value::Activation(_), Value::Const(_)) => with_constant(b, node, operation, 1),
        (Value::Const(_), Value::Activation(_)) => with_constant(b, node, operation, 0),
        (Value::Missing, _) | (_, Value::Missing) => Err(Fault::Upstream),
    }
}

/// Sub of two tensors of one shape: the sum of one and of the other one's negative.
fn difference<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (left, right) = (b.view_in_any_order(node, 0)?, b.view_in_any_order(node, 1)?);
    if left.tensor == right.tensor {
        return unsupported("it subtracts a tensor from itself");
    }
    let [a, c] = [left.tensor, right.tensor].map(|tensor| b.layers.shape(tensor));
    if left.dims != right.dims || left.order != right.order || a != c {
        return unsupported(format!(
            "it subtracts {} from {}: of two tensors, both must be of one shape",
            dims_text(&right.dims),
            dims_text(&left.dims)
        ));
    }
    let channels = usize::from(c.c);
    let negative = Affine {
        scale: vec![-1.0; channels],
        shift: vec![0.0; channels],
    };
    let own = View::new(right.tensor, vec![channels]);
    let right = affine(b, node, &own, &negative, &[])?.tensor;
    let tensor = b.layers.push_plain(Op::Add, vec![left.tensor, right], a)?;
    Ok(Value::Activation(View { tensor, ..left }))
}

/// PRelu with a slope for each channel, or with one: max(x, 0) + slope · min(x, 0) (He et al. 2015, eq. 1).
pub(super) fn prelu<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (dims, slopes) = b.weights(node, 1)?;
    let view = b.view_in_any_order(node, 0)?;
    let shape = b.layers.shape(view.tensor);
    let Some(slopes) = of_channels(&dims, &slopes, &view, shape) else {
        return unsupported(format!(
            "its slope is {dims:?}, expected one number for each channel of {}",
            dims_text(&view.dims)
        ));
    };
    let alpha = slopes.first().copied().unwrap_or(0.0);
    if slopes.iter().all(|slope| *slope == alpha) {
        let alpha = alpha as f32;
        return activation::apply(b, view, Function::LeakyRelu { alpha });
    }
    let positive = b.layers.push(GraphLayer {
        name: String::new(),
        op: Op::Reshape,
        inputs: vec![view.tensor],
        activation: Activation::Relu,
        output: shape,
        weights: None,
    })?;
    let low = Function::Clip {
        low: f32::MIN,
        high: 0.0,
    };
    let negative = b
        .layers
        .push_plain(Op::Unary(low), vec![view.tensor], shape)?;
    let map = Affine {
        shift: vec![0.0; slopes.len()],
        scale: slopes,
    };
    let own = View::new(negative, vec![usize::from(shape.c)]);
    let negative = affine(b, node, &own, &map, &[1])?.tensor;
    let tensor = b
        .layers
        .push_plain(Op::Add, vec![positive, negative], shape)?;
    Ok(Value::Activation(View { tensor, ..view }))
}

/// The operation with the constant that is input `index`.
fn with_constant<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    operation: Arithmetic,
    index: usize,
) -> Result<Value, Fault> {
    let view = b.view_in_any_order(node, 1 - index)?;
    let (dims, values) = b.weights(node, index)?;
    let shape = b.layers.shape(view.tensor);
    let Some(values) = of_channels(&dims, &values, &view, shape) else {
        return unsupported(format!(
            "its constant is {dims:?}, expected one number for each channel of {}",
            dims_text(&view.dims)
        ));
    };
    let filled = |x: f64| vec![x; values.len()];
    let each = |f: fn(f64) -> f64| values.iter().map(|x| f(*x)).collect();
    let (scale, shift) = match (operation, index) {
        (Arithmetic::Add, _) => (filled(1.0), values.clone()),
        (Arithmetic::Sub, 1) => (filled(1.0), each(|x| -x)),
        (Arithmetic::Sub, _) => (filled(-1.0), values.clone()),
        (Arithmetic::Mul, _) => (values.clone(), filled(0.0)),
        (Arithmetic::Div, 1) => (each(f64::recip), filled(0.0)),
        (Arithmetic::Div, _) => return unsupported("it divides by a computed tensor"),
    };
    let map = Affine { scale, shift };
    Ok(Value::Activation(affine(b, node, &view, &map, &[index])?))
}

/// A constant as one number for each channel of a view of a tensor of this shape, if it broadcasts to that.
fn of_channels(dims: &[usize], values: &[f32], view: &View, shape: Shape) -> Option<Vec<f64>> {
    let axis = match view.order {
        Order::ChannelsFirst => view.dims.iter().position(|d| *d > 1),
        Order::ChannelsLast => view.is_own(shape).then(|| view.dims.len() - 1),
    };
    per_channel(dims, values, (&view.dims, axis), shape.c.into())
}

/// The constant as one number for each channel, if it broadcasts to that over dimensions of which one is that of the
/// channels: with the channels first, the first one that is more than 1.
fn per_channel(
    constant: &[usize],
    values: &[f32],
    (dims, axis): (&[usize], Option<usize>),
    channels: usize,
) -> Option<Vec<f64>> {
    if constant.len() > dims.len() + 1 {
        return None;
    }
    if let [value] = values {
        return Some(vec![f64::from(*value); channels]);
    }
    let axis = axis?;
    let from_end = dims.len() - axis;
    let fits = |(i, d): (usize, &usize)| *d == if i + 1 == from_end { dims[axis] } else { 1 };
    let broadcasts = constant.len() >= from_end && constant.iter().rev().enumerate().all(fits);
    broadcasts.then(|| values.iter().map(|x| f64::from(*x)).collect())
}
