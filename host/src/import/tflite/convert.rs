//! The table of operators: each becomes ONNX's operators of the same meaning.
//!
//! TensorFlow Lite's images are `[N, H, W, C]`. Operators that look at rows and columns stand between two Transposes, as
//! in the models that tf2onnx writes; these change only how a tensor is seen.

use super::activation::{binary, cast, clip, gelu, identity, leaky_relu, of_two, softmax, unary};
use super::emit::{Emit, Refusal, refuse};
use super::model::Operator;
use super::view::{
    concatenation, depth_to_space, pad, reduce, reshape, resize_nearest, slice, split,
    strided_slice, tile, transpose,
};
use super::window::{Window, conv_2d, depthwise_conv_2d, fully_connected, pool, transpose_conv};

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
        "any multiplier, constant weights; dilated over a series only, where that divides its length",
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
    ("LOG_SOFTMAX", "", |e, o| unary(e, o, "LogSoftmax", vec![])),
    ("MAXIMUM", "of a tensor and one number", |e, o| {
        of_two(e, o, "Max")
    }),
    ("MAX_POOL_2D", "", |e, o| {
        pool(e, &Window::image(o)?, "MaxPool")
    }),
    ("MEAN", "over all rows and columns", |e, o| {
        reduce(e, o, "ReduceMean")
    }),
    ("MINIMUM", "of a tensor and one number", |e, o| {
        of_two(e, o, "Min")
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
    ("PRELU", "with a slope for each channel, or one", |e, o| {
        of_two(e, o, "PRelu")
    }),
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
    (
        "SOFTMAX",
        "over all classes, or those of each pixel; beta 1",
        softmax,
    ),
    ("SPLIT", "along rows, columns or channels", split),
    ("SQRT", "", |e, o| unary(e, o, "Sqrt", vec![])),
    ("SQUEEZE", "", reshape),
    (
        "STRIDED_SLICE",
        "forward along rows, columns and channels, which stay dimensions",
        strided_slice,
    ),
    (
        "SUB",
        "of two tensors of one shape, or of a tensor and a constant",
        |e, o| binary(e, o, "Sub"),
    ),
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
