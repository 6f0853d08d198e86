//! Convolutions, pools and dense layers.

use rten_onnx::onnx::AttributeProto;

use super::activation::activate;
use super::emit::{Emit, Refusal, int, ints, refuse, text};
use super::model::{Model, Operator};
use super::options::{choice, pair};
use super::series::Series;

/// An operator with a window: over an image, or over a series that the model has as an image of one row.
pub(super) struct Window<'o, 'a> {
    op: &'o Operator<'a>,
    /// What it reads.
    x: usize,
    /// The operator whose output the result is.
    last: &'o Operator<'a>,
    is_series: bool,
    /// Of a series: steps from one of the window's to the next, and the padding.
    spread: Option<(i64, [i64; 2])>,
}

impl<'o, 'a> Window<'o, 'a> {
    /// A window over an image.
    pub(super) fn image(op: &'o Operator<'a>) -> Result<Self, Refusal> {
        Ok(Self {
            op,
            x: op.input(0)?,
            last: op,
            is_series: false,
            spread: None,
        })
    }

    /// Dimensions of what it reads, the batch among them.
    const fn rank(&self) -> usize {
        if self.is_series { 3 } else { 4 }
    }

    /// What an image has for rows and columns, as this has it: of a series, that for columns.
    fn sizes<T: Copy>(&self, [h, w]: [T; 2]) -> Vec<T> {
        match self.is_series {
            true => vec![w],
            false => vec![h, w],
        }
    }

    /// Height and width from two fields of the options, the width first.
    fn pair(&self, name: &str, width: usize, default: i32) -> Result<AttributeProto, Refusal> {
        Ok(ints(name, &self.sizes(pair(self.op, width, default)?)))
    }

    /// The padding.
    fn padding(&self) -> Result<AttributeProto, Refusal> {
        match (self.spread, choice(self.op, 0)?) {
            (Some((_, pads)), 1) => Ok(ints("pads", &pads)),
            (Some(_), _) => refuse("it pads what is spread over the batch"),
            (None, 0) => Ok(text("auto_pad", "SAME_UPPER")),
            (None, 1) => Ok(text("auto_pad", "VALID")),
            (None, other) => refuse(format!("its padding is {other}")),
        }
    }

    /// Adds the node, and what is fused with it, by the field of the activation.
    fn give(
        &self,
        e: &mut Emit<'_>,
        name: &str,
        further: Vec<String>,
        attributes: Vec<AttributeProto>,
        activation: usize,
    ) -> Result<(), Refusal> {
        let x = e.channels_first(self.x)?;
        let result = e.node(name, [vec![x], further].concat(), attributes);
        let result = e.channels_last(result, self.rank());
        activate(e, self.last, result, choice(self.op, activation)?)
    }
}

/// Emits the ONNX node of a window over a series.
pub(super) fn series(e: &mut Emit<'_>, model: &Model<'_>, series: &Series) -> Result<(), Refusal> {
    let op = |i: usize| &model.operators[i];
    let [first, .., last] = series.operators[..] else {
        return refuse("it is no window over a series");
    };
    let window = Window {
        op: op(series.window),
        x: op(first).input(0)?,
        last: op(last),
        is_series: true,
        spread: series.spread,
    };
    match (window.op.op.as_str(), window.spread) {
        ("CONV_2D", _) => conv_2d(e, &window),
        ("DEPTHWISE_CONV_2D", _) => depthwise_conv_2d(e, &window),
        ("AVERAGE_POOL_2D", None) => pool(e, &window, "AveragePool"),
        ("MAX_POOL_2D", None) => pool(e, &window, "MaxPool"),
        _ => refuse("it is no window over a series"),
    }
}

pub(super) fn conv_2d(e: &mut Emit<'_>, window: &Window<'_, '_>) -> Result<(), Refusal> {
    let (values, [out, h, w, inner]) = filter(e, window.op)?;
    let strides = [h * w * inner, 1, w * inner, inner];
    let weights = permuted(&values, [out, inner, h, w], strides);
    let channels = e.channels(window.x).unwrap_or(inner);
    let groups = channels.checked_div(inner).unwrap_or(0);
    let dims = [vec![out, inner], window.sizes([h, w])].concat();
    let weights = e.floats(dims, weights);
    convolution(e, window, weights, groups, [4, 3])
}

pub(super) fn depthwise_conv_2d(e: &mut Emit<'_>, window: &Window<'_, '_>) -> Result<(), Refusal> {
    let (values, dims @ [one, h, w, out]) = filter(e, window.op)?;
    if one != 1 {
        return refuse(format!("its weights are {dims:?}, expected [1, H, W, C]"));
    }
    let weights = permuted(&values, [out, 1, h, w], [1, 0, w * out, out]);
    let groups = e.channels(window.x).unwrap_or(out);
    let dims = [vec![out, 1], window.sizes([h, w])].concat();
    let weights = e.floats(dims, weights);
    convolution(e, window, weights, groups, [5, 4])
}

/// The weights of a convolution, which have four dimensions.
fn filter(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(Vec<f32>, [usize; 4]), Refusal> {
    let (dims, values) = e.weights(op.input(1)?)?;
    match dims[..] {
        [a, b, c, d] => Ok((values, [a, b, c, d])),
        _ => refuse(format!("its weights are {dims:?}, expected 4 dimensions")),
    }
}

/// The elements with the dimensions `dims`, row-major, where those of `values` are `strides` apart.
fn permuted(values: &[f32], dims: [usize; 4], strides: [usize; 4]) -> Vec<f32> {
    let position = |mut i: usize| {
        let mut position = 0;
        for (dim, stride) in dims.into_iter().zip(strides).rev() {
            position += i % dim * stride;
            i /= dim;
        }
        position
    };
    (0..values.len()).map(|i| values[position(i)]).collect()
}

/// A convolution; the fields of the options are those of the dilation's width and of the activation.
fn convolution(
    e: &mut Emit<'_>,
    window: &Window<'_, '_>,
    weights: String,
    groups: usize,
    [dilation, activation]: [usize; 2],
) -> Result<(), Refusal> {
    let dilations = match window.spread {
        None => window.pair("dilations", dilation, 1)?,
        Some((steps, _)) if pair(window.op, dilation, 1)? == [1, 1] => ints("dilations", &[steps]),
        Some(_) => return refuse("it is dilated twice"),
    };
    let attributes = vec![
        window.padding()?,
        window.pair("strides", 1, 0)?,
        dilations,
        int("group", groups as i64),
    ];
    let mut further = vec![weights];
    if let Some(bias) = window.op.optional(2) {
        further.push(e.name(bias)?);
    }
    window.give(e, "Conv", further, attributes, activation)
}

pub(super) fn pool(e: &mut Emit<'_>, window: &Window<'_, '_>, name: &str) -> Result<(), Refusal> {
    let attributes = vec![
        window.padding()?,
        window.pair("strides", 1, 0)?,
        window.pair("kernel_shape", 3, 0)?,
    ];
    window.give(e, name, vec![], attributes, 5)
}

/// TRANSPOSE_CONV: of the output's size, weights `[O, H, W, I]`, the input, and perhaps a bias.
pub(super) fn transpose_conv(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let (values, [out, h, w, inner]) = filter(e, op)?;
    // to [in, out, h, w]
    let strides = [1, h * w * inner, w * inner, inner];
    let weights = permuted(&values, [inner, out, h, w], strides);
    let mut attributes = vec![ints("strides", &pair(op, 1, 0)?)];
    match (&e.dims(op.output()?)[..], choice(op, 0)?) {
        // all that the kernel reaches, and all that belongs to an input
        (_, 1) => {
            let [down, across] = pair(op, 1, 0)?;
            let further = [(down - h as i64).max(0), (across - w as i64).max(0)];
            attributes.push(ints("output_padding", &further));
        }
        ([_, h, w, _], _) if [h, w].iter().all(|size| **size > 0) => {
            attributes.push(text("auto_pad", "SAME_UPPER"));
            attributes.push(ints("output_shape", &[*h, *w]));
        }
        (_, 0) => attributes.push(text("auto_pad", "SAME_UPPER")),
        (_, other) => return refuse(format!("its padding is {other}")),
    }
    let x = e.channels_first(op.input(2)?)?;
    let mut inputs = vec![x, e.floats(vec![inner, out, h, w], weights)];
    if let Some(bias) = op.optional(3) {
        inputs.push(e.name(bias)?);
    }
    let sums = e.node("ConvTranspose", inputs, attributes);
    let sums = e.channels_last(sums, 4);
    activate(e, op, sums, choice(op, 3)?)
}

pub(super) fn fully_connected(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    if choice(op, 1)? != 0 {
        return refuse("its weights are shuffled");
    }
    let (x, y) = (op.input(0)?, op.output()?);
    let weights = op.input(1)?;
    if !e.is_constant(weights)? {
        return refuse("its weights are not constant");
    }
    let inputs = match e.dims(weights)[..] {
        [_, inputs] => inputs,
        ref dims => return refuse(format!("its weights are {dims:?}, expected [O, I]")),
    };
    let dims = e.dims(y);
    if dims.len() > 2 && dims[1..dims.len() - 1].iter().any(|dim| *dim != 1) {
        return refuse("it is applied to each of several vectors, only one is supported");
    }
    let vector = e.integer_list(&[-1, inputs]);
    let x = vec![e.name(x)?, vector];
    let mut inputs = vec![e.node("Reshape", x, vec![]), e.name(weights)?];
    if let Some(bias) = op.optional(2) {
        inputs.push(e.name(bias)?);
    }
    let sums = e.node("Gemm", inputs, vec![int("transB", 1)]);
    activate(e, op, sums, choice(op, 0)?)
}
