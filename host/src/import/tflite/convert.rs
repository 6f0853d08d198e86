//! The table of operators: each becomes ONNX's operators of the same meaning.
//!
//! TensorFlow Lite's images are `[N, H, W, C]`. Operators that look at rows and columns stand between two Transposes, as
//! in the models that tf2onnx writes; these change only how a tensor is seen.

use rten_onnx::onnx::AttributeProto;

use super::emit::{Emit, Refusal, float, int, ints, refuse, text};
use super::flat::{Number, Table};
use super::model::{Model, Operator};
use super::series::Series;

/// Emits the ONNX nodes of one operator.
type Convert = fn(&mut Emit<'_>, &Operator<'_>) -> Result<(), Refusal>;

/// The operators that can be imported, by name: with which limits, and how.
const OPERATORS: &[(&str, &str, Convert)] = &[
    ("ABS", "", |e, o| unary(e, o, "Abs", vec![])),
    (
        "ADD",
        "of two tensors of one shape, or a tensor and a constant",
        |e, o| binary(e, o, "Add"),
    ),
    ("AVERAGE_POOL_2D", "", |e, o| {
        pool(e, &Window::image(o)?, "AveragePool")
    }),
    ("CAST", "to FLOAT32", cast),
    ("CONCATENATION", "along the channels", concatenation),
    (
        "CONV_2D",
        "any groups, constant weights; dilated over a series only, where that divides its length",
        |e, o| conv_2d(e, &Window::image(o)?),
    ),
    (
        "DEPTHWISE_CONV_2D",
        "any multiplier, constant weights; dilation 1",
        |e, o| depthwise_conv_2d(e, &Window::image(o)?),
    ),
    ("DEPTH_TO_SPACE", "", depth_to_space),
    ("DEQUANTIZE", "", identity),
    ("DIV", "by a constant", |e, o| binary(e, o, "Div")),
    ("ELU", "", |e, o| unary(e, o, "Elu", vec![])),
    ("EXP", "", |e, o| unary(e, o, "Exp", vec![])),
    ("EXPAND_DIMS", "", reshape),
    (
        "FULLY_CONNECTED",
        "of one vector, constant weights that are not shuffled",
        fully_connected,
    ),
    ("GELU", "as it is defined, or by a hyperbolic tangent", gelu),
    ("HARD_SWISH", "", |e, o| unary(e, o, "HardSwish", vec![])),
    ("LEAKY_RELU", "", leaky_relu),
    ("LOG", "", |e, o| unary(e, o, "Log", vec![])),
    ("LOGISTIC", "", |e, o| unary(e, o, "Sigmoid", vec![])),
    ("MAXIMUM", "of a tensor and one number", |e, o| {
        limit(e, o, "Max")
    }),
    ("MAX_POOL_2D", "", |e, o| {
        pool(e, &Window::image(o)?, "MaxPool")
    }),
    ("MEAN", "over all rows and columns", |e, o| {
        reduce(e, o, "ReduceMean")
    }),
    ("MINIMUM", "of a tensor and one number", |e, o| {
        limit(e, o, "Min")
    }),
    (
        "MUL",
        "of two tensors of one shape, of a tensor and one element for each channel, or of a tensor and a constant",
        |e, o| binary(e, o, "Mul"),
    ),
    (
        "PAD",
        "rows and columns, by 0, before a convolution or average",
        pad,
    ),
    (
        "PADV2",
        "rows and columns, by 0 before a convolution or average, by the least number before a maximum",
        pad,
    ),
    ("QUANTIZE", "", identity),
    ("REDUCE_MAX", "over all rows and columns", |e, o| {
        reduce(e, o, "ReduceMax")
    }),
    ("RELU", "", |e, o| unary(e, o, "Relu", vec![])),
    ("RELU6", "", |e, o| clip(e, o, [0.0, 6.0])),
    ("RELU_0_TO_1", "", |e, o| clip(e, o, [0.0, 1.0])),
    ("RELU_N1_TO_1", "", |e, o| clip(e, o, [-1.0, 1.0])),
    ("RESHAPE", "that keeps the batch first", reshape),
    (
        "RESIZE_NEAREST_NEIGHBOR",
        "by whole factors",
        resize_nearest,
    ),
    ("SLICE", "along rows, columns and channels", slice),
    ("SOFTMAX", "over all classes; beta 1", softmax),
    ("SPLIT", "along rows, columns or channels", split),
    ("SQRT", "", |e, o| unary(e, o, "Sqrt", vec![])),
    ("SQUEEZE", "", reshape),
    (
        "STRIDED_SLICE",
        "forward along rows, columns and channels, which stay dimensions",
        strided_slice,
    ),
    ("SUB", "of a tensor and a constant", |e, o| {
        binary(e, o, "Sub")
    }),
    ("TANH", "", |e, o| unary(e, o, "Tanh", vec![])),
    (
        "TILE",
        "of pixels, along a dimension of 1 beside rows or columns",
        tile,
    ),
    (
        "TRANSPOSE",
        "between channels first and channels last, of groups of channels, or of dimensions of 1",
        transpose,
    ),
    ("TRANSPOSE_CONV", "constant weights", transpose_conv),
];

/// Emits the ONNX nodes of one operator.
pub(super) fn convert(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    match OPERATORS.iter().find(|(name, ..)| *name == op.op) {
        Some((.., convert)) => convert(e, op),
        None => refuse(reason(&op.op)),
    }
}

/// The operators that can be imported and their limits, by name.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|(name, limits, _)| (*name, *limits))
}

/// Why an operator that is not in the table is not supported.
fn reason(op: &str) -> &'static str {
    match op {
        "LOG_SOFTMAX" => "leave it out of the model: the logits say the same",
        "IF" | "LSTM" | "RNN" | "UNIDIRECTIONAL_SEQUENCE_LSTM" | "WHILE" => {
            "only feed-forward networks can be run"
        }
        _ => "there is no such operator in the core",
    }
}

/// The number of a field of the options, or its default.
fn option<T: Number>(op: &Operator<'_>, field: usize, default: T) -> Result<T, Refusal> {
    let number = |table: &Table<'_>| table.number(field, default);
    Ok(op.options.as_ref().map_or(Ok(default), number)?)
}

/// A truth value or a choice among the options, a byte that is 0 where it is left out.
fn choice(op: &Operator<'_>, field: usize) -> Result<i8, Refusal> {
    option(op, field, 0)
}

/// A real number among the options.
fn real(op: &Operator<'_>, field: usize) -> Result<f32, Refusal> {
    option(op, field, 0.0)
}

/// The same real numbers.
fn identity(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    e.alias(op.output()?, op.input(0)?);
    Ok(())
}

/// A cast to floating point, which changes no real number.
fn cast(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    match e.kind(op.output()?).as_str() {
        "FLOAT32" => identity(e, op),
        other => refuse(format!("it casts to {other}")),
    }
}

fn unary(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    name: &str,
    attributes: Vec<AttributeProto>,
) -> Result<(), Refusal> {
    let x = e.name(op.input(0)?)?;
    e.result(op, name, vec![x], attributes)
}

fn binary(e: &mut Emit<'_>, op: &Operator<'_>, name: &str) -> Result<(), Refusal> {
    let inputs = vec![e.name(op.input(0)?)?, e.name(op.input(1)?)?];
    let sum = e.node(name, inputs, vec![]);
    activate(e, op, sum, choice(op, 0)?)
}

fn limit(e: &mut Emit<'_>, op: &Operator<'_>, name: &str) -> Result<(), Refusal> {
    let inputs = vec![e.name(op.input(0)?)?, e.name(op.input(1)?)?];
    e.result(op, name, inputs, vec![])
}

fn clip(e: &mut Emit<'_>, op: &Operator<'_>, bounds: [f32; 2]) -> Result<(), Refusal> {
    let x = e.name(op.input(0)?)?;
    clip_of(e, op, x, bounds)
}

fn clip_of(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    x: String,
    bounds: [f32; 2],
) -> Result<(), Refusal> {
    let [low, high] = bounds.map(|bound| e.floats(vec![], vec![bound]));
    e.result(op, "Clip", vec![x, low, high], vec![])
}

/// Gives `x` as the operator's output, after the activation that is fused with it.
fn activate(e: &mut Emit<'_>, op: &Operator<'_>, x: String, activation: i8) -> Result<(), Refusal> {
    match activation {
        0 => e.give(op, x),
        1 => e.result(op, "Relu", vec![x], vec![]),
        2 => clip_of(e, op, x, [-1.0, 1.0]),
        3 => clip_of(e, op, x, [0.0, 6.0]),
        4 => e.result(op, "Tanh", vec![x], vec![]),
        _ => refuse(format!("the activation {activation} is fused with it")),
    }
}

fn leaky_relu(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let alpha = real(op, 0)?;
    unary(e, op, "LeakyRelu", vec![float("alpha", alpha)])
}

fn gelu(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let approximate = match choice(op, 0)? {
        0 => "none",
        _ => "tanh",
    };
    unary(e, op, "Gelu", vec![text("approximate", approximate)])
}

fn softmax(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    match real(op, 0)? {
        1.0 => unary(e, op, "Softmax", vec![]),
        beta => refuse(format!("its beta is {beta}, only 1 is supported")),
    }
}

/// An operator with a window: over an image, or over a series that the model has as an image of one row.
struct Window<'o, 'a> {
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
    fn image(op: &'o Operator<'a>) -> Result<Self, Refusal> {
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
    let window = Window {
        op: op(series.window),
        x: op(series.first).input(0)?,
        last: op(series.last),
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

/// Height and width from two fields of the options, the width first.
fn pair(op: &Operator<'_>, width: usize, default: i32) -> Result<[i64; 2], Refusal> {
    let [w, h] = [option(op, width, default)?, option(op, width + 1, default)?];
    Ok([i64::from(h), i64::from(w)])
}

fn conv_2d(e: &mut Emit<'_>, window: &Window<'_, '_>) -> Result<(), Refusal> {
    let (values, [out, h, w, inner]) = filter(e, window.op)?;
    let strides = [h * w * inner, 1, w * inner, inner];
    let weights = permuted(&values, [out, inner, h, w], strides);
    let channels = e.channels(window.x).unwrap_or(inner);
    let groups = channels.checked_div(inner).unwrap_or(0);
    let dims = [vec![out, inner], window.sizes([h, w])].concat();
    let weights = e.floats(dims, weights);
    convolution(e, window, weights, groups, [4, 3])
}

fn depthwise_conv_2d(e: &mut Emit<'_>, window: &Window<'_, '_>) -> Result<(), Refusal> {
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

fn pool(e: &mut Emit<'_>, window: &Window<'_, '_>, name: &str) -> Result<(), Refusal> {
    let attributes = vec![
        window.padding()?,
        window.pair("strides", 1, 0)?,
        window.pair("kernel_shape", 3, 0)?,
    ];
    window.give(e, name, vec![], attributes, 5)
}

/// A mean or a maximum, over rows and columns with the channels first.
fn reduce(e: &mut Emit<'_>, op: &Operator<'_>, name: &str) -> Result<(), Refusal> {
    let x = op.input(0)?;
    let rank = e.dims(x).len();
    let keeps = choice(op, 0)? != 0;
    let mut axes = Vec::new();
    for axis in e.integers(op.input(1)?)? {
        axes.push(if axis < 0 { axis + rank as i64 } else { axis });
    }
    axes.sort_unstable();
    let over_image = (1..rank as i64 - 1).collect::<Vec<_>>() == axes;
    let keepdims = int("keepdims", i64::from(keeps));
    if !over_image || rank < 3 {
        let inputs = vec![e.name(x)?, e.integer_list(&axes)];
        return e.result(op, name, inputs, vec![keepdims]);
    }
    let axes: Vec<i64> = axes.iter().map(|axis| axis + 1).collect();
    let inputs = vec![e.channels_first(x)?, e.integer_list(&axes)];
    let reduced = e.node(name, inputs, vec![keepdims]);
    let reduced = if keeps {
        e.channels_last(reduced, rank)
    } else {
        reduced
    };
    e.give(op, reduced)
}

fn pad(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let x = op.input(0)?;
    let rank = e.dims(x).len();
    let sizes = e.integers(op.input(1)?)?;
    if sizes.len() != 2 * rank || rank < 3 {
        return refuse(format!("it pads {rank} dimensions by {sizes:?}"));
    }
    // pairs in the order of the dimensions, to all sizes before and all after, the channels first
    let order = [0, rank - 1].into_iter().chain(1..rank - 1);
    let before = order.clone().map(|axis| sizes[2 * axis]);
    let after = order.map(|axis| sizes[2 * axis + 1]);
    let pads: Vec<i64> = before.chain(after).collect();
    let mut inputs = vec![e.channels_first(x)?, e.integer_list(&pads)];
    if let Some(value) = op.optional(2) {
        inputs.push(e.name(value)?);
    }
    let padded = e.node("Pad", inputs, vec![]);
    let padded = e.channels_last(padded, rank);
    e.give(op, padded)
}

fn concatenation(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let rank = e.dims(op.output()?).len();
    let axis = i64::from(option(op, 0, 0)?);
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    let is_channels = rank >= 3 && axis == rank as i64 - 1;
    let mut inputs = Vec::new();
    for x in op.inputs.iter().copied().flatten() {
        inputs.push(if is_channels {
            e.channels_first(x)?
        } else {
            e.name(x)?
        });
    }
    let axis = if is_channels { 1 } else { axis };
    let joined = e.node("Concat", inputs, vec![int("axis", axis)]);
    let joined = if is_channels {
        e.channels_last(joined, rank)
    } else {
        joined
    };
    activate(e, op, joined, choice(op, 1)?)
}

fn fully_connected(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    if choice(op, 1)? != 0 {
        return refuse("its weights are shuffled");
    }
    let (x, y) = (op.input(0)?, op.output()?);
    let weights = op.input(1)?;
    let inputs = match e.weights(weights)?.0[..] {
        [_, inputs] => inputs,
        ref dims => return refuse(format!("its weights are {dims:?}, expected [O, I]")),
    };
    let dims = e.dims(y);
    if dims.len() > 2 && dims[1..dims.len() - 1].iter().any(|dim| *dim != 1) {
        return refuse("it is applied to each of several vectors, only one is supported");
    }
    let vector = e.integer_list(&[-1, inputs as i64]);
    let x = vec![e.name(x)?, vector];
    let mut inputs = vec![e.node("Reshape", x, vec![]), e.name(weights)?];
    if let Some(bias) = op.optional(2) {
        inputs.push(e.name(bias)?);
    }
    let sums = e.node("Gemm", inputs, vec![int("transB", 1)]);
    activate(e, op, sums, choice(op, 0)?)
}

/// RESHAPE, SQUEEZE and EXPAND_DIMS: to the dimensions that the model gives the output.
fn reshape(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let (x, y) = (op.input(0)?, op.output()?);
    let (from, mut to) = (e.dims(x), e.dims(y));
    if let ([batch, l, c], [first, 1, rows, channels]) = (&from[..], &to[..])
        && [batch, l, c] == [first, rows, channels]
    {
        // a series that a two-dimensional convolution reads
        let inputs = vec![e.name(x)?, e.integer_list(&[1])];
        return e.result(op, "Unsqueeze", inputs, vec![]);
    }
    if let Some(first) = to.first_mut()
        && !e.is_constant(x)?
        && from.first() == Some(first)
    {
        // the batch, as it is
        *first = 0;
    }
    // of the elements, one dimension can be told
    if to.iter().skip(1).filter(|dim| **dim < 0).count() > 1 {
        return refuse("its output has dimensions that the model leaves open");
    }
    let inputs = vec![e.name(x)?, e.integer_list(&to)];
    e.result(op, "Reshape", inputs, vec![])
}

fn transpose(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let permutation = e.integers(op.input(1)?)?;
    unary(e, op, "Transpose", vec![ints("perm", &permutation)])
}

fn depth_to_space(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let size = option(op, 0, 0_i32)?;
    let x = e.channels_first(op.input(0)?)?;
    let pixels = e.node("DepthToSpace", vec![x], vec![int("blocksize", size.into())]);
    let pixels = e.channels_last(pixels, 4);
    e.give(op, pixels)
}

fn resize_nearest(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    if choice(op, 0)? != 0 {
        return refuse("it aligns corners, which is not supported");
    }
    let attributes = match choice(op, 1)? {
        0 => [
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ],
        _ => [
            text("coordinate_transformation_mode", "half_pixel"),
            text("nearest_mode", "round_prefer_ceil"),
        ],
    };
    let sizes = e.integers(op.input(1)?)?;
    let x = e.channels_first(op.input(0)?)?;
    let channels = e.channels(op.input(0)?).unwrap_or(0) as i64;
    let sizes = e.integer_list(&[&[-1, channels], &sizes[..]].concat());
    let inputs = vec![x, String::new(), String::new(), sizes];
    let pixels = e.node("Resize", inputs, attributes.to_vec());
    let pixels = e.channels_last(pixels, 4);
    e.give(op, pixels)
}

/// TRANSPOSE_CONV: of the output's size, weights `[O, H, W, I]`, the input, and perhaps a bias.
fn transpose_conv(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let (values, [out, h, w, inner]) = filter(e, op)?;
    // to [in, out, h, w]
    let strides = [1, h * w * inner, w * inner, inner];
    let weights = permuted(&values, [inner, out, h, w], strides);
    let mut attributes = vec![ints("strides", &pair(op, 1, 0)?)];
    let known: Vec<i64> = e
        .dims(op.output()?)
        .into_iter()
        .filter(|d| *d > 0)
        .collect();
    match (&known[..], choice(op, 0)?) {
        // all that the kernel reaches, and all that belongs to an input
        (_, 1) => {
            let [down, across] = pair(op, 1, 0)?;
            let further = [(down - h as i64).max(0), (across - w as i64).max(0)];
            attributes.push(ints("output_padding", &further));
        }
        ([.., h, w, _], _)
            if known.len() >= 3 && e.dims(op.output()?)[1..] == known[known.len() - 3..] =>
        {
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

fn tile(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let repeats = e.integers(op.input(1)?)?;
    let inputs = vec![e.name(op.input(0)?)?, e.integer_list(&repeats)];
    e.result(op, "Tile", inputs, vec![])
}

/// A Slice from `starts` to `ends` of all dimensions.
fn sliced(
    e: &mut Emit<'_>,
    op: &Operator<'_>,
    starts: &[i64],
    ends: &[i64],
    steps: &[i64],
) -> Result<(), Refusal> {
    let axes: Vec<i64> = (0..starts.len() as i64).collect();
    let x = e.name(op.input(0)?)?;
    let lists = [starts, ends, &axes, steps].map(|list| e.integer_list(list));
    e.result(op, "Slice", [vec![x], lists.to_vec()].concat(), vec![])
}

/// An end beyond every dimension.
const END: i64 = i64::MAX;

fn slice(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let (starts, sizes) = (e.integers(op.input(1)?)?, e.integers(op.input(2)?)?);
    let ends = starts.iter().zip(&sizes).enumerate();
    let ends = ends.map(|(i, (start, size))| match (i, size) {
        // of the batch, all
        (0, _) | (_, -1) => END,
        (_, size) => start.saturating_add(*size),
    });
    let ends: Vec<i64> = ends.collect();
    sliced(e, op, &starts, &ends, &vec![1; starts.len()])
}

fn strided_slice(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let [begin, end, ellipsis, added, removed] =
        [0, 1, 2, 3, 4].map(|field| option(op, field, 0_i32));
    if [ellipsis?, added?, removed?] != [0; 3] {
        return refuse("it adds or takes away dimensions, which is not supported");
    }
    let (begin, end) = (begin?, end?);
    let mut starts = e.integers(op.input(1)?)?;
    let mut ends = e.integers(op.input(2)?)?;
    let steps = e.integers(op.input(3)?)?;
    for (i, start) in starts.iter_mut().enumerate().take(32) {
        if begin >> i & 1 == 1 {
            *start = 0;
        }
    }
    for (i, last) in ends.iter_mut().enumerate().take(32) {
        // of the batch, all
        if end >> i & 1 == 1 || i == 0 {
            *last = END;
        }
    }
    sliced(e, op, &starts, &ends, &steps)
}

/// SPLIT: the dimension comes first.
fn split(e: &mut Emit<'_>, op: &Operator<'_>) -> Result<(), Refusal> {
    let axis = e.integers(op.input(0)?)?;
    let axis = axis.first().copied().unwrap_or(0);
    let x = e.name(op.input(1)?)?;
    e.results(op, "Split", vec![x], vec![int("axis", axis)]);
    Ok(())
}
