//! The table of operators.

use bitbudget_core::op::Function;

use super::activation;
use super::affine;
use super::arithmetic::Arithmetic;
use super::builder::{Builder, Convert};
use super::error::{Fault, unsupported};
use super::fold;
use super::joined;
use super::node::Node;
use super::pool::{self, Reduction};
use super::rearrange;
use super::transposed;
use super::value::Value;
use super::view;
use super::weighted;

/// The operators that can be imported, by name: with which limits, and how.
const OPERATORS: &[(&str, &str, Convert)] = &[
    ("Abs", "", |b, n| activation::unary(b, n, Function::Abs)),
    (
        "Add",
        "of two tensors of one shape, or a tensor and a constant for the layer before it",
        |b, n| affine::arithmetic(b, n, Arithmetic::Add),
    ),
    (
        "AveragePool",
        "1 or 2 dimensions; padding counts or does not",
        pool::average_pool,
    ),
    (
        "BatchNormalization",
        "in inference, behind a convolution or a dense layer, or as a layer of its own",
        affine::batch_norm,
    ),
    (
        "Cast",
        "of floating point to FP32, of integers to integers",
        view::cast,
    ),
    ("Clip", "any bounds that are constant", activation::clip),
    ("Concat", "along the channels", joined::concat),
    ("Constant", "", fold::constant),
    (
        "ConstantOfShape",
        "in computations of shapes",
        fold::constant_of_shape,
    ),
    (
        "Conv",
        "1 or 2 dimensions, any groups, constant weights; dilation 1, or of a series any that divides its length",
        weighted::conv,
    ),
    (
        "ConvTranspose",
        "1 or 2 dimensions, any groups, constant weights; dilation 1",
        transposed::conv_transpose,
    ),
    ("DepthToSpace", "", rearrange::depth_to_space),
    ("Div", "by a constant", |b, n| {
        affine::arithmetic(b, n, Arithmetic::Div)
    }),
    (
        "Dropout",
        "in inference, where it does nothing",
        view::dropout,
    ),
    ("Elu", "", activation::elu),
    ("Exp", "", |b, n| activation::unary(b, n, Function::Exp)),
    ("Flatten", "axis 1", view::flatten),
    ("Gather", "in computations of shapes", fold::gather),
    (
        "Gelu",
        "by Erf, also as nodes of its own, or by a hyperbolic tangent",
        activation::gelu,
    ),
    (
        "Gemm",
        "constant weights; the input not transposed",
        weighted::gemm,
    ),
    ("GlobalAveragePool", "", |b, n| {
        pool::global_pool(b, n, Reduction::Mean)
    }),
    ("GlobalMaxPool", "", |b, n| {
        pool::global_pool(b, n, Reduction::Max)
    }),
    ("HardSigmoid", "", activation::hard_sigmoid),
    ("HardSwish", "", |b, n| {
        activation::unary(b, n, Function::HardSwish)
    }),
    ("Identity", "", view::identity),
    ("LeakyRelu", "", activation::leaky_relu),
    ("Log", "", |b, n| activation::unary(b, n, Function::Log)),
    (
        "LogSoftmax",
        "over all classes, or those of each pixel",
        activation::log_softmax,
    ),
    (
        "MatMul",
        "of a vector and constant weights",
        weighted::matmul,
    ),
    ("Max", "of a tensor and one number", activation::max),
    ("MaxPool", "1 or 2 dimensions; dilation 1", pool::max_pool),
    ("Min", "of a tensor and one number", activation::min),
    ("Mish", "", |b, n| activation::unary(b, n, Function::Mish)),
    (
        "Mul",
        "of two tensors of one shape, of a tensor and one element for each channel, or of a tensor and a constant",
        |b, n| affine::arithmetic(b, n, Arithmetic::Mul),
    ),
    (
        "PRelu",
        "with a slope for each channel, or one",
        affine::prelu,
    ),
    (
        "Pad",
        "rows and columns, by 0 before a convolution or average, by -inf before a maximum",
        pool::pad,
    ),
    ("ReduceMax", "over all rows and columns", |b, n| {
        pool::reduce(b, n, Reduction::Max)
    }),
    ("ReduceMean", "over all rows and columns", |b, n| {
        pool::reduce(b, n, Reduction::Mean)
    }),
    ("Relu", "", activation::relu),
    ("Reshape", "that keeps the batch first", view::reshape),
    (
        "Resize",
        "to the nearest pixel, by whole factors",
        rearrange::resize,
    ),
    ("Shape", "in computations of shapes", view::shape),
    ("Sigmoid", "", |b, n| {
        activation::unary(b, n, Function::Sigmoid)
    }),
    (
        "Slice",
        "forward along rows, columns and channels, or in computations of shapes",
        rearrange::slice,
    ),
    ("Softmax", "over all classes", activation::softmax),
    ("Softplus", "", |b, n| {
        activation::unary(b, n, Function::Softplus)
    }),
    ("Split", "along rows, columns or channels", rearrange::split),
    ("Sqrt", "", |b, n| activation::unary(b, n, Function::Sqrt)),
    ("Squeeze", "of given axes", view::squeeze),
    (
        "Sub",
        "of two tensors of one shape, or of a tensor and a constant",
        |b, n| affine::arithmetic(b, n, Arithmetic::Sub),
    ),
    ("Swish", "alpha 1", activation::swish),
    ("Tanh", "", |b, n| activation::unary(b, n, Function::Tanh)),
    (
        "Tile",
        "of pixels, along a dimension of 1 beside rows or columns",
        rearrange::tile,
    ),
    (
        "Transpose",
        "between channels first and channels last, of groups of channels, of a constant matrix, or of dimensions of 1",
        view::transpose,
    ),
    ("Unsqueeze", "", view::unsqueeze),
    (
        "Upsample",
        "to the nearest pixel, by whole factors",
        rearrange::resize,
    ),
];

/// The value of the node's first output.
pub(super) fn convert<'a>(b: &mut Builder<'a>, node: &Node<'a>) -> Result<Value, Fault> {
    match OPERATORS.iter().find(|(name, ..)| *name == node.op) {
        Some((.., convert)) => convert(b, node),
        None => unsupported(reason(&node.op)),
    }
}

/// The operators that can be imported and their limits, by name.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|(name, limits, _)| (*name, *limits))
}

/// Why an operator that is not in the table is not supported.
fn reason(op: &str) -> &'static str {
    match op {
        "Celu" | "Erf" | "Selu" | "Softsign" | "ThresholdedRelu" => {
            "there is no such activation in the core"
        }
        "LogSoftmax" => "leave it out of the model: the logits say the same",
        "ConvInteger"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "MatMulInteger"
        | "QLinearConv"
        | "QLinearMatMul"
        | "QuantizeLinear" => "the model is quantized already: export the FP32 model",
        "GRU" | "LSTM" | "RNN" | "If" | "Loop" | "Scan" => "only feed-forward networks can be run",
        _ => "there is no such operator in the core",
    }
}
