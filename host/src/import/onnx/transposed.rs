//! Transposed convolutions, as convolutions whose channels become pixels.

use bitbudget_core::op::{Activation, Op, Rearrangement};
use bitbudget_core::shape::{Shape, Window};

use super::builder::Builder;
use super::error::{Fault, unsupported};
use super::layers::dimension;
use super::name;
use super::node::Node;
use super::rearrange::{cut, image, rearranged};
use super::value::{Value, View};
use super::weighted::{bad_shape, bias, channels_last};
use super::window::pair;
use crate::graph::{GraphLayer, Weights};

/// One dimension of a transposed convolution: input `i` adds to output `i · stride − before + k` by tap `k`.
///
/// Output `q · stride + phase` is thus the sum over inputs `q + t` by taps `phase + before − t · stride`: a convolution
/// with stride 1 gives the outputs of all phases as channels (Shi et al. 2016, "Is the deconvolution layer the same as
/// a convolutional layer?").
#[derive(Clone, Copy, Debug)]
struct Axis {
    stride: i64,
    kernel: i64,
    before: i64,
    /// Outputs.
    output: i64,
    /// The first input that any phase reads, from that of the same number on.
    first: i64,
    /// Inputs from there on that any phase reads.
    taps: i64,
}

impl Axis {
    fn new(input: i64, [stride, kernel, before, after, further]: [i64; 5]) -> Option<Self> {
        let output = stride * (input - 1) + kernel - before - after + further;
        let (low, high) = (before - kernel + 1, stride - 1 + before);
        let first = low.div_euclid(stride) + i64::from(low.rem_euclid(stride) > 0);
        let last = high.div_euclid(stride);
        (output > 0 && first <= 0 && last >= first).then_some(Self {
            stride,
            kernel,
            before,
            output,
            first,
            taps: last - first + 1,
        })
    }

    /// The tap by which input `first + t` adds to a phase.
    fn tap(&self, phase: i64, t: i64) -> Option<usize> {
        let tap = phase + self.before - (self.first + t) * self.stride;
        (0..self.kernel).contains(&tap).then_some(tap as usize)
    }

    /// Outputs of each phase.
    const fn rows(&self) -> i64 {
        (self.output + self.stride - 1) / self.stride
    }
}

/// ConvTranspose.
pub(super) fn conv_transpose<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    let (dims, values) = b.weights(node, 1)?;
    let (&[inputs, outputs, ref kernel @ ..], 3..=4) = (&dims[..], dims.len()) else {
        let rank = dims.len().saturating_sub(2);
        return unsupported(format!(
            "it is {rank}-dimensional, only 1 and 2 are supported"
        ));
    };
    let rank = kernel.len();
    if pair(node, "dilations", rank)?.is_some_and(|dilation| dilation != [1, 1]) {
        return unsupported("it is dilated, which is not supported");
    }
    let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
    if groups == 0 || !inputs.is_multiple_of(groups) {
        return Err(node
            .bad_attribute("group", "a divisor of the channels")
            .into());
    }
    let all = outputs * groups;
    let bias = bias(b, node, all)?;
    let (view, shape) = image(b, node)?;
    if inputs != usize::from(shape.c) {
        let expected = format!("[{}, ..]", shape.c);
        return Err(bad_shape(node, 1, expected, &dims));
    }
    let [rows, columns] = axes(node, kernel, [shape.h, shape.w])?;
    let phases = (rows.stride * columns.stride) as usize;
    // the channels of a group stay together
    let by_channel = groups > 1;
    let channel = |phase: usize, o: usize| match by_channel {
        true => o * phases + phase,
        false => phase * all + o,
    };
    let taps = (rows.taps * columns.taps) as usize;
    let depth = inputs / groups;
    let len = all * phases * depth * taps;
    b.layers.reserve(len)?;
    let mut weight = vec![0.0; len];
    let mut biases = vec![0.0; all * phases];
    let [_, width] = [rows, columns].map(|axis| axis.kernel as usize);
    let kernel_len: usize = kernel.iter().product();
    for phase in 0..phases as i64 {
        let [py, px] = [phase / columns.stride, phase % columns.stride];
        for (o, own) in bias.iter().enumerate() {
            let to = channel(phase as usize, o);
            biases[to] = *own;
            for tap in 0..taps as i64 {
                let (ty, tx) = (tap / columns.taps, tap % columns.taps);
                let (Some(ky), Some(kx)) = (rows.tap(py, ty), columns.tap(px, tx)) else {
                    continue;
                };
                for i in 0..depth {
                    let input = o / outputs * depth + i;
                    let from = (input * outputs + o % outputs) * kernel_len + ky * width + kx;
                    weight[(to * depth + i) * taps + tap as usize] = values[from];
                }
            }
        }
    }
    let inner = |axis: &Axis, size: u16| {
        // the convolution's outputs are as many as there are of each phase, or more at the end
        let before = -axis.first;
        let after = axis.rows() - i64::from(size) - before + axis.taps - 1;
        [before, after.max(0)]
    };
    let [[top, bottom], [left, right]] = [inner(&rows, shape.h), inner(&columns, shape.w)];
    let number = |n: i64| dimension(n as usize + 1).map(|n| n - 1);
    let window = Window {
        kernel: [number(rows.taps)?, number(columns.taps)?],
        stride: [1; 2],
        padding: [number(top)?, number(left)?, number(bottom)?, number(right)?],
    };
    let Some([h, w]) = window.output(shape.h, shape.w) else {
        return unsupported(format!("its window does not fit an input of {shape}"));
    };
    let output = Shape::new(h, w, dimension(all * phases)?);
    let tensor = b.layers.push(GraphLayer {
        name: name::of_node(node, &[1, 2]),
        op: Op::Conv2d {
            window,
            groups: dimension(groups)?,
        },
        inputs: vec![view.tensor],
        activation: Activation::None,
        output,
        weights: Some(Weights {
            weight: channels_last(&weight, depth, taps),
            bias: biases,
        }),
    })?;
    let view = View { tensor, ..view };
    let block = [rows.stride, columns.stride].map(|stride| stride as u8);
    if phases == 1 && [h, w].map(i64::from) == [rows.output, columns.output] {
        let mut dims = vec![all, h.into(), w.into()];
        dims.truncate(rank + 1);
        return Ok(Value::Activation(View::new(tensor, dims)));
    }
    let of = Rearrangement::depth_to_space(output, block, by_channel);
    // rows beyond the last one are not taken; columns are, and cut off
    let wide = usize::from(w) * usize::from(block[1]);
    let sizes = [rows.output as usize, wide, all];
    let pixels = rearranged(b, &view, of, sizes)?;
    let pixels = cut(b, &pixels, columns.output as usize)?;
    Ok(Value::Activation(pixels))
}

/// Both dimensions, of an input of so many rows and columns.
fn axes(node: &Node<'_>, kernel: &[usize], input: [u16; 2]) -> Result<[Axis; 2], Fault> {
    let rank = kernel.len();
    let strides = pair(node, "strides", rank)?.unwrap_or([1; 2]);
    let further = node.ints("output_padding")?.unwrap_or_default();
    let pads = node.ints("pads")?;
    let shape = node.ints("output_shape")?;
    let auto = node.string("auto_pad", "NOTSET")?;
    let mut found = Vec::new();
    for i in 0..2 {
        let kernel = kernel.get(i).map_or(1, |size| *size as i64);
        let stride = if i < rank { strides[i] as i64 } else { 1 };
        let mut further = further.get(i).copied().unwrap_or(0);
        let size = i64::from(input[i]);
        let wanted = shape.and_then(|shape| shape.iter().rev().take(rank).rev().nth(i).copied());
        let wanted = match (wanted, auto) {
            (Some(wanted), _) => Some(wanted),
            (None, "SAME_UPPER" | "SAME_LOWER") if i < rank => Some(size * stride),
            (None, _) => None,
        };
        let [before, after] = match (wanted, pads) {
            (Some(wanted), _) => {
                let total = stride * (size - 1) + further + kernel - wanted;
                further += (-total).max(0);
                let total = total.max(0);
                let less = total / 2;
                match auto {
                    // as ONNX has it, and TensorFlow
                    "SAME_UPPER" => [less, total - less],
                    _ => [total - less, less],
                }
            }
            (None, Some(pads)) if i < rank && pads.len() == 2 * rank => [pads[i], pads[rank + i]],
            (None, _) => [0, 0],
        };
        let is_small = |n: i64| (0..=i64::from(u16::MAX)).contains(&n);
        if stride > i64::from(u8::MAX) {
            return unsupported(format!("its stride is {stride}, at most 255 is supported"));
        }
        if ![before, after, further, stride - 1, kernel - 1]
            .into_iter()
            .all(is_small)
        {
            return Err(node.bad_attribute("pads", "numbers from 0 to 65535").into());
        }
        match Axis::new(size, [stride, kernel, before, after, further]) {
            Some(axis) => found.push(axis),
            None => return unsupported("its padding leaves out more than its kernel reaches"),
        }
    }
    Ok([found[0], found[1]])
}
