//! Operators with weights: convolution, dense layers, and what is folded into them.

use std::rc::Rc;

use bitbudget_core::op::{Activation, Op};
use bitbudget_core::shape::Shape;

use super::builder::Builder;
use super::error::{Fault, OnnxError, unsupported};
use super::layers::{check_finite, dimension};
use super::name;
use super::node::Node;
use super::value::{Fill, Order, Value, View, dims_text};
use super::window::Sliding;
use crate::graph::{GraphLayer, Weights};

/// The error for constants of another shape than the operator needs.
pub(super) fn bad_shape(node: &Node<'_>, index: usize, expected: String, found: &[usize]) -> Fault {
    Fault::Broken(OnnxError::WeightShape {
        node: node.label.clone(),
        tensor: node.input(index).unwrap_or_default().to_owned(),
        expected,
        found: found.to_vec(),
    })
}

/// The bias of a convolution with `len` output channels; zeros where it has none.
pub(super) fn bias<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    len: usize,
) -> Result<Vec<f32>, Fault> {
    if node.input(2).is_none() {
        return Ok(vec![0.0; len]);
    }
    let (dims, values) = b.weights(node, 2)?;
    if dims != [len] {
        return Err(bad_shape(node, 2, format!("[{len}]"), &dims));
    }
    Ok(values.to_vec())
}

/// Filters `[O, I, taps]` as `[O, taps, I]`.
pub(super) fn channels_last(values: &[f32], inner: usize, taps: usize) -> Vec<f32> {
    let mut weight = Vec::with_capacity(values.len());
    for filter in values.chunks_exact(inner * taps) {
        for tap in 0..taps {
            weight.extend((0..inner).map(|i| filter[i * taps + tap]));
        }
    }
    weight
}

/// Conv.
pub(super) fn conv<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (dims, values) = b.weights(node, 1)?;
    let (&[out, inner, ref kernel @ ..], 3..=4) = (&dims[..], dims.len()) else {
        let rank = dims.len().saturating_sub(2);
        return unsupported(format!(
            "it is {rank}-dimensional, only 1 and 2 are supported"
        ));
    };
    let sliding = Sliding::parse(node, Some(kernel))?;
    let groups = node.int("group", 1)?;
    let groups = u16::try_from(groups).ok().filter(|groups| *groups > 0);
    let groups = groups.ok_or_else(|| node.bad_attribute("group", "a number from 1 to 65535"))?;
    let bias = bias(b, node, out)?;
    let view = b.padded_view(node, 0, Some(Fill::Zero))?;
    let mut tensor = if view.pad == [0; 4] {
        b.layers.materialize(&view)?
    } else {
        view.tensor
    };
    let series = b.layers.shape(tensor);
    let image = sliding.image(&view)?;
    let folded = sliding.folded(series.h.into(), view.pad)?;
    let padding = match folded {
        Some((_, padding)) => padding,
        None => {
            let own = sliding.place(image)?.padding;
            [0, 1, 2, 3].map(|i| own[i] + view.pad[i])
        }
    };
    let window = sliding.window(padding)?;
    if let Some((steps, _)) = folded {
        let rows = usize::from(series.h) / steps;
        let columns = Shape::new(dimension(rows)?, dimension(steps)?, series.c);
        tensor = b.layers.push_plain(Op::Reshape, vec![tensor], columns)?;
    }
    let shape = b.layers.shape(tensor);
    if inner * usize::from(groups) != usize::from(shape.c) {
        let inner = usize::from(shape.c) / usize::from(groups);
        let kernel: String = kernel.iter().map(|size| format!(", {size}")).collect();
        let expected = format!("[{out}, {inner}{kernel}] for {} channels", shape.c);
        return Err(bad_shape(node, 1, expected, &dims));
    }
    let Some([h, w]) = window.output(shape.h, shape.w) else {
        return unsupported(format!("its window does not fit an input of {shape}"));
    };
    b.layers.reserve(values.len())?;
    let weight = channels_last(&values, inner, kernel.iter().product());
    let output = Shape::new(h, w, dimension(out)?);
    let tensor = b.layers.push(GraphLayer {
        name: name::of_node(node, &[1, 2]),
        op: Op::Conv2d { window, groups },
        inputs: vec![tensor],
        activation: Activation::None,
        output,
        weights: Some(Weights { weight, bias }),
    })?;
    if folded.is_none() {
        return Ok(Value::Activation(sliding.view(tensor, output)));
    }
    let steps = dimension(usize::from(output.h) * usize::from(output.w))?;
    let series = Shape::new(steps, 1, output.c);
    let tensor = b.layers.push_plain(Op::Reshape, vec![tensor], series)?;
    Ok(Value::Activation(sliding.view(tensor, series)))
}

/// A matrix of weights as ONNX stores it.
struct Matrix {
    values: Rc<[f32]>,
    /// Elements from one output to the next, and from one input to the next.
    strides: [usize; 2],
    outputs: usize,
    inputs: usize,
}

/// Gemm.
pub(super) fn gemm<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    if node.int("transA", 0)? != 0 {
        return unsupported("its input is transposed (transA = 1)");
    }
    let alpha = node.float("alpha", 1.0)?;
    let beta = node.float("beta", 1.0)?;
    check_finite(&node.label, "alpha, beta", &[alpha, beta])?;
    let matrix = matrix(b, node, node.int("transB", 0)? != 0)?;
    let out = matrix.outputs;
    let mut bias = vec![0.0; out];
    if node.input(2).is_some() {
        let (dims, values) = b.weights(node, 2)?;
        if values.len() > 1 && dims != [out] && dims != [1, out] {
            return Err(bad_shape(node, 2, format!("[{out}]"), &dims));
        }
        for (bias, value) in bias.iter_mut().zip(values.iter().cycle()) {
            *bias = beta * value;
        }
    }
    dense(b, node, &matrix, alpha, bias)
}

/// MatMul with constant weights.
pub(super) fn matmul<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let matrix = matrix(b, node, false)?;
    let bias = vec![0.0; matrix.outputs];
    dense(b, node, &matrix, 1.0, bias)
}

fn matrix<'a>(b: &mut Builder<'a>, node: &Node<'a>, transposed: bool) -> Result<Matrix, Fault> {
    let (dims, values) = b.weights(node, 1)?;
    match dims[..] {
        [outputs, inputs] if transposed => Ok(Matrix {
            values,
            strides: [inputs, 1],
            outputs,
            inputs,
        }),
        [inputs, outputs] => Ok(Matrix {
            values,
            strides: [1, outputs],
            outputs,
            inputs,
        }),
        _ => unsupported(format!("its weights are {dims:?}, expected a matrix")),
    }
}

/// A dense layer over the last dimension, which must be all there is. The columns are permuted from
/// the order of a flattened tensor to `[H, W, C]`.
fn dense<'a>(
    b: &mut Builder<'a>,
    node: &Node<'a>,
    matrix: &Matrix,
    alpha: f32,
    bias: Vec<f32>,
) -> Result<Value, Fault> {
    let view = b.view_in_any_order(node, 0)?;
    let Some(([features], leading)) = view.dims.split_last().map(|(f, rest)| ([*f], rest)) else {
        return unsupported("it reads a scalar for each sample");
    };
    if leading.iter().any(|d| *d != 1) {
        let dims = dims_text(&view.dims);
        return unsupported(format!(
            "it reads {dims}, expected [N, F]: flatten the tensor"
        ));
    }
    if matrix.inputs != features {
        let expected = format!("a matrix for {features} inputs");
        let found = [matrix.inputs, matrix.outputs];
        return Err(bad_shape(node, 1, expected, &found));
    }
    let shape = b.layers.shape(view.tensor);
    let [height, width, channels] = [shape.h, shape.w, shape.c].map(usize::from);
    b.layers.reserve(matrix.values.len())?;
    let mut weight = Vec::with_capacity(matrix.values.len());
    for o in 0..matrix.outputs {
        for pixel in 0..height * width {
            weight.extend((0..channels).map(|c| {
                let f = match view.order {
                    Order::ChannelsFirst => c * height * width + pixel,
                    Order::ChannelsLast => pixel * channels + c,
                };
                alpha * matrix.values[o * matrix.strides[0] + f * matrix.strides[1]]
            }));
        }
    }
    check_finite(&node.label, "scaled weights", &weight)?;
    check_finite(&node.label, "scaled bias", &bias)?;
    let mut dims = view.dims.clone();
    dims.pop();
    dims.push(matrix.outputs);
    let tensor = b.layers.push(GraphLayer {
        name: name::of_node(node, &[1, 2]),
        op: Op::Dense,
        inputs: vec![view.tensor],
        activation: Activation::None,
        output: Shape::vector(dimension(matrix.outputs)?),
        weights: Some(Weights { weight, bias }),
    })?;
    Ok(Value::Activation(View::new(tensor, dims)))
}
