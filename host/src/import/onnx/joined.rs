//! Operators of several computed tensors: sums, products, concatenations.

use bitbudget_core::op::{Activation, Function, Op};
use bitbudget_core::shape::Shape;

use super::arguments::axis;
use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::fold;
use super::layers::dimension;
use super::node::Node;
use super::value::{Order, Value, View, dims_text};

/// Add of two tensors.
pub(super) fn add<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (left, right) = (b.view_in_any_order(node, 0)?, b.view_in_any_order(node, 1)?);
    if left.dims != right.dims {
        return unsupported(format!(
            "it adds {} and {}: broadcasting is not supported",
            dims_text(&left.dims),
            dims_text(&right.dims)
        ));
    }
    let inputs = alike(b, node, [&left, &right])?;
    let output = b.layers.shape(inputs[0]);
    let tensor = b.layers.push_plain(Op::Add, inputs, output)?;
    Ok(Value::Activation(View { tensor, ..left }))
}

/// The tensors of two inputs of the same dimensions, which have one shape.
fn alike<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    [left, right]: [&View; 2],
) -> Result<Vec<usize>, Fault> {
    if left.order != right.order {
        return unsupported("it reads a tensor with the channels first and one with them last");
    }
    if b.layers.shape(left.tensor) == b.layers.shape(right.tensor) {
        return Ok(vec![left.tensor, right.tensor]);
    }
    // channels first, or not to be had
    let (left, right) = (b.view(node, 0)?, b.view(node, 1)?);
    Ok(vec![
        b.layers.materialize(&left)?,
        b.layers.materialize(&right)?,
    ])
}

/// Mul of two tensors, of which one may have one element for each channel.
pub(super) fn mul<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (left, right) = (b.view_in_any_order(node, 0)?, b.view_in_any_order(node, 1)?);
    if left.dims == right.dims {
        if left.order == right.order {
            let [x, y] = [left.tensor, right.tensor];
            if let Some(tensor) = of_itself(b, x, y).or_else(|| of_itself(b, y, x)) {
                return Ok(Value::Activation(View { tensor, ..left }));
            }
        }
        let inputs = alike(b, node, [&left, &right])?;
        let output = b.layers.shape(inputs[0]);
        let tensor = b.layers.push_plain(Op::Mul, inputs, output)?;
        return Ok(Value::Activation(View { tensor, ..left }));
    }
    for (x, factor) in [(&left, &right), (&right, &left)] {
        let shape = b.layers.shape(x.tensor);
        let is_image = match x.order {
            Order::ChannelsFirst => x.dims.first() == Some(&usize::from(shape.c)),
            Order::ChannelsLast => x.is_own(shape),
        };
        let channels = match x.order {
            Order::ChannelsFirst => 0,
            Order::ChannelsLast => x.dims.len().saturating_sub(1),
        };
        let size = |i: usize| if i == channels { x.dims[i] } else { 1 };
        let is_factor = b.layers.shape(factor.tensor) == Shape::vector(shape.c)
            && factor.dims.iter().copied().eq((0..x.dims.len()).map(size));
        if is_image && is_factor {
            let inputs = vec![x.tensor, factor.tensor];
            let tensor = b.layers.push_plain(Op::Mul, inputs, shape)?;
            return Ok(Value::Activation(View {
                tensor,
                ..x.clone()
            }));
        }
    }
    unsupported(format!(
        "it multiplies {} by {}: of two tensors, both are of one shape, or one has an element for each channel",
        dims_text(&left.dims),
        dims_text(&right.dims)
    ))
}

/// The tensor of x · factor, where that is a function of x: the layer that gives the factor becomes that function.
fn of_itself(b: &mut Builder<'_>, x: usize, factor: usize) -> Option<usize> {
    let layer = b.layers.sole_producer(factor)?;
    let (Op::Unary(function), &[source]) = (layer.op, &layer.inputs[..]) else {
        return None;
    };
    if layer.activation != Activation::None {
        return None;
    }
    // as exporters round a sixth
    let is_hard = |function: Function| {
        matches!(function, Function::HardSigmoid { alpha, beta }
            if (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5)
    };
    let product = if source == x && function == Function::Sigmoid {
        Function::Silu
    } else if source == x && is_hard(function) {
        Function::HardSwish
    } else if function == Function::Tanh {
        let inner = b.layers.producer(source)?;
        let is_softplus = inner.op == Op::Unary(Function::Softplus) && inner.inputs == [x];
        (is_softplus && inner.activation == Activation::None).then_some(Function::Mish)?
    } else {
        return None;
    };
    let layer = b.layers.sole_producer(factor)?;
    layer.op = Op::Unary(product);
    layer.inputs = vec![x];
    Some(factor)
}

/// Concat of constants that are shapes, or of tensors along their channels, or one behind the other.
pub(super) fn concat<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let count = node.inputs().len();
    let mut is_computed = false;
    for index in 0..count {
        is_computed |= matches!(b.value(node, index)?, Value::Activation(_));
    }
    if !is_computed {
        return fold::concat(b, node);
    }
    let given = node.int("axis", 1)?;
    let mut views = Vec::new();
    for index in 0..count {
        views.push(b.view_in_any_order(node, index)?);
    }
    let is_last = views.iter().any(|view| view.order == Order::ChannelsLast);
    let mut joined = views[0].clone();
    let axis = axis(given, joined.dims.len() + 1)?;
    let channels = if is_last { joined.dims.len() } else { 1 };
    let is_whole = axis == 1 && views.iter().all(|view| is_behind(b, view));
    if axis != channels && !is_whole {
        return unsupported(format!(
            "it joins along dimension {axis} of {}, only along the channels is supported, or along the first \
             dimension where the channels are not the first",
            dims_text(&joined.dims)
        ));
    }
    let part = |b: &mut Builder<'_>, view: &View| match is_whole {
        true => b.layers.flat(view.tensor),
        false => with_channels(b, view, is_last),
    };
    joined.tensor = part(b, &joined)?;
    for view in &views[1..] {
        let mut dims = view.dims.clone();
        if let Some(size) = dims.get_mut(axis - 1) {
            *size = joined.dims[axis - 1];
        }
        if dims != joined.dims {
            return unsupported(format!(
                "it joins {} and {}",
                dims_text(&joined.dims),
                dims_text(&view.dims)
            ));
        }
        let tensor = part(b, view)?;
        joined.tensor = join(b, joined.tensor, tensor)?;
        joined.dims[axis - 1] += view.dims[axis - 1];
    }
    let shape = b.layers.shape(joined.tensor);
    let order = match is_last {
        true => Order::ChannelsLast,
        false => Order::ChannelsFirst,
    };
    Ok(Value::Activation(joined.in_order(order, shape)))
}

/// Whether the elements of a view stand as they do in its tensor, more than one for each step of its first dimension,
/// which are not the channels: along that, they come one behind the other.
fn is_behind(b: &Builder<'_>, view: &View) -> bool {
    let shape = b.layers.shape(view.tensor);
    let is_several = view.dims.iter().skip(1).any(|size| *size > 1);
    let is_vector = shape == Shape::vector(shape.c);
    is_several && (view.order == Order::ChannelsLast || is_vector)
}

/// The tensor of a view whose channels are its last dimension or its first one.
fn with_channels(b: &mut Builder<'_>, view: &View, is_last: bool) -> Result<usize, Fault> {
    if !is_last {
        return b.layers.materialize(view);
    }
    if !view.is_own(b.layers.shape(view.tensor)) {
        return unsupported(format!(
            "it joins {}, whose channels are not its last dimension",
            dims_text(&view.dims)
        ));
    }
    Ok(view.tensor)
}

/// The channels of two tensors: those of a layer that joins them already, where there is one, as in networks each of
/// whose layers reads all before it (Huang et al. 2017, "Densely Connected Convolutional Networks").
fn join(b: &mut Builder<'_>, left: usize, right: usize) -> Result<usize, Fault> {
    let inputs = vec![left, right];
    if let Some(tensor) = b.layers.find_plain(Op::Concat, &inputs) {
        return Ok(tensor);
    }
    let [a, c] = [left, right].map(|tensor| b.layers.shape(tensor));
    let channels = dimension(usize::from(a.c) + usize::from(c.c))?;
    let output = Shape { c: channels, ..a };
    b.layers.push_plain(Op::Concat, inputs, output)
}
